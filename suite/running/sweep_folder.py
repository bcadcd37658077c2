"""The folder of a sweep: what lies where, and what is done.

<out>/<sweep>/
    sweep.json     the whole sweep, all cells, whichever of them were run
    summary.json   its numbers
    figures/       its pictures
    <cell>-<digest>/seed-<n>/   a run folder like any other, see ``suite.runs``
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import Any

from suite.benchmark import Benchmark
from suite.cell import Cell
from suite.data.named_data import SameData
from suite.parts import ConfigError
from suite.results.details import read_details
from suite.results.sweep_results import CellResults, Results, SeedResult
from suite.running.jobs import Job
from suite.running.run_folder import RunFolder
from suite.storage import IntegrityError, read_json, read_table, write_json
from suite.sweep import Sweep, Trial

TABLES = ("eval.csv", "metrics.csv")


class SweepFolder:
    """Where a sweep lies, or will.

    Args:
        path: ``runs/<sweep>``.
    """

    def __init__(self, path: str | os.PathLike[str]):
        self.path = Path(path)

    @classmethod
    def of(cls, sweep: Sweep, out: str | os.PathLike[str]) -> SweepFolder:
        """Where a sweep lies below an output folder."""
        return cls(Path(out) / sweep.name)

    def cell(self, cell: Cell) -> RunFolder:
        """The run folder of a cell."""
        return RunFolder(self.path / cell.folder_name)

    def is_done(self, trial: Trial) -> bool:
        """Whether a trial has finished.

        Raises:
            IntegrityError: If what lies there is no result.
        """
        return self.cell(trial.cell).result(trial.seed) is not None

    def state(self, trial: Trial) -> str:
        """``"new"``, ``"begun"`` (it can go on) or ``"finished"``."""
        if self.is_done(trial):
            return "finished"
        is_begun = self.cell(trial.cell).saved(trial.seed) is not None
        return "begun" if is_begun else "new"

    def job(
        self, trial: Trial, device: str, command: str = "", fresh: bool = False
    ) -> Job:
        """A trial to be carried out here, see ``Job``."""
        path, spec = self.cell(trial.cell).path, trial.cell.spec
        return Job(path, trial.seed, spec, device, command, fresh)

    def with_seeds(self, sweep: Sweep) -> Sweep:
        """A sweep with the seeds of its cells that were ever run here, too."""
        where = self.path / "sweep.json"
        if not where.exists():
            return sweep
        try:
            return sweep.joined_by(Sweep.from_json(read_json(where)))
        except ConfigError:  # of another version, and about to be written anew
            return sweep

    def store(self, sweep: Sweep) -> None:
        """Write down what is run here, beside the seeds that were."""
        self.path.mkdir(parents=True, exist_ok=True)
        sweep = self.with_seeds(sweep)
        where, document = self.path / "sweep.json", sweep.to_json()
        if not where.exists() or read_json(where) != document:
            write_json(where, document)

    def sweep(self) -> Sweep:
        """What is run here.

        Raises:
            ConfigError: If there is no sweep here.
            IntegrityError: If its description is damaged.
        """
        where = self.path / "sweep.json"
        if not where.exists():
            raise ConfigError(
                f"there is no sweep in {self.path}; give a folder such as "
                "runs/offline-corruption"
            )
        return Sweep.from_json(read_json(where))

    def results(self) -> Results:
        """What has finished.

        Raises:
            ConfigError: If there is no sweep here.
            IntegrityError: If the sweep's description is damaged, or two results that
                say that they are of the same data are not. Results that are damaged are
                left out and told by ``Results.damaged``.
        """
        sweep = self.sweep()
        damaged = self.damaged(sweep.trials())
        self.require_same_data(sweep.trials(), is_local=False)
        lost = {(trial.cell.label, trial.seed) for trial in damaged}
        cells = [self._cell_results(cell, lost) for cell in sweep.cells]
        return Results(sweep, cells, damaged)

    def damaged(self, trials: Iterable[Trial]) -> dict[Trial, IntegrityError]:
        """Trials whose results cannot be read, each with the reason."""
        found = {}
        for trial in trials:
            try:
                _seed_result(self.cell(trial.cell), trial.seed)
            except IntegrityError as reason:
                found[trial] = reason
        return found

    def require_same_data(self, trials: Iterable[Trial], *, is_local: bool) -> None:
        """Refuse results that were computed on other data than the others.

        Args:
            trials: Whose results to look at; those that have none do not matter.
            is_local: Whether the data that are stored here now count, too.

        Raises:
            IntegrityError: Naming the folder.
        """
        same = SameData(is_local=is_local)
        for trial in trials:
            same.take(self.cell(trial.cell), trial.cell.spec, trial.seed)

    def _cell_results(self, cell: Cell, lost: Collection[Any]) -> CellResults:
        seeds = [seed for seed in cell.spec.seeds if (cell.label, seed) not in lost]
        return _cell_results(self.cell(cell), cell, seeds)


def results_of_runs(paths: Sequence[str | os.PathLike[str]]) -> Results:
    """What has finished in the run folders of single benchmarks, as a sweep's cells.

    They are called by their benchmarks; where two are of one, by their folders, too.

    Raises:
        ConfigError: If a folder has no run, two are called the same or their metrics
            differ.
        IntegrityError: If a result is damaged.
    """
    folders = [RunFolder(path) for path in paths]
    specs = [folder.spec() for folder in folders]
    cells = [
        Cell({"run": name}, spec)
        for name, spec in zip(_names(folders, specs), specs, strict=True)
    ]
    found = [
        _cell_results(folder, cell, folder.seeds())
        for folder, cell in zip(folders, cells, strict=True)
    ]
    return Results(Sweep("runs", "Single benchmarks.", tuple(cells)), found)


def _names(folders: Sequence[RunFolder], specs: Sequence[Benchmark]) -> list[str]:
    """What tells runs apart, the benchmark's name alone where that is enough."""
    short = [spec.name for spec in specs]
    names = [
        # A folder may be called anything, a cell by plain words.
        name
        if short.count(name) == 1
        else re.sub(r"[^A-Za-z0-9._-]", "-", f"{name}-{folder.path.resolve().name}")
        for name, folder in zip(short, folders, strict=True)
    ]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise ConfigError(f"two of the runs are called {twice}; name different ones")
    return names


def _cell_results(folder: RunFolder, cell: Cell, seeds: Iterable[int]) -> CellResults:
    found = {seed: _seed_result(folder, seed) for seed in seeds}
    return CellResults(cell, {seed: each for seed, each in found.items() if each})


def _seed_result(folder: RunFolder, seed: int) -> SeedResult | None:
    result = folder.result(seed)
    if result is None:
        return None
    paths = [folder.seed(seed) / name for name in TABLES]
    tables = (read_table(path) if path.exists() else [] for path in paths)
    details = folder.seed(seed) / "details.npz"
    arrays = read_details(details) if details.exists() else {}
    return SeedResult(result, tuple(tables), arrays)
