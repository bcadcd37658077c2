"""``thin``: results small enough to be committed."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.argument("folder", metavar="SWEEP_FOLDER", type=click.Path(path_type=Path))
@click.option(
    "--into",
    type=click.Path(path_type=Path),
    default=Path("docs/results"),
    show_default=True,
    help="Output folder that gets the sweep's folder.",
)
def thin(folder: Path, into: Path) -> None:
    """Copy the finished cells of a sweep without weights, to be committed.

    \b
    Examples:
      suite-bench thin runs/offline-corruption
      suite-bench plot docs/results/offline-corruption
      suite-bench sweep offline-corruption --reuse docs/results

    Of every finished seed its specification, result, timing and evaluations are kept,
    and its metrics at forty moments with six digits: all that tables and figures need,
    and that a sweep needs to count it as done.
    """
    from suite.kept_results import thin as copy
    from suite.sweep_folder import SweepFolder

    source = SweepFolder(folder)
    target = SweepFolder.of(source.sweep(), into)
    sizes = copy(source, target).values()
    largest = max(sizes, default=0)
    click.echo(
        f"{len(sizes)} finished seeds are in {target.path}, {sum(sizes) / 1e3:,.0f} kB "
        f"in all, the largest {largest / 1e3:.1f} kB"
    )
