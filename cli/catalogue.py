"""``list`` and ``show``: what can be run."""

from __future__ import annotations

import json
import textwrap

import click


@click.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def list_benchmarks(as_json: bool) -> None:
    """Show the benchmarks and how long one seed takes on two cores.

    \b
    Examples:
      suite-bench list
      suite-bench list --json
    """
    from suite.benchmark import get, names

    specs = [get(name) for name in names()]
    if as_json:
        rows = [
            {
                "name": spec.name,
                "about": spec.about,
                "scales": {name: scale.time for name, scale in spec.scales.items()},
            }
            for spec in specs
        ]
        click.echo(json.dumps(rows, indent=2))
        return
    width = max(len(spec.name) for spec in specs) + 2
    for spec in specs:
        first_sentence = spec.about.partition(". ")[0].rstrip(".") + "."
        lines = textwrap.wrap(first_sentence, 88 - width)
        click.echo(f"{spec.name:{width}}{lines[0]}")
        scale = spec.scales.get("default")  # nobody has to say how long theirs takes
        for line in [*lines[1:], *([f"({scale.time})"] if scale else [])]:
            click.echo(f"{'':{width}}{line}")


@click.command()
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help="Print the whole specification.")
def show(name: str, as_json: bool) -> None:
    """Show a benchmark: what it does, its settings, scales and reference numbers.

    \b
    Examples:
      suite-bench show pickcube-awr
      suite-bench show pickcube-awr --json > spec.json
      suite-bench run spec.json
    """
    from suite.benchmark import get

    spec = get(name)
    if as_json:
        click.echo(json.dumps(spec.to_json(), indent=2))
        return
    click.echo(f"{spec.name}\n")
    click.echo(textwrap.fill(spec.about, 88))
    click.echo("\nSettings (--set key=value):")
    settings = spec.settings
    width = max(map(len, settings)) + 2
    for key, value in settings.items():
        click.echo(f"  {key:{width}}{json.dumps(value)}")
    click.echo("\nScales (--scale name):")
    for scale_name, scale in spec.scales.items():
        click.echo(f"  {scale_name:10}{scale.time}")
        for key, value in scale.settings.items():
            click.echo(f"  {'':10}  {key}={json.dumps(value)}")
    if spec.reference is not None:
        click.echo("\n" + textwrap.fill(f"Reference: {spec.reference.source}", 88))
        for iteration, steps, value in spec.reference.rows:
            click.echo(f"  iteration {iteration:4}  {steps:>9,} steps  {value:6.1%}")
