"""``list`` and ``show``: what can be run."""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import click

from suite_bench.options import json_option

if TYPE_CHECKING:
    from suite.benchmark import Benchmark
    from suite.sweep import Sweep


@click.command("list")
@json_option
def list_benchmarks(as_json: bool) -> None:
    """Show the benchmarks and how long one seed takes on two cores; then the sweeps.

    \b
    Examples:
      suite-bench list
      suite-bench list --json
    """
    from suite import benchmark, sweep

    specs = [benchmark.get(name) for name in benchmark.names()]
    grids = [sweep.get(name) for name in sweep.names()]
    if as_json:
        rows = [
            {
                "name": entry.name,
                "kind": kind,
                "about": entry.about,
                "scales": {name: scale.time for name, scale in entry.scales.items()},
            }
            for kind, entries in (("benchmark", specs), ("sweep", grids))
            for entry in entries
        ]
        click.echo(json.dumps(rows, indent=2))
        return
    _list_entries(specs)
    if grids:
        click.echo("\nSweeps, grids of benchmarks (suite-bench sweep NAME):")
        _list_entries(grids)


def _list_entries(entries: Sequence[Benchmark] | Sequence[Sweep]) -> None:
    width = max(len(entry.name) for entry in entries) + 2
    for entry in entries:
        first_sentence = re.split(r"(?<=[.?!]) ", entry.about, maxsplit=1)[0]
        lines = textwrap.wrap(first_sentence, 88 - width)
        click.echo(f"{entry.name:{width}}{lines[0]}")
        scale = entry.scales.get("default")  # nobody has to say how long theirs takes
        for line in [*lines[1:], *([f"({scale.time})"] if scale else [])]:
            click.echo(f"{'':{width}}{line}")


@click.command()
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help="Print the whole specification.")
def show(name: str, as_json: bool) -> None:
    """Show a benchmark or a sweep: what it does, its settings or axes, its scales.

    \b
    Examples:
      suite-bench show pickcube-awr
      suite-bench show pickcube-awr --json > spec.json
      suite-bench run spec.json
      suite-bench show offline-corruption
    """
    from suite import benchmark, sweep
    from suite.unknown_names import UnknownName, no_such

    is_sweep = name in sweep.names()
    if not is_sweep and name not in benchmark.names():
        known = [*benchmark.names(), *sweep.names()]
        raise UnknownName(no_such("benchmark", name, known))
    entry = sweep.get(name) if is_sweep else benchmark.get(name)
    if as_json:
        click.echo(json.dumps(entry.to_json(), indent=2))
        return
    click.echo(f"{entry.name}\n")
    click.echo(textwrap.fill(entry.about, 88))
    if isinstance(entry, sweep.Sweep):
        _show_sweep(entry)
    else:
        _show_benchmark(entry)


def _show_benchmark(spec: Benchmark) -> None:
    from suite.parts import to_json
    from suite.results.units import unit

    click.echo("\nSettings (--set key=value):")
    _show_settings({key: json.dumps(value) for key, value in spec.settings.items()})
    click.echo("\nScales (--scale name):")
    for scale_name, scale in spec.scales.items():
        click.echo(f"  {scale_name:10}{scale.time}")
        for key, value in scale.settings.items():
            click.echo(f"  {'':10}  {key}={json.dumps(to_json(value))}")
    if spec.reference is not None:
        click.echo("\n" + textwrap.fill(f"Reference: {spec.reference.source}", 88))
        for iteration, steps, value in spec.reference.rows:
            shown = unit(spec.metric).written(value)
            click.echo(f"  iteration {iteration:4}  {steps:>9,} steps  {shown:>6}")


def _show_settings(told: Mapping[str, str]) -> None:
    width = max(map(len, told)) + 2
    for key, value in told.items():
        click.echo(f"  {key:{width}}{value}")


def _show_sweep(grid: Sweep) -> None:
    click.echo("\nAxes (--only 'axis=value|value,axis=value'):")
    width = max(map(len, grid.axes)) + 2
    for axis, values in grid.axes.items():
        click.echo(f"  {axis:{width}}{', '.join(map(str, values))}")
    values = grid.setting_values
    shared = {key: next(iter(told)) for key, told in values.items() if len(told) == 1}
    differing = [key for key in values if key not in shared]
    click.echo("\nSettings (--set key=value) of all cells:")
    _show_settings(shared)
    click.echo("\n" + textwrap.fill(f"Cells differ in: {', '.join(differing)}", 88))
    click.echo("\nScales (--scale name):")
    for name, scale in grid.scales.items():
        at = grid.cells_at(name)
        click.echo(f"  {name:10}{len(at)} cells; {scale.time}")
    click.echo(f"\nMetric: {grid.metric}")
    for what, name in (
        ("Compared", grid.rivals),
        ("Put together", grid.tasks),
        ("Baseline", grid.baseline),
    ):
        if name is not None:
            click.echo(f"{what}: {name}")
    names = ", ".join(figure.name for figure in grid.figures)
    click.echo(textwrap.fill(f"Figures: {names}", 88))
