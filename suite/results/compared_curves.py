"""Cells or runs that are compared, over training, in one picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from suite.cell import Cell
from suite.parts import ConfigError
from suite.results.comparison import chosen
from suite.results.figures import Curves, draw
from suite.results.sweep_results import CellResults, Results
from suite.sweep import Sweep


def draw_compared(
    results: Results, labels: Sequence[str], path: Path, *, column: str = ""
) -> Path:
    """Draw a column of some cells, a line each, as far as all of them go.

    Use it beside ``suite.results.comparison.compare``, whose ``labels`` and ``column``
    these are. Runs of different lengths are drawn to the end of the shortest, so that
    the lines' ends are at equal steps.

    Args:
        results: Of the sweep, or of runs.
        labels: Of the cells, the first one black; all if none is named.
        path: The PNG to write.
        column: Of eval.csv or metrics.csv, one that the cells have; the metric if
            empty.

    Raises:
        ConfigError: If the path is not a PNG's, or a cell is not there.
    """
    if path.suffix != ".png":
        raise ConfigError(f"a figure is a PNG: its name ends with .png, got {path}")
    column = column or results.sweep.metric
    found = side_by_side(results, labels, column)
    drawn = draw(Curves(path.stem, column), found, path.parent)
    if drawn is None:
        raise ConfigError(f"{column} has no numbers to draw")
    return drawn


def side_by_side(results: Results, labels: Sequence[str], column: str) -> Results:
    """The cells of one panel whatever they differ in, as far as all of them go.

    Args:
        results: Of the sweep, or of runs.
        labels: As in ``draw_compared``.
        column: Whose last step is the end of a cell.
    """
    placed = [
        replace(found, cell=Cell({"cell": found.cell.label}, found.cell.spec))
        for found in _shortened(chosen(results, labels), column)
    ]
    sweep = Sweep(
        results.sweep.name,
        "Cells that are compared.",
        tuple(found.cell for found in placed),
        baseline=placed[0].cell.label,
        labels=results.sweep.labels,
    )
    return Results(sweep, placed)


def _shortened(cells: Sequence[CellResults], column: str) -> list[CellResults]:
    """Without the rows beyond the last step of a column that all seeds have."""
    series = [done.series(column) for each in cells for done in each.seeds.values()]
    end = min(max(steps) for steps in series)
    return [
        replace(
            found,
            seeds={
                seed: replace(
                    done,
                    tables=tuple(
                        [row for row in rows if row["timesteps"] <= end]
                        for rows in done.tables
                    ),
                )
                for seed, done in found.seeds.items()
            },
        )
        for found in cells
    ]
