"""``film``: a drive by a benchmark's driver as an animated picture."""

from __future__ import annotations

from pathlib import Path

import click

from suite_bench.options import scale_option


@click.command()
@click.argument("name", metavar="BENCHMARK")
@scale_option
@click.option("--seed", default=0, show_default=True, help="Of start and plans.")
@click.option(
    "--steps",
    type=click.IntRange(min=1),
    default=240,
    show_default=True,
    help="Control steps.",
)
@click.option(
    "--every",
    type=click.IntRange(min=1),
    default=2,
    show_default=True,
    help="Control steps between two pictures.",
)
@click.option(
    "--into",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("film.gif"),
    show_default=True,
    help="The GIF to write.",
)
def film(name: str, scale: str, seed: int, steps: int, every: int, into: Path) -> None:
    """Drive by the driver of a benchmark and write what is seen as a GIF.

    \b
    Examples:
      suite-bench film mushr-mppi
      suite-bench film mushr-mppi --into docs/envs/mushr_lap.gif
    """
    from suite.benchmark import get
    from suite.results.films import drive_film, write_gif

    spec = get(name).at_scale(scale)
    spec.check()
    pictures = drive_film(spec, seed=seed, steps=steps, every=every)
    write_gif(into, pictures, every)
    size = into.stat().st_size / 1e6
    click.echo(f"{len(pictures)} pictures are in {into}, {size:.1f} MB")
