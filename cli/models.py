"""``models``: how large the latent world models are."""

from __future__ import annotations

import json

import click

from suite_bench.options import json_option

_PARTS = ("encoder", "dynamics", "reward", "end", "total")


@click.command()
@click.option("--obs", type=click.IntRange(1), default=37, show_default=True)
@click.option("--actions", type=click.IntRange(1), default=8, show_default=True)
@click.option("--end", "has_end", is_flag=True, help="With a head for terminations.")
@json_option
def models(obs: int, actions: int, has_end: bool, as_json: bool) -> None:
    """Show the sizes of latent world models, and how many numbers each learns.

    The numbers of the defaults are those of Ant as published; ours learns its
    terminations, too (--end). Names are those of PWM's configurations, which are not
    sizes: see docs/worldmodels.md.

    \b
    Examples:
      suite-bench models
      suite-bench models --end
      suite-bench models --obs 11 --actions 3
    """
    counts = _counts(obs, actions, has_end)
    if as_json:
        click.echo(json.dumps(counts, indent=2))
        return
    names = [name for name in _PARTS if has_end or name != "end"]
    click.echo(f"{'size':10}{'dynamics':10}" + "".join(f"{p:>12}" for p in names))
    for size, kinds in counts.items():
        for kind, parts in kinds.items():
            numbers = "".join(f"{parts[part]:>12,}" for part in names)
            click.echo(f"{size:10}{kind:10}{numbers}")


def _counts(
    obs: int, actions: int, has_end: bool
) -> dict[str, dict[str, dict[str, int]]]:
    """Numbers of each part, by size and kind of dynamics."""
    import torch

    from suite.worldmodels.flow import Flow
    from suite.worldmodels.latent import Direct, LatentModel
    from suite.worldmodels.latent_sizes import SIZES, parameter_counts

    kinds = {"direct": Direct(), "flow": Flow()}
    with torch.device("meta"):  # shapes alone: the largest weighs 190 MB
        return {
            size: {
                kind: parameter_counts(
                    LatentModel(
                        obs, actions, size=size, dynamics=dynamics, has_end=has_end
                    )
                )
                for kind, dynamics in kinds.items()
            }
            for size in SIZES
        }
