"""Series: numbers of every single training step, too many for a table of iterations."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np

from suite.results.float_archives import read_floats, write_floats

WINDOW = 1000  # steps of a rolling variance


@runtime_checkable
class Recording(Protocol):
    """A learner that measures something at every step.

    Use it beside ``suite.checkpoints.Learner``: when the seed is done, the run keeps
    what it is told here as series.npz beside metrics.csv. Until then the learner keeps
    it, also in its ``state()``.
    """

    def series(self) -> Mapping[str, np.ndarray]:
        """Numbers by name, each (n,) float32, one for each step so far."""
        ...


def write_series(path: Path, series: Mapping[str, np.ndarray]) -> None:
    """Write series whole or not at all; the same series give the same bytes.

    Raises:
        OSError: If the disk refuses.
    """
    write_floats(path, series)


def read_series(path: Path) -> dict[str, np.ndarray]:
    """The series in a file of ``write_series``; nothing in it is executed.

    Raises:
        IntegrityError: If it is damaged or holds anything else.
    """
    return read_floats(path, "series", ndim=1)


def rolling_variance(values: np.ndarray, window: int = WINDOW) -> np.ndarray:
    """Variance of the last ``window`` values at every step, in one pass.

    Args:
        values: (n,).
        window: How many; divided by that (ddof 0).

    Returns:
        (n,) float64, NaN until the window is full.

    Raises:
        ValueError: If the window is empty.
    """
    if window < 1:
        raise ValueError(f"a rolling window needs a step, got {window}")
    values = np.asarray(values, np.float64)
    if len(values) < window:
        return np.full(len(values), np.nan)
    # Variance does not depend on where zero is; squares of large numbers would lose it.
    centred = values - np.median(values)
    means = _window_sums(centred, window) / window
    return np.maximum(_window_sums(centred**2, window) / window - means**2, 0.0)


def _window_sums(values: np.ndarray, window: int) -> np.ndarray:
    """Sums of the last ``window`` values (n,), NaN until there are so many.

    A window is the end of one block of that many values and the beginning of the next.
    So no sum ever holds a value outside of its window: one that exploded would take the
    digits of all that come after it.
    """
    blocks = -(-len(values) // window)
    padded = np.zeros((blocks, window))
    padded.ravel()[: len(values)] = values
    beginnings = np.cumsum(padded, axis=1)
    ends = np.cumsum(padded[:, ::-1], axis=1)[:, ::-1]
    sums = beginnings.copy()
    sums[1:, :-1] += ends[:-1, 1:]
    sums[0, :-1] = np.nan
    return sums.ravel()[: len(values)]
