"""BatchedPendulum-v1: Gymnasium's Pendulum-v1, in closed form."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from gymnasium import spaces

from suite.arrays import namespace
from suite.envs.batch import BatchEnv
from suite.envs.simulation import NumpySimulation
from suite.envs.single import SingleEnv
from suite.envs.task import never

# The named state (..., 2): angle in rad, 0 is up, not wrapped; angular velocity.
ANGLE, SPEED = 0, 1
STATE_SIZE = 2

STEP = 0.05  # s
GRAVITY, MASS, LENGTH = 10.0, 1.0, 1.0  # m/s^2, kg, m
LARGEST_TORQUE = 2.0  # N m
LARGEST_SPEED = 8.0  # rad/s
START = np.array([np.pi, 1.0])  # half widths of the box that episodes start in
MAX_EPISODE_STEPS = 200


def observe(state: Any) -> Any:
    """Observation (..., 3) in float32: cosine and sine of the angle, speed."""
    xp = namespace(state)
    angle, speed = state[..., ANGLE], state[..., SPEED]
    return xp.astype(xp.stack([xp.cos(angle), xp.sin(angle), speed], -1), xp.float32)


def reward(state: Any, action: Any, next_state: Any) -> Any:
    """Minus squared angle, speed and torque (...), of the state before the step."""
    xp = namespace(state)
    angle = (state[..., ANGLE] + xp.pi) % (2 * xp.pi) - xp.pi
    torque = xp.clip(action[..., 0], -LARGEST_TORQUE, LARGEST_TORQUE)
    return -(angle**2 + 0.1 * state[..., SPEED] ** 2 + 0.001 * torque**2)


def next_state(state: Any, action: Any) -> Any:
    """The exact dynamics; use it as the true model under a planner.

    Args:
        state: (..., 2).
        action: (..., 1).

    Returns:
        The next state (..., 2).
    """
    xp = namespace(state)
    torque = xp.clip(action[..., 0], -LARGEST_TORQUE, LARGEST_TORQUE)
    pull = 3 * GRAVITY / (2 * LENGTH) * xp.sin(state[..., ANGLE])
    change = (pull + 3.0 / (MASS * LENGTH**2) * torque) * STEP
    speed = xp.clip(state[..., SPEED] + change, -LARGEST_SPEED, LARGEST_SPEED)
    return xp.stack([state[..., ANGLE] + speed * STEP, speed], -1)


@dataclass(frozen=True)
class Pendulum:
    """The task: spaces and pure functions of the named state."""

    observe: Callable[[Any], Any] = observe
    reward: Callable[[Any, Any, Any], Any] = reward
    terminated: Callable[[Any], Any] = never
    success: Callable[[Any], Any] = never
    max_episode_steps: int = MAX_EPISODE_STEPS
    observation_space: spaces.Box = field(
        default_factory=lambda: spaces.Box(
            np.array([-1, -1, -LARGEST_SPEED], np.float32),
            np.array([1, 1, LARGEST_SPEED], np.float32),
        )
    )
    action_space: spaces.Box = field(
        default_factory=lambda: spaces.Box(
            -LARGEST_TORQUE, LARGEST_TORQUE, (1,), np.float32
        )
    )


class PendulumSimulation(NumpySimulation):
    """N pendulums.

    Args:
        num_rows: How many.
    """

    def __init__(self, num_rows: int):
        super().__init__(num_rows, STATE_SIZE)

    def start(self, rng: np.random.Generator) -> np.ndarray:
        """Any angle, slow."""
        return rng.uniform(-START, START)

    def advance(self, state: np.ndarray, action: np.ndarray) -> np.ndarray:
        """See ``next_state``."""
        return next_state(state, action)


class PendulumVectorEnv(BatchEnv):
    """N rows of ``PendulumEnv``.

    Args:
        num_envs: Number of rows.
        autoreset_mode: ``"next_step"``, ``"same_step"`` or ``"disabled"``.
        render_mode: ``"rgb_array"``, ``"human"`` or None.

    Raises:
        ValueError: For an unknown mode, or less than one row.
    """

    def __init__(
        self,
        num_envs: int = 1,
        *,
        autoreset_mode: str = "next_step",
        render_mode: str | None = None,
    ):
        super().__init__(
            PendulumSimulation(num_envs),
            Pendulum(),
            autoreset_mode=autoreset_mode,
            render_mode=render_mode,
        )

    def scene(self, row: int) -> tuple[Any, Any]:
        """The rod from the side."""
        import mujoco

        model = scene_model()
        data = mujoco.MjData(model)
        data.qpos[0] = self.simulation.named_state(np.array([row]))[0, ANGLE]
        mujoco.mj_forward(model, data)
        return model, data


@functools.cache
def scene_model() -> Any:
    """What is drawn; it is never stepped."""
    # Only pictures need MuJoCo.
    import mujoco

    from suite.envs.mujoco_simulation import ASSETS

    return mujoco.MjModel.from_xml_path(str(ASSETS / "pendulum.xml"))


class PendulumEnv(SingleEnv):
    """Swing a rod up and hold it, with a motor too weak to lift it at once.

    Task: Gymnasium's ``Pendulum-v1``.
    Observation: float32 (3,): cosine 0 and sine 1 of the angle, angular velocity 2 in
        rad/s, within 8.
    Action: Box(-2, 2, (1,)): torque in N m.
    Reward: -(angle^2 + 0.1 velocity^2 + 0.001 torque^2), of the state before the step,
        the angle within pi of upright.
    Success: none.
    Randomisation: angle ~ U(-pi, pi), velocity ~ U(-1, 1).
    Episode end: truncated after 200 steps.
    Source and deviations: docs/envs/pendulum.md.

    Args:
        render_mode: ``"rgb_array"``, ``"human"`` or None.
    """

    def __init__(self, *, render_mode: str | None = None):
        super().__init__(
            PendulumVectorEnv(1, autoreset_mode="disabled", render_mode=render_mode)
        )
