"""Options that several commands share."""

from __future__ import annotations

import shlex
from pathlib import Path

import click

from suite_bench.main import ARGUMENTS

out_option = click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path("runs"),
    show_default=True,
    help="Folder for results.",
)
device_option = click.option(
    "--device",
    type=click.Choice(["auto", "cpu", "cuda"]),
    default="auto",
    show_default=True,
    help="Where networks live; auto takes CUDA if there is one.",
)
jobs_option = click.option(
    "--jobs",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="Seeds to run at a time; several run in processes of their own.",
)
threads_option = click.option(
    "--threads",
    type=click.IntRange(min=1),
    help="Simulating threads of a seed; the cores are shared if not given. Results do "
    "not depend on it.",
)
seeds_option = click.option(
    "--seeds", help="Such as 0, 0-2 or 0,3; the specification's own if not given."
)
set_option = click.option(
    "--set",
    "assignments",
    multiple=True,
    metavar="KEY=VALUE",
    help="Change a setting; `suite-bench show NAME` lists them. Repeatable.",
)
scale_option = click.option(
    "--scale",
    default="default",
    help="A size, such as smoke, quick or paper; `suite-bench show NAME` lists them.",
)
fresh_option = click.option(
    "--fresh", is_flag=True, help="Start over, finished or not."
)
dry_run_option = click.option(
    "--dry-run",
    is_flag=True,
    help="Check names, settings and data; say what would run.",
)
json_option = click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON document."
)


def command_line() -> str:
    """What the user typed, for the record of a run."""
    arguments = click.get_current_context().meta.get(ARGUMENTS, ())
    return shlex.join(["suite-bench", *arguments])
