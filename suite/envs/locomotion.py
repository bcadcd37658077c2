"""HalfCheetah, Hopper, Walker2d and Ant: pure functions equal to Gymnasium's v5.

Equal means bit for bit in NumPy, so every formula keeps Gymnasium's order of work.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from gymnasium import spaces

from suite.arrays import namespace
from suite.envs.task import never

MAX_EPISODE_STEPS = 1000
Noise = Callable[[np.random.Generator, float, int], np.ndarray]  # of (rng, scale, size)


def row_sum(values: Any) -> Any:
    """Sum over the last axis; in NumPy with the bits of ``np.sum(row)`` of each row."""
    if isinstance(values, np.ndarray):
        # In C order NumPy adds along the rows, in any other perhaps across them.
        return np.add.reduce(np.ascontiguousarray(values), axis=-1)
    return namespace(values).sum(values, axis=-1)


def uniform(rng: np.random.Generator, scale: float, size: int) -> np.ndarray:
    """Noise in [-scale, scale]."""
    return rng.uniform(-scale, scale, size)


def normal(rng: np.random.Generator, scale: float, size: int) -> np.ndarray:
    """Noise of standard deviation ``scale``."""
    return scale * rng.standard_normal(size)


def _unbounded(size: int) -> spaces.Box:
    return spaces.Box(-np.inf, np.inf, (size,), np.float64)


def _torques(size: int) -> spaces.Box:
    return spaces.Box(-1.0, 1.0, (size,), np.float32)


@dataclass(frozen=True, kw_only=True)
class Locomotion(ABC):
    """Run forward along x with small controls: what the four tasks share.

    The named state (..., S) starts with MuJoCo's qpos and qvel; Ant's goes on. Every
    function takes NumPy arrays or torch tensors with any leading axes.
    """

    model_file: str  # of Gymnasium's assets
    substeps: int
    dt: float  # s, of a control step
    num_positions: int
    num_velocities: int
    observation_space: spaces.Box
    action_space: spaces.Box
    control_weight: float
    reset_noise: float
    velocity_noise: Noise
    healthy_reward: float = 1.0  # for each step that ends healthy
    tracked_x: int = 0  # index in the state of the x that speed is measured by
    max_episode_steps: int = MAX_EPISODE_STEPS

    @abstractmethod
    def observe(self, state: Any) -> Any:
        """Observation (..., O) of a state (..., S)."""

    @abstractmethod
    def healthy(self, state: Any) -> Any:
        """Whether the robot has not fallen (...)."""

    def terminated(self, state: Any) -> Any:
        """The robot has fallen."""
        return ~self.healthy(state)

    def success(self, state: Any) -> Any:
        """Never: there is no goal to reach."""
        return never(state)

    def reward(self, state: Any, action: Any, next_state: Any) -> Any:
        """Speed, and a bonus while healthy, less the costs (...)."""
        return self.total(self.reward_terms(state, action, next_state))

    def total(self, terms: Mapping[str, Any]) -> Any:
        """The reward (...) that is the sum of its terms."""
        # Gains and costs apart, as in Gymnasium: the order decides the last bit.
        gains, costs = terms["reward_forward"], terms["reward_ctrl"]
        if "reward_survive" in terms:
            gains = gains + terms["reward_survive"]
        if "reward_contact" in terms:
            costs = costs + terms["reward_contact"]
        return gains + costs

    def reward_terms(self, state: Any, action: Any, next_state: Any) -> dict[str, Any]:
        """What the reward is the sum of, under Gymnasium's names, each (...)."""
        forward = self.velocity(state, next_state, self.tracked_x)
        # float32 for float32 actions, as in Gymnasium.
        control = -self.control_weight * row_sum(action * action)
        terms = {"reward_forward": forward, "reward_ctrl": control}
        if self.healthy_reward:
            survive = self.healthy_reward * self.healthy(next_state)
            terms["reward_survive"] = survive
        return terms

    def details(self, state: Any, action: Any, next_state: Any) -> dict[str, Any]:
        """What Gymnasium's ``info`` says of a step, each (...)."""
        terms = self.reward_terms(state, action, next_state)
        x_velocity = terms["reward_forward"]
        return {"x_position": next_state[..., 0], "x_velocity": x_velocity, **terms}

    def velocity(self, state: Any, next_state: Any, index: int) -> Any:
        """Mean velocity of one number of the state over the step, m/s."""
        return (next_state[..., index] - state[..., index]) / self.dt


