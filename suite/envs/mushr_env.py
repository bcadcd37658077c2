"""MuSHR-v0: a small car with Ackermann steering drives laps, to goals, or sideways."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from numbers import Real
from typing import Any

import mujoco
import numpy as np

from suite.envs.arguments import require_known, require_positive, row_indices
from suite.envs.mushr import MAX_EPISODE_STEPS, Goal
from suite.envs.mushr_car import CarSimulation
from suite.envs.mushr_gaps import GAPS, Gap
from suite.envs.mushr_starts import CarRows, OneCar
from suite.envs.mushr_tasks import checked_cars, goals_at, make_task

DRIFT_FRICTION = 0.3  # of the floor under a drift, unless another is asked for
MAX_FRICTION = 1.3  # half the car's track over its height: beyond it may tip over
MAX_PAYLOAD = 3.0  # kg


def make_gap(gap: str, task: str, friction: float | None, payload: float | None) -> Gap:
    """A preset, with friction and payload where they are given.

    Raises:
        ValueError: If there is no such preset, or a number is out of range.
    """
    require_known("gap", gap, tuple(GAPS))
    made = GAPS[gap]
    if task == "drift":
        made = dataclasses.replace(made, friction=min(made.friction, DRIFT_FRICTION))
    if friction is not None:
        require_friction("friction", friction)
        made = dataclasses.replace(made, friction=float(friction))
    if payload is not None:
        if not 0 <= payload <= MAX_PAYLOAD:
            raise ValueError(f"payload must be 0 to {MAX_PAYLOAD} kg, got {payload}")
        made = dataclasses.replace(made, payload=float(payload))
    return made


def require_friction(name: str, value: float) -> None:
    """Refuse a friction that means nothing, or tips the car over.

    Raises:
        ValueError: Naming the argument.
    """
    if not isinstance(value, Real) or not 0 < value <= MAX_FRICTION:
        raise ValueError(
            f"{name} must be more than 0 and at most {MAX_FRICTION} (beyond it the car "
            f"tips over), got {value!r}"
        )


def checked_patches(patches: Sequence[Sequence[float]]) -> tuple[Any, ...]:
    """Patches as tuples of floats.

    Raises:
        ValueError: If one is not four numbers, has no radius or another friction than a
            floor can have.
    """
    found = []
    for patch in patches:
        try:
            numbers = np.array(patch, float)
        except (TypeError, ValueError):
            numbers = np.empty(0)
        if numbers.shape != (4,) or not np.isfinite(numbers).all() or numbers[2] <= 0:
            raise ValueError(
                "friction_patches is a list of (x, y, radius > 0, friction), got "
                f"{patch!r} in it"
            )
        require_friction("the friction of a patch", float(numbers[3]))
        found.append(tuple(numbers.tolist()))
    return tuple(found)


class MushrVectorEnv(CarRows):
    """N cars; see ``MushrEnv`` for the tasks.

    Args:
        num_envs: Number of rows.
        task: ``"track"``, ``"goal"`` or ``"drift"``.
        track: ``"oval"``, ``"rounded_rectangle"`` or ``"figure_8"``.
        gap: ``"none"``, ``"easy"``, ``"real"`` or ``"ice"``: how the car differs from
            the nominal one.
        friction: Of tyres on the floor; the gap's by default, at most 0.3 for drift.
        payload: Mass added, kg; the gap's by default.
        friction_patches: Discs (x, y, radius, friction) of other floor.
        max_steps: Control steps after which an episode is truncated.
        autoreset_mode: ``"next_step"``, ``"same_step"`` or ``"disabled"``.
        num_threads: Threads that step the rows; results do not depend on it.
        render_mode: ``"rgb_array"``, ``"human"`` or None.

    Raises:
        ValueError: For an unknown name or mode, a number out of range, or less than one
            row, step or thread.
    """

    def __init__(
        self,
        num_envs: int = 1,
        *,
        task: str = "track",
        track: str = "oval",
        gap: str = "none",
        friction: float | None = None,
        payload: float | None = None,
        friction_patches: Sequence[Sequence[float]] = (),
        max_steps: int = MAX_EPISODE_STEPS,
        autoreset_mode: str = "next_step",
        num_threads: int = 1,
        render_mode: str | None = None,
    ):
        require_positive("num_envs", num_envs)
        require_positive("num_threads", num_threads)
        require_positive("max_steps", max_steps)
        made = make_task(task, track)
        self.driving = dataclasses.replace(made, max_episode_steps=max_steps)
        self.gap = make_gap(gap, task, friction, payload)
        self.patches = checked_patches(friction_patches)
        self.cars = CarSimulation(
            num_envs, self.driving, self.gap, self.patches, num_threads
        )
        super().__init__(
            self.cars,
            self.driving,
            autoreset_mode=autoreset_mode,
            render_mode=render_mode,
        )

    def reward_and_details(
        self, state: np.ndarray, action: np.ndarray, next_state: np.ndarray
    ) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """Rewards (n,), and the task's details of a step, each (n,)."""
        reward = self.driving.reward(state, action, next_state)
        return reward, self.driving.details(state, action, next_state)

    def reset_to(
        self,
        cars: np.ndarray,
        ids: np.ndarray | None = None,
        *,
        friction: np.ndarray | float | None = None,
    ) -> np.ndarray:
        """Start new episodes from given states of the car.

        The task begins there: a track at the nearest point of its centreline; goals
        stay as they are. Wheels roll and the servos are in balance, see
        ``CarSimulation.place``.

        Args:
            cars: (n, 6): x, y (m), theta (rad), vx, vy (m/s) and omega (rad/s).
            ids: The n rows to start; all by default.
            friction: Of the floor under each (n,), or one for all.

        Returns:
            Observations of those rows, (n, O).

        Raises:
            ValueError: If the numbers are not finite or of another shape.
        """
        ids = row_indices(ids, self.num_envs)
        cars = checked_cars(cars, len(ids))
        if friction is not None:
            for value in np.ravel(friction):
                require_friction("friction", float(value))
        if self._state is None:  # give every row something valid, as restore does
            self.reset(seed=0)
        assert self._state is not None
        goals = goals_at(self.driving, cars, self._state[ids])
        self.cars.place(ids, cars, goals, friction)
        self._episodes.start(ids)
        self._refresh(ids)
        return self._obs[ids]

    def scene(self, row: int) -> tuple[mujoco.MjModel, mujoco.MjData]:
        """The car, its track or its goal, and the patches of other floor."""
        from suite.envs.mushr_scene import scene_model

        model = scene_model(self.gap, self.driving, self.patches)
        data = mujoco.MjData(model)
        data.qpos[:] = self.cars.qpos[row]
        if isinstance(self.driving, Goal):
            x, y, theta = self.cars.named_state(None)[row, Goal.GOAL]
            data.mocap_pos[0] = x, y, 0.0
            data.mocap_quat[0] = np.cos(theta / 2), 0.0, 0.0, np.sin(theta / 2)
        mujoco.mj_forward(model, data)
        return model, data


