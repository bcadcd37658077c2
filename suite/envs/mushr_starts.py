"""Episodes of a car that begin where one says, simulated or learned alike."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from suite.envs.arguments import require_known, rows_to_reset
from suite.envs.batch import BatchEnv
from suite.envs.single import SingleEnv


class CarRows(BatchEnv):
    """N cars whose ``reset`` knows ``options={"state": ...}``."""

    def reset(
        self,
        *,
        seed: int | list[int | None] | None = None,
        options: dict[str, Any] | None = None,
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Start new episodes; see ``BatchEnv.reset``.

        Args:
            seed: Row i starts where ``MuSHR-v0`` of seed + i starts, or of seed[i].
            options: ``{"reset_mask": (N,) bool}`` resets only those n rows;
                ``{"state": (n, 6)}`` starts them there, see ``reset_to``.

        Raises:
            ValueError: For another option, or a state that is none.
        """
        state = _state(options, "reset_mask", "state")
        obs, info = super().reset(seed=seed, options=options)
        if state is None:
            return obs, info
        self.reset_to(state, rows_to_reset(options, self.num_envs))
        return self._obs.copy(), self._info(np.zeros(self.num_envs, bool))

    def reset_to(self, cars: np.ndarray, ids: np.ndarray | None = None) -> np.ndarray:
        """Start new episodes from given states of the car; observations (n, O)."""
        raise NotImplementedError


class OneCar(SingleEnv):
    """A car whose ``reset`` knows ``options={"state": ...}``."""

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Start a new episode; ``options={"state": (6,)}`` says where.

        Raises:
            ValueError: For another option, or a state that is none.
        """
        state = _state(options, "state")
        obs, info = super().reset(seed=seed)
        rows = self.batch
        if state is not None and isinstance(rows, CarRows):
            obs = rows.reset_to(np.asarray(state)[None])[0]
            info["state"] = rows.simulation.named_state(None)[0]
        return obs, info


def _state(options: Mapping[str, Any] | None, *known: str) -> Any:
    for name in options or {}:
        require_known("an option of reset", name, known)
    return None if options is None else options.get("state")
