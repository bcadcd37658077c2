"""Datasets in files of plain arrays: npz and HDF5 with the keys of D4RL."""

from __future__ import annotations

import contextlib
import json
import os
import re
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from suite.data.cards import stored_card
from suite.parts import ConfigError
from suite.storage import IntegrityError
from suite.transitions import Dataset

NEEDED = ("observations", "actions", "rewards", "terminals", "timeouts")
HDF5 = (".hdf5", ".h5")

Arrays = dict[str, np.ndarray]


def is_file(source: str | Path) -> bool:
    """Whether a source names a file of arrays, by its ending."""
    return Path(source).suffix in (".npz", *HDF5)


def read_file(path: Path) -> Dataset:
    """The dataset of an npz or HDF5 file.

    Raises:
        ValueError: If its arrays are no dataset.
        IntegrityError: If it cannot be read; hashes are the caller's to compare.
    """
    arrays = _read_npz(path) if path.suffix == ".npz" else _read_hdf5(path)
    card = _card(arrays.pop("card", None), path)
    try:
        return _dataset(arrays, card, path)
    except ValueError as reason:
        # In the words of the file: an array of ours is called obs.
        told = re.sub(r"\b(next_)?obs\b", r"\1observations", str(reason))
        raise ValueError(f"{path} holds no dataset: {told}") from None


def read_card(path: Path) -> dict[str, Any]:
    """The card in a file, or what a file without one is known by; nothing else is read.

    Raises:
        IntegrityError: If it is damaged.
    """
    if path.suffix != ".npz":
        return _card(None, path)
    with _archive(path) as file:
        return _card(file["card"] if "card" in file.files else None, path)


def write_npz(dataset: Dataset, path: Path) -> None:
    """Write a dataset whole or not at all, with the keys of D4RL.

    Raises:
        OSError: If the disk refuses.
    """
    beside = path.with_name(f".{path.name}.tmp-{os.getpid()}")
    try:
        with beside.open("wb") as file:
            np.savez(
                file,
                observations=dataset.obs,
                actions=dataset.actions,
                rewards=dataset.rewards,
                next_observations=dataset.next_obs,
                terminals=dataset.terminated,
                timeouts=dataset.truncated,
                lengths=dataset.lengths,
                episode_ids=dataset.episode_ids,
                card=json.dumps(stored_card(dataset, path.name)),
            )
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


# --------------------------------------------------------------------------- reading
def _read_npz(path: Path) -> Arrays:
    with _archive(path) as file:
        if "card" not in file.files and {"lengths", "episode_ids"} & {*file.files}:
            raise IntegrityError(
                f"{path} is damaged: it has lengths or episode_ids and no card, with "
                "which we write them; in a file of your own leave them out, terminals "
                "and timeouts say where episodes end"
            )
        return {name: file[name] for name in file.files}


@contextlib.contextmanager
def _archive(path: Path) -> Iterator[Any]:
    """An npz to read from, its checksums known to be right."""
    try:
        # Opened here: NumPy leaves a file open that is no archive. Checked before
        # NumPy reads headers: it evaluates them, and what may go wrong then is endless.
        with path.open("rb") as raw, zipfile.ZipFile(raw) as checked:
            damaged = checked.testzip()
            if damaged is not None:
                raise ValueError(f"the checksum of {damaged} is wrong")
            _require_all_listed(raw, len(checked.infolist()))
            raw.seek(0)
            with np.load(raw, allow_pickle=False) as file:
                yield file
    except _UNREADABLE as reason:
        raise _damaged(path, reason) from None


def _require_all_listed(raw: BinaryIO, found: int) -> None:
    """Refuse a zip that lists fewer files than it counts, which zipfile does not.

    A flipped bit in the size of an entry's comment swallows the entries that follow.
    """
    raw.seek(-22, os.SEEK_END)  # the last record, where no comment follows it
    record = raw.read()
    count = int.from_bytes(record[10:12], "little")
    if record[:4] == b"PK\x05\x06" and count not in (found, 0xFFFF):
        raise ValueError(f"it counts {count} arrays and lists {found}")


# What zipfile and NumPy raise at bytes that are none of theirs.
_UNREADABLE = (
    *(ValueError, OSError, EOFError, KeyError, NotImplementedError, RuntimeError),
    *(SyntaxError, TypeError, OverflowError, MemoryError, struct.error),
    *(zipfile.BadZipFile, zlib.error, tokenize.TokenError),
)


def _read_hdf5(path: Path) -> Arrays:
    try:
        import h5py
    except ImportError:
        raise ConfigError(
            f"reading {path} needs h5py, which is not installed; install "
            "suite-bench[offline]"
        ) from None
    try:
        with h5py.File(path, "r") as file:
            wanted = [n for n in (*NEEDED, "next_observations") if n in file]
            nodes: dict[str, Any] = {name: file[name] for name in wanted}
            return {name: np.asarray(node[()]) for name, node in nodes.items()}
    except (OSError, KeyError, RuntimeError, ValueError, TypeError) as reason:
        raise _damaged(path, reason) from None