@dataclass(frozen=True, kw_only=True)
class HalfCheetah(Locomotion):
    """A planar cheetah runs as fast as it can.

    Task: run forward; Gymnasium's HalfCheetah-v5.
    Observation: float64 (17,): qpos without x 0-7 (z in m, pitch and six joint angles
        in rad), qvel 8-16.
    Action: Box(-1, 1, (6,)): torques at thigh, shin and foot, back then front, in units
        of 120, 90, 60, 120, 60 and 30 N m; 20 Hz.
    Reward: x velocity - 0.1 |action|^2.
    Success: none.
    Randomisation: qpos U(-0.1, 0.1) about the model's, qvel N(0, 0.1).
    Episode end: truncated after 1000 steps.
    Source and deviations: docs/envs/locomotion.md.
    """

    model_file: str = "half_cheetah.xml"
    substeps: int = 5
    dt: float = 5 * 0.01
    num_positions: int = 9
    num_velocities: int = 9
    observation_space: spaces.Box = field(default_factory=lambda: _unbounded(17))
    action_space: spaces.Box = field(default_factory=lambda: _torques(6))
    control_weight: float = 0.1
    reset_noise: float = 0.1
    velocity_noise: Noise = normal
    healthy_reward: float = 0.0

    def observe(self, state: Any) -> Any:
        """Positions without x, and velocities (..., 17)."""
        return state[..., 1:]

    def healthy(self, state: Any) -> Any:
        """Always, even upside down."""
        return ~never(state)

    def terminated(self, state: Any) -> Any:
        """Never."""
        return never(state)


@dataclass(frozen=True, kw_only=True)
class Biped(Locomotion):
    """What Hopper and Walker2d share: a planar torso that must stay up."""

    substeps: int = 4
    dt: float = 4 * 0.002
    control_weight: float = 1e-3
    reset_noise: float = 5e-3
    velocity_noise: Noise = uniform
    start_height: float = 1.25  # m, of the torso

    def observe(self, state: Any) -> Any:
        """Positions without x, and velocities clipped to [-10, 10] (..., O)."""
        xp, first = namespace(state), self.num_positions
        velocities = xp.clip(state[..., first:], -10.0, 10.0)
        return xp.concat([state[..., 1:first], velocities], axis=-1)

    def details(self, state: Any, action: Any, next_state: Any) -> dict[str, Any]:
        """What Gymnasium's ``info`` says of a step, each (...)."""
        height = next_state[..., 1] - self.start_height
        found = super().details(state, action, next_state)
        return {**found, "z_distance_from_origin": height}


@dataclass(frozen=True, kw_only=True)
class Hopper(Biped):
    """A planar leg hops as fast as it can without falling.

    Task: hop forward; Gymnasium's Hopper-v5.
    Observation: float64 (11,): qpos without x 0-4 (z in m, pitch and three joint angles
        in rad), qvel clipped to [-10, 10] 5-10.
    Action: Box(-1, 1, (3,)): torques at thigh, leg and foot, in units of 200 N m;
        125 Hz.
    Reward: x velocity + 1 while healthy - 0.001 |action|^2.
    Success: none.
    Randomisation: qpos and qvel U(-0.005, 0.005) about the model's.
    Episode end: terminated unless z > 0.7, |pitch| < 0.2 and every other number of the
        state, x apart, is within (-100, 100); truncated after 1000 steps.
    Source and deviations: docs/envs/locomotion.md.
    """

    model_file: str = "hopper.xml"
    num_positions: int = 6
    num_velocities: int = 6
    observation_space: spaces.Box = field(default_factory=lambda: _unbounded(11))
    action_space: spaces.Box = field(default_factory=lambda: _torques(3))

    def healthy(self, state: Any) -> Any:
        """High enough, upright, and nothing has run away."""
        xp = namespace(state)
        height, pitch = state[..., 1], state[..., 2]
        is_bounded = xp.all(xp.abs(state[..., 2:]) < 100.0, axis=-1)
        is_up = (height > 0.7) & (height < float("inf"))
        return is_bounded & is_up & (xp.abs(pitch) < 0.2)


