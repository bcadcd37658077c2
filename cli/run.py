"""``run``: run seeds of a benchmark, then print their table and draw their curves."""

from __future__ import annotations

import contextlib
import json
import re
import shlex
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from suite_bench.errors import Terminated, WrongUse
from suite_bench.main import ARGUMENTS

if TYPE_CHECKING:
    from suite.benchmark import Benchmark


@click.command()
@click.argument("benchmark", metavar="NAME|SPEC.json")
@click.option(
    "--seeds", help="Such as 0, 0-2 or 0,3; the benchmark's own if not given."
)
@click.option(
    "--set",
    "assignments",
    multiple=True,
    metavar="KEY=VALUE",
    help="Change a setting; `suite-bench show NAME` lists them. Repeatable.",
)
@click.option("--scale", default="default", help="smoke, quick, default or paper.")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path("runs"),
    show_default=True,
    help="Folder for results.",
)
@click.option(
    "--device",
    type=click.Choice(["auto", "cpu", "cuda"]),
    default="auto",
    show_default=True,
    help="Where networks live; auto takes CUDA if there is one.",
)
@click.option(
    "--threads",
    type=click.IntRange(min=1),
    help="Simulating threads, all cores if not given. Results do not depend on it.",
)
@click.option("--fresh", is_flag=True, help="Run finished seeds again as well.")
@click.option("--dry-run", is_flag=True, help="Check everything, say what would run.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def run(
    benchmark: str,
    seeds: str | None,
    assignments: tuple[str, ...],
    scale: str,
    out: Path,
    device: str,
    threads: int | None,
    fresh: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    r"""Run a benchmark, by name or from a saved specification.

    \b
    Examples:
      suite-bench run pickcube-awr
      suite-bench run pickcube-awr --scale quick
      suite-bench run pickcube-awr --seeds 0-2 --set agent.beta=0.3
      suite-bench run runs/pickcube-awr/default-1a2b3c4d/seed-0/spec.json

    Finished seeds are skipped, so that the same command goes on after an
    interruption. A specification names the Python that it calls: run only those
    that you trust. Progress goes to stderr; the table, with the published numbers
    beside ours, to stdout; learning curves into the run folder.
    """
    spec = _specification(benchmark, scale, assignments)
    chosen = _seeds(seeds) if seeds is not None else spec.seeds
    from suite.runs import RunFolder, run_seed

    folder = RunFolder.of(spec, out)
    if dry_run:
        _tell_plan(spec, folder, chosen, fresh, as_json)
        return
    from suite_bench.display import Screen
    from suite_bench.report import publish

    command = _command_line()
    with _sigterm_ends(), Screen(spec.metric) as screen:
        screen.say(f"{spec.name} into {folder.path}")
        for seed in chosen:
            if folder.result(seed) is not None and not fresh:
                screen.say(f"seed {seed} is finished already (--fresh runs it again)")
                continue
            screen.begin(seed)
            for progress in run_seed(
                spec,
                folder,
                seed,
                device=device,
                threads=threads,
                command=command,
                fresh=fresh,
            ):
                screen.show(progress)
    publish(folder, as_json)


def _specification(name: str, scale: str, assignments: tuple[str, ...]) -> Benchmark:
    from suite.benchmark import Benchmark, get
    from suite.parts import ConfigError
    from suite.process import prepare_process
    from suite.settings import parse

    if name.endswith(".json"):
        try:
            spec = Benchmark.from_json(json.loads(Path(name).read_bytes()))
        except (FileNotFoundError, IsADirectoryError):
            raise WrongUse(f"there is no file {name}") from None
        except (UnicodeDecodeError, json.JSONDecodeError) as reason:
            raise ConfigError(f"{name} is not JSON: {reason}") from None
    else:
        spec = get(name)
    try:
        settings = dict(parse(assignment) for assignment in assignments)
    except ValueError as reason:
        raise WrongUse(f"--set: {reason}") from None
    prepare_process()  # before anything imports torch
    spec = spec.at_scale(scale).with_settings(settings)
    spec.check()
    return spec


def _seeds(text: str) -> tuple[int, ...]:
    seeds: list[int] = []
    for item in text.split(","):
        found = re.fullmatch(r"\s*(\d{1,9})(?:-(\d{1,9}))?\s*", item)
        first, last = (found[1], found[2] or found[1]) if found else ("1", "0")
        if int(first) > int(last) or int(last) - int(first) >= 1000:
            raise WrongUse(f"--seeds must read 0, 0-2 or 0,3, got {text!r}")
        seeds += range(int(first), int(last) + 1)
    return tuple(dict.fromkeys(seeds))


def _tell_plan(
    spec: Benchmark, folder: Any, seeds: tuple[int, ...], fresh: bool, as_json: bool
) -> None:
    todo = [seed for seed in seeds if fresh or folder.result(seed) is None]
    plan = {"folder": str(folder.path), "seeds": todo, "spec": spec.to_json()}
    if as_json:
        click.echo(json.dumps(plan, indent=2))
        return
    skipped = [seed for seed in seeds if seed not in todo]
    click.echo(
        f"would run {spec.name}, {spec.total_timesteps:,} environment steps a seed"
    )
    click.echo(f"  into     {folder.path}")
    click.echo(f"  seeds    {', '.join(map(str, todo)) or 'none'}")
    if skipped:
        click.echo(f"  finished {', '.join(map(str, skipped))}")


@contextlib.contextmanager
def _sigterm_ends() -> Iterator[None]:
    def end(*_: Any) -> None:
        raise Terminated

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _command_line() -> str:
    arguments = click.get_current_context().meta.get(ARGUMENTS, ())
    return shlex.join(["suite-bench", *arguments])
