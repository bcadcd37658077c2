"""What plans or learns in a latent model beats random actions, by a 90 % interval."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch

import suite
from suite.agents.first_order import FirstOrder
from suite.agents.pace import Pace
from suite.agents.planners import CEM, action_set
from suite.agents.proposals import ClippedNormal
from suite.agents.pwm import PWM, Fitting
from suite.agents.sequence_memory import SequenceMemory
from suite.evaluation import mean_interval
from suite.recipes import random_dataset
from suite.worldmodels.flow import Flow
from suite.worldmodels.imagined_score import score_with
from suite.worldmodels.latent import LatentModel
from suite.worldmodels.latent_fit import LatentFit
from suite.worldmodels.latent_sizes import LatentSizes
from suite.worldmodels.ode import Heun

Act = Callable[[np.ndarray], np.ndarray]
STARTS = 16  # episodes, each paired with one of random actions from the same start
assert suite  # its import registers the environments


def rows(name: str, count: int = STARTS, mode: str = "disabled") -> Any:
    kind = gym.VectorizeMode.VECTOR_ENTRY_POINT
    made: dict[str, Any] = {"vectorization_mode": kind, "autoreset_mode": mode}
    return gym.make_vec(name, num_envs=count, **made)


def played(env: Any, act: Act, steps: int) -> np.ndarray:
    """Returns (N,) of episodes that always begin alike."""
    obs, _ = env.reset(seed=1000)
    total = np.zeros(env.num_envs)
    for _ in range(steps):
        obs, rewards, *_ = env.step(act(obs))  # a row that has ended gets 0
        total += rewards
    return total


def random(env: Any) -> Act:
    rng, space = np.random.default_rng(0), env.single_action_space
    shape = (env.num_envs, *space.shape)
    return lambda obs: rng.uniform(space.low, space.high, shape).astype(np.float32)


def least_gain(ours: np.ndarray, theirs: np.ndarray) -> float:
    """The lower end of the mean difference's interval, of pairs (N,)."""
    low = mean_interval(ours - theirs, confidence=0.9).low
    assert low is not None
    return low


# ----------------------------------------------------------------- a plan in a flow
def fitted_flow(seed: int = 0) -> LatentModel:
    """A flow of the pendulum, fitted to 32 episodes of random actions."""
    memory = SequenceMemory.of_dataset(random_dataset("BatchedPendulum-v1", 6400))
    sizes = LatentSizes(32, (32,), (64, 64))
    model = LatentModel(3, 1, size=sizes, dynamics=Flow(Heun(1)), seed=seed)
    fit = LatentFit(model, learning_rate=1e-3, seed=seed)
    draws = torch.Generator().manual_seed(seed)
    for _ in range(200):
        fit.update(memory.pieces(64, 6, draws))
    return model


def planning(env: Any, model: LatentModel, planner: CEM, seed: int = 0) -> Act:
    """Encodes every observation anew and plans from it, for all rows at once."""
    actions = action_set(env.single_action_space)
    score = score_with(model, horizon=planner.horizon)
    generator = torch.Generator().manual_seed(seed)
    memory = planner.start(actions, env.num_envs)

    def act(obs: np.ndarray) -> np.ndarray:
        nonlocal memory
        at = score.at(torch.as_tensor(obs))
        plan = planner.plan(at, actions, memory, generator=generator)
        memory = plan.memory
        return actions.to_env(plan.actions[:, 0])

    return act


@pytest.mark.slow
def test_cem_in_a_flow_beats_random_actions_on_the_pendulum():
    # The interval's lower end was 597 to 1005 points above 0 for each of seeds 0 to 7.
    env = rows("BatchedPendulum-v1", 12)
    # Coloured noise: white noise of 16 draws holds no push long enough to swing it up.
    wide = ClippedNormal(std=1.0, colour=1.0)
    planner = CEM(16, candidates=16, elites=3, iterations=2, proposal=wide)
    ours = played(env, planning(env, fitted_flow(), planner), 200)
    theirs = played(env, random(env), 200)
    assert least_gain(ours, theirs) > 0


# --------------------------------------------------------------- a policy's gradients
def trained(seed: int = 0) -> PWM:
    """PWM after 8,320 steps among obstacles, the first 3,200 of them random."""
    env = rows("CS285-Obstacles-v0", 64, "same_step")
    model = LatentModel(4, 2, has_end=True, seed=seed)
    settings = FirstOrder(
        horizon=4, gamma=0.95, actor_arch=(64, 64), critic_arch=(64, 64),
        actor_learning_rate=1e-3, critic_learning_rate=1e-3, critic_iterations=2,
    )  # fmt: skip
    agent = PWM(
        env,
        fit=LatentFit(model, learning_rate=1e-3, seed=seed),
        first_order=settings,
        pace=Pace(exploration=3200, collect=512, updates=4, epoch=2048),
        fitting=Fitting(200, updates=8, batch_size=64, final_learning_rate=1e-3),
        seed=seed,
    )
    agent.env.seed(seed)
    for _ in agent.iterate(3200 + 10 * 512):
        pass
    return agent


@pytest.mark.slow
def test_pwm_among_obstacles_beats_random_actions():
    # The interval's lower end was 28 to 44 points above 0 for each of seeds 0 to 7.
    policy, env = trained().policy, rows("CS285-Obstacles-v0")
    ours = played(env, lambda obs: policy.predict(obs)[0], 100)
    theirs = played(env, random(env), 100)
    assert least_gain(ours, theirs) > 0
