"""PickCube-v0: a Panda arm picks up a cube and holds it still at a goal in the air."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import mujoco
import numpy as np
from gymnasium import spaces

from suite.arrays import namespace
from suite.envs.arguments import require_known, require_positive
from suite.envs.batch import BatchEnv
from suite.envs.geometry import norm
from suite.envs.mujoco_simulation import ASSETS, MujocoSimulation
from suite.envs.panda import ArmKinematics, quaternion, sqrt
from suite.envs.simulation import Ids
from suite.envs.single import SingleEnv

# The named state vector (..., 42); the observation is the same vector in float32.
QPOS, QVEL = (
    slice(0, 9),
    slice(9, 18),
)  # 7 arm joints (rad), 2 fingers (m); and per second
ARM_QVEL = slice(9, 16)
IS_GRASPED, HAND = 18, slice(18, 26)
TCP_POSE = slice(19, 26)  # tool centre point, world xyz (m) and wxyz, x component >= 0
GOAL_POS = slice(26, 29)
OBJ_POSE = slice(29, 36)  # cube, world xyz (m) and wxyz
TCP_TO_OBJ, OBJ_TO_GOAL = slice(36, 39), slice(39, 42)
STATE_SIZE = 42

ARM_REST = np.array(
    [0, np.pi / 8, 0, -5 * np.pi / 8, 0, 3 * np.pi / 4, np.pi / 4]
)  # rad
ARM_NOISE = 0.02  # rad, standard deviation of the arm's start
FINGER_OPEN = 0.04  # m
ARM_DELTA = 0.1  # rad of joint target for an action of 1
GRIPPER_LOW, GRIPPER_HIGH = -0.01, 0.04  # m; below 0 squeezes
CUBE_HALF = 0.02  # m
SPAWN_HALF = 0.1  # m, half width of the square of cube and goal positions
GOAL_HEIGHT = 0.3  # m, range of goal heights above the resting cube
GOAL_RADIUS = 0.025  # m, success distance
STATIC_SPEED = 0.2  # rad/s, every arm joint slower than this counts as still
GRASP_FORCE = 0.5  # N on each finger
GRASP_COSINE = float(
    np.cos(np.deg2rad(85))
)  # force within 85 degrees of the opening direction
SUBSTEPS = 5  # of 10 ms: control at 20 Hz
MAX_EPISODE_STEPS = 50
FEW_ROWS = 4  # up to here Python floats are faster than arrays


def observe(state: Any) -> Any:
    """Observation (..., 42) in float32."""
    xp = namespace(state)
    return xp.astype(state, xp.float32)


def is_still(state: Any) -> Any:
    """Every arm joint is slower than 0.2 rad/s; the fingers do not count."""
    xp = namespace(state)
    return xp.max(xp.abs(state[..., ARM_QVEL]), axis=-1) <= STATIC_SPEED


def success(state: Any) -> Any:
    """The cube is within 25 mm of the goal and the arm is still."""
    return (norm(state[..., OBJ_TO_GOAL]) <= GOAL_RADIUS) & is_still(state)


def normalized_dense_reward(state: Any, action: Any, next_state: Any) -> Any:
    """ManiSkill's staged reward / 5: reach, grasp, carry, hold still; 1 at success."""
    xp = namespace(next_state)
    grasped = next_state[..., IS_GRASPED]
    distance = norm(next_state[..., OBJ_TO_GOAL])
    at_goal = distance <= GOAL_RADIUS
    reach = 1 - xp.tanh(5 * norm(next_state[..., TCP_TO_OBJ]))
    carry = (1 - xp.tanh(5 * distance)) * grasped
    still = 1 - xp.tanh(5 * norm(next_state[..., ARM_QVEL]))
    staged = reach + grasped + carry + xp.where(at_goal, still, 0.0)
    return xp.where(at_goal & is_still(next_state), 5.0, staged) / 5


def sparse_reward(state: Any, action: Any, next_state: Any) -> Any:
    """1 on a step that ends in success, else 0."""
    return success(next_state) * 1.0


REWARDS: dict[str, Callable[[Any, Any, Any], Any]] = {
    "normalized_dense": normalized_dense_reward,
    "sparse": sparse_reward,
}


@dataclass(frozen=True)
class PickCube:
    """The task: spaces and pure functions of the named state.

    Args:
        reward: ``(state, action, next_state) -> reward``, from ``REWARDS`` or your own.
    """

    reward: Callable[[Any, Any, Any], Any] = normalized_dense_reward
    observe: Callable[[Any], Any] = observe
    terminated: Callable[[Any], Any] = success
    success: Callable[[Any], Any] = success
    max_episode_steps: int = MAX_EPISODE_STEPS
    observation_space: spaces.Box = field(
        default_factory=lambda: spaces.Box(-np.inf, np.inf, (STATE_SIZE,), np.float32)
    )
    action_space: spaces.Box = field(
        default_factory=lambda: spaces.Box(-1.0, 1.0, (8,), np.float32)
    )


