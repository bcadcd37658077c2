"""The MuSHR car in MuJoCo: the model, what makes one car another, and rows of it."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import mujoco
import numpy as np

from suite.envs import mushr
from suite.envs.mujoco_simulation import ASSETS, MujocoSimulation
from suite.envs.mushr import Driving
from suite.envs.mushr_gaps import Gap
from suite.envs.simulation import Ids

TIMESTEP = 0.002  # s
SUBSTEPS = round(mushr.DT / TIMESTEP)
WHEEL_RADIUS = 0.05  # m
# Ahead and to the left of the body's origin, m: front left, front right, rear ones.
WHEELS = np.array(
    [[0.1385, 0.115], [0.1385, -0.115], [-0.158, 0.115], [-0.158, -0.115]]
)
# Addresses of joints in qpos, after the seven of the free joint; in qvel one less.
STEER, FRONT_STEER, SPINS = 7, (9, 12), (10, 13, 15, 17)
SETTLING = 1000  # steps until the springs have come to rest
Patch = tuple[float, float, float, float]  # x, y, radius (m) and friction of a disc


def car_spec(gap: Gap) -> mujoco.MjSpec:
    """The car as a specification, to be edited further or compiled.

    Trim and gain are not in it: they act on commands, see ``CarSimulation.control``.
    """
    spec = mujoco.MjSpec.from_file(str(ASSETS / "mushr.xml"))
    steer, drive = spec.actuator("steer"), spec.actuator("speed")
    steer.ctrlrange = gap.steer_low, gap.steer_high
    for actuator, lag in ((steer, gap.steer_lag), (drive, gap.speed_lag)):
        if lag:
            actuator.dyntype = mujoco.mjtDyn.mjDYN_FILTEREXACT
            actuator.dynprm[0] = lag
        if gap.delay >= TIMESTEP / 2:
            actuator.delay = gap.delay
            actuator.nsample = round(gap.delay / TIMESTEP)
    if gap.payload:
        spec.body("car").add_geom(
            name="payload",
            type=mujoco.mjtGeom.mjGEOM_BOX,
            # Saddlebags: on top of the car a heavy one would tip it over.
            size=(0.06, 0.10, 0.02),
            pos=(-0.02, 0.0, 0.09),
            mass=gap.payload,
            contype=0,
            conaffinity=0,
            rgba=(0.85, 0.55, 0.15, 1.0),
        )
    for name in ("fl", "fr", "rl", "rr"):
        spec.geom(name).friction[0] = gap.friction
    return spec


@functools.lru_cache(maxsize=64)  # an identification goes through hundreds
def car_model(gap: Gap) -> mujoco.MjModel:
    """The compiled car, without what is only seen."""
    spec = car_spec(gap)
    for geom in list(spec.geoms):
        if geom.classname.name == "rim":
            spec.delete(geom)
    return spec.compile()


@functools.lru_cache(maxsize=64)
def rest(gap: Gap) -> np.ndarray:
    """Qpos of a car that stands still at the origin, heading along x."""
    model = car_model(gap)
    data = mujoco.MjData(model)
    for _ in range(SETTLING):
        mujoco.mj_step(model, data)
    qpos = data.qpos.copy()
    qpos[:2], qpos[list(SPINS)] = 0.0, 0.0
    return qpos


def wheel_angles(model: mujoco.MjModel, steer: np.ndarray) -> np.ndarray:
    """Angles of the two front wheels (n, 2) by the model's own polynomials."""
    powers = steer[:, None] ** np.arange(5)
    left, right = model.eq_data[:2, :5]
    # One by one: a matrix product may round otherwise for other numbers of rows.
    return np.stack([(powers * each).sum(axis=1) for each in (left, right)], axis=1)


