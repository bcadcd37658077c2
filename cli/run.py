"""``run``: run seeds of a benchmark, then print their table and draw their curves."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

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
from suite_bench.specified import (
    given_seeds,
    given_settings,
    named,
    require_said_once,
)

if TYPE_CHECKING:
    from suite.benchmark import Benchmark


@click.command()
@click.argument("benchmark", metavar="NAME|SPEC.json")
@seeds_option
@set_option
@scale_option
@out_option
@device_option
@jobs_option
@threads_option
@fresh_option
@dry_run_option
@json_option
def run(
    benchmark: str,
    seeds: str | None,
    assignments: tuple[str, ...],
    scale: str,
    out: Path,
    device: str,
    jobs: int,
    threads: int | None,
    fresh: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Run a benchmark, by name or from a saved specification.

    \b
    Examples:
      suite-bench run pickcube-awr
      suite-bench run pickcube-awr --scale quick
      suite-bench run pickcube-awr --seeds 0-2 --jobs 2
      suite-bench run runs/pickcube-awr/default-1a2b3c4d/seed-0/spec.json

    Finished seeds are skipped and unfinished ones go on after their last update, so
    the same command continues after an interruption; so does `suite-bench resume`.
    A specification names the Python that it calls: run only those that you trust.
    Progress goes to stderr; the table, with the published numbers beside ours, to
    stdout; learning curves into the run folder.
    """
    spec = _specification(benchmark, scale, assignments, seeds)
    chosen = given_seeds(seeds) if seeds is not None else spec.seeds
    from suite.running.artefacts import artefacts
    from suite.runs import RunFolder

    folder = RunFolder.of(spec, out)
    artefacts(spec, out)  # what it needs of other runs is there, or says how to make it
    if dry_run:
        _tell_plan(spec, folder, chosen, fresh, as_json)
        return
    from suite.data.named_data import SameData, require_data, strays
    from suite.running.jobs import Job
    from suite_bench.seeds import carry_out

    command, same = command_line(), SameData(is_local=True)
    for seed in folder.seeds():
        if not (fresh and seed in chosen):
            same.take(folder, spec, seed)
    todo = [
        Job(folder.path, seed, spec, device, command, fresh)
        for seed in chosen
        if fresh or folder.result(seed) is None
    ]
    require_data(job.spec for job in todo)
    finished = [seed for seed in chosen if seed not in {job.seed for job in todo}]
    remarks = [
        f"{spec.name} into {folder.path}",
        *(f"seed {s} is finished already (--fresh runs it again)" for s in finished),
        *strays(job.spec for job in todo).values(),
    ]
    carry_out(todo, folder, remarks, jobs, threads, as_json)


def _specification(
    name: str, scale: str, assignments: tuple[str, ...], seeds: str | None
) -> Benchmark:
    from suite.benchmark import Benchmark, get
    from suite.running.process import prepare_process

    spec, changes = named(name, get, Benchmark.from_json), given_settings(assignments)
    require_said_once(seeds, changes)
    prepare_process()  # before anything imports torch
    spec = spec.at_scale(scale).with_settings(changes)
    spec.check()
    return spec


def _tell_plan(
    spec: Benchmark, folder: Any, seeds: tuple[int, ...], fresh: bool, as_json: bool
) -> None:
    from suite.data.named_data import missing, strays

    todo = [seed for seed in seeds if fresh or folder.result(seed) is None]
    lacks = missing([spec] if todo else [])
    others = strays([spec] if todo else [])
    plan = {"folder": str(folder.path), "seeds": todo, "spec": spec.to_json()}
    plan |= {"missing": lacks, "strays": others}
    if as_json:
        click.echo(json.dumps(plan, indent=2))
        return
    skipped = [seed for seed in seeds if seed not in todo]
    saved = {seed: folder.saved(seed) for seed in todo if not fresh}
    begun = [f"{seed} (after {n} updates)" for seed, n in saved.items() if n]
    click.echo(f"would run {spec.name}, {spec.total_timesteps:,} {spec.steps} a seed")
    click.echo(f"  into     {folder.path}")
    click.echo(f"  seeds    {', '.join(map(str, todo)) or 'none'}")
    for reason in lacks.values():
        click.echo(f"  missing  {reason}")
    for sentence in others.values():
        click.echo(f"  beware   {sentence}")
    if begun:
        click.echo(f"  go on    {', '.join(begun)}")
    if skipped:
        click.echo(f"  finished {', '.join(map(str, skipped))}")