def _damaged(path: Path, reason: BaseException) -> IntegrityError:
    told = " ".join(str(reason).split()) or type(reason).__name__
    return IntegrityError(f"{path} is damaged, or no {path.suffix[1:]} file: {told}")


def _card(stored: Any, path: Path) -> dict[str, Any]:
    if stored is None:
        return {"source": path.name}
    try:
        card = json.loads(str(stored))
    except ValueError as reason:
        raise IntegrityError(f"the card in {path} is damaged: {reason}") from None
    if not isinstance(card, dict):
        raise IntegrityError(f"the card in {path} is damaged: it is no JSON object")
    return card


# ------------------------------------------------------------------------ converting
def _dataset(arrays: Arrays, card: Mapping[str, Any], path: Path) -> Dataset:
    arrays = _steps(arrays)
    terminated = _flags(arrays["terminals"], "terminals")
    truncated = _flags(arrays["timeouts"], "timeouts")
    if not (terminated | truncated).any():
        card = {**card, "no_ends": "terminals and timeouts are false: one long episode"}
    truncated[-1] |= not terminated[-1]  # the data end there, the episode does not
    if "next_observations" not in arrays:
        return _without_next(arrays, terminated, truncated, card)
    ends = np.flatnonzero(terminated | truncated)
    lengths = arrays.get("lengths", np.diff(ends, prepend=-1))
    return Dataset(
        obs=arrays["observations"],
        actions=arrays["actions"],
        rewards=arrays["rewards"],
        next_obs=arrays["next_observations"],
        terminated=terminated,
        truncated=truncated,
        lengths=lengths,
        episode_ids=arrays.get("episode_ids", np.arange(len(lengths))),
        card=card,
    )


def _steps(arrays: Arrays) -> Arrays:
    """The arrays, known to be there and to have as many rows as there are steps."""
    missing = [name for name in NEEDED if name not in arrays]
    if missing:
        raise ValueError(
            f"it has no {' and no '.join(missing)}; it needs {', '.join(NEEDED)} and "
            "may have next_observations"
        )
    counts = {name: len(np.atleast_1d(arrays[name])) for name in NEEDED}
    if len(set(counts.values())) > 1:
        told = ", ".join(f"{name} {count}" for name, count in counts.items())
        raise ValueError(f"all arrays need as many rows as there are steps, got {told}")
    if counts["rewards"] == 0:
        raise ValueError("the dataset is empty: it needs at least one transition")
    for name in ("observations", "actions"):
        if arrays[name].ndim == 1:
            raise ValueError(
                f"{name} must have two axes, steps and entries, got shape "
                f"{arrays[name].shape}; one number a step is ({counts[name]}, 1)"
            )
    return {**arrays, "rewards": _flat(arrays["rewards"], "rewards")}


def _without_next(
    arrays: Arrays, terminated: np.ndarray, truncated: np.ndarray, card: Any
) -> Dataset:
    """Where next_obs are not stored they are the obs of the following row.

    What follows the last row of an episode is the next episode's beginning. A truncated
    episode therefore loses its last transition, and a terminated one's next_obs, which
    no value looks at, repeats obs.
    """
    ends = np.flatnonzero(terminated | truncated)
    lost = ends[~terminated[ends]]
    kept, last = np.ones(len(terminated), bool), np.zeros(len(terminated), bool)
    kept[lost], last[ends] = False, True
    # What came before a lost transition, in the same episode, is its last one now.
    now_last = lost[(lost > 0) & ~last[lost - 1]] - 1
    truncated = truncated.copy()
    truncated[now_last] = True
    obs = np.asarray(arrays["observations"])
    next_obs = np.concatenate([obs[1:], obs[-1:]])
    next_obs[ends] = obs[ends]
    new_ends = np.flatnonzero((terminated | truncated) & kept)
    if len(new_ends) == 0:
        raise ValueError("there is no transition whose next observation is known")
    return Dataset(
        obs=obs[kept],
        actions=np.asarray(arrays["actions"])[kept],
        rewards=arrays["rewards"][kept],
        next_obs=next_obs[kept],
        terminated=terminated[kept],
        truncated=truncated[kept],
        lengths=np.diff(np.cumsum(kept)[new_ends], prepend=0),
        episode_ids=np.searchsorted(ends, new_ends),
        card={**card, "transitions_without_next_obs": len(lost)},
    )


def _flat(values: np.ndarray, name: str) -> np.ndarray:
    if values.ndim == 2 and values.shape[1] == 1:
        return values[:, 0]
    if values.ndim != 1:
        raise ValueError(f"{name} must be one number a step, got shape {values.shape}")
    return values


def _flags(values: np.ndarray, name: str) -> np.ndarray:
    values = _flat(values, name)
    if values.dtype != bool and not np.isin(values, (0, 1)).all():
        raise ValueError(f"{name} must be true or false, got other numbers")
    return values.astype(bool)
