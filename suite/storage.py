"""Files on disk: directories written whole and read verified, JSON, growing tables."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

MANIFEST = "MANIFEST.json"
SCHEMA = 1
_PLAIN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_LEFTOVER = re.compile(r"\..+\.(tmp|old)-\d+")


class IntegrityError(Exception):
    """A stored file is not what was written: changed, missing, added or unreadable."""


def write_directory(
    path: str | os.PathLike[str],
    files: Mapping[str, bytes],
    extra: Mapping[str, Any] | None = None,
) -> None:
    """Write a directory of files whole or not at all, with a manifest of hashes.

    Use it for whatever must survive a crash or a bad disk: policies, checkpoints. The
    files are written beside, flushed to the disk and renamed. A directory that is there
    already is replaced: it stays until the new one is complete.

    Args:
        path: Where the directory shall be; its parent is made.
        files: Content by plain file name (no folders).
        extra: Anything JSON-able to keep in the manifest, such as library versions.

    Raises:
        ValueError: If a name is not a plain file name.
        FileExistsError: If there is something else that would be lost.
        OSError: If the disk refuses.
    """
    path = Path(path)
    _require_replaceable(path)
    for name in files:
        if not _PLAIN_NAME.fullmatch(name) or name == MANIFEST:
            raise ValueError(f"a stored file needs a plain name, got {name!r}")
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.tmp-{os.getpid()}")
    shutil.rmtree(beside, ignore_errors=True)  # a leftover of a dead process of this id
    beside.mkdir()
    try:
        for name, content in {**files, MANIFEST: _manifest(files, extra)}.items():
            _write_synced(beside / name, content)
        _sync(beside)
        _replace_directory(beside, path)
        _sync(path.parent)
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def read_directory(path: str | os.PathLike[str]) -> dict[str, bytes]:
    """The files of a directory made by ``write_directory``, each one verified.

    Args:
        path: The directory.

    Returns:
        Content by file name, without the manifest.

    Raises:
        IntegrityError: If a file was changed, is missing, was added, is not a plain
            file, or if the manifest is missing or damaged; the message names the file.
    """
    path = Path(path)
    entries = _listed(path)
    return {name: _read_verified(path / name, entries[name]) for name in entries}


def seal_directory(
    path: str | os.PathLike[str], extra: Mapping[str, Any] | None = None
) -> None:
    """Write the manifest of a directory whose files somebody else has written.

    Use it where a library writes files of its own, beside their final place. They are
    flushed to the disk.

    Args:
        path: The directory, of plain files.
        extra: Anything JSON-able to keep in the manifest.

    Raises:
        OSError: If the disk refuses.
    """
    path, entries = Path(path), {}
    for name in sorted(os.listdir(path)):
        _sync(path / name)
        entries[name] = _file_entry(path / name)
    body = {"schema": SCHEMA, "files": entries, "extra": dict(extra or {})}
    _write_synced(path / MANIFEST, _render_manifest(body))
    _sync(path)


def verify_directory(path: str | os.PathLike[str]) -> None:
    """``read_directory`` of files too large to be kept in memory.

    Raises:
        IntegrityError: As ``read_directory``.
    """
    path = Path(path)
    for name, entry in _listed(path).items():
        if not (path / name).is_file() or _file_entry(path / name) != entry:
            _read_verified(path / name, entry)  # says what is wrong


def _listed(path: Path) -> dict[str, Any]:
    """The manifest's entries, if nothing else is there."""
    entries = _read_manifest(path)["files"]
    for entry in sorted(os.listdir(path)):
        if entry != MANIFEST and entry not in entries:
            raise IntegrityError(f"{path / entry} is not in {MANIFEST}; remove it")
    return entries


def remove_directory(path: Path) -> None:
    """Remove a directory so that nobody meets a half of it under its name."""
    aside = path.with_name(f".{path.name}.old-{os.getpid()}")
    path.rename(aside)
    shutil.rmtree(aside)


def remove_leftovers(folder: Path) -> None:
    """Remove what writers that died left behind in a folder.

    Use it only where nobody else writes, such as under the lock of a run.
    """
    for path in folder.iterdir() if folder.is_dir() else ():
        if not _LEFTOVER.fullmatch(path.name):
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def _manifest(files: Mapping[str, bytes], extra: Mapping[str, Any] | None) -> bytes:
    entries = {name: _entry(content) for name, content in files.items()}
    return _render_manifest(
        {"schema": SCHEMA, "files": entries, "extra": dict(extra or {})}
    )


def _entry(content: bytes) -> dict[str, Any]:
    return {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}


