"""Rows of Gymnasium's HalfCheetah, Hopper, Walker2d and Ant."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import gymnasium as gym
import mujoco
import numpy as np

from suite.envs.arguments import require_known, require_positive, row_indices
from suite.envs.batch import BatchEnv
from suite.envs.locomotion import (
    Ant,
    HalfCheetah,
    Hopper,
    Locomotion,
    Walker2d,
    uniform,
)
from suite.envs.mujoco_simulation import MujocoSimulation, log
from suite.envs.simulation import Ids
from suite.envs.single import SingleEnv

# Gymnasium's own files, where it is installed: a copy could come to differ from them.
MODELS = Path(gym.__file__).parent / "envs" / "mujoco" / "assets"


@functools.cache
def robot_model(file: str) -> mujoco.MjModel:
    """One of Gymnasium's models, compiled."""
    # HalfCheetah's asks for what MuJoCo calls deprecated: Gymnasium's to change.
    mujoco.set_mju_user_warning(log.debug)
    try:
        return mujoco.MjModel.from_xml_path(str(MODELS / file))
    finally:
        mujoco.set_mju_user_warning(log.warning)


class LocomotionSimulation(MujocoSimulation):
    """The physics; the named state is qpos and qvel.

    Args:
        task: Whose model and start.
        num_rows: How many simulations.
        num_threads: Threads of the pool.
        num_extra: How many further numbers a row of the named state has.
        persistent: See ``MujocoSimulation``.
    """

    def __init__(
        self,
        task: Locomotion,
        num_rows: int,
        num_threads: int = 1,
        *,
        num_extra: int = 0,
        persistent: bool = False,
    ):
        super().__init__(
            robot_model(task.model_file),
            num_rows,
            substeps=task.substeps,
            num_extra=num_extra,
            num_threads=num_threads,
            persistent=persistent,
        )
        self.task = task

    def reset(self, ids: np.ndarray, rngs: Sequence[np.random.Generator]) -> None:
        """Near the model's pose; the draws are Gymnasium's, and so the same episode."""
        task, noise = self.task, self.task.reset_noise
        qpos = np.empty((len(ids), task.num_positions))
        qvel = np.empty((len(ids), task.num_velocities))
        for i, rng in enumerate(rngs):
            qpos[i] = uniform(rng, noise, task.num_positions)
            qvel[i] = task.velocity_noise(rng, noise, task.num_velocities)
        self.place(ids, self.batch.model.qpos0 + qpos, qvel)

    def place(self, ids: np.ndarray, qpos: np.ndarray, qvel: np.ndarray) -> None:
        """Start rows from positions (n, nq) and velocities (n, nv)."""
        self._clear(ids)
        self.qpos[ids], self.qvel[ids] = qpos, qvel

    def control(self, ids: Ids, action: np.ndarray) -> np.ndarray:
        """Torques, in units of each actuator's gear."""
        return action

    def named_state(self, ids: Ids) -> np.ndarray:
        """Positions and velocities, then what else the task reads, (n, S)."""
        rows = slice(None) if ids is None else ids
        parts = [self.qpos[rows], self.qvel[rows], self.extra[rows]]
        return np.concatenate(parts, axis=1)


class AntSimulation(LocomotionSimulation):
    """The physics, and what Gymnasium reads from MuJoCo's data after a step.

    Both readings are those of the last stage of the last substep, which the simulator's
    state does not hold: they are ``extra``, the torso's x and y and the contact forces.

    Args:
        task: Whose model and start.
        num_rows: How many simulations.
        num_threads: Threads of the pool.
    """

    TORSO, FORCES = slice(0, 2), slice(2, 80)  # in `extra`

    def __init__(self, task: Locomotion, num_rows: int, num_threads: int = 1):
        super().__init__(task, num_rows, num_threads, num_extra=80, persistent=True)
        self._xpos, self._ncon = self.batch.bind("xpos"), self.batch.bind("ncon")
        self._data = mujoco.MjData(self.batch.model)

    def place(self, ids: np.ndarray, qpos: np.ndarray, qvel: np.ndarray) -> None:
        """Start rows; Gymnasium sees no contact before the first step."""
        super().place(ids, qpos, qvel)
        self.extra[ids] = 0.0
        self.extra[ids, self.TORSO] = qpos[:, :2]

    def step(self, ids: Ids, action: np.ndarray) -> np.ndarray:
        """Advance, and read torso and contacts where the physics left them."""
        unstable = super().step(ids, action)
        rows = np.arange(self.num_rows) if ids is None else ids
        self.extra[rows, self.TORSO] = self._xpos[rows, 1, :2]
        self.extra[rows, self.FORCES] = 0.0
        # A Batch does not compute these forces, so rows in contact do, one by one.
        for row in rows[self._ncon[rows] > 0].tolist():
            self.batch.get_data(row, self._data)
            mujoco.mj_rnePostConstraint(self.batch.model, self._data)
            self.extra[row, self.FORCES] = self._data.cfrc_ext[1:].ravel()
        return unstable


