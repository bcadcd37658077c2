"""``report``: the table and the picture of a run folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from suite.results.units import UNITS, Unit, unit
from suite_bench.options import json_option

if TYPE_CHECKING:
    from suite.running.run_folder import RunFolder


@click.command()
@click.argument("folder", metavar="RUN_FOLDER", type=click.Path(path_type=Path))
@click.option(
    "--column", default="", help="Of eval.csv or metrics.csv; the metric if not given."
)
@json_option
def report(folder: Path, column: str, as_json: bool) -> None:
    """Print the table of stored results and draw their curves again.

    \b
    Examples:
      suite-bench report runs/pickcube-awr/default-1a2b3c4d
      suite-bench report runs/pickcube-awr/default-1a2b3c4d --json
      suite-bench report runs/cs285-q3-cheetah/default-1a2b3c4d \\
          --column train/return_mean
    """
    from suite.running.run_folder import RunFolder

    is_seed = folder.name.startswith("seed-")
    publish(RunFolder(folder.parent if is_seed else folder), as_json, column)


def publish(folder: RunFolder, as_json: bool, column: str = "") -> None:
    """Draw a run folder's curves, of its metric or a column, and print its table."""
    from suite.running.run_folder import summary
    from suite_bench.curves import draw

    found = summary(folder, column)
    name = f"curves-{column.replace('/', '-')}.png" if column else "curves.png"
    picture = draw(found, folder.path / name)
    if as_json:
        click.echo(json.dumps({**found, "picture": str(picture)}, indent=2))
        return
    _print_table(found)
    click.echo(f"curves: {picture}")


def _print_table(found: dict[str, Any]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    from suite.running.run_folder import unit_of

    console = Console(highlight=False)
    if not console.is_terminal:  # a file has no width; cells must not be cut there
        console = Console(highlight=False, width=120)
    rows = found["rows"]
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    others, shown = _others(found), unit_of(found)
    simulates = "steps" not in found  # an agent that learns from data does not
    for heading in (
        "iteration",
        "env\nsteps" if simulates else found["steps"].replace(" ", "\n"),
        *([f"log\n{shown.name}"] if found["reference"] else []),
        f"ours\n{shown.name}",
        "95 %\ninterval",
        "seeds",
        *(_heading(name) for name in others),
        *(["sim.\nsteps"] if simulates else []),
    ):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in rows:
        table.add_row(
            "end" if row["is_end"] else str(row["iteration"]),
            f"{row['timesteps']:,.0f}",
            *([shown.shown(row["reference"])] if found["reference"] else []),
            *_spread(row[found["metric"]], shown),
            *(unit(name).shown(row[name]) for name in others),
            *([f"{row['sim_steps']:,.0f}"] if simulates else []),
        )
    table.add_section()
    totals = {"final": "final", "mean_of_last_3": "last three", "peak": "peak"}
    for key, name in totals.items():
        log = [shown.shown(found[key]["reference"])] if found["reference"] else []
        table.add_row(name, "", *log, *_spread(found[key], shown))
    for name, value in found["baselines"].items():
        log = [""] if found["reference"] else []
        table.add_row(name, "", *log, shown.shown(value))
    console.print(_title(found), soft_wrap=True)
    console.print(table)
    for line in _footnotes(found):
        console.print(line, soft_wrap=True)


def _others(found: dict[str, Any]) -> list[str]:
    """Further shares of success that the evaluation counted, or returns."""
    names = found["rows"][0] if found["rows"] else {}
    told = [n for n in names if n.startswith("success_") or n in UNITS]
    return [name for name in told if name != found["metric"]]


def _title(found: dict[str, Any]) -> str:
    seeds = ", ".join(map(str, found["seeds"]))
    plural = "s" if len(found["seeds"]) > 1 else ""
    name = f"{found['benchmark']} / {found['run']}"
    return f"{name}, seed{plural} {seeds}: {found['metric']}"


def _footnotes(found: dict[str, Any]) -> list[str]:
    lines = []
    if found["reference"]:
        lines.append(f"log: {found['reference']}")
    when = "An iteration is evaluated before its update, `end` after the last one. "
    if "/" in found["metric"]:
        when = "An iteration's number is of what it collected and updated itself. "
    where = "down" if unit(found["metric"]).best is min else "up"
    lines.append(
        f"{when}Interval: Student's t\nover seeds. Last three: their mean. Peak: the "
        f"best of many noisy numbers, so biased {where}."
    )
    if found["baselines"]:
        names = ", ".join(found["baselines"])
        lines.append(f"Scores of policies that learned nothing: {names}.")
    if found["final"]["reference"] is not None:
        lines.append("These three are over the log's iterations only, without `end`.")
    if any("first" in name for name in _others(found)):
        lines.append(
            "First: each row's first episode alone, with stochastic or most likely "
            "actions."
        )
    if found["unfinished"]:
        lines.append(f"unfinished seeds: {', '.join(map(str, found['unfinished']))}")
    if found["seconds"] is not None:
        minutes, seconds = divmod(round(found["seconds"]), 60)
        work = f"{found['timesteps']:,.0f} {found.get('steps', 'environment steps')}"
        if "steps" not in found:
            work += f", {found['sim_steps']:,.0f} simulator steps in all"
        lines.append(f"A seed took {minutes} min {seconds:02} s for {work}.")
    return lines


def _heading(name: str) -> str:
    short = {"stochastic": "stoch.", "deterministic": "determ."}
    words = name.removeprefix("success_").split("_")
    return " ".join(words[:-1]) + "\n" + short.get(words[-1], words[-1])


def _spread(found: dict[str, Any], shown: Unit) -> tuple[str, str, str]:
    ends = found["low"], found["high"]
    interval = "-"
    if None not in ends:
        # Between numbers that may be negative a hyphen would be one sign too many.
        joint = " to " if shown.low is None else "-"
        interval = joint.join(shown.shown(shown.within(end)) for end in ends)
    return shown.shown(found["mean"]), interval, str(found["seeds"])
