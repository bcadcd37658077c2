"""How far each row's episode is, and how it ended."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from suite.envs.simulation import Ids


class Episodes:
    """The bookkeeping of N episodes: steps, returns, success, termination, truncation.

    Args:
        num_rows: How many episodes run side by side.
        max_steps: Control steps after which an episode is truncated.
    """

    def __init__(self, num_rows: int, max_steps: int):
        self.max_steps = max_steps
        self.elapsed = np.zeros(num_rows, np.int64)
        self.returns = np.zeros(num_rows)
        self.success = np.zeros(num_rows, bool)
        self.terminated = np.zeros(num_rows, bool)
        self.truncated = np.zeros(num_rows, bool)
        self.ended = np.zeros(num_rows, bool)  # terminated or truncated
        self.any_ended = False

    def start(self, ids: np.ndarray) -> None:
        """Begin anew in rows ``ids``."""
        self.elapsed[ids] = 0
        self.returns[ids] = 0.0
        self.terminated[ids] = self.truncated[ids] = False
        self._note_ended()

    def advance(
        self,
        ids: Ids,
        rewards: np.ndarray,
        success: np.ndarray,
        terminated: np.ndarray,
        unstable: np.ndarray,
    ) -> None:
        """Count a step of rows ``ids``; one that blew up is truncated."""
        if ids is None:  # in place: a third of the array operations
            self.elapsed += 1
            self.returns += rewards
            self.success[:], self.terminated[:] = success, terminated
            np.greater_equal(self.elapsed, self.max_steps, out=self.truncated)
            self.truncated |= unstable
        else:
            self.elapsed[ids] += 1
            self.returns[ids] += rewards
            self.success[ids], self.terminated[ids] = success, terminated
            self.truncated[ids] = unstable | (self.elapsed[ids] >= self.max_steps)
        self._note_ended()

    def halt(self, ids: np.ndarray) -> None:
        """Truncate rows where they stand."""
        self.truncated[ids] = True
        self._note_ended()

    def get_state(self, ids: np.ndarray) -> dict[str, np.ndarray]:
        """What a snapshot must hold; success follows from the simulation's state."""
        return {
            "elapsed": self.elapsed[ids],
            "returns": self.returns[ids],
            "terminated": self.terminated[ids],
            "truncated": self.truncated[ids],
        }

    def set_state(self, ids: np.ndarray, state: Mapping[str, np.ndarray]) -> None:
        """Put rows of ``get_state`` back."""
        self.elapsed[ids], self.returns[ids] = state["elapsed"], state["returns"]
        self.terminated[ids] = state["terminated"]
        self.truncated[ids] = state["truncated"]
        self._note_ended()

    def _note_ended(self) -> None:
        self.ended = self.terminated | self.truncated
        self.any_ended = bool(np.count_nonzero(self.ended))