class CarSimulation(MujocoSimulation):
    """Rows of cars; the task's memory and each row's friction are extra numbers.

    Args:
        num_rows: How many cars.
        task: What the named state remembers beside the car.
        gap: How the cars differ from the nominal one.
        patches: Discs of other friction; where they overlap the last one counts.
        num_threads: Threads of the pool.
    """

    def __init__(
        self,
        num_rows: int,
        task: Driving,
        gap: Gap,
        patches: Sequence[Patch] = (),
        num_threads: int = 1,
    ):
        size = task.state_size - mushr.LAST_ACTION.start
        model = car_model(gap)
        super().__init__(
            model,
            num_rows,
            substeps=SUBSTEPS,
            num_extra=size + 1,
            num_threads=num_threads,
        )
        self.task, self.gap, self.patches = task, gap, patches
        self._memory, self._floor = slice(0, size), size  # in `extra`
        self._cars = np.zeros((num_rows, 6))
        self._act = self.batch.bind("act") if model.na else None
        self._history = self.batch.bind("history") if model.nhistory else None
        # Every tyre of every row has its own: a write is felt at the next step.
        self._grip = self.batch.expand("geom_friction")
        self._tyres = [model.geom(name).id for name in ("fl", "fr", "rl", "rr")]
        self._rest = rest(gap)

    # ---------------------------------------------------------------------- states
    def reset(self, ids: np.ndarray, rngs: Sequence[np.random.Generator]) -> None:
        """Where the task starts."""
        if not len(ids):
            return
        drawn = [self.task.start(rng) for rng in rngs]
        cars, goals = (np.stack(each) for each in zip(*drawn, strict=True))
        self.place(ids, cars, goals)

    def place(
        self,
        ids: np.ndarray,
        cars: np.ndarray,
        goals: np.ndarray,
        friction: np.ndarray | float | None = None,
    ) -> None:
        """Put cars where they shall be, rolling, with the actuators in balance.

        The front wheels stand as the yaw rate asks for at that speed, straight below
        0.2 m/s; the servos have already followed, and nothing is under way.

        Args:
            ids: The n rows.
            cars: (n, 6).
            goals: (n, G), as ``task.start`` draws them.
            friction: Of the floor under each (n,); the gap's by default.
        """
        self._clear(ids)
        steer = _kinematic_steer(cars, self.gap)
        self.qpos[ids] = self._positions(cars, steer)
        self.qvel[ids] = self._velocities(cars, steer)
        self._balance(ids, steer, cars[:, mushr.VX])
        self._cars[ids] = cars
        state = self.task.begin(cars, goals)
        self.extra[ids, self._memory] = state[:, mushr.LAST_ACTION.start :]
        self.extra[ids, self._floor] = self.gap.friction
        if friction is not None:
            self.extra[ids, self._floor] = friction
        self._set_grip(ids)

    def _positions(self, cars: np.ndarray, steer: np.ndarray) -> np.ndarray:
        """Qpos (n, 18): the car at rest, moved and turned."""
        qpos = np.repeat(self._rest[None], len(cars), axis=0)
        qpos[:, 0:2] = cars[:, 0:2]
        half = cars[:, mushr.THETA] / 2
        # The turn about the vertical, then the little pitch that the car rests with.
        w, x, y, z = self._rest[3:7]
        cos, sin = np.cos(half), np.sin(half)
        qpos[:, 3], qpos[:, 4] = cos * w - sin * z, cos * x - sin * y
        qpos[:, 5], qpos[:, 6] = cos * y + sin * x, cos * z + sin * w
        qpos[:, STEER] = steer
        qpos[:, FRONT_STEER] = wheel_angles(self.batch.model, steer)
        return qpos

    def _velocities(self, cars: np.ndarray, steer: np.ndarray) -> np.ndarray:
        """Qvel (n, 17): the body's, and wheels that roll."""
        _, _, theta, vx, vy, omega = cars.T
        qvel = np.zeros((len(cars), self.batch.model.nv))
        cos, sin = np.cos(theta), np.sin(theta)
        qvel[:, 0], qvel[:, 1] = cos * vx - sin * vy, sin * vx + cos * vy
        qvel[:, 5] = omega
        front = wheel_angles(self.batch.model, steer)
        for wheel, joint in enumerate(SPINS):
            ahead, left = WHEELS[wheel]
            along, across = vx - omega * left, vy + omega * ahead
            turned = front[:, wheel] if wheel < 2 else 0.0
            rolling = along * np.cos(turned) + across * np.sin(turned)
            qvel[:, joint - 1] = rolling / WHEEL_RADIUS
        return qvel

    def _balance(self, ids: np.ndarray, steer: np.ndarray, vx: np.ndarray) -> None:
        """Filters and delay lines as if these had been the commands for long."""
        for actuator, command in enumerate((steer, vx)):
            self.ctrl[ids, actuator] = command
            address = self.batch.model.actuator_actadr[actuator]
            if self._act is not None and address >= 0:
                self._act[ids, address] = command
            if self._history is not None:
                samples = self.batch.model.actuator_history[actuator, 0]
                # Two numbers of bookkeeping and the samples' times come first.
                first = self.batch.model.actuator_historyadr[actuator] + 2 + samples
                self._history[ids, first : first + samples] = command[:, None]

    def named_state(self, ids: Ids) -> np.ndarray:
        """The car's six numbers, the last action, the task's memory, (n, S)."""
        rows = slice(None) if ids is None else ids
        parts = [self._cars[rows], self.extra[rows, self._memory]]
        return np.concatenate(parts, axis=1)

    def set_state(self, ids: Ids, state: np.ndarray) -> None:
        """Put rows of ``get_state`` back."""
        super().set_state(ids, state)
        rows = slice(None) if ids is None else ids
        self._cars[rows] = self._seen(rows)
        self._set_grip(rows)

    def _seen(self, rows: Any) -> np.ndarray:
        """x, y, theta, vx, vy, omega (n, 6) as a camera above would have them."""
        qpos, qvel = self.qpos[rows], self.qvel[rows]
        w, x, y, z = qpos[:, 3:7].T
        cars = np.empty((len(qpos), 6))
        cars[:, 0:2] = qpos[:, 0:2]
        cars[:, 2] = mushr.wrap(
            np.arctan2(2 * (w * z + x * y), 1 - 2 * (y * y + z * z))
        )
        cos, sin = np.cos(cars[:, 2]), np.sin(cars[:, 2])
        # MuJoCo has the linear velocity in the world, the angular one in the body.
        cars[:, 3] = cos * qvel[:, 0] + sin * qvel[:, 1]
        cars[:, 4] = cos * qvel[:, 1] - sin * qvel[:, 0]
        up = 2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)
        turning = [axis * rate for axis, rate in zip(up, qvel[:, 3:6].T, strict=True)]
        cars[:, 5] = turning[0] + turning[1] + turning[2]
        return cars

    # ----------------------------------------------------------------------- steps
    def control(self, ids: Ids, action: np.ndarray) -> np.ndarray:
        """Steering (rad) and speed (m/s) to reach; MuJoCo keeps the limits."""
        target = np.empty((len(action), 2))
        steer = self.gap.gain * mushr.MAX_STEER
        target[:, 0] = steer * action[:, 0] + self.gap.trim
        target[:, 1] = mushr.MAX_SPEED * action[:, 1]
        return target

    def step(self, ids: Ids, action: np.ndarray) -> np.ndarray:
        """Advance; each tyre has the friction of where the step begins."""
        rows = slice(None) if ids is None else ids
        action = action.astype(np.float64)
        if self.patches:
            self._set_grip(rows)
        unstable = super().step(ids, action)
        cars = self._seen(rows)
        after = self.task.advance(self.named_state(ids), action, cars)
        if np.count_nonzero(unstable):  # what a blow-up leaves means nothing
            after[unstable] = self.named_state(ids)[unstable]
        self._cars[rows] = after[:, mushr.CAR]
        self.extra[rows, self._memory] = after[:, mushr.LAST_ACTION.start :]
        return unstable

    def _set_grip(self, rows: Any) -> None:
        """Friction of every tyre: the floor's, or that of the patch it stands on."""
        grip = np.repeat(self.extra[rows, self._floor, None], len(WHEELS), axis=1)
        x, y, theta = (self._cars[rows, i, None] for i in range(3))
        cos, sin = np.cos(theta), np.sin(theta)
        wheel_x = x + cos * WHEELS[:, 0] - sin * WHEELS[:, 1]
        wheel_y = y + sin * WHEELS[:, 0] + cos * WHEELS[:, 1]
        for patch_x, patch_y, radius, friction in self.patches:
            dx, dy = wheel_x - patch_x, wheel_y - patch_y
            grip[dx * dx + dy * dy < radius * radius] = friction
        for wheel, tyre in enumerate(self._tyres):
            self._grip[rows, tyre, 0] = grip[:, wheel]


def _kinematic_steer(cars: np.ndarray, gap: Gap) -> np.ndarray:
    """Steering (n,) that turns cars (n, 6) as they turn, within the gap's limits."""
    vx, omega = cars[:, mushr.VX], cars[:, mushr.OMEGA]
    is_moving = np.abs(vx) > 0.2
    steer = np.arctan(mushr.WHEELBASE * omega / np.where(is_moving, vx, 1.0))
    return np.clip(np.where(is_moving, steer, 0.0), gap.steer_low, gap.steer_high)