class MushrEnv(OneCar):
    """Drive a MuSHR car: laps of a track, to a pose, or sideways.

    Task: ``"track"``: laps, fast; ``"goal"``: reach a pose; ``"drift"``: slide steadily
        on a floor of little grip.
    Observation: float32: vx, vy (m/s) and omega (rad/s) 0-2 in the car's frame, last
        action 3-4, then for track (13,): offset from the centreline 5 (m), sine and
        cosine of the heading relative to it 6-7, curvature of the centreline 0.3, 0.7,
        1.1, 1.5 and 2 m ahead 8-12 (1/m); for goal (9,): the goal ahead and to the left
        5-6 (m), sine and cosine of its heading relative to the car's 7-8; for drift
        (5,): nothing more.
    Action: Box(-1, 1, (2,)): steering up to 0.38 rad, speed up to 3 m/s; 20 Hz.
    Reward: track: progress / (3 m/s) - 0.5 (offset / 0.6 m)^2, -10 off the track; goal:
        what remains less by / (3 m/s), +10 at the goal; drift: 1 for a slip of 0.25 to
        0.55 rad at 1 m/s or more, falling to 0 over 0.15 rad, -10 for a spin. All less
        0.02 |change of action|^2.
    Success: track: a lap; goal: within 0.3 m and 0.5 rad; drift: none.
    Randomisation: track: anywhere along it, 0.1 m and 0.1 rad off, at up to 1 m/s;
        goal: 1.5 to 4 m away; drift: heading, and up to 1 m/s.
    Episode end: terminated off the track (0.6 m), at the goal, or by a spin (slip of
        1.25 rad); truncated after ``max_steps``, 400.
    Source and deviations: docs/envs/mushr.md.

    Args:
        task: ``"track"``, ``"goal"`` or ``"drift"``.
        track: ``"oval"``, ``"rounded_rectangle"`` or ``"figure_8"``.
        gap: ``"none"``, ``"easy"``, ``"real"`` or ``"ice"``.
        friction: Of tyres on the floor; the gap's by default, at most 0.3 for drift.
        payload: Mass added, kg; the gap's by default.
        friction_patches: Discs (x, y, radius, friction) of other floor.
        max_steps: Control steps after which an episode is truncated.
        render_mode: ``"rgb_array"``, ``"human"`` or None.
    """

    def __init__(
        self,
        *,
        task: str = "track",
        track: str = "oval",
        gap: str = "none",
        friction: float | None = None,
        payload: float | None = None,
        friction_patches: Sequence[Sequence[float]] = (),
        max_steps: int = MAX_EPISODE_STEPS,
        render_mode: str | None = None,
    ):
        self._rows = MushrVectorEnv(
            1,
            task=task,
            track=track,
            gap=gap,
            friction=friction,
            payload=payload,
            friction_patches=friction_patches,
            max_steps=max_steps,
            autoreset_mode="disabled",
            render_mode=render_mode,
        )
        super().__init__(self._rows)

    def reset_to(self, car: np.ndarray, *, friction: float | None = None) -> np.ndarray:
        """Start a new episode from a car's six numbers; returns the observation (O,).

        Raises:
            ValueError: If the numbers are not finite or of another shape.
        """
        return self._rows.reset_to(np.asarray(car)[None], friction=friction)[0]