@functools.cache
def scene_model(with_visuals: bool) -> mujoco.MjModel:
    """The compiled scene; without visuals it steps a tenth faster, to the same bits."""
    spec = mujoco.MjSpec.from_file(str(ASSETS / "pickcube.xml"))
    if not with_visuals:
        for geom in list(spec.geoms):
            if geom.contype == 0 and geom.conaffinity == 0:
                spec.delete(geom)
        spec.delete(spec.body("goal"))
    return spec.compile()


class PickCubeSimulation(MujocoSimulation):
    """The physics: PD joint targets, grip forces, and the goal as three extra numbers.

    Args:
        num_rows: How many simulations.
        num_threads: Threads of the pool.
    """

    GOAL, GRIP = slice(0, 3), slice(3, 9)  # in `extra`; grip = N on the cube, each pad

    def __init__(self, num_rows: int, num_threads: int = 1):
        model = scene_model(with_visuals=False)
        super().__init__(
            model, num_rows, substeps=SUBSTEPS, num_extra=9, num_threads=num_threads
        )
        self._sensordata = self.batch.bind("sensordata")
        self._kinematics = ArmKinematics(model)

    def reset(self, ids: np.ndarray, rngs: Sequence[np.random.Generator]) -> None:
        """Arm near its rest pose, cube and goal placed at random."""
        n = len(ids)
        # One stream a row, so that a row does not depend on its neighbours' resets.
        noise = np.array([rng.standard_normal(7) for rng in rngs]).reshape(n, 7)
        uniform = np.array([rng.random(6) for rng in rngs]).reshape(n, 6)
        self._clear(ids)
        qpos = np.zeros((n, 16))
        qpos[:, :7] = ARM_REST + ARM_NOISE * noise
        qpos[:, 7:9] = FINGER_OPEN
        qpos[:, 9:11] = SPAWN_HALF * (2 * uniform[:, 0:2] - 1)
        qpos[:, 11] = CUBE_HALF
        half_yaw = np.pi * uniform[:, 2]
        qpos[:, 12], qpos[:, 15] = np.cos(half_yaw), np.sin(half_yaw)
        self.qpos[ids] = qpos
        self.extra[ids] = 0.0
        self.extra[ids, :2] = SPAWN_HALF * (2 * uniform[:, 3:5] - 1)
        self.extra[ids, 2] = CUBE_HALF + GOAL_HEIGHT * uniform[:, 5]

    def control(self, ids: Ids, action: np.ndarray) -> np.ndarray:
        """Arm targets from the measured angles; one absolute target for the fingers."""
        measured = self.qpos[slice(None) if ids is None else ids, :7]
        target = np.empty((len(action), 10))
        target[:, :7] = measured + ARM_DELTA * action[:, :7]
        half_range = (GRIPPER_HIGH - GRIPPER_LOW) / 2
        target[:, 7:9] = GRIPPER_LOW + (action[:, 7:] + 1.0) * half_range
        target[:, 9] = 0.0  # the cube's weight, without input
        return target

    def step(self, ids: Ids, action: np.ndarray) -> np.ndarray:
        """Advance, and keep the last substep's contact forces, as ManiSkill does."""
        unstable = super().step(ids, action)
        rows = slice(None) if ids is None else ids
        self.extra[rows, self.GRIP] = net_normal_forces(self._sensordata[rows])
        return unstable

    def named_state(self, ids: Ids) -> np.ndarray:
        """The 42 numbers of the state vector."""
        rows = slice(None) if ids is None else ids
        qpos, extra = self.qpos[rows], self.extra[rows]
        state = np.empty((len(qpos), STATE_SIZE))
        state[:, QPOS] = qpos[:, :9]
        state[:, QVEL] = self.qvel[rows, :9]
        state[:, HAND] = self._hand(qpos[:, :7], extra[:, self.GRIP])
        state[:, GOAL_POS] = extra[:, self.GOAL]
        state[:, OBJ_POSE] = qpos[:, 9:16]
        cube = state[:, 29:32]
        np.subtract(cube, state[:, 19:22], out=state[:, TCP_TO_OBJ])
        np.subtract(state[:, GOAL_POS], cube, out=state[:, OBJ_TO_GOAL])
        return state

    def _hand(self, arm_qpos: np.ndarray, grip: np.ndarray) -> np.ndarray:
        """is_grasped, tool position and tool quaternion, (n, 8)."""
        angles = np.ascontiguousarray(arm_qpos.T)
        sines, cosines = np.sin(angles), np.cos(angles)
        if len(arm_qpos) > FEW_ROWS:
            return np.array(self._hand_columns(sines, cosines, grip.T)).T
        rows = zip(sines.T.tolist(), cosines.T.tolist(), grip.tolist(), strict=True)
        return np.reshape([self._hand_columns(*row) for row in rows], (-1, 8))

    def _hand_columns(self, sines: Any, cosines: Any, grip: Any) -> tuple[Any, ...]:
        position, *axes = self._kinematics(sines, cosines)
        return is_grasped(grip, axes[1]), *position, *quaternion(axes)


