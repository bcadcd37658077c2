"""Details: what an evaluation found at the end of a run, too much for a table."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np

from suite.storage import IntegrityError, write_file


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
    content = io.BytesIO()
    arrays: dict[str, Any] = {n: np.asarray(v, np.float32) for n, v in details.items()}
    np.savez_compressed(content, **arrays)
    write_file(path, content.getvalue())


def read_details(path: Path) -> dict[str, np.ndarray]:
    """Details in a file of ``write_details``; nothing in it is executed.

    Raises:
        IntegrityError: If it is damaged or holds anything else.
    """
    try:
        content = io.BytesIO(path.read_bytes())
        with np.load(content, allow_pickle=False) as file:
            found = {name: file[name] for name in file.files}
    except (ValueError, OSError, EOFError, KeyError, zipfile.BadZipFile) as reason:
        raise IntegrityError(f"{path} is missing or damaged: {reason}") from None
    for name, values in found.items():
        if values.dtype != np.float32:
            raise IntegrityError(f"{path} holds no numbers as {name!r}")
    return found
