"""What steps: N rows of something that advances in time, knowing no episodes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from suite.envs.arguments import require_positive

Ids = np.ndarray | None  # sorted row indices; None means every row


class Simulation(Protocol):
    """N rows of something that steps. ``BatchEnv`` adds the episodes.

    Use it to bring a new kind of dynamics: everything in the suite that resets, limits,
    snapshots or wraps an environment works on this protocol.
    """

    num_rows: int

    def reset(self, ids: np.ndarray, rngs: Sequence[np.random.Generator]) -> None:
        """Start new episodes in rows ``ids``, each from its own generator."""
        ...

    def step(self, ids: Ids, action: np.ndarray) -> np.ndarray:
        """Advance rows ``ids`` by one control step; returns which blew up (n,)."""
        ...

    def named_state(self, ids: Ids) -> np.ndarray:
        """The task's documented state vector, (n, S_task), freshly allocated."""
        ...

    def get_state(self, ids: Ids) -> np.ndarray:
        """Everything needed to continue exactly, (n, S)."""
        ...

    def set_state(self, ids: Ids, state: np.ndarray) -> None:
        """Put rows of ``get_state`` back."""
        ...


class NumpySimulation(ABC):
    """Rows whose whole state is an array of numbers that a formula moves on.

    Use it for an environment in closed form: subclass it with ``start`` and
    ``advance``. The named state is the whole state. Without MuJoCo.

    Args:
        num_rows: How many simulations.
        state_size: Numbers of one row's state, S.

    Raises:
        ValueError: If there is no row.
    """

    def __init__(self, num_rows: int, state_size: int):
        require_positive("num_envs", num_rows)
        self.num_rows = num_rows
        self.state = np.zeros((num_rows, state_size))

    @abstractmethod
    def start(self, rng: np.random.Generator) -> Any:
        """The state (S,) that one row's episode begins in."""

    @abstractmethod
    def advance(self, state: np.ndarray, action: np.ndarray) -> np.ndarray:
        """The states (n, S) one control step after ``state``, under actions (n, A).

        A row must not depend on the others: no sums or products over the first axis.
        """

    def reset(self, ids: np.ndarray, rngs: Sequence[np.random.Generator]) -> None:
        """Start new episodes in rows ``ids``, each from its own generator."""
        for row, rng in zip(ids.tolist(), rngs, strict=True):
            self.state[row] = self.start(rng)

    def step(self, ids: Ids, action: np.ndarray) -> np.ndarray:
        """Advance rows; one that is no longer finite blew up and stays, (n,)."""
        rows = slice(None) if ids is None else ids
        # In float64, or the step of a single row might not be that of many.
        after = self.advance(self.named_state(ids), action.astype(np.float64))
        unstable = np.any(~np.isfinite(after), axis=1)
        self.state[rows] = np.where(unstable[:, None], self.state[rows], after)
        return unstable

    def named_state(self, ids: Ids) -> np.ndarray:
        """The whole state, (n, S), freshly allocated."""
        return self.state[slice(None) if ids is None else ids].copy()

    get_state = named_state

    def set_state(self, ids: Ids, state: np.ndarray) -> None:
        """Put rows of ``get_state`` back."""
        self.state[slice(None) if ids is None else ids] = state
