"""Compositions across layers, each judged on the true environment."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from test_mbpo import SLIDE, slide, slide_reward

from suite.agents.awr import AWR
from suite.agents.believed import Fitted
from suite.agents.branching import Branched
from suite.agents.mbpo import MBPO
from suite.agents.mpc import MPC
from suite.agents.pace import Pace
from suite.agents.planners import RandomShooting
from suite.agents.rerollout import ReRollout
from suite.agents.soft_update import Soft
from suite.envs.single import SingleEnv
from suite.worldmodels.batches import Bootstrap, Holdout
from suite.worldmodels.ensemble import Ensemble, GaussianEnsemble
from suite.worldmodels.experience import Experience
from suite.worldmodels.fit import Fit
from suite.worldmodels.learned import LearnedDynamics
from suite.worldmodels.model_env import ModelVectorEnv
from suite.worldmodels.propagation import TS1
from suite.wrappers import ActionDelay, ObservationNoise

QUANTILE = 1.645  # of a normal number: 90 % lie within
EPISODES = 100
Act = Callable[[np.ndarray], np.ndarray]


def returns(act: Act, env: Any) -> np.ndarray:
    """One whole episode of each row."""
    obs, _ = env.reset(seed=500)
    total = np.zeros(env.num_envs)
    for _ in range(SLIDE.max_episode_steps):
        obs, rewards, *_ = env.step(act(obs))
        total += rewards
    return total


def gain_over_random(act: Act, env_of: Callable[[], Any]) -> tuple[float, float]:
    """90 % interval of how much more a policy earns than uniform actions.

    Both start from the same states, so that differences of episodes count.
    """
    rng = np.random.default_rng(0)
    ours = returns(act, env_of())
    random = returns(lambda obs: rng.uniform(-1, 1, obs.shape), env_of())
    gain = ours - random
    half = QUANTILE * gain.std(ddof=1) / np.sqrt(len(gain))
    return float(gain.mean() - half), float(gain.mean() + half)


def true_slide() -> Any:
    return slide(EPISODES, "disabled")


def dynamics(kind: type[Ensemble] = GaussianEnsemble) -> LearnedDynamics:
    generator = torch.Generator().manual_seed(0)
    ensemble = kind(3, 2, 1, hidden=(16, 16), activation="silu", generator=generator)
    return LearnedDynamics(ensemble, reward=slide_reward)


def random_steps(env: Any, steps: int) -> Experience:
    """What uniform actions meet, in rows that never end."""
    rng, columns = np.random.default_rng(1), []
    for _ in range(steps // SLIDE.max_episode_steps // env.num_envs):
        obs, _ = env.reset(seed=int(rng.integers(2**31)))
        for _ in range(SLIDE.max_episode_steps):
            action = rng.uniform(-1, 1, obs.shape)
            next_obs, rewards, terminated, _, _ = env.step(action)
            columns.append((obs, action, rewards, next_obs, terminated))
            obs = next_obs
    return Experience.of(*map(np.concatenate, zip(*columns, strict=True)))


def test_rerollouts_inside_a_learned_model_teach_what_holds_outside():
    """A critic-free learner whose simulator is an ensemble of 800 random steps."""
    model = dynamics()
    Fit(model, batches=Bootstrap(64)).run(random_steps(slide(4, "disabled"), 800), 300)
    start = SingleEnv(slide(1, "disabled"))

    def imagined(num_envs: int, mode: str = "disabled") -> ModelVectorEnv:
        return ModelVectorEnv(
            start,
            TS1(model.frozen()),
            num_envs,
            autoreset_mode=mode,
            max_episode_steps=SLIDE.max_episode_steps,
        )

    agent = AWR(
        "MlpPolicy",
        imagined(4, "same_step"),
        advantage=ReRollout(imagined, samples=2, gamma=0.8),
        n_steps=20,
        batch_size=80,
        n_epochs=40,
        learning_rate=1e-2,
        vf_coef=0.0,
        policy_kwargs={"net_arch": [16]},
        seed=0,
        device="cpu",
    )
    assert agent.env is not None
    agent.env.seed(3)
    list(agent.iterate(4 * 80))
    # Every step was the model's: the true environment only said where to start.
    assert agent.sim_steps > 4 * 80
    low, _ = gain_over_random(
        lambda obs: agent.policy.predict(obs, deterministic=True)[0], true_slide
    )
    assert low > 0


def mbpo(env: Any) -> tuple[MBPO, list[dict[str, float]]]:
    """Trained for 500 steps, 100 of them random."""
    fit = Fit(dynamics(), batches=Bootstrap(32), holdout=Holdout(patience=3))
    agent = MBPO(
        env,
        believed=Fitted(fit, steps=150),
        branched=Branched(2000),
        fit_every=200,
        soft=Soft(net_arch=(32, 32), batch_size=64, learning_rate=3e-3, gamma=0.9),
        pace=Pace(exploration=100, collect=4, updates=6, epoch=100),
    )
    agent.env.seed(5)
    return agent, list(agent.iterate(500))


def test_mbpo_learns_from_noisy_observations():
    agent, _ = mbpo(ObservationNoise(slide(4), 0.1))
    for env_of in (true_slide, lambda: ObservationNoise(true_slide(), 0.1)):
        low, _ = gain_over_random(lambda obs: agent.policy.predict(obs)[0], env_of)
        assert low > 0


def test_planning_works_from_noisy_observations():
    fit = Fit(dynamics(), batches=Bootstrap(32), holdout=Holdout(patience=3))
    agent = MPC(
        ObservationNoise(slide(4), 0.1),
        planner=RandomShooting(4, 30),
        fit=fit,
        initial_steps=100,
        batch_size=40,
        fit_epochs=30,
    )
    list(agent.iterate(140))
    for env_of in (true_slide, lambda: ObservationNoise(true_slide(), 0.1)):
        low, _ = gain_over_random(lambda obs: agent.policy.predict(obs)[0], env_of)
        assert low > 0


@pytest.mark.slow
def test_mbpo_cannot_model_a_delay_that_it_does_not_see():
    """Why it does not work there: what moves the point is no part of what is seen.

    The change of an observation is 0.3 times the action of the step before. That one is
    independent of observation and action, so the model misses all of its variance, and
    imagined transitions teach that actions do nothing. What is learned nevertheless is
    luck: agents of seeds 0 to 9 earned 9.9 less to 4.6 more than random, in six of
    them surely more, and without the delay 6.2 to 7.8 more in every one.
    """
    (agent, plain), (delayed, late) = mbpo(slide(4)), mbpo(ActionDelay(slide(4), 1))
    assert plain[1]["model/holdout_error"] < 0.3
    assert late[1]["model/holdout_error"] > 0.7
    low, _ = gain_over_random(lambda obs: agent.policy.predict(obs)[0], true_slide)
    _, high = gain_over_random(
        lambda obs: delayed.policy.predict(obs)[0], lambda: ActionDelay(true_slide(), 1)
    )
    assert high < low - 1
