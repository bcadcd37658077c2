"""DFlexAnt-v0: the heavy ant of differentiable simulators, in MuJoCo."""

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
from suite.envs.locomotion_env import MODELS
from suite.envs.mujoco_simulation import MujocoSimulation
from suite.envs.simulation import Ids
from suite.envs.single import SingleEnv
from suite.envs.task import never

# The named state vector (..., 37): MuJoCo's qpos and qvel, and the last action.
POSITION, QUATERNION, JOINTS = slice(0, 3), slice(3, 7), slice(7, 15)  # m, wxyz, rad
VELOCITY, SPIN = slice(15, 18), slice(18, 21)  # m/s in the world, rad/s in the torso
JOINT_VELOCITIES, ACTION = slice(21, 29), slice(29, 37)  # rad/s, shares of 200 N m
STATE_SIZE = OBS_SIZE = 37

FALLEN = 0.27  # m, of the torso; an ant that lies on folded legs is at 0.36
TARGET_X = 10_000.0  # m
UP_WEIGHT, JOINT_VELOCITY_SCALE = 0.1, 0.1
MAX_EPISODE_STEPS = 1000

# What differs from Gymnasium's ant: the numbers of DFlex's.
DENSITY = 1000.0  # kg / m^3, 182 kg in all
ARMATURE = 0.05  # kg m^2, of a joint; the damping of 1 N m s / rad is the same
TORQUE = 200.0  # N m
FRICTION = 0.75
HIP_LIMIT, ANKLE_LIMITS = 40.0, (30.0, 100.0)  # degrees; some ankles turn the other way
SUBSTEPS, DT = 8, 1 / 60  # s, of a control step
START_HEIGHT = 0.75  # m
START_JOINTS = (
    0.0,
    1.0,
    0.0,
    -1.0,
    0.0,
    -1.0,
    0.0,
    1.0,
)  # rad; hip, ankle of leg 1 ...
# Around the start, uniform: m, rad about a random axis, rad, m/s and rad/s.
POSITION_NOISE, TILT_NOISE, JOINT_NOISE, VELOCITY_NOISE = 0.1, np.pi / 24, 0.2, 0.25
# Gymnasium's motors begin with leg 4, its joints, and DFlex's actions, with leg 1.
_JOINT_OF_MOTOR = np.array([6, 7, 0, 1, 2, 3, 4, 5])


def uprightness(state: Any) -> Any:
    """Height of the torso's z-axis, 1 upright and -1 upside down (...)."""
    qx, qy = state[..., 4], state[..., 5]
    return 1 - 2 * (qx * qx + qy * qy)


def heading(state: Any) -> Any:
    """Share of the torso's x-axis that points to the target, 10 km ahead (...)."""
    qw, qx, qy, qz = (state[..., i] for i in range(3, 7))
    ahead, aside = TARGET_X - state[..., 0], -state[..., 1]
    distance = namespace(state).sqrt(ahead * ahead + aside * aside)
    along_x = 1 - 2 * (qy * qy + qz * qz)
    along_y = 2 * (qx * qy + qw * qz)
    return (along_x * ahead + along_y * aside) / distance


def angular_velocity(state: Any) -> Any:
    """The torso's angular velocity (..., 3) in the world, rad/s."""
    xp = namespace(state)
    qw, axis, spin = state[..., 3:4], state[..., 4:7], state[..., SPIN]
    # v + 2 w (u x v) + 2 u x (u x v) turns v by the quaternion (w, u).
    turned = 2 * xp.linalg.cross(axis, spin)
    return spin + qw * turned + xp.linalg.cross(axis, turned)


def observe(state: Any) -> Any:
    """Observation (..., 37) in float32."""
    xp = namespace(state)
    parts = [
        state[..., 2:3],
        state[..., 4:7],  # the quaternion as xyzw
        state[..., 3:4],
        state[..., VELOCITY],
        angular_velocity(state),
        state[..., JOINTS],
        JOINT_VELOCITY_SCALE * state[..., JOINT_VELOCITIES],
        uprightness(state)[..., None],
        heading(state)[..., None],
        state[..., ACTION],
    ]
    return xp.astype(xp.concat(parts, axis=-1), xp.float32)


