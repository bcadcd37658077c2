"""CS285-Reacher-v0: a seven-joint arm brings its finger to a point in the air."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import mujoco
import numpy as np
from gymnasium import spaces

from suite.arrays import namespace
from suite.envs.arguments import require_positive
from suite.envs.batch import BatchEnv
from suite.envs.geometry import norm
from suite.envs.mujoco_simulation import ASSETS, MujocoSimulation
from suite.envs.simulation import Ids
from suite.envs.single import SingleEnv
from suite.envs.task import never

# The named state vector (..., 20); the observation is the same vector in float32.
QPOS, QVEL = slice(0, 7), slice(7, 14)  # rad; tenths of rad/s
FINGER, TARGET = slice(14, 17), slice(17, 20)  # world xyz, m
STATE_SIZE = 20

QVEL_SCALE = 0.1
REWARD_SCALE = 10.0
SUBSTEPS = 2  # of 10 ms: control at 50 Hz
MAX_EPISODE_STEPS = 200


def observe(state: Any) -> Any:
    """Observation (..., 20) in float32."""
    xp = namespace(state)
    return xp.astype(state, xp.float32)


def reward(state: Any, action: Any, next_state: Any) -> Any:
    """Minus ten times the finger's distance to the target after the step (...)."""
    return -REWARD_SCALE * norm(next_state[..., FINGER] - next_state[..., TARGET])


@dataclass(frozen=True)
class Reacher:
    """The task: spaces and pure functions of the named state."""

    observe: Callable[[Any], Any] = observe
    reward: Callable[[Any, Any, Any], Any] = reward
    terminated: Callable[[Any], Any] = never
    success: Callable[[Any], Any] = never
    max_episode_steps: int = MAX_EPISODE_STEPS
    observation_space: spaces.Box = field(
        default_factory=lambda: spaces.Box(-np.inf, np.inf, (STATE_SIZE,), np.float32)
    )
    action_space: spaces.Box = field(
        default_factory=lambda: spaces.Box(-1.0, 1.0, (7,), np.float32)
    )


@functools.cache
def arm_model() -> mujoco.MjModel:
    """The compiled arm."""
    return mujoco.MjModel.from_xml_path(str(ASSETS / "reacher.xml"))


class ReacherSimulation(MujocoSimulation):
    """The physics; the finger's position is three extra numbers.

    As in the course, it is where the last substep began: MuJoCo's site positions lag
    behind by one. That is the joint angles' less 0.01 s of their new velocities, so
    that the observation still tells the whole state.

    Args:
        num_rows: How many simulations.
        num_threads: Threads of the pool.
    """

    def __init__(self, num_rows: int, num_threads: int = 1):
        model = arm_model()
        super().__init__(
            model, num_rows, substeps=SUBSTEPS, num_extra=3, num_threads=num_threads
        )
        self._site_xpos = self.batch.bind("site_xpos")
        self._finger = model.site("finger").id
        self._target = model.site("target").pos.copy()

    def reset(self, ids: np.ndarray, rngs: Sequence[np.random.Generator]) -> None:
        """All angles 0, then one step without torque; nothing is random."""
        self._clear(ids)
        self.extra[ids] = 0.0
        self.step(ids, np.zeros((len(ids), 7)))

    def control(self, ids: Ids, action: np.ndarray) -> np.ndarray:
        """Torques, in units of each motor's gear."""
        return action

    def step(self, ids: Ids, action: np.ndarray) -> np.ndarray:
        """Advance, and keep where the finger was seen."""
        unstable = super().step(ids, action)
        rows = slice(None) if ids is None else ids
        self.extra[rows] = self._site_xpos[rows, self._finger]
        return unstable

    def named_state(self, ids: Ids) -> np.ndarray:
        """The 20 numbers of the state vector."""
        rows = slice(None) if ids is None else ids
        qpos = self.qpos[rows]
        state = np.empty((len(qpos), STATE_SIZE))
        state[:, QPOS] = qpos
        state[:, QVEL] = self.qvel[rows] * QVEL_SCALE
        state[:, FINGER] = self.extra[rows]
        state[:, TARGET] = self._target
        return state


class ReacherVectorEnv(BatchEnv):
    """N rows of ``ReacherEnv``.

    Args:
        num_envs: Number of rows.
        autoreset_mode: ``"next_step"``, ``"same_step"`` or ``"disabled"``.
        num_threads: Threads that step the rows; results do not depend on it.
        render_mode: ``"rgb_array"``, ``"human"`` or None.

    Raises:
        ValueError: For an unknown mode, or less than one row or thread.
    """

    def __init__(
        self,
        num_envs: int = 1,
        *,
        autoreset_mode: str = "next_step",
        num_threads: int = 1,
        render_mode: str | None = None,
    ):
        require_positive("num_envs", num_envs)
        require_positive("num_threads", num_threads)
        super().__init__(
            ReacherSimulation(num_envs, num_threads),
            Reacher(),
            autoreset_mode=autoreset_mode,
            render_mode=render_mode,
        )

    def scene(self, row: int) -> tuple[mujoco.MjModel, mujoco.MjData]:
        """The arm where the row has it."""
        simulation = self.simulation
        assert isinstance(simulation, ReacherSimulation)
        return simulation.posed(row)


class ReacherEnv(SingleEnv):
    """Bring the finger of a seven-joint arm to a fixed point, without gravity.

    Task: the ``reacher-cs285-v0`` of the course CS285, fall 2022.
    Observation: float32 (20,): joint angles 0-6 (rad), their velocities 7-13 (tenths of
        rad/s), finger 14-16 and target 17-19 (world xyz, m).
    Action: Box(-1, 1, (7,)): joint torques, the first in units of 20 N m, the others of
        10 N m; 50 Hz.
    Reward: -10 |finger - target|, after the step.
    Success: none.
    Randomisation: none; every episode starts with the arm stretched out, 1.01 m from
        the target.
    Episode end: truncated after 200 steps.
    Source and deviations: docs/envs/cs285.md.

    Args:
        render_mode: ``"rgb_array"``, ``"human"`` or None.
    """

    def __init__(self, *, render_mode: str | None = None):
        super().__init__(
            ReacherVectorEnv(1, autoreset_mode="disabled", render_mode=render_mode)
        )
