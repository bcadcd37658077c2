"""Results that are kept: small enough to be committed, and taken over by a sweep."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from suite.running.run_folder import RunBusy, RunFolder
from suite.running.sweep_folder import TABLES, SweepFolder
from suite.storage import IntegrityError, Table, read_json, read_table, write_json
from suite.sweep import Trial

KEPT_ROWS = 60  # of a table: enough for a curve
KEPT_NUMBERS = 1200  # of a table: one of many columns has fewer rows
KEPT_BYTES = 40_000  # of a seed at most


def reuse(
    folder: SweepFolder, trials: Iterable[Trial], source: SweepFolder
) -> list[Trial]:
    """Copy finished trials from another sweep folder, such as a committed one.

    A trial counts if its specification is the same to the last value.

    Returns:
        The trials that were copied; those that were there are left alone.

    Raises:
        IntegrityError: If a result is not what its folder says, or is of other data
            than its neighbours or what is stored here.
    """
    trials, copied = list(trials), []
    source.require_same_data(trials, is_local=True)
    for trial in trials:
        theirs, ours = source.cell(trial.cell), folder.cell(trial.cell)
        if theirs.result(trial.seed) is None or folder.is_done(trial):
            continue
        _require_same(theirs, trial)
        with contextlib.suppress(RunBusy), ours.locked(trial.seed):
            _copy(theirs.seed(trial.seed), ours.seed(trial.seed))
            copied.append(trial)
    return copied


def _require_same(theirs: RunFolder, trial: Trial) -> None:
    told = (theirs.result(trial.seed) or {}).get("digest")
    if not told == theirs.spec(trial.seed).digest == trial.cell.spec.digest:
        raise IntegrityError(
            f"{theirs.seed(trial.seed)} is not the result of its specification; remove "
            "it, or leave out --reuse"
        )


def _copy(source: Path, target: Path) -> None:
    """Copy a finished seed whole or not at all."""
    beside = target.with_name(f".{target.name}.tmp-{os.getpid()}")
    shutil.rmtree(beside, ignore_errors=True)
    shutil.copytree(source, beside)
    shutil.rmtree(target, ignore_errors=True)  # what was begun of it
    beside.rename(target)


def thin(folder: SweepFolder, target: SweepFolder) -> dict[Trial, int]:
    """Copy what a sweep's finished trials need to be tabled, drawn and counted as done.

    Use it to commit results: no weights, tables of at most ``KEPT_ROWS`` rows and about
    ``KEPT_NUMBERS`` numbers with six significant digits.

    Returns:
        Bytes of each trial that is now there.

    Raises:
        ValueError: If a trial takes more than ``KEPT_BYTES``, or the target is what is
            to be copied.
    """
    sweep = folder.sweep()
    _require_elsewhere(folder.path, target.path)
    target.store(sweep)
    return {
        trial: _thin_seed(folder.cell(trial.cell), target.cell(trial.cell), trial.seed)
        for trial in sweep.trials()
        if folder.is_done(trial)
    }


def thin_run(folder: RunFolder, target: RunFolder) -> dict[int, int]:
    """The same of the finished seeds of a single benchmark.

    Returns:
        Bytes of each seed that is now there.

    Raises:
        ConfigError: If there are no runs.
        ValueError: As ``thin``.
    """
    folder.spec()
    _require_elsewhere(folder.path, target.path)
    return {
        seed: _thin_seed(folder, target, seed)
        for seed in folder.seeds()
        if folder.result(seed) is not None
    }


def _require_elsewhere(source: Path, target: Path) -> None:
    if source.resolve() == target.resolve():
        raise ValueError(f"{source} would be thinned itself; choose another --into")


def _thin_seed(folder: RunFolder, kept: RunFolder, seed: int) -> int:
    home = kept.seed(seed)
    _copy_thinned(folder.seed(seed), home)
    size = sum(path.stat().st_size for path in home.iterdir())
    if size > KEPT_BYTES:
        raise ValueError(
            f"{home} takes {size:,} bytes, {KEPT_BYTES:,} are allowed; evaluate less "
            "often or log fewer columns"
        )
    return size


def _copy_thinned(source: Path, target: Path) -> None:
    target.mkdir(parents=True, exist_ok=True)
    for name in TABLES:
        if (source / name).exists():
            table = Table(target / name)
            for row in _thinned(read_table(source / name)):
                table.append({name: _short(value) for name, value in row.items()})
    spec = read_json(source / "spec.json")
    (target / "spec.json").write_text(json.dumps(spec) + "\n")
    for name in ("timing.json", "details.npz"):
        if (source / name).exists():
            shutil.copyfile(source / name, target / name)
    write_json(target / "result.json", read_json(source / "result.json"))


def _thinned(rows: list[dict[str, float]]) -> list[dict[str, float]]:
    """At most ``KEPT_ROWS``, evenly, the first and the last among them."""
    most = KEPT_NUMBERS // max(map(len, rows), default=1)
    last, kept = len(rows) - 1, min(len(rows), KEPT_ROWS, max(most, 2))
    picked = [round(i * last / max(kept - 1, 1)) for i in range(kept)]
    return [rows[i] for i in picked]


def _short(value: float) -> Any:
    # 1162.0004 is 1162 at once, and not 1162.0, which would be 1162 the next time.
    short = value if value.is_integer() else float(f"{value:.6g}")
    return int(short) if short.is_integer() else short
