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
        OSError: If the disk refuses.
    """
    path = Path(path)
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
    entries = _read_manifest(path).get("files", {})
    for entry in sorted(os.listdir(path)):
        if entry != MANIFEST and entry not in entries:
            raise IntegrityError(f"{path / entry} is not in {MANIFEST}; remove it")
    return {name: _read_verified(path / name, entries[name]) for name in entries}


def _manifest(files: Mapping[str, bytes], extra: Mapping[str, Any] | None) -> bytes:
    entries = {name: _entry(content) for name, content in files.items()}
    return _render_manifest(
        {"schema": SCHEMA, "files": entries, "extra": dict(extra or {})}
    )


def _entry(content: bytes) -> dict[str, Any]:
    return {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}


def _render_manifest(body: Mapping[str, Any]) -> bytes:
    """The manifest's only byte form; it carries its own hash, so it is covered too."""
    text = json.dumps(body, sort_keys=True)
    stored = {**body, "sha256": hashlib.sha256(text.encode()).hexdigest()}
    return (json.dumps(stored, sort_keys=True, indent=1) + "\n").encode()


def _read_manifest(path: Path) -> dict[str, Any]:
    where = path / MANIFEST
    try:
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
    for name in body.get("files", ()):
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


def _read_verified(path: Path, entry: Mapping[str, Any]) -> bytes:
    if path.is_symlink() or not path.is_file():
        raise IntegrityError(f"{path} is missing or not a plain file")
    content = path.read_bytes()
    if dict(entry) != _entry(content):
        raise IntegrityError(
            f"{path} is damaged: its {len(content)} bytes are not those recorded in "
            f"{MANIFEST}"
        )
    return content


def _write_synced(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _replace_directory(source: Path, target: Path) -> None:
    """Rename onto the target; what was there is moved aside first and removed last."""
    if not target.exists():
        source.rename(target)
        return
    aside = target.with_name(f".{target.name}.old-{os.getpid()}")
    target.rename(aside)
    source.rename(target)
    shutil.rmtree(aside)


# --------------------------------------------------------------------- single files
def write_json(path: Path, document: Any) -> None:
    """Write a JSON file whole or not at all; one that is there is replaced.

    Raises:
        OSError: If the disk refuses.
    """
    beside = path.with_name(f".{path.name}.tmp-{os.getpid()}")
    _write_synced(beside, (json.dumps(document, indent=2) + "\n").encode())
    beside.replace(path)
    _sync(path.parent)


def read_json(path: Path) -> Any:
    """The document in a JSON file.

    Raises:
        IntegrityError: If it is not JSON.
    """
    try:
        return json.loads(path.read_bytes())
    except ValueError as reason:
        raise IntegrityError(f"{path} is not JSON: {reason}") from None


class Table:
    """A CSV file that is complete after every row; a new column rewrites it.

    Args:
        path: Of the file.
    """

    def __init__(self, path: Path):
        self.path = path
        self.columns: list[str] = []
        self._rows: list[Mapping[str, Any]] = []

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
