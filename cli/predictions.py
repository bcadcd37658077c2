"""``predictions``: what a model predicts in open loop beside what happened."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.argument("folder", metavar="SEED_FOLDER", type=click.Path(path_type=Path))
@click.option("--steps", default=10, show_default=True, help="Of the episode.")
@click.option(
    "--episode",
    type=click.IntRange(0),
    default=0,
    show_default=True,
    help="Which one: its seed.",
)
@click.option(
    "--to",
    type=click.Path(path_type=Path),
    metavar="FILE.png",
    help="The picture; predictions.png in the seed's folder if not given.",
)
def predictions(folder: Path, steps: int, episode: int, to: Path | None) -> None:
    """Draw what a finished seed's model predicts, and print its error.

    \b
    Examples:
      suite-bench predictions runs/cs285-q2/default-1a2b3c4d/seed-0
      suite-bench predictions runs/cs285-q1/1x32-steps500-1a2b3c4d/seed-0 --episode 3

    The first of the networks that the model believes rolls an episode of random actions
    out from its start, without looking at what happens. A specification names the
    Python that it calls: give only folders that you trust.
    """
    from suite.results.predictions import draw, predicted
    from suite.running.process import prepare_process

    prepare_process()  # before anything imports torch
    found = predicted(folder, steps=steps, seed=episode)
    picture = draw(found, to or folder / "predictions.png")
    click.echo(f"mean prediction error over {steps} states: {found.error:.4g}")
    click.echo(f"predictions: {picture}")
