"""The MuSHR car: its named state, and what is asked of it as pure functions.

A simulator, a learned model and a planner drive by the same functions. What moves a car
gives the six numbers of ``CAR``; ``advance`` adds what the task remembers beside them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from gymnasium import spaces

from suite.arrays import namespace
from suite.envs.geometry import root
from suite.envs.task import never
from suite.envs.tracks import Centreline, centreline

# The named state (..., 8 + M). Its first six numbers are the car's, at the body's
# origin, 0.158 m ahead of the rear axle: hence vy = 0.158 omega without any slip.
X, Y, THETA, VX, VY, OMEGA = range(
    6
)  # m, m, rad in [-pi, pi), m/s and rad/s of the body
CAR, POSE, TWIST = slice(0, 6), slice(0, 3), slice(3, 6)
LAST_ACTION = slice(6, 8)  # [steer, speed] of the step before; zeros at first
MEMORY = 8  # what the task remembers begins here

WHEELBASE = 0.2965  # m
REAR_AXLE = 0.158  # m from the rear axle to the body's origin
MAX_STEER = 0.38  # rad at an action of 1
MAX_SPEED = 3.0  # m/s at an action of 1
DT = 0.05  # s, a control step
MAX_EPISODE_STEPS = 400
ACTION_COST = 0.02  # of the squared change of the action


def wrap(angle: Any) -> Any:
    """An angle in [-pi, pi), with its gradient."""
    return (angle + np.pi) % (2 * np.pi) - np.pi


def slip(state: Any) -> Any:
    """Angle between the rear axle's motion and the car's nose (...), rad; 0 at rest.

    At the origin it would not vanish in a bend: there a car that does not slide at all
    moves 0.21 rad beside its nose at full steering.
    """
    across = state[..., VY] - REAR_AXLE * state[..., OMEGA]
    xp, ahead = namespace(state), state[..., VX]
    is_still = (across == 0) & (ahead == 0)  # where the angle's gradient would be NaN
    return xp.atan2(across, xp.where(is_still, xp.ones_like(ahead), ahead))


def speed(state: Any) -> Any:
    """Speed at the origin (...), m/s."""
    vx, vy = state[..., VX], state[..., VY]
    return root(vx * vx + vy * vy)


def seen_from(pose: Any, x: Any, y: Any) -> tuple[Any, Any]:
    """Where world points (...) lie ahead and to the left of poses (..., 3), m."""
    xp = namespace(pose)
    dx, dy = x - pose[..., X], y - pose[..., Y]
    cos, sin = xp.cos(pose[..., THETA]), xp.sin(pose[..., THETA])
    return cos * dx + sin * dy, cos * dy - sin * dx


def _joined(like: Any, *parts: Any) -> Any:
    """Numbers (...) and vectors (..., k) side by side, in the type of ``like``."""
    xp = namespace(like)
    vectors = [p if p.ndim == like.ndim else p[..., None] for p in parts]
    return xp.concat([xp.astype(v, like.dtype) for v in vectors], axis=-1)


def _box(size: int) -> spaces.Box:
    return spaces.Box(-np.inf, np.inf, (size,), np.float32)


@dataclass(frozen=True)
class Driving(ABC):
    """What the three tasks share; every function takes NumPy arrays or torch tensors.

    ``start`` and ``begin`` make the first state of an episode, ``advance`` the next one
    from the car's next six numbers, whoever found them.
    """

    observation_space: spaces.Box
    memory_size: int = 0
    max_episode_steps: int = MAX_EPISODE_STEPS
    action_space: spaces.Box = field(
        default_factory=lambda: spaces.Box(-1.0, 1.0, (2,), np.float32)
    )

    @property
    def state_size(self) -> int:
        """Numbers of the named state, S."""
        return MEMORY + self.memory_size

    @abstractmethod
    def start(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """A car (6,) and the task's goal (G,) at random, for one episode."""

    def begin(self, car: Any, goal: Any) -> Any:
        """The first state (..., S) of an episode.

        Args:
            car: (..., 6).
            goal: What ``start`` drew (..., G).
        """
        zeros = 0.0 * car[..., :2]
        return _joined(car, car, zeros, *self._first(car, goal))

    def advance(self, state: Any, action: Any, car: Any) -> Any:
        """The state (..., S) after an action (..., 2) took the car to ``car``."""
        return _joined(car, car, action, *self._remembered(state, car))

    def _first(self, car: Any, goal: Any) -> tuple[Any, ...]:
        """What the task remembers at the beginning: parts of (..., memory_size)."""
        return () if self.memory_size == 0 else (goal,)

    def _remembered(self, state: Any, car: Any) -> tuple[Any, ...]:
        """What the task remembers after a step: parts of (..., memory_size)."""
        return () if self.memory_size == 0 else (state[..., MEMORY:],)

    @abstractmethod
    def observe(self, state: Any) -> Any:
        """Observation (..., O) in float32."""

    @abstractmethod
    def reward(self, state: Any, action: Any, next_state: Any) -> Any:
        """Reward (...)."""

    @abstractmethod
    def terminated(self, state: Any) -> Any:
        """Whether the episode ends here (...)."""

    def success(self, state: Any) -> Any:
        """Whether the task is solved (...); never, where it has no end."""
        return never(state)

    def details(self, state: Any, action: Any, next_state: Any) -> dict[str, Any]:
        """What ``info`` says of a step, each (...)."""
        return {}

    def _seen(self, state: Any, *more: Any) -> Any:
        """Twist, last action and what else the task shows, in float32."""
        xp = namespace(state)
        own = state[..., 3:8]
        return xp.astype(_joined(state, own, *more), xp.float32)


