"""``compare``: cells of a sweep, or runs, against one of them, seed by seed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from suite.results.units import UNITS, Unit, plain_unit, unit
from suite_bench.options import json_option
from suite_bench.plot import print_table, spread

if TYPE_CHECKING:
    from suite.evaluation import Interval
    from suite.results.comparison import Compared


@click.command()
@click.argument("folder", metavar="FOLDER", type=click.Path(path_type=Path))
@click.argument("others", metavar="[CELL|RUN_FOLDER]...", nargs=-1)
@click.option(
    "--column", default="", help="Of eval.csv or metrics.csv; the metric if not given."
)
@click.option(
    "--over",
    default="final",
    show_default=True,
    metavar="PART",
    help="final, last3 (mean of the last three), 2-15 (mean over those iterations), 6 "
    "(that one) or peak: the highest, of losses, errors and times the lowest, which is "
    "biased.",
)
@click.option(
    "--confidence",
    type=click.FloatRange(50, 99.9),
    default=95,
    show_default=True,
    metavar="PERCENT",
    help="Of the intervals. 90 for an equivalence: an interval of the difference that "
    "lies within the bounds is two one-sided tests at 5 %.",
)
@click.option(
    "--plot",
    type=click.Path(path_type=Path),
    metavar="FILE.png",
    help="Draw the column over training here, as far as all of them go.",
)
@json_option
def compare(
    folder: Path,
    others: Sequence[str],
    column: str,
    over: str,
    confidence: float,
    plot: Path | None,
    as_json: bool,
) -> None:
    """Compare cells of a sweep, or runs, with the first one, paired by seed.

    For what a sweep's own table does not say: other pairs than with its baseline, other
    columns, other parts of training. Of a sweep without cells, all are compared with
    its baseline.

    \b
    Examples:
      suite-bench compare docs/results/pwm-pendulum-ablation
      suite-bench compare runs/offline-corruption iql-hopper-k30 iql-hopper-matched30
      suite-bench compare runs/cs285-q4 standard sequences100 \\
          --column train/return_mean --over 8-15 --confidence 90
      suite-bench compare runs/sac-hopper/default-* runs/mbpo-hopper/default-* \\
          --plot hopper.png
    """
    from suite.results.compared_curves import draw_compared
    from suite.results.comparison import compare as compared
    from suite.results.comparison import span, told
    from suite.running.sweep_folder import SweepFolder, results_of_runs

    if any(folder.glob("seed-*")):
        results = results_of_runs([folder, *others])
        labels = [found.cell.label for found in results.cells]
    else:
        results, labels = SweepFolder(folder).results(), list(others)
    rows = compared(
        results, labels, column=column, over=over, confidence=confidence / 100
    )
    if plot:
        draw_compared(results, labels, plot, column=column)
    column = column or results.sweep.metric
    head = {"sweep": results.sweep.name, "column": column, "over": over}
    if as_json:
        told_rows = [told(row) for row in rows]
        every = {**head, "confidence": confidence, "cells": told_rows}
        if plot:
            every["figure"] = str(plot)
        click.echo(json.dumps(every, indent=2))
        return
    shown = _unit(column, results.sweep.metric, rows)
    heading = shown.headed(results.sweep.written(column))
    _print(
        f"{results.sweep.name}: {heading}, {span(over).about}",
        rows,
        shown,
        f"{confidence:g} %",
    )
    if plot:
        click.echo(f"figure: {plot}")


def _unit(column: str, metric: str, rows: Sequence[Compared]) -> Unit:
    """Of a known column; four digits of what nothing is known of."""
    if column == metric or column.rpartition("/")[2] in UNITS:
        return unit(column)
    values = (value for row in rows for value in row.values.values())
    return plain_unit(column, values)


def _print(heading: str, rows: Sequence[Compared], shown: Unit, percent: str) -> None:
    others = any(row.difference for row in rows)
    less = [f"less {rows[0].cell}", percent, "pairs"] if others else []
    print_table(
        heading,
        ["cell", "seeds", "mean", percent, *less],
        [
            [
                row.cell,
                str(len(row.values)),
                *_spread(row.mean, shown),
                *([*_spread(row.difference, shown), _pairs(row)] if others else []),
            ]
            for row in rows
        ],
    )
    click.echo(
        "Over seeds, with Student's t interval; differences are paired by seed, and "
        "their intervals\nare of single comparisons, not of all together."
    )


def _pairs(row: Compared) -> str:
    return str(row.pairs) if row.difference else "-"


def _spread(found: Interval | None, shown: Unit) -> tuple[str, str]:
    return spread(found and asdict(found), shown)
