"""How datasets look on a terminal, and the picture of their returns."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Any

import click
from rich import box
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn
from rich.table import Table

from suite.data.published import compared

WIDTH = 40  # of the longest bar of a histogram


class Bar:
    """Progress of a collection on stderr; use it as a context manager.

    Args:
        what: The words before the bar.
        total: Transitions.
    """

    def __init__(self, what: str, total: int):
        console = Console(stderr=True, highlight=False)
        columns = ("{task.description}", BarColumn(), MofNCompleteColumn())
        self._console, self._what = console, what
        self._bar = Progress(
            *columns,
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
        )
        self._task = self._bar.add_task(what, total=total)

    def __enter__(self) -> Bar:
        if not self._console.is_terminal:
            self._console.print(self._what, soft_wrap=True, markup=False)
        self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        reason: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._bar.stop()

    def show(self, count: int) -> None:
        """So many transitions are there."""
        self._bar.update(self._task, completed=count)


def _print_table(headings: list[str], rows: list[list[str]]) -> None:
    console = Console(highlight=False)
    if not console.is_terminal:  # a file has no width; cells must not be cut there
        console = Console(highlight=False, width=160)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    for index, heading in enumerate(headings):
        side = "right" if 0 < index < 5 else "left"
        table.add_column(heading, justify=side, overflow="fold")
    for row in rows:
        table.add_row(*row)
    console.print(table)


def print_list(found: list[dict[str, Any]]) -> None:
    """Local datasets, a line each."""
    headings = ["id", "transitions", "episodes", "mean return", "MB", "corrupted by"]
    rows = [
        [
            each["id"],
            _count(each["transitions"]),
            _count(each["episodes"]),
            "-" if each["mean_return"] is None else f"{each['mean_return']:.1f}",
            "-" if each["megabytes"] is None else f"{each['megabytes']:.1f}",
            ", ".join(each["corruptions"]) if each["ours"] else "(not ours)",
        ]
        for each in found
    ]
    _print_table(headings, rows)


def _count(value: int | None) -> str:
    return "-" if value is None else f"{value:,}"


def print_card(
    name: str, card: dict[str, Any], transitions: int = 0, episodes: int = 0
) -> None:
    """A card in words."""
    theirs = card.get("minari", {}).get("description")
    lines = {"about": card.get("about", theirs), "task": card.get("env_id")}
    if transitions:
        lines["size"] = f"{transitions:,} transitions, {episodes:,} episodes"
    returns = card.get("returns")
    if returns:
        lines["returns"] = f"{returns['mean']:.1f} +- {returns['std']:.1f}"
    policies = card.get("collected", {}).get("policies", ())
    lines["made by"] = ", ".join(each["name"] for each in policies)
    if card.get("parent"):
        parent = card["parent"]
        lines["parent"] = f"{parent['id'] or 'unnamed'}  sha256 {parent['sha256']}"
    lines["sha256"] = card.get("sha256")
    lines["bits"] = compared(name, card.get("sha256"))
    lines["ends"] = card.get("no_ends")
    click.echo(name)
    if not any(lines.values()):
        click.echo("  it has no card; `suite-bench data stats` shows what is in it")
    for key, value in lines.items():
        if value:
            click.echo(f"  {key:8} {value}")
    done = card.get("corruptions", ())
    if done:
        click.echo("  corrupted by, in this order:")
        _print_changes(done)


def _print_changes(done: Any) -> None:
    headings = ["wrapper", "episodes gone", "transitions", "median return", "rows"]
    rows = []
    for each in done:
        arguments = [f"{key}={value}" for key, value in each["params"].items()]
        if each["seed"] is not None:
            arguments.append(f"seed={each['seed']}")
        median = each.get("return_quantiles", {}).get("after", [None] * 3)[2]
        touched = each.get("affected", {})
        rows.append(
            [
                " ".join([each["kind"], *arguments]),
                f"{len(each.get('removed_episodes', ())):,}",
                f"{-each.get('removed_transitions', 0):+,}",
                "-" if median is None else f"{median:.1f}",
                ", ".join(f"{n:,} {name}" for name, n in touched.items()),
            ]
        )
    _print_table(headings, rows)


def print_statistics(name: str, found: dict[str, Any]) -> None:
    """Numbers, and the histogram of returns in characters."""
    rewards, returns = found["rewards"], found["returns"]
    click.echo(name)
    lines = {
        "size": f"{found['transitions']:,} transitions, {found['episodes']:,} episodes "
        f"({found['terminated']:,} terminated, {found['truncated']:,} truncated)",
        "entries": f"{found['observations']} of an observation, {found['actions']} of "
        "an action",
        "lengths": _five(found["lengths"], 0),
        "rewards": f"{_five(rewards['quantiles'], 3)}  mean {rewards['mean']:.3f}, "
        f"std {rewards['std']:.3f}",
        "returns": f"{_five(returns['quantiles'], 1)}  mean {returns['mean']:.1f}, "
        f"std {returns['std']:.1f}",
    }
    if "d4rl_scale" in found:
        lines["D4RL's scale"] = (
            f"{found['d4rl_scale']:.1f} is the mean return (0 random, 100 expert there)"
        )
    if not found["consistent"]:
        lines["next_obs"] = "not always the observation that follows"
    lines["sha256"] = found["sha256"]
    for key, value in lines.items():
        click.echo(f"  {key:13}{value}")
    click.echo("  returns, and how many episodes have them:")
    most = max(found["returns"]["counts"])
    edges = returns["edges"]
    for low, high, count in zip(edges, edges[1:], returns["counts"], strict=False):
        bar = "#" * -(-WIDTH * count // most)
        click.echo(f"  {low:10.1f} to {high:10.1f} {count:6,} {bar}")
    if "picture" in found:
        click.echo(f"picture: {found['picture']}")


def _five(values: list[float], digits: int) -> str:
    low, first, median, third, high = (f"{value:,.{digits}f}" for value in values)
    return f"{low} | {first} {median} {third} | {high}"


def draw_returns(name: str, returns: dict[str, Any], path: Path) -> None:
    """The histogram of returns as a picture.

    Raises:
        ValueError: If the path's ending names no kind of picture.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 3.5), layout="constrained")
    axes = figure.add_subplot()
    axes.stairs(returns["counts"], returns["edges"], fill=True)
    axes.axvline(returns["mean"], color="black", linewidth=1)
    axes.set(xlabel="return of an episode", ylabel="episodes", title=name)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)
