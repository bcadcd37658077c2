"""A step that simulator or model gave up is no transition, whoever learns from it."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from point_env import STEP, PointSimulation, PointTask, point_env

from suite.agents.actor_loop import ActorLoop, Walk
from suite.agents.believed import Given
from suite.agents.branching import Branched
from suite.agents.mbpo import MBPO
from suite.agents.mpc import MPC
from suite.agents.pace import Pace
from suite.agents.planners import RandomShooting
from suite.agents.sac import SAC
from suite.agents.soft_update import Soft, SoftUpdate
from suite.agents.vec import SnapshotVecEnv
from suite.envs.batch import BatchEnv
from suite.worldmodels.batches import Bootstrap
from suite.worldmodels.dynamics import Transition
from suite.worldmodels.ensemble import Ensemble
from suite.worldmodels.experience import Experience
from suite.worldmodels.fit import Fit
from suite.worldmodels.learned import LearnedDynamics

EDGE = 0.5
PACE = Pace(exploration=40, collect=4, updates=1, epoch=40)


class Cliff(PointSimulation):
    """x moves by 0.3 times the action; beyond 0.5 there is no answer."""

    def step(self, ids: np.ndarray | None, action: np.ndarray) -> np.ndarray:
        super().step(ids, action)
        return self.x[slice(None) if ids is None else ids, 0] > EDGE


def _paid(state: Any, action: Any, next_state: Any) -> Any:
    return state[..., 0] * 0 - 5.0


def _never(state: Any) -> Any:
    return state[..., 0] > np.inf


def cliff(rows: int = 4) -> BatchEnv:
    """-5 a step, so that the reward 0 of a step that was given up would be the best."""
    task = PointTask(reward=_paid, terminated=_never, success=_never)
    return BatchEnv(Cliff(rows), task, autoreset_mode="same_step")


def walked(steps: int = 200) -> tuple[Walk, ActorLoop]:
    env = SnapshotVecEnv(cliff())
    env.seed(1)
    space = env.action_space
    policy = SoftUpdate(Soft((8,)), 1, space, seed=0, device="cpu").policy  # pyright: ignore
    loop = ActorLoop(env, policy, 0)
    return loop.walk(steps, is_uniform=True), loop


def require_true(data: Experience) -> None:
    """All of them are of the task: paid, and moved as the action says."""
    assert (data.rewards == -5).all()
    moved = data.states + STEP * data.actions.clamp(-1, 1)
    torch.testing.assert_close(data.next_states, moved.clamp(-1, 1))


def test_a_walk_tells_which_steps_were_given_up():
    walk, _ = walked()
    beyond = walk.real.states + STEP * walk.real.actions > EDGE
    # Rows that begin beyond it are given up wherever they go but back.
    assert torch.equal(walk.unstable.flatten(), beyond[:, 0])
    assert walk.unstable.sum() > 10
    assert walk.done[walk.unstable].all()
    assert not walk.real.terminated.any()


def test_sac_learns_from_all_other_steps_and_counts_these_too():
    agent = SAC(cliff(), soft=Soft((8,)), pace=PACE)
    agent.env.seed(1)
    list(agent.iterate(400))
    assert agent.num_timesteps == 400
    kept = agent.memory._ring.all()  # pyright: ignore
    assert 100 < len(kept) < 390
    require_true(kept)


class Slope:
    """The cliff's dynamics, exactly, and nothing that is given up."""

    def start(self, state: torch.Tensor) -> torch.Tensor:
        return state

    def step(
        self, z: torch.Tensor, action: torch.Tensor, *, generator: Any = None
    ) -> Transition:
        ends = torch.zeros(len(z), dtype=torch.bool)
        return Transition(z + STEP * action, torch.full((len(z),), -5.0), ends)

    def observe(self, z: torch.Tensor) -> torch.Tensor:
        return z


def test_mbpo_judges_its_model_by_the_transitions_since_the_last_fit_alone():
    seen: list[tuple[int, int]] = []

    class Judging(Given):
        judging = 0

        def judged(self, unseen: Experience) -> dict[str, float]:
            require_true(unseen)
            self.judging = len(unseen)
            return {}

        def refit(self, data: Experience) -> dict[str, float]:
            require_true(data)
            seen.append((len(data), self.judging))
            return {}

    agent = MBPO(
        cliff(),
        believed=Judging(Slope()),
        branched=Branched(4),
        fit_every=20,
        soft=Soft((8,)),
        pace=PACE,
    )
    agent.env.seed(1)
    list(agent.iterate(400))
    before = 0
    for known, judged in seen:
        assert judged == (known - before if before else 0)
        before = known
    assert before < 0.97 * 384  # steps before the last fit


def test_mpc_fits_its_model_to_all_other_steps():
    torch.manual_seed(0)
    dynamics = LearnedDynamics(Ensemble(2, 2, 2, hidden=(8,)))
    agent = MPC(
        cliff(),
        planner=RandomShooting(3, 20),
        fit=Fit(dynamics, batches=Bootstrap(32)),
        initial_steps=200,
        batch_size=80,
        fit_epochs=2,
    )
    list(agent.iterate(280))
    assert agent.num_timesteps == 280
    assert agent.data is not None and 100 < len(agent.data) < 275
    require_true(agent.data)


def test_where_all_is_stable_every_step_is_kept():
    agent = SAC(point_env(4, "same_step"), soft=Soft((8,)), pace=PACE)
    list(agent.iterate(400))
    assert len(agent.memory._ring.all()) == 400  # pyright: ignore