def net_normal_forces(sensordata: np.ndarray) -> np.ndarray:
    """What each pad pushes the cube with, world xyz in N, (n, 6).

    Friction is left out because it is in ManiSkill: PhysX reports a contact's normal
    impulse only (SAPIEN issue 281). With friction, fingers that press on the cube's top
    while they close would count as grasping, and PPO stays there: measured, 95 updates
    without a lift.

    Args:
        sensordata: (n, 96), for each pad and each of 8 contacts: force xyz in the
            contact's frame (normal first), normal from pad to cube; zeros where there
            is no contact.
    """
    contacts = sensordata.reshape(-1, 2, 8, 6)
    pushes = contacts[..., :1] * contacts[..., 3:]
    # Accumulated, since the order of a sum may depend on the number of rows.
    return np.add.accumulate(pushes, axis=2)[:, :, -1].reshape(-1, 6)


def is_grasped(grip: Any, opening: Any) -> Any:
    """Both fingers press on the cube, roughly along the direction they open in.

    Args:
        grip: What the left, then the right pad pushes the cube with, world xyz in N: 6
            floats, or (6, N).
        opening: World direction in which the left finger opens: 3 floats, or (3, N).

    Returns:
        One bool, or (N,).
    """
    grasped: Any = True
    # The forces are on the cube, and the right finger opens the other way: left -1.
    for first, sign in ((0, -1.0), (3, 1.0)):
        fx, fy, fz = grip[first], grip[first + 1], grip[first + 2]
        force = sqrt(fx * fx + fy * fy + fz * fz)
        along = sign * (fx * opening[0] + fy * opening[1] + fz * opening[2])
        grasped = grasped & (force >= GRASP_FORCE) & (along >= GRASP_COSINE * force)
    return grasped


class PickCubeVectorEnv(BatchEnv):
    """N PickCube rows; see ``PickCubeEnv`` for the task.

    Args:
        num_envs: Number of rows.
        reward_mode: ``"normalized_dense"`` or ``"sparse"``.
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
        reward_mode: str = "normalized_dense",
        autoreset_mode: str = "next_step",
        num_threads: int = 1,
        render_mode: str | None = None,
    ):
        require_known("reward_mode", reward_mode, tuple(REWARDS))
        require_positive("num_envs", num_envs)
        require_positive("num_threads", num_threads)
        super().__init__(
            PickCubeSimulation(num_envs, num_threads),
            PickCube(REWARDS[reward_mode]),
            autoreset_mode=autoreset_mode,
            render_mode=render_mode,
        )

    def scene(self, row: int) -> tuple[mujoco.MjModel, mujoco.MjData]:
        """The scene with visuals, the goal marker moved to the row's goal."""
        simulation = self.simulation
        assert isinstance(simulation, PickCubeSimulation)
        model = scene_model(with_visuals=True)
        data = mujoco.MjData(model)
        data.qpos[:] = simulation.qpos[row]
        data.mocap_pos[0] = simulation.extra[row, simulation.GOAL]
        mujoco.mj_forward(model, data)
        return model, data


class PickCubeEnv(SingleEnv):
    """Pick up a cube with a Panda arm and hold it still at a goal.

    Task: grasp a 4 cm cube on a table and bring it to a goal up to 0.3 m above, at
        rest; ManiSkill's PickCube-v1.
    Observation: float32 (42,): joint positions 0-8 (rad, m), their velocities 9-17,
        is_grasped 18, tool pose 19-25, goal 26-28, cube pose 29-35, tool to cube 36-38,
        cube to goal 39-41 (m; quaternions wxyz).
    Action: Box(-1, 1, (8,)): seven joint target changes of up to 0.1 rad from the
        measured angle, one finger target from -0.01 m (squeeze) to 0.04 m (open);
        20 Hz.
    Reward: ``"normalized_dense"`` (reach, grasp, carry, hold still; 1 at success) or
        ``"sparse"`` (1 at success).
    Success: cube within 25 mm of the goal, every arm joint below 0.2 rad/s.
    Randomisation: arm angles N(0, 0.02 rad) about rest; cube and goal xy in a 0.2 m
        square, cube yaw, goal height 0.02-0.32 m.
    Episode end: terminated at success, truncated after 50 steps.
    Source and deviations: docs/envs/pickcube.md.

    Args:
        reward_mode: ``"normalized_dense"`` or ``"sparse"``.
        render_mode: ``"rgb_array"``, ``"human"`` or None.
    """

    def __init__(
        self, *, reward_mode: str = "normalized_dense", render_mode: str | None = None
    ):
        super().__init__(
            PickCubeVectorEnv(
                1,
                reward_mode=reward_mode,
                autoreset_mode="disabled",
                render_mode=render_mode,
            )
        )
