"""``thin``: results small enough to be committed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click


@click.command()
@click.argument("folder", metavar="FOLDER", type=click.Path(path_type=Path))
@click.option(
    "--into",
    type=click.Path(path_type=Path),
    default=Path("docs/results"),
    show_default=True,
    help="Output folder that gets the folder of the sweep or benchmark.",
)
def thin(folder: Path, into: Path) -> None:
    """Copy the finished seeds of a sweep or a run without weights, to be committed.

    \b
    Examples:
      suite-bench thin runs/offline-corruption
      suite-bench plot docs/results/offline-corruption
      suite-bench sweep offline-corruption --reuse docs/results
      suite-bench thin runs/pwm-pendulum/default-1a2b3c4d
      suite-bench report docs/results/pwm-pendulum/default-1a2b3c4d

    Of every finished seed its specification, result and timing are kept, and its
    evaluations and metrics at up to sixty moments, fewer of many columns, with six
    digits: all that tables and figures need, and that a sweep needs to count it as
    done.
    """
    is_sweep = (folder / "sweep.json").exists() or not any(folder.glob("seed-*"))
    path, found = (_sweep if is_sweep else _run)(folder, into)
    sizes = found.values()
    largest = max(sizes, default=0)
    click.echo(
        f"{len(sizes)} finished seeds are in {path}, {sum(sizes) / 1e3:,.0f} kB in "
        f"all, the largest {largest / 1e3:.1f} kB"
    )


def _sweep(folder: Path, into: Path) -> tuple[Path, dict[Any, int]]:
    from suite.running.kept_results import thin as copy
    from suite.running.sweep_folder import SweepFolder

    source = SweepFolder(folder)
    target = SweepFolder.of(source.sweep(), into)
    return target.path, copy(source, target)


def _run(folder: Path, into: Path) -> tuple[Path, dict[Any, int]]:
    from suite.running.kept_results import thin_run
    from suite.running.run_folder import RunFolder, summary
    from suite_bench.curves import draw

    source = RunFolder(folder)
    target = RunFolder.of(source.spec(), into)
    sizes = thin_run(source, target)
    if sizes:
        draw(summary(target), target.path / "curves.png")
    return target.path, sizes