def reward_terms(state: Any) -> dict[str, Any]:
    """What the reward is the sum of, by name, each (...)."""
    return {
        "reward_forward": state[..., 15],
        "reward_up": UP_WEIGHT * uprightness(state),
        "reward_heading": heading(state),
        "reward_height": state[..., 2] - FALLEN,
    }


def reward(state: Any, action: Any, next_state: Any) -> Any:
    """Speed, uprightness, heading and height, all **before** the step (...)."""
    forward, up, ahead, height = reward_terms(state).values()
    return forward + up + ahead + height


def terminated(state: Any) -> Any:
    """The torso is below 0.27 m (...)."""
    return state[..., 2] < FALLEN


@dataclass(frozen=True)
class DFlexAnt:
    """The task: spaces and pure functions of the named state."""

    observe: Callable[[Any], Any] = observe
    reward: Callable[[Any, Any, Any], Any] = reward
    terminated: Callable[[Any], Any] = terminated
    success: Callable[[Any], Any] = never
    max_episode_steps: int = MAX_EPISODE_STEPS
    observation_space: spaces.Box = field(
        default_factory=lambda: spaces.Box(-np.inf, np.inf, (OBS_SIZE,), np.float32)
    )
    action_space: spaces.Box = field(
        default_factory=lambda: spaces.Box(-1.0, 1.0, (8,), np.float32)
    )


@functools.cache
def dflex_ant_model() -> mujoco.MjModel:
    """Gymnasium's ant, where it is installed, with DFlex's numbers, compiled."""
    spec = mujoco.MjSpec.from_file(str(MODELS / "ant.xml"))
    spec.option.timestep = DT / SUBSTEPS
    spec.option.integrator = mujoco.mjtIntegrator.mjINT_IMPLICITFAST
    for geom in spec.geoms:
        geom.friction[0] = FRICTION
        if geom.type != mujoco.mjtGeom.mjGEOM_PLANE:
            geom.density = DENSITY
    for joint in spec.joints:
        if joint.type == mujoco.mjtJoint.mjJNT_HINGE:
            joint.armature = ARMATURE
            joint.range = _limits(joint.name, joint.range)
    for motor in spec.actuators:
        motor.gear[0] = TORQUE
    return spec.compile()


def _limits(joint: str, gymnasiums: Sequence[float]) -> tuple[float, float]:
    """DFlex's limits of a joint in degrees, turned as Gymnasium's."""
    if joint.startswith("hip"):
        return -HIP_LIMIT, HIP_LIMIT
    low, high = ANKLE_LIMITS
    return (low, high) if gymnasiums[0] > 0 else (-high, -low)


