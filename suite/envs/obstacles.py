"""CS285-Obstacles-v0: a point moves around walls to a goal, in closed form."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from gymnasium import spaces

from suite.arrays import namespace
from suite.envs.batch import BatchEnv
from suite.envs.geometry import norm
from suite.envs.simulation import NumpySimulation
from suite.envs.single import SingleEnv

# The named state vector (..., 4); the observation is the same vector in float32.
POSITION, GOAL = slice(0, 2), slice(2, 4)
STATE_SIZE = 4

ARENA = 0.99  # half width of the square that positions must stay inside of
WALLS = (  # left, top, width and height; each extends to the right and down
    (-0.4, 0.8, 0.4, 0.3),
    (-0.9, 0.3, 0.2, 0.6),
    (0.6, -0.1, 0.12, 0.4),
    (-0.1, 0.2, 0.15, 0.4),
    (0.1, -0.7, 0.3, 0.15),
)
GOAL_POSITION = np.array([0.7, -0.8])
GOAL_RADIUS = 0.1
START_LOW, START_HIGH = np.array([-0.99, 0.26]), np.array([0.59, 0.99])
FIXED_START = np.array([-0.5, 0.75])
STEP_LENGTH = 0.1  # of position, for an action of 1
ACTION_BOUND = 0.99
MAX_EPISODE_STEPS = 100


def observe(state: Any) -> Any:
    """Observation (..., 4) in float32."""
    xp = namespace(state)
    return xp.astype(state, xp.float32)


def reward(state: Any, action: Any, next_state: Any) -> Any:
    """Minus the distance to the goal after the step (...)."""
    return -norm(next_state[..., POSITION] - next_state[..., GOAL])


def success(state: Any) -> Any:
    """Within 0.1 of the goal (...)."""
    return norm(state[..., POSITION] - state[..., GOAL]) < GOAL_RADIUS


def is_free(position: Any) -> Any:
    """Inside the arena and strictly inside no wall (...), of positions (..., 2)."""
    xp = namespace(position)
    x, y = position[..., 0], position[..., 1]
    free = (xp.abs(x) < ARENA) & (xp.abs(y) < ARENA)
    for left, top, width, height in WALLS:
        inside_x = (x > left) & (x < left + width)
        free = free & ~(inside_x & (y < top) & (y > top - height))
    return free


def next_state(state: Any, action: Any) -> Any:
    """The exact dynamics: a step as long as the action, refused whole at a wall.

    Use it as the true model under a planner.

    Args:
        state: (..., 4).
        action: (..., 2).

    Returns:
        The next state (..., 4).
    """
    xp = namespace(state)
    position = state[..., POSITION]
    moved = position + STEP_LENGTH * xp.clip(action, -1.0, 1.0)
    position = xp.where(is_free(moved)[..., None], moved, position)
    return xp.concat([position, state[..., GOAL]], axis=-1)


@dataclass(frozen=True)
class Obstacles:
    """The task: spaces and pure functions of the named state."""

    observe: Callable[[Any], Any] = observe
    reward: Callable[[Any, Any, Any], Any] = reward
    terminated: Callable[[Any], Any] = success
    success: Callable[[Any], Any] = success
    max_episode_steps: int = MAX_EPISODE_STEPS
    # Unbounded, since a learned model's prediction may leave the arena.
    observation_space: spaces.Box = field(
        default_factory=lambda: spaces.Box(-np.inf, np.inf, (STATE_SIZE,), np.float32)
    )
    action_space: spaces.Box = field(
        default_factory=lambda: spaces.Box(
            -ACTION_BOUND, ACTION_BOUND, (2,), np.float32
        )
    )


class ObstaclesSimulation(NumpySimulation):
    """N points.

    Args:
        num_rows: How many.
        random_starts: Start anywhere in the upper left, or always in one place.
    """

    def __init__(self, num_rows: int, random_starts: bool = True):
        super().__init__(num_rows, STATE_SIZE)
        self.random_starts = random_starts

    def start(self, rng: np.random.Generator) -> np.ndarray:
        """A position where there is no wall, and the goal."""
        position = _start(rng) if self.random_starts else FIXED_START
        return np.concatenate([position, GOAL_POSITION])

    def advance(self, state: np.ndarray, action: np.ndarray) -> np.ndarray:
        """See ``next_state``."""
        return next_state(state, action)


def _start(rng: np.random.Generator) -> np.ndarray:
    while True:
        position = rng.uniform(START_LOW, START_HIGH)
        if is_free(position):
            return position


class ObstaclesVectorEnv(BatchEnv):
    """N rows of ``ObstaclesEnv``.

    Args:
        num_envs: Number of rows.
        random_starts: Start at random in the upper left, else always at (-0.5, 0.75).
        autoreset_mode: ``"next_step"``, ``"same_step"`` or ``"disabled"``.
        render_mode: ``"rgb_array"``, ``"human"`` or None.

    Raises:
        ValueError: For an unknown mode, or less than one row.
    """

    def __init__(
        self,
        num_envs: int = 1,
        *,
        random_starts: bool = True,
        autoreset_mode: str = "next_step",
        render_mode: str | None = None,
    ):
        super().__init__(
            ObstaclesSimulation(num_envs, random_starts),
            Obstacles(),
            autoreset_mode=autoreset_mode,
            render_mode=render_mode,
        )

    def scene(self, row: int) -> tuple[Any, Any]:
        """The walls from above, the point and the goal."""
        import mujoco

        model = scene_model()
        data = mujoco.MjData(model)
        state = self.simulation.named_state(np.array([row]))[0]
        data.mocap_pos[:, :2] = state[POSITION], state[GOAL]
        mujoco.mj_forward(model, data)
        return model, data


@functools.cache
def scene_model() -> Any:
    """What is drawn: the asset, with a box for each wall."""
    # Only pictures need MuJoCo.
    import mujoco

    from suite.envs.mujoco_simulation import ASSETS

    spec = mujoco.MjSpec.from_file(str(ASSETS / "obstacles.xml"))
    for left, top, width, height in WALLS:
        spec.worldbody.add_geom(
            type=mujoco.mjtGeom.mjGEOM_BOX,
            pos=[left + width / 2, top - height / 2, 0.05],
            size=[width / 2, height / 2, 0.05],
            material="wall",
        )
    return spec.compile()


class ObstaclesEnv(SingleEnv):
    """Steer a point around five walls to a goal.

    Task: from the upper left to (0.7, -0.8) in a square of half width 0.99; the
        ``obstacles-cs285-v0`` of the course CS285, fall 2022.
    Observation: float32 (4,): position x 0, y 1; goal x 2, y 3.
    Action: Box(-0.99, 0.99, (2,)): the step, in units of 0.1. A step that would end
        inside a wall or outside the arena is refused whole.
    Reward: minus the distance to the goal, after the step.
    Success: within 0.1 of the goal.
    Randomisation: start x ~ U(-0.99, 0.59), y ~ U(0.26, 0.99), where there is no wall.
    Episode end: terminated at success, truncated after 100 steps.
    Source and deviations: docs/envs/cs285.md.

    Args:
        random_starts: Start at random, else always at (-0.5, 0.75).
        render_mode: ``"rgb_array"``, ``"human"`` or None.
    """

    def __init__(self, *, random_starts: bool = True, render_mode: str | None = None):
        super().__init__(
            ObstaclesVectorEnv(
                1,
                random_starts=random_starts,
                autoreset_mode="disabled",
                render_mode=render_mode,
            )
        )
