"""``plot``: the table, the numbers and the figures of a sweep's stored results."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from suite.results.units import SHARE, Unit, unit
from suite_bench.errors import NotIntact, explained
from suite_bench.options import json_option

if TYPE_CHECKING:
    from suite.running.jobs import Failed, Job
    from suite.running.sweep_folder import SweepFolder


@click.command()
@click.argument("folder", metavar="SWEEP_FOLDER", type=click.Path(path_type=Path))
@click.option(
    "--to",
    type=click.Path(path_type=Path),
    metavar="FOLDER",
    help="Where the figures go; into the sweep's folder if not given.",
)
@json_option
def plot(folder: Path, to: Path | None, as_json: bool) -> None:
    """Draw a sweep's figures again from its stored results, and print its table.

    \b
    Examples:
      suite-bench plot runs/offline-corruption
      suite-bench plot docs/results/offline-corruption --to docs/offline

    Nothing is run and nothing that the files name is imported. What has not finished
    is left out.
    """
    from suite.running.sweep_folder import SweepFolder

    damaged = publish(SweepFolder(folder), as_json, [], to)
    if damaged:
        name, reason = next(iter(damaged.items()))
        raise NotIntact(f"{len(damaged)} damaged and left out, {name}: {reason}")


def publish(
    folder: SweepFolder,
    as_json: bool,
    failures: Sequence[Failed],
    to: Path | None = None,
    selected: Collection[str] = (),
) -> dict[str, str]:
    """Write a sweep's numbers, draw its figures, print its table or JSON.

    Args:
        folder: Of the sweep.
        as_json: Print JSON instead of the table.
        failures: What to list below it.
        to: Where the figures go, see ``plot``.
        selected: Names of cells to list though they have no results.

    Returns:
        Results that are there and cannot be read: why, by name.
    """
    from suite.results.figures import draw
    from suite.results.sweep_results import summary
    from suite.storage import write_json

    results = folder.results()
    found = summary(results)
    write_json(folder.path / "summary.json", found)
    home = to or folder.path / "figures"
    figures = [draw(figure, results, home) for figure in results.sweep.figures]
    drawn = [str(path) for path in figures if path is not None]
    damaged = {
        f"{trial.cell.label} seed {trial.seed}": str(reason)
        for trial, reason in results.damaged.items()
    }
    failed = {title(each.job): explained(each.reason).message for each in failures}
    failed = {**damaged, **failed}
    if as_json:
        told = {**found, "figures": drawn, "failures": failed}
        click.echo(json.dumps(told, indent=2))
        return damaged
    print_tables(found, results.sweep.written, selected)
    for name, reason in failed.items():
        click.echo(f"failed: {name}: {reason}")
    if drawn:
        click.echo(f"figures: {home}")
    return damaged


def title(job: Job) -> str:
    """A job by its cell and its seed."""
    return f"{job.path.name.rpartition('-')[0]} seed {job.seed}"


def print_tables(
    found: dict[str, Any], written: Any, selected: Collection[str] = ()
) -> None:
    """Print a summary: a row a cell, then all tasks together.

    Args:
        found: Of ``suite.results.sweep_results.summary``.
        written: From a name to how a reader wants it.
        selected: Cells to show though they have no results.
    """
    rows = [row for row in found["cells"] if row["seeds"] or row["cell"] in selected]
    shown = unit(found["metric"])
    heading = f"{found['sweep']}: {shown.headed(written(found['metric']))}"
    print_table(
        f"{heading}, {found['finished']} of {found['trials']} finished",
        ["cell", "seeds", "mean", "95 %", "last\n3", "drop", "95 %"],
        [
            [
                row["cell"],
                f"{len(row['seeds'])}/{len(row['seeds']) + len(row['missing'])}",
                *spread(row["final"], shown),
                spread(row["mean_of_last_3"], shown)[0],
                *spread(row["drop"], shown),
            ]
            for row in rows
        ],
    )
    if len(rows) < len(found["cells"]):
        left = len(found["cells"]) - len(rows)
        click.echo(f"{left} cells without results are not shown.")
    _print_aggregates(found, shown)
    _print_pairs(found)
    click.echo("\n".join(_footnotes(found)))


def _print_aggregates(found: dict[str, Any], shown: Unit) -> None:
    """All tasks together, if there are several."""
    wins = {
        (row["rival"], row["condition"]): spread(row["probability"], SHARE)
        for row in reversed(found["improvements"])  # of each, the next one comes first
    }
    if found["aggregates"]:
        print_table(
            "all tasks together",
            ["rival", "condition", "seeds", "IQM", "95 %", "beats\nnext, %", "95 %"],
            [
                [
                    f"{row['rival'] or ''}",
                    row["condition"],
                    str(row["seeds"]),
                    *spread(row["iqm"], shown),
                    *wins.get((row["rival"], row["condition"]), ("", "")),
                ]
                for row in found["aggregates"]
            ],
        )


def _print_pairs(found: dict[str, Any]) -> None:
    """Rivals less the first one, drive by drive, where errors of drives are kept."""
    kinds = {"mean": "mean", "median": "median", "p95": "95 %", "max": "largest"}
    for name in dict.fromkeys(row["errors"] for row in found["pairs"]):
        rows = [row for row in found["pairs"] if row["errors"] == name]
        shown = unit(name.removeprefix("ood_"))
        heading = f"{name} less that of {rows[0]['over']} ({shown.name}), 95 % below"
        print_table(
            heading,
            ["cell", "fits", *kinds.values()],
            [
                [
                    f"{row['task'] or ''} {row['rival']}".strip(),
                    str(row["data"] * row["fits"]),
                    *(_difference(row["statistics"][kind], shown) for kind in kinds),
                ]
                for row in rows
            ],
        )


def _difference(told: dict[str, float], shown: Unit) -> str:
    value, low, high = (shown.shown(told[n]) for n in ("difference", "low", "high"))
    return f"{value}\n{low} to {high}"


def print_table(heading: str, columns: list[str], rows: list[list[str]]) -> None:
    """A heading, and a table whose first column of names is on the left."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False)
    if not console.is_terminal:  # a file has no width; cells must not be cut there
        console = Console(highlight=False, width=120)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    for column in columns:
        is_name = column in ("cell", "rival", "condition")
        table.add_column(column, justify="left" if is_name else "right", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    console.print(heading, markup=False)
    console.print(table)


def _footnotes(found: dict[str, Any]) -> list[str]:
    lines = [
        "Mean: at the end of training, over seeds, with Student's t interval. IQM: the "
        "middle half of\nall seeds and tasks, with a stratified bootstrap interval, "
        "too narrow below five seeds."
    ]
    if found["baseline"]:
        lines.append(
            f"Drop: by how much it is below {found['baseline']}, paired by seed."
        )
    if found["improvements"]:
        lines.append(
            "Beats next: how probably a run does better than one of the next rival."
        )
    return lines


def spread(told: dict[str, Any] | None, shown: Unit) -> tuple[str, str]:
    """An estimate and its interval; dashes for what there is not."""
    if told is None:
        return "-", "-"
    ends = f"{shown.shown(told['low'])} to {shown.shown(told['high'])}"
    return shown.shown(told["value"]), "-" if told["low"] is None else ends
