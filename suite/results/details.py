"""Details: what an evaluation found at the end of a run, too much for a table."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np

from suite.results.float_archives import read_floats, write_floats


@runtime_checkable
class Detailed(Protocol):
    """An evaluation that can tell more than numbers for a table.

    Use it for errors of every single trajectory, say: when the seed is done, the run
    keeps what it is told here as details.npz, for figures and paired comparisons.
    """

    def details(self, trained: Any) -> Mapping[str, np.ndarray]:
        """Arrays by name, kept in float32."""
        ...


def write_details(path: Path, details: Mapping[str, np.ndarray]) -> None:
    """Write details whole or not at all; the same ones give the same bytes.

    Raises:
        OSError: If the disk refuses.
    """
    write_floats(path, details, is_compressed=True)


def read_details(path: Path) -> dict[str, np.ndarray]:
    """Details in a file of ``write_details``; nothing in it is executed.

    Raises:
        IntegrityError: If it is damaged or holds anything else.
    """
    return read_floats(path, "numbers")
