"""CS285-Cheetah-v0: Gymnasium's half cheetah at 100 Hz, paid for careful speed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import mujoco
import numpy as np
from gymnasium import spaces

from suite.arrays import namespace
from suite.envs.arguments import require_positive
from suite.envs.batch import BatchEnv
from suite.envs.locomotion_env import robot_model
from suite.envs.mujoco_simulation import MujocoSimulation
from suite.envs.simulation import Ids
from suite.envs.single import SingleEnv
from suite.envs.task import never

# The named state vector (..., 21); the observation is the same vector in float32.
QPOS, QVEL = slice(0, 9), slice(9, 18)  # root x, z (m) and pitch, six joints (rad)
TORSO = slice(18, 21)  # world xyz, m
STATE_SIZE = 21

X_VELOCITY = 9  # of the root, m/s
# Front thigh, shin and foot, rad: each costs 10 while it is raised beyond its limit.
LIMITS = ((6, 0.2), (7, 0.0), (8, 0.0))
PENALTY = 10.0
TORSO_HEIGHT = 0.7  # m, at a root z of 0
RESET_NOISE = 0.1
MAX_EPISODE_STEPS = 500


def observe(state: Any) -> Any:
    """Observation (..., 21) in float32."""
    xp = namespace(state)
    return xp.astype(state, xp.float32)


def reward(state: Any, action: Any, next_state: Any) -> Any:
    """Speed after the step, less 10 for each front joint beyond its limit (...)."""
    total = next_state[..., X_VELOCITY]
    for joint, limit in LIMITS:
        total = total - PENALTY * (next_state[..., joint] > limit)
    return total


@dataclass(frozen=True)
class Cheetah:
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
        default_factory=lambda: spaces.Box(-1.0, 1.0, (6,), np.float32)
    )


def cheetah_model() -> mujoco.MjModel:
    """Gymnasium's own model, where it is installed, compiled."""
    return robot_model("half_cheetah.xml")


class CheetahSimulation(MujocoSimulation):
    """The physics; the torso's position is three extra numbers.

    As in the course and in Gymnasium, it is the position before the substep: MuJoCo's
    body positions lag behind by one.

    Args:
        num_rows: How many simulations.
        num_threads: Threads of the pool.
    """

    def __init__(self, num_rows: int, num_threads: int = 1):
        super().__init__(
            cheetah_model(), num_rows, substeps=1, num_extra=3, num_threads=num_threads
        )

    def reset(self, ids: np.ndarray, rngs: Sequence[np.random.Generator]) -> None:
        """Near the model's pose; the draws are those of Gymnasium's HalfCheetah-v5."""
        self._clear(ids)
        for row, rng in zip(ids.tolist(), rngs, strict=True):
            self.qpos[row] += rng.uniform(-RESET_NOISE, RESET_NOISE, 9)
            self.qvel[row] = RESET_NOISE * rng.standard_normal(9)
        self._see_torso(ids)

    def control(self, ids: Ids, action: np.ndarray) -> np.ndarray:
        """Torques, in units of each motor's gear."""
        return action

    def step(self, ids: Ids, action: np.ndarray) -> np.ndarray:
        """Advance; the torso is seen where it was before."""
        self._see_torso(ids)
        return super().step(ids, action)

    def _see_torso(self, ids: Ids) -> None:
        rows = slice(None) if ids is None else ids
        self.extra[rows, 0] = self.qpos[rows, 0]
        self.extra[rows, 2] = TORSO_HEIGHT + self.qpos[rows, 1]

    def named_state(self, ids: Ids) -> np.ndarray:
        """The 21 numbers of the state vector."""
        rows = slice(None) if ids is None else ids
        parts = [self.qpos[rows], self.qvel[rows], self.extra[rows]]
        return np.concatenate(parts, axis=1)


class CheetahVectorEnv(BatchEnv):
    """N rows of ``CheetahEnv``.

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
            CheetahSimulation(num_envs, num_threads),
            Cheetah(),
            autoreset_mode=autoreset_mode,
            render_mode=render_mode,
        )

    def scene(self, row: int) -> tuple[mujoco.MjModel, mujoco.MjData]:
        """The cheetah where the row has it."""
        simulation = self.simulation
        assert isinstance(simulation, CheetahSimulation)
        return simulation.posed(row)


class CheetahEnv(SingleEnv):
    """Run forward without raising the front leg.

    Task: the ``cheetah-cs285-v0`` of the course CS285, fall 2022, on Gymnasium's model.
    Observation: float32 (21,): qpos 0-8 (root x and z in m, pitch, then thigh, shin and
        foot of the back and of the front leg, rad), qvel 9-17, torso 18-20 (world xyz,
        m).
    Action: Box(-1, 1, (6,)): torques at thigh, shin and foot, back then front, in units
        of 120, 90, 60, 120, 60 and 30 N m; 100 Hz.
    Reward: x velocity - 10 [front thigh > 0.2] - 10 [front shin > 0]
        - 10 [front foot > 0], after the step.
    Success: none.
    Randomisation: qpos U(-0.1, 0.1) about the model's, qvel N(0, 0.1).
    Episode end: truncated after 500 steps.
    Source and deviations: docs/envs/cs285.md.

    Args:
        render_mode: ``"rgb_array"``, ``"human"`` or None.
    """

    def __init__(self, *, render_mode: str | None = None):
        super().__init__(
            CheetahVectorEnv(1, autoreset_mode="disabled", render_mode=render_mode)
        )
