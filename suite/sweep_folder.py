"""The folder of a sweep: what lies where, and what is done.

<out>/<sweep>/
    sweep.json     the whole sweep, all cells, whichever of them were run
    summary.json   its numbers
    figures/       its pictures
    <cell>-<digest>/seed-<n>/   a run folder like any other, see ``suite.runs``
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from suite.cell import Cell
from suite.jobs import Job
from suite.parts import ConfigError
from suite.run_folder import RunFolder
from suite.storage import (
    read_json,
    read_table,
    write_json,
)
from suite.sweep import Sweep, Trial
from suite.sweep_results import CellResults, Results, SeedResult

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

    def job(self, trial: Trial, device: str, command: str, fresh: bool = False) -> Job:
        """A trial to be carried out here, see ``Job``."""
        path, spec = self.cell(trial.cell).path, trial.cell.spec
        return Job(path, trial.seed, spec, device, command, fresh)

    def store(self, sweep: Sweep) -> None:
        """Write down what is run here."""
        self.path.mkdir(parents=True, exist_ok=True)
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
            IntegrityError: If a file is damaged.
        """
        sweep = self.sweep()
        return Results(sweep, [self._cell_results(cell) for cell in sweep.cells])

    def _cell_results(self, cell: Cell) -> CellResults:
        folder = self.cell(cell)
        found = {seed: folder.result(seed) for seed in cell.spec.seeds}
        return CellResults(
            cell,
            {
                seed: SeedResult(result, _tables(folder.seed(seed)))
                for seed, result in found.items()
                if result is not None
            },
        )


def _tables(home: Path) -> tuple[Sequence[dict[str, float]], ...]:
    paths = [home / name for name in TABLES]
    return tuple(read_table(path) if path.exists() else [] for path in paths)