# What makes a robot's task, which has spaces of its own, and its simulation.
ROBOTS: dict[str, tuple[Callable[[], Locomotion], type[Any]]] = {
    "HalfCheetah": (HalfCheetah, LocomotionSimulation),
    "Hopper": (Hopper, LocomotionSimulation),
    "Walker2d": (Walker2d, LocomotionSimulation),
    "Ant": (Ant, AntSimulation),
}


class LocomotionVectorEnv(BatchEnv):
    """N rows of one robot; see ``suite.envs.locomotion`` for the tasks.

    Info: besides what every ``BatchEnv`` tells, what Gymnasium's environment does, such
    as ``x_position``, ``x_velocity`` and the terms of the reward; not after a reset.

    Args:
        num_envs: Number of rows.
        robot: ``"HalfCheetah"``, ``"Hopper"``, ``"Walker2d"`` or ``"Ant"``; the
            registered ids choose it.
        autoreset_mode: ``"next_step"``, ``"same_step"`` or ``"disabled"``.
        num_threads: Threads that step the rows; results do not depend on it.
        render_mode: ``"rgb_array"``, ``"human"`` or None.

    Raises:
        ValueError: For an unknown robot or mode, or less than one row or thread.
    """

    def __init__(
        self,
        num_envs: int = 1,
        *,
        robot: str,
        autoreset_mode: str = "next_step",
        num_threads: int = 1,
        render_mode: str | None = None,
    ):
        require_known("robot", robot, tuple(ROBOTS))
        require_positive("num_envs", num_envs)
        require_positive("num_threads", num_threads)
        make_task, make_simulation = ROBOTS[robot]
        self._robot_task = make_task()
        super().__init__(
            make_simulation(self._robot_task, num_envs, num_threads),
            self._robot_task,
            autoreset_mode=autoreset_mode,
            render_mode=render_mode,
        )
        self.metadata["render_fps"] = round(1 / self._robot_task.dt)

    def reward_and_details(
        self, state: np.ndarray, action: np.ndarray, next_state: np.ndarray
    ) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """Rewards (n,), and what Gymnasium's info says of a step, each (n,)."""
        details = self._robot_task.details(state, action, next_state)
        return self._robot_task.total(details), details

    def reset_to(
        self, qpos: np.ndarray, qvel: np.ndarray, ids: np.ndarray | None = None
    ) -> np.ndarray:
        """Start new episodes from given positions and velocities.

        Use it to repeat an episode recorded elsewhere: what follows is what Gymnasium's
        environment does after its ``reset`` and ``set_state(qpos, qvel)``.

        Args:
            qpos: (n, nq), with x first.
            qvel: (n, nv).
            ids: The n rows to start; all by default.

        Returns:
            Observations of those rows, (n, O).

        Raises:
            ValueError: If the numbers are not finite or of another shape.
        """
        ids, task = row_indices(ids, self.num_envs), self._robot_task
        qpos = _rows_of("qpos", qpos, (len(ids), task.num_positions))
        qvel = _rows_of("qvel", qvel, (len(ids), task.num_velocities))
        if self._state is None:  # give every row something valid, as restore does
            self.reset(seed=0)
        simulation = self.simulation
        assert isinstance(simulation, LocomotionSimulation)
        simulation.place(ids, qpos, qvel)
        self._episodes.start(ids)
        self._refresh(ids)
        return self._obs[ids]

    def scene(self, row: int) -> tuple[mujoco.MjModel, mujoco.MjData]:
        """The robot where the row has it."""
        simulation = self.simulation
        assert isinstance(simulation, LocomotionSimulation)
        return simulation.posed(row)


def _rows_of(name: str, values: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    values = np.asarray(values, float)
    if values.shape != shape or not np.isfinite(values).all():
        raise ValueError(
            f"{name} must be finite numbers of shape {shape}, got shape "
            f"{values.shape} and {np.count_nonzero(~np.isfinite(values))} not finite"
        )
    return values


class LocomotionEnv(SingleEnv):
    """One robot of Gymnasium's, one row of ``LocomotionVectorEnv``.

    Args:
        robot: ``"HalfCheetah"``, ``"Hopper"``, ``"Walker2d"`` or ``"Ant"``; the
            registered ids choose it.
        render_mode: ``"rgb_array"``, ``"human"`` or None.
    """

    def __init__(self, *, robot: str, render_mode: str | None = None):
        batch = LocomotionVectorEnv(
            1, robot=robot, autoreset_mode="disabled", render_mode=render_mode
        )
        super().__init__(batch)
        self.metadata = {**self.metadata, "render_fps": batch.metadata["render_fps"]}
        self._rows = batch

    def reset_to(self, qpos: np.ndarray, qvel: np.ndarray) -> np.ndarray:
        """Start a new episode from positions (nq,) and velocities (nv,).

        Returns:
            The observation (O,).

        Raises:
            ValueError: If the numbers are not finite or of another shape.
        """
        return self._rows.reset_to(np.asarray(qpos)[None], np.asarray(qvel)[None])[0]
