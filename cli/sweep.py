"""``sweep``: run a grid of benchmarks, then print its table and draw its figures."""

from __future__ import annotations

import json
import shlex
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from suite_bench.errors import WrongUse, explained
from suite_bench.options import (
    command_line,
    device_option,
    dry_run_option,
    fresh_option,
    jobs_option,
    json_option,
    out_option,
    scale_option,
    seeds_option,
    set_option,
    threads_option,
)
from suite_bench.plot import publish, title
from suite_bench.specified import (
    given_seeds,
    given_settings,
    named,
    require_said_once,
)
from suite_bench.watch import watch

if TYPE_CHECKING:
    from suite.running.jobs import Failed, Job
    from suite.running.sweep_folder import SweepFolder
    from suite.sweep import Sweep, Trial


@click.command()
@click.argument("name", metavar="NAME|SWEEP.json")
@click.option(
    "--only",
    default="",
    metavar="AXIS=VALUE,...",
    help="Part of it, such as 'algo=cql,env=hopper,k=0|30,seed=0', in quotes.",
)
@seeds_option
@set_option
@scale_option
@out_option
@click.option(
    "--reuse",
    type=click.Path(path_type=Path),
    metavar="FOLDER",
    help="Take results that are there over instead of running them again, such as the "
    "committed ones in docs/results.",
)
@device_option
@jobs_option
@threads_option
@fresh_option
@dry_run_option
@json_option
def sweep(
    name: str,
    only: str,
    seeds: str | None,
    assignments: tuple[str, ...],
    scale: str,
    out: Path,
    reuse: Path | None,
    device: str,
    jobs: int,
    threads: int | None,
    fresh: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Run a grid of benchmarks, by name or from a saved sweep.json.

    \b
    Examples:
      suite-bench sweep offline-corruption --scale smoke --jobs 2
      suite-bench sweep offline-corruption --only algo=cql,env=hopper,k=30,seed=0
      suite-bench sweep offline-corruption --jobs 2 --reuse docs/results
      suite-bench sweep cs285-q5 --set agent.fit.learning_rate=3e-4 --seeds 0-4

    Every seed of every cell is a run of its own: finished ones are skipped, unfinished
    ones go on after their last update, one that fails stops no other. So the same
    command continues after an interruption, and several may share a folder. A setting
    is changed in all cells, and such a sweep has a folder of its own; seeds join those
    that are there. Progress goes to stderr, the table to stdout,
    figures and numbers into the sweep's folder.
    """
    from suite.running.jobs import Failed
    from suite.running.sweep_folder import SweepFolder

    if fresh and reuse is not None:
        raise WrongUse("--fresh runs everything again, --reuse nothing that is there")
    grid = _grid(name, scale, assignments, seeds)
    trials = grid.trials(only)
    grid.check(trials)
    folder = SweepFolder.of(grid, out)
    broken = {} if fresh else folder.damaged(trials)
    if dry_run:
        _tell_plan(folder, trials, fresh, as_json, broken)
        return
    _begin(folder, grid, trials, fresh)
    remarks = [f"{grid.name} into {folder.path}", *_reused(folder, grid, trials, reuse)]
    whole = [trial for trial in trials if trial not in broken]
    todo, more = _unfinished(folder, whole, fresh)
    remarks += more
    made = [folder.job(trial, device, command_line(), fresh) for trial in todo]
    costs = [trial.cell.cost for trial in todo]
    failures = [Failed(folder.job(t, device), why) for t, why in broken.items()]
    failures += _watched(folder, made, costs, remarks, jobs, threads)
    folder.store(grid)  # another one may have begun with it at the same moment
    selected = {trial.cell.label for trial in trials}
    publish(folder, as_json, failures, selected=selected)
    if failures:
        raise _first(failures, len(trials))


def _begin(
    folder: SweepFolder, grid: Sweep, trials: Sequence[Trial], fresh: bool
) -> None:
    """Write the sweep down, unless what is there was made with other data."""
    again = set(trials) if fresh else set()
    there = folder.with_seeds(grid).trials()
    folder.require_same_data((t for t in there if t not in again), is_local=True)
    folder.store(grid)


def _unfinished(
    folder: SweepFolder, trials: Sequence[Trial], fresh: bool
) -> tuple[list[Trial], list[str]]:
    """What is to be run, whose data are there, and remarks on it."""
    from suite.data.named_data import require_data, strays

    todo = [trial for trial in trials if fresh or not folder.is_done(trial)]
    require_data(trial.cell.spec for trial in todo)
    finished = len(trials) - len(todo)
    done = f"{finished} of {len(trials)} are finished (--fresh runs again)"
    others = strays(trial.cell.spec for trial in todo).values()
    return todo, [*([done] if finished else []), *others]


def _grid(
    name: str, scale: str, assignments: tuple[str, ...], seeds: str | None
) -> Sweep:
    from suite.running.process import prepare_process
    from suite.sweep import Sweep, get

    grid, changes = named(name, get, Sweep.from_json), given_settings(assignments)
    require_said_once(seeds, changes)
    if seeds is not None:
        changes["seeds"] = list(given_seeds(seeds))
    prepare_process()  # before anything imports torch
    return grid.at_scale(scale).with_settings(changes)


def _reused(
    folder: SweepFolder, grid: Sweep, trials: Sequence[Trial], source: Path | None
) -> list[str]:
    from suite.running.kept_results import reuse
    from suite.running.sweep_folder import SweepFolder

    if source is None:
        return []
    committed = SweepFolder.of(grid, source)
    if not committed.path.is_dir():
        return [f"there is nothing of {grid.name} in {source}"]
    copied = reuse(folder, trials, committed)
    return [f"{len(copied)} taken over from {committed.path}"]


def _watched(
    folder: SweepFolder,
    made: Sequence[Job],
    costs: Sequence[float],
    remarks: Sequence[str],
    side_by_side: int,
    threads: int | None,
) -> list[Failed]:
    from suite.running.parallel import executor, patiently
    from suite_bench.sweep_display import SweepScreen

    events = patiently(executor(side_by_side, made, threads), made)
    screen = SweepScreen(made, costs)
    return watch(events, screen, remarks, lambda: _way_on(made))


def _way_on(made: Sequence[Job]) -> str:
    """What is kept, and what to type."""
    left = [job for job in made if job.folder.result(job.seed) is None]
    begun = [job for job in left if job.folder.saved(job.seed) is not None]
    words = [word for word in shlex.split(command_line()) if word != "--fresh"]
    return (
        f"{len(made) - len(left)} of {len(made)} are finished and {len(begun)} saved "
        f"on the way; go on with: {shlex.join(words)}"
    )


def _first(failures: Sequence[Failed], of: int) -> click.ClickException:
    reason = failures[0].reason
    first = explained(reason)
    failure = type(first)(
        f"{len(failures)} of {of} failed, {title(failures[0].job)}: {first.message}"
    )
    failure.__cause__ = reason
    return failure


def _tell_plan(
    folder: SweepFolder,
    trials: Sequence[Trial],
    fresh: bool,
    as_json: bool,
    broken: Mapping[Trial, Exception],
) -> None:
    from suite.data.named_data import missing, strays

    whole = [trial for trial in trials if trial not in broken]
    states = {trial: "new" if fresh else folder.state(trial) for trial in whole}
    states |= dict.fromkeys(broken, "damaged")
    todo = [trial for trial in whole if states[trial] != "finished"]
    lacks = missing(trial.cell.spec for trial in todo)
    others = strays(trial.cell.spec for trial in todo)
    if as_json:
        rows = [
            {"cell": trial.cell.label, "seed": trial.seed, "state": state}
            for trial, state in states.items()
        ]
        plan = {"folder": str(folder.path), "trials": rows}
        plan |= {"missing": lacks, "strays": others}
        click.echo(json.dumps(plan, indent=2))
        return
    click.echo(f"would run {len(todo)} of {len(trials)} trials, the dearest first")
    click.echo(f"  into     {folder.path}")
    for state in ("new", "begun", "finished"):
        click.echo(f"  {state:8} {list(states.values()).count(state)}")
    for reason in broken.values():
        click.echo(f"  damaged  {reason}")
    for reason in lacks.values():
        click.echo(f"  missing  {reason}")
    for sentence in others.values():
        click.echo(f"  beware   {sentence}")
    cells = dict.fromkeys(trial.cell.label for trial in todo)
    told = textwrap.wrap(", ".join(cells) or "none", 77)
    click.echo("\n".join([f"  cells    {told[0]}", *(f"{'':11}{x}" for x in told[1:])]))
