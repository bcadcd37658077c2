"""Rows of a MuJoCo model."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path

import mujoco
import numpy as np
from mujoco.batch import Batch, SimulationError

from suite.envs.simulation import Ids

ASSETS = Path(__file__).parent / "assets"
log = logging.getLogger("suite.mujoco")
# Otherwise MuJoCo appends MUJOCO_LOG.TXT to whatever folder the user works in.
mujoco.set_mju_user_warning(log.warning)


class MujocoSimulation(ABC):
    """Rows of one MuJoCo model, stepped on a thread pool by ``mujoco.batch.Batch``.

    A row is MuJoCo's integration state (warm start included, so that continuation is
    exact) plus ``extra`` numbers of the task, such as a goal. Results do not depend on
    the number of threads or on which other rows step along.

    Args:
        model: The model to step.
        num_rows: How many simulations.
        substeps: Physics steps in a control step.
        num_extra: How many further numbers the task keeps for each row.
        num_threads: Threads of the pool, the caller's included.
        persistent: Keep each row's whole MjData, for ``Batch.get_data`` after a step.
    """

    def __init__(
        self,
        model: mujoco.MjModel,
        num_rows: int,
        *,
        substeps: int,
        num_extra: int = 0,
        num_threads: int = 1,
        persistent: bool = False,
    ):
        self.num_rows = num_rows
        self.batch = Batch(model, num_rows, num_threads, persistent)
        self.extra = np.zeros((num_rows, num_extra))
        self.substeps = substeps
        # Bound once: looking a name up on every step costs as much as light physics.
        self.qpos, self.qvel = self.batch.bind("qpos"), self.batch.bind("qvel")
        self.ctrl = self.batch.bind("ctrl")
        # (num_rows, 4) live counts: bad positions, velocities, accelerations, controls.
        first, last = mujoco.mjtWarning.mjWARN_BADQPOS, mujoco.mjtWarning.mjWARN_BADCTRL
        self._warnings = self.batch.warning[:, int(first) : int(last) + 1, 1]
        self._template = self.batch.state[0].copy()  # a row with nothing warm-started

    @abstractmethod
    def reset(self, ids: np.ndarray, rngs: Sequence[np.random.Generator]) -> None:
        """Start new episodes; call ``_clear(ids)`` first."""

    @abstractmethod
    def control(self, ids: Ids, action: np.ndarray) -> np.ndarray:
        """Actuator targets (n, nu) for actions in [-1, 1]."""

    @abstractmethod
    def named_state(self, ids: Ids) -> np.ndarray:
        """The task's state vector, (n, S_task)."""

    def step(self, ids: Ids, action: np.ndarray) -> np.ndarray:
        """Advance rows by one control step; returns which blew up (n,)."""
        rows = slice(None) if ids is None else ids
        self.ctrl[rows] = self.control(ids, action)
        try:
            self.batch.step(ids, nstep=self.substeps)
        except SimulationError as error:
            log.warning("%s", error)
            failed = np.zeros(self.num_rows, bool)
            failed[error.ids] = True
            return failed[rows] | self._new_warnings(ids)
        return self._new_warnings(ids)

    def _new_warnings(self, ids: Ids) -> np.ndarray:
        if not np.count_nonzero(self._warnings):
            return np.zeros(self.num_rows if ids is None else len(ids), bool)
        unstable = self._warnings.any(axis=1)
        # Cleared, since a blow-up resets a row's counts: the next would count 1 again.
        self._warnings[:] = 0
        return unstable if ids is None else unstable[ids]

    def _clear(self, ids: np.ndarray) -> None:
        self.batch.state[ids] = self._template

    def posed(
        self, row: int, model: mujoco.MjModel | None = None
    ) -> tuple[mujoco.MjModel, mujoco.MjData]:
        """A model in the pose that a row has, for looking at it.

        Args:
            row: Which one.
            model: One of the same joints, such as one with more to see; None is ours.
        """
        model = model or self.batch.model
        data = mujoco.MjData(model)
        data.qpos[:] = self.qpos[row]
        mujoco.mj_forward(model, data)
        return model, data

    def get_state(self, ids: Ids) -> np.ndarray:
        """MuJoCo's integration state and the task's extra numbers, (n, S)."""
        rows = slice(None) if ids is None else ids
        return np.concatenate([self.batch.state[rows], self.extra[rows]], axis=1)

    def set_state(self, ids: Ids, state: np.ndarray) -> None:
        """Put rows of ``get_state`` back."""
        rows = slice(None) if ids is None else ids
        split = self.batch.nstate
        self.batch.state[rows] = state[:, :split]
        self.extra[rows] = state[:, split:]