class DFlexAntSimulation(MujocoSimulation):
    """The physics; the last action is eight extra numbers.

    Args:
        num_rows: How many simulations.
        num_threads: Threads of the pool.
    """

    def __init__(self, num_rows: int, num_threads: int = 1):
        super().__init__(
            dflex_ant_model(),
            num_rows,
            substeps=SUBSTEPS,
            num_extra=8,
            num_threads=num_threads,
        )

    def reset(self, ids: np.ndarray, rngs: Sequence[np.random.Generator]) -> None:
        """Above the ground on bent legs, a little off in everything."""
        self._clear(ids)
        self.extra[ids] = 0.0
        for row, rng in zip(ids.tolist(), rngs, strict=True):
            shift = rng.uniform(-POSITION_NOISE, POSITION_NOISE, 3)
            self.qpos[row, POSITION] = shift
            self.qpos[row, 2] += START_HEIGHT
            half = rng.uniform(-TILT_NOISE, TILT_NOISE) / 2
            axis = rng.uniform(-1.0, 1.0, 3)
            axis *= np.sin(half) / np.sqrt(axis @ axis)
            self.qpos[row, QUATERNION] = np.cos(half), *axis
            bent = rng.uniform(-JOINT_NOISE, JOINT_NOISE, 8)
            self.qpos[row, JOINTS] = START_JOINTS + bent
            self.qvel[row] = rng.uniform(-VELOCITY_NOISE, VELOCITY_NOISE, 14)

    def control(self, ids: Ids, action: np.ndarray) -> np.ndarray:
        """Torques in units of 200 N m, in the order of the motors."""
        return action[:, _JOINT_OF_MOTOR]

    def step(self, ids: Ids, action: np.ndarray) -> np.ndarray:
        """Advance, and remember the action, which is observed."""
        self.extra[slice(None) if ids is None else ids] = action
        return super().step(ids, action)

    def named_state(self, ids: Ids) -> np.ndarray:
        """The 37 numbers of the state vector."""
        rows = slice(None) if ids is None else ids
        parts = [self.qpos[rows], self.qvel[rows], self.extra[rows]]
        return np.concatenate(parts, axis=1)


class DFlexAntVectorEnv(BatchEnv):
    """N rows of ``DFlexAntEnv``.

    Info: besides what every ``BatchEnv`` tells, ``x_velocity``, the m/s that the step
    was paid for, ``x_position`` (m) after it, and the terms of the reward.

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
            DFlexAntSimulation(num_envs, num_threads),
            DFlexAnt(),
            autoreset_mode=autoreset_mode,
            render_mode=render_mode,
        )
        self.metadata["render_fps"] = round(1 / DT)

    def reward_and_details(
        self, state: np.ndarray, action: np.ndarray, next_state: np.ndarray
    ) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """Rewards (n,), and what else the info says of a step, each (n,)."""
        told = {"x_velocity": state[:, 15], "x_position": next_state[:, 0]}
        return reward(state, action, next_state), {**told, **reward_terms(state)}

    def scene(self, row: int) -> tuple[mujoco.MjModel, mujoco.MjData]:
        """The ant where the row has it."""
        simulation = self.simulation
        assert isinstance(simulation, DFlexAntSimulation)
        data = mujoco.MjData(dflex_ant_model())
        data.qpos[:] = simulation.qpos[row]
        mujoco.mj_forward(dflex_ant_model(), data)
        return dflex_ant_model(), data


class DFlexAntEnv(SingleEnv):
    """A four-legged ant of 182 kg runs as fast as it can without falling.

    Task: run forward; the Ant of DFlex's benchmarks (SHAC, PWM), in MuJoCo.
    Observation: float32 (37,): torso height 0 (m), quaternion xyzw 1-4, linear and
        angular velocity in the world 5-10 (m/s, rad/s), joint angles 11-18 (rad; hip
        and ankle of legs 1 to 4), 0.1 joint velocities 19-26, uprightness 27, heading
        28, last action 29-36.
    Action: Box(-1, 1, (8,)): torques at hip and ankle of legs 1 to 4, in units of
        200 N m; 60 Hz.
    Reward: x velocity + 0.1 uprightness + heading + (height - 0.27), before the step.
        Standing still pays 1.2 a step.
    Success: none.
    Randomisation: about a height of 0.75 m on bent legs: position U(-0.1, 0.1) m, tilt
        U(-7.5, 7.5) degrees about a random axis, joints U(-0.2, 0.2) rad, velocities
        U(-0.25, 0.25).
    Episode end: terminated below a height of 0.27 m, truncated after 1000 steps.
    Source and deviations: docs/envs/dflex_ant.md.

    Args:
        render_mode: ``"rgb_array"``, ``"human"`` or None.
    """

    def __init__(self, *, render_mode: str | None = None):
        batch = DFlexAntVectorEnv(1, autoreset_mode="disabled", render_mode=render_mode)
        super().__init__(batch)
        self.metadata = {**self.metadata, "render_fps": batch.metadata["render_fps"]}