def _file_entry(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {"bytes": path.stat().st_size, "sha256": digest}


def _render_manifest(body: Mapping[str, Any]) -> bytes:
    """The manifest's only byte form; it carries its own hash, so it is covered too."""
    text = json.dumps(body, sort_keys=True)
    stored = {**body, "sha256": hashlib.sha256(text.encode()).hexdigest()}
    return (json.dumps(stored, sort_keys=True, indent=1) + "\n").encode()


def _read_manifest(path: Path) -> dict[str, Any]:
    where = path / MANIFEST
    try:
        if where.is_symlink() or (where.exists() and not where.is_file()):
            raise IntegrityError(f"{where} is not a plain file")
        raw = where.read_bytes()
    except OSError as reason:
        raise IntegrityError(
            f"{where} is missing or unreadable ({reason.strerror})"
        ) from None
    body = _parsed_manifest(raw)
    if body is None:
        raise IntegrityError(f"{where} is damaged: it does not match its own hash")
    if body.get("schema") != SCHEMA:
        raise IntegrityError(
            f"{where} has schema {body.get('schema')!r}, this version reads {SCHEMA}"
        )
    entries = body.get("files")
    if not isinstance(entries, dict):
        raise IntegrityError(f"{where} lists no files")
    for name in entries:
        if not _PLAIN_NAME.fullmatch(name) or name == MANIFEST:
            raise IntegrityError(
                f"{where} names {name!r}, which is not a plain file name"
            )
    return body


def _parsed_manifest(raw: bytes) -> dict[str, Any] | None:
    try:
        body = json.loads(raw)
        del body["sha256"]
        return body if _render_manifest(body) == raw else None
    except (ValueError, KeyError, TypeError, RecursionError):
        return None


def _read_verified(path: Path, entry: Any) -> bytes:
    if path.is_symlink() or not path.is_file():
        raise IntegrityError(f"{path} is missing or not a plain file")
    size = path.stat().st_size  # compared first: a file made huge is not read
    if (
        not isinstance(entry, dict)
        or entry.get("bytes") != size
        or entry != _entry(content := path.read_bytes())
    ):
        raise IntegrityError(
            f"{path} is damaged: its {size} bytes are not those recorded in {MANIFEST}"
        )
    return content


def _write_synced(path: Path, content: bytes) -> None:
    try:
        with path.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    except OSError as reason:
        # A failed write names no file, and a user needs to know which disk is full.
        raise OSError(reason.errno, reason.strerror, str(path)) from None


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _require_replaceable(path: Path) -> None:
    """Refuse to replace what a manifest does not say was written here."""
    if path.is_symlink() or (path.exists() and not path.is_dir()):
        raise FileExistsError(f"{path} is no directory; give a name that is free")
    names = set(os.listdir(path)) if path.exists() else set()
    if not names:
        return
    try:
        strange = names - {MANIFEST, *_read_manifest(path)["files"]}
    except IntegrityError:
        # A damaged one of ours is replaced; without a manifest it is somebody's.
        strange = set() if MANIFEST in names else names
    if strange:
        raise FileExistsError(
            f"{path} holds {min(strange)}, which was not written with the rest and "
            "would be lost; give a name that is free"
        )


def _replace_directory(source: Path, target: Path) -> None:
    """Rename onto the target; what was there is moved aside first and removed last."""
    if not target.exists():
        source.rename(target)
        return
    aside = target.with_name(f".{target.name}.old-{os.getpid()}")
    shutil.rmtree(aside, ignore_errors=True)  # a leftover of a dead process of this id
    target.rename(aside)
    source.rename(target)
    shutil.rmtree(aside)


# --------------------------------------------------------------------- single files
def write_json(path: Path, document: Any) -> None:
    """Write a JSON file whole or not at all; one that is there is replaced.

    Raises:
        OSError: If the disk refuses.
    """
    write_file(path, (json.dumps(document, indent=2) + "\n").encode())


def write_file(path: Path, content: bytes) -> None:
    """Write a file whole or not at all; one that is there is replaced.

    Raises:
        OSError: If the disk refuses.
    """
    beside = path.with_name(f".{path.name}.tmp-{os.getpid()}")
    _write_synced(beside, content)
    beside.replace(path)
    _sync(path.parent)


def read_json(path: Path) -> Any:
    """The document in a JSON file.

    Raises:
        IntegrityError: If it is not JSON.
    """
    return parse_json(path.read_bytes(), path, allow_nan=True)


def parse_json(raw: bytes, path: Path, *, allow_nan: bool = False) -> Any:
    """The document in some bytes.

    Args:
        raw: The bytes.
        path: Where they are from, for the message.
        allow_nan: Whether NaN and Infinity, which Python writes, are let through.

    Raises:
        IntegrityError: If they are not JSON, or nested without end.
    """

    def constant(name: str) -> float:
        if not allow_nan:
            raise ValueError(f"it holds {name}")
        return float(name)

    try:
        return json.loads(raw, parse_constant=constant)
    except ValueError as reason:
        raise IntegrityError(f"{path} is not JSON: {reason}") from None
    except RecursionError:
        raise IntegrityError(f"{path} is not JSON of ours: nested too deep") from None


class Table:
    """A CSV file that is complete after every row; a new column rewrites it.

    Args:
        path: Of the file.
        text: What it held when a run was put away: the file is set back to that.
    """

    def __init__(self, path: Path, text: str = ""):
        self.path = path
        self.columns, *rows = list(csv.reader(text.splitlines())) or [[]]
        self._rows: list[Mapping[str, Any]] = [
            dict(zip(self.columns, row, strict=True)) for row in rows
        ]
        if text:
            _write_synced(path, text.encode())
        else:
            path.unlink(missing_ok=True)

    @property
    def text(self) -> str:
        """The file so far."""
        return self.path.read_text() if self._rows else ""

    def append(self, row: Mapping[str, Any]) -> None:
        """Write one row to the disk."""
        self._rows.append(row)
        new = [name for name in row if name not in self.columns]
        self.columns += new
        rows = self._rows if new else [row]
        with self.path.open("w" if new else "a", newline="") as file:
            writer = csv.DictWriter(file, self.columns, lineterminator="\n")
            if new:
                writer.writeheader()
            writer.writerows(rows)


def read_table(path: Path) -> list[dict[str, float]]:
    """The rows of a ``Table``; cells without a value are left out.

    Raises:
        IntegrityError: If a cell is no number.
    """
    try:
        with path.open(newline="") as file:
            return [
                {name: float(cell) for name, cell in row.items() if cell}
                for row in csv.DictReader(file)
            ]
    except (ValueError, TypeError, csv.Error) as reason:
        raise IntegrityError(f"{path} is damaged: {reason}") from None