def action_cost(state: Any, action: Any) -> Any:
    """0.02 |change of the action|^2 (...)."""
    change = action - state[..., LAST_ACTION]
    return ACTION_COST * (change[..., 0] ** 2 + change[..., 1] ** 2)


# ------------------------------------------------------------------------------ track
HALF_WIDTH = 0.6  # m, beyond which the car has left the track
LOOKAHEAD = (0.3, 0.7, 1.1, 1.5, 2.0)  # m along the centreline
OFF_TRACK = 10.0  # reward lost when the car leaves


@dataclass(frozen=True, kw_only=True)
class Track(Driving):
    """Drive laps of a track, as fast as can be.

    Memory: arc length of the car since the start line, over laps (m); offset from the
    centreline (m, positive to the left); heading relative to it (rad); arc length where
    the episode began (m); laps finished; time since the last one (s).

    Args:
        centreline: What to follow, counter-clockwise.
    """

    S, OFFSET, HEADING, BEGAN, LAPS, CLOCK = range(MEMORY, MEMORY + 6)

    centreline: Centreline = field(default_factory=lambda: centreline("oval"))
    memory_size: int = 6
    observation_space: spaces.Box = field(
        default_factory=lambda: _box(8 + len(LOOKAHEAD))
    )

    def start(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Anywhere along the track, near its centre, at up to 1 m/s."""
        s, offset, heading, vx = rng.uniform(
            (0.0, -0.1, -0.1, 0.0), (self.centreline.length, 0.1, 0.1, 1.0)
        )
        x, y, along = self.centreline.pose(np.array(s))
        x, y = x - offset * np.sin(along), y + offset * np.cos(along)
        return np.array([x, y, wrap(along + heading), vx, 0.0, 0.0]), np.array([s])

    def _first(self, car: Any, goal: Any) -> tuple[Any, ...]:
        at = self.centreline.project(car[..., X], car[..., Y], goal[..., 0])
        zero = 0.0 * at.s
        heading = wrap(car[..., THETA] - at.heading)
        return at.s, at.offset, heading, at.s, zero, zero

    def _remembered(self, state: Any, car: Any) -> tuple[Any, ...]:
        xp, lap = namespace(state), self.centreline.length
        at = self.centreline.project(car[..., X], car[..., Y], state[..., self.S])
        moved = self.centreline.difference(at.s, state[..., self.S])
        s, before = state[..., self.S] + moved, state[..., self.LAPS]
        travelled = s - state[..., self.BEGAN]
        laps = xp.maximum(before, xp.floor(travelled / lap))
        is_new = laps > before
        # The lap ended within the step: the clock keeps the part of it after the line.
        beyond = (travelled - laps * lap) / xp.where(is_new, moved, 1.0)
        clock = xp.where(is_new, beyond * DT, state[..., self.CLOCK] + DT)
        heading = wrap(car[..., THETA] - at.heading)
        return s, at.offset, heading, state[..., self.BEGAN], laps, clock

    def observe(self, state: Any) -> Any:
        """Twist, last action, offset, sine and cosine of heading, curvatures ahead."""
        xp, heading = namespace(state), state[..., self.HEADING]
        ahead = [self.centreline.curvature(state[..., self.S] + d) for d in LOOKAHEAD]
        return self._seen(
            state, state[..., self.OFFSET], xp.sin(heading), xp.cos(heading), *ahead
        )

    def reward(self, state: Any, action: Any, next_state: Any) -> Any:
        """Progress, in units of 3 m/s, less what offset and jerks cost."""
        progress = (next_state[..., self.S] - state[..., self.S]) / (MAX_SPEED * DT)
        offset = next_state[..., self.OFFSET] / HALF_WIDTH
        lost = OFF_TRACK * self.terminated(next_state)
        return progress - 0.5 * offset**2 - action_cost(state, action) - lost

    def terminated(self, state: Any) -> Any:
        """The car's origin has left the track."""
        return namespace(state).abs(state[..., self.OFFSET]) > HALF_WIDTH

    def success(self, state: Any) -> Any:
        """A lap is finished."""
        return state[..., self.LAPS] >= 1

    def details(self, state: Any, action: Any, next_state: Any) -> dict[str, Any]:
        """Laps so far, the time of one that ended in this step, else 0, the offset."""
        is_new = next_state[..., self.LAPS] > state[..., self.LAPS]
        took = state[..., self.CLOCK] + DT - next_state[..., self.CLOCK]
        return {
            "laps": next_state[..., self.LAPS],
            "lap_time": is_new * took,
            "cross_track": next_state[..., self.OFFSET],
        }


# ------------------------------------------------------------------------------- goal
GOAL_RADIUS = 0.3  # m
GOAL_ANGLE = 0.5  # rad
GOAL_REWARD = 10.0
HEADING_WEIGHT = 0.5  # m for each unit of 1 - cos(heading error)


@dataclass(frozen=True, kw_only=True)
class Goal(Driving):
    """Reach a pose.

    Memory: the pose to reach, x, y (m) and heading (rad).
    """

    GOAL = slice(MEMORY, MEMORY + 3)

    memory_size: int = 3
    observation_space: spaces.Box = field(default_factory=lambda: _box(9))

    def start(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """At rest at the origin; a goal 1.5 to 4 m away, roughly facing away."""
        theta, distance, bearing, turn = rng.uniform(
            (-np.pi, 1.5, -np.pi, -np.pi / 2), (np.pi, 4.0, np.pi, np.pi / 2)
        )
        car = np.array([0.0, 0.0, theta, 0.0, 0.0, 0.0])
        x, y = distance * np.cos(bearing), distance * np.sin(bearing)
        return car, np.array([x, y, wrap(bearing + turn)])

    def distance(self, state: Any) -> Any:
        """To the goal's position (...), m."""
        dx = state[..., MEMORY] - state[..., X]
        dy = state[..., MEMORY + 1] - state[..., Y]
        return root(dx * dx + dy * dy)

    def turn(self, state: Any) -> Any:
        """From the car's heading to the goal's (...), rad in [-pi, pi)."""
        return wrap(state[..., MEMORY + 2] - state[..., THETA])

    def remaining(self, state: Any) -> Any:
        """Distance, and half a metre for each unit of 1 - cos of the turn (...)."""
        turned = 1 - namespace(state).cos(self.turn(state))
        return self.distance(state) + HEADING_WEIGHT * turned

    def observe(self, state: Any) -> Any:
        """Twist, last action, the goal ahead and to the left, its relative heading."""
        xp, turn = namespace(state), self.turn(state)
        ahead, left = seen_from(state, state[..., MEMORY], state[..., MEMORY + 1])
        return self._seen(state, ahead, left, xp.sin(turn), xp.cos(turn))

    def reward(self, state: Any, action: Any, next_state: Any) -> Any:
        """What remains less by, in units of 3 m/s, and 10 for reaching the goal."""
        nearer = (self.remaining(state) - self.remaining(next_state)) / (MAX_SPEED * DT)
        reached = GOAL_REWARD * self.success(next_state)
        return nearer + reached - action_cost(state, action)

    def success(self, state: Any) -> Any:
        """Within 0.3 m and 0.5 rad of the goal."""
        is_facing = namespace(state).abs(self.turn(state)) < GOAL_ANGLE
        return (self.distance(state) < GOAL_RADIUS) & is_facing

    def terminated(self, state: Any) -> Any:
        """An episode ends in success."""
        return self.success(state)


# ------------------------------------------------------------------------------ drift
DRIFT_LOW, DRIFT_HIGH = 0.25, 0.55  # rad, the slip that is paid in full
DRIFT_MARGIN = 0.15  # rad beyond them over which pay falls to nothing
DRIFT_SPEED = 1.0  # m/s, below which less is paid
SPIN = 1.25  # rad of slip that ends an episode, at more than half a metre a second
SPUN = 10.0  # reward lost by it


@dataclass(frozen=True, kw_only=True)
class Drift(Driving):
    """Slide sideways, steadily and without spinning; no memory."""

    observation_space: spaces.Box = field(default_factory=lambda: _box(5))

    def start(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """At the origin, heading anywhere, at up to 1 m/s."""
        theta, vx = rng.uniform((-np.pi, 0.0), (np.pi, 1.0))
        return np.array([0.0, 0.0, theta, vx, 0.0, 0.0]), np.empty(0)

    def observe(self, state: Any) -> Any:
        """Twist and last action."""
        return self._seen(state)

    def reward(self, state: Any, action: Any, next_state: Any) -> Any:
        """1 for a slip of 0.25 to 0.55 rad to either side, at 1 m/s or more."""
        xp = namespace(next_state)
        angle = xp.abs(slip(next_state))
        outside = xp.clip(DRIFT_LOW - angle, 0.0, None) + xp.clip(
            angle - DRIFT_HIGH, 0.0, None
        )
        paid = xp.clip(1 - outside / DRIFT_MARGIN, 0.0, None)
        paid = paid * xp.clip(speed(next_state) / DRIFT_SPEED, None, 1.0)
        lost = SPUN * self.terminated(next_state)
        return paid - action_cost(state, action) - lost

    def terminated(self, state: Any) -> Any:
        """The car has spun."""
        return (namespace(state).abs(slip(state)) > SPIN) & (speed(state) > 0.5)

    def details(self, state: Any, action: Any, next_state: Any) -> dict[str, Any]:
        """The slip, rad."""
        return {"slip": slip(next_state)}
