"""``checkpoints``: what the policies that a run kept are worth."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.argument("folder", metavar="SEED_FOLDER", type=click.Path(path_type=Path))
@click.option(
    "--key",
    type=click.IntRange(0),
    default=0,
    show_default=True,
    help="Which episodes are played.",
)
@click.option(
    "--episodes", type=click.IntRange(1), help="How many; the benchmark's if not given."
)
def checkpoints(folder: Path, key: int, episodes: int | None) -> None:
    """Evaluate all policies that a seed kept, in the same episodes.

    \b
    Examples:
      suite-bench checkpoints runs/pwm-pendulum/default-1a2b3c4d/seed-0
      suite-bench checkpoints runs/pickcube-awr/default-1a2b3c4d/seed-0 --key 1

    A benchmark keeps policies if it has checkpoint_at; the last one is always there. A
    specification names the Python that it calls: give only folders that you trust.
    """
    from suite.benchmark import Benchmark
    from suite.results.checkpoint_scores import scored, stability
    from suite.results.units import unit
    from suite.running.process import prepare_process
    from suite.storage import read_json

    prepare_process()  # before anything imports torch
    settings = {} if episodes is None else {"evaluation.episodes": episodes}
    spec = Benchmark.from_json(read_json(folder / "spec.json"))
    metric, beside = spec.metric, spec.evaluation.kwargs.get("told", ())
    values = []
    for each in scored(folder, key=key, settings=settings):
        values.append(each.scores[metric])
        name = "the last" if each.updates < 0 else f"{each.updates} updates"
        words = [f"{metric} {values[-1]:.4g}"]
        words += [unit(other).named(other, each.scores[other]) for other in beside]
        click.echo(f"{name:>16}  {'  '.join(words)}")
    found = stability(values, metric)
    click.echo(f"peak {found.peak:.4g}, mean of the last ten {found.last:.4g}")
    if spec.baselines:
        known = [f"{name} {value:.4g}" for name, value in spec.baselines.items()]
        click.echo(f"who learned nothing: {', '.join(known)}")
