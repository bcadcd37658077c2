"""Archives of named float32 arrays: written whole, never unpickled."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from suite.storage import IntegrityError, write_file


def write_floats(
    path: Path, arrays: Mapping[str, np.ndarray], *, is_compressed: bool = False
) -> None:
    """Write arrays whole or not at all; the same ones give the same bytes.

    Raises:
        OSError: If the disk refuses.
    """
    content = io.BytesIO()
    floats: dict[str, Any] = {n: np.asarray(v, np.float32) for n, v in arrays.items()}
    save = np.savez_compressed if is_compressed else np.savez
    save(content, **floats)
    write_file(path, content.getvalue())


def read_floats(
    path: Path, what: str, *, ndim: int | None = None
) -> dict[str, np.ndarray]:
    """The arrays in a file of ``write_floats``; nothing in it is executed.

    Args:
        path: The file.
        what: It should hold, for the message.
        ndim: How many axes each array has; any number if None.

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
        if values.dtype != np.float32 or ndim not in (None, values.ndim):
            raise IntegrityError(f"{path} holds no {what} as {name!r}")
    return found