@dataclass(frozen=True, kw_only=True)
class Walker2d(Biped):
    """A planar biped walks as fast as it can without falling.

    Task: walk forward; Gymnasium's Walker2d-v5.
    Observation: float64 (17,): qpos without x 0-7 (z in m, pitch and six joint angles
        in rad), qvel clipped to [-10, 10] 8-16.
    Action: Box(-1, 1, (6,)): torques at thigh, leg and foot, right then left, in units
        of 100 N m; 125 Hz.
    Reward: x velocity + 1 while healthy - 0.001 |action|^2.
    Success: none.
    Randomisation: qpos and qvel U(-0.005, 0.005) about the model's.
    Episode end: terminated unless 0.8 < z < 2 and |pitch| < 1; truncated after 1000
        steps.
    Source and deviations: docs/envs/locomotion.md.
    """

    model_file: str = "walker2d_v5.xml"
    num_positions: int = 9
    num_velocities: int = 9
    observation_space: spaces.Box = field(default_factory=lambda: _unbounded(17))
    action_space: spaces.Box = field(default_factory=lambda: _torques(6))

    def healthy(self, state: Any) -> Any:
        """At a walking height and upright."""
        height, pitch = state[..., 1], state[..., 2]
        is_upright = namespace(state).abs(pitch) < 1.0
        return (height > 0.8) & (height < 2.0) & is_upright


@dataclass(frozen=True, kw_only=True)
class Ant(Locomotion):
    """A four-legged ant runs as fast as it can without falling.

    The state (..., 109) goes on after qpos 0-14 and qvel 15-28 with what Gymnasium
    reads from MuJoCo besides: x and y of the torso 29-30, and the torque (N m) and
    force (N) of contacts on each of the 13 bodies 31-108, MuJoCo's ``cfrc_ext``.

    Task: run forward; Gymnasium's Ant-v5.
    Observation: float64 (105,): qpos without x and y 0-12 (z in m, quaternion wxyz,
        eight joint angles in rad), qvel 13-26, contact forces clipped to [-1, 1]
        27-104.
    Action: Box(-1, 1, (8,)): torques at hip and ankle of legs 4, 1, 2 and 3, in units
        of 150 N m; 20 Hz.
    Reward: x velocity + 1 while healthy - 0.5 |action|^2 - 0.0005 |clipped contact
        forces|^2.
    Success: none.
    Randomisation: qpos U(-0.1, 0.1) about the model's, qvel N(0, 0.1).
    Episode end: terminated unless 0.2 <= z <= 1 and the state is finite; truncated
        after 1000 steps.
    Source and deviations: docs/envs/locomotion.md.
    """

    model_file: str = "ant.xml"
    substeps: int = 5
    dt: float = 5 * 0.01
    num_positions: int = 15
    num_velocities: int = 14
    observation_space: spaces.Box = field(default_factory=lambda: _unbounded(105))
    action_space: spaces.Box = field(default_factory=lambda: _torques(8))
    control_weight: float = 0.5
    contact_weight: float = 5e-4
    reset_noise: float = 0.1
    velocity_noise: Noise = normal
    tracked_x: int = 29

    def observe(self, state: Any) -> Any:
        """Positions without x and y, velocities, clipped contact forces (..., 105)."""
        forces = self._contact_forces(state)
        return namespace(state).concat([state[..., 2:29], forces], axis=-1)

    def healthy(self, state: Any) -> Any:
        """At a walking height, and every position and velocity finite."""
        xp, height = namespace(state), state[..., 2]
        is_finite = xp.all(xp.isfinite(state[..., :29]), axis=-1)
        return is_finite & (height >= 0.2) & (height <= 1.0)

    def reward_terms(self, state: Any, action: Any, next_state: Any) -> dict[str, Any]:
        """What the reward is the sum of, under Gymnasium's names, each (...)."""
        terms = super().reward_terms(state, action, next_state)
        xp, forces = namespace(next_state), self._contact_forces(next_state)
        # Gymnasium adds the world's six zeros too, which shifts what is added to what.
        world = xp.zeros_like(forces[..., :6])
        squares = xp.concat([world, forces * forces], axis=-1)
        return {**terms, "reward_contact": -self.contact_weight * row_sum(squares)}

    def details(self, state: Any, action: Any, next_state: Any) -> dict[str, Any]:
        """What Gymnasium's ``info`` says of a step, each (...)."""
        x, y = next_state[..., 0], next_state[..., 1]
        found = super().details(state, action, next_state)
        return {
            **found,
            "y_position": y,
            "distance_from_origin": namespace(next_state).sqrt(x * x + y * y),
            "y_velocity": self.velocity(state, next_state, self.tracked_x + 1),
        }

    def _contact_forces(self, state: Any) -> Any:
        return namespace(state).clip(state[..., 31:], -1.0, 1.0)
