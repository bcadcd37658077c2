"""What ``run`` and ``resume`` share: seeds carried out, and their table."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import TYPE_CHECKING

from suite_bench.errors import explained
from suite_bench.report import publish
from suite_bench.watch import watch

if TYPE_CHECKING:
    from suite.running.jobs import Job
    from suite.running.run_folder import RunFolder


def carry_out(
    jobs: Sequence[Job],
    folder: RunFolder,
    remarks: Sequence[str],
    side_by_side: int,
    threads: int | None,
    as_json: bool,
) -> None:
    """Run seeds, print the table, then raise what went wrong if anything did.

    Args:
        jobs: The seeds.
        folder: Of the run.
        remarks: To say first.
        side_by_side: How many at a time.
        threads: Simulating threads of each.
        as_json: Print JSON instead of the table.

    Raises:
        Interrupted: At Ctrl-C, with how to go on; ``Stopped`` at SIGTERM.
    """
    from suite.running.parallel import executor
    from suite_bench.display import SeedScreen

    events = executor(side_by_side, jobs, threads).run(jobs)
    failures = watch(events, SeedScreen(jobs), remarks, lambda: _way_on(jobs, folder))
    is_worth_a_table = any(folder.result(seed) for seed in folder.seeds())
    if not failures or (is_worth_a_table and len(jobs) > 1):
        publish(folder, as_json)
    if len(failures) == 1 == len(jobs):
        raise failures[0].reason
    if failures:
        first = explained(failures[0].reason)
        numbers = ", ".join(str(failed.job.seed) for failed in failures)
        text = (
            f"{len(failures)} of {len(jobs)} seeds failed ({numbers}); seed "
            f"{failures[0].job.seed}: {first.message}"
        )
        raise type(first)(text) from failures[0].reason


def _way_on(jobs: Sequence[Job], folder: RunFolder) -> str:
    """What is kept, and what to type."""
    left = [job.seed for job in jobs if folder.result(job.seed) is None]
    saved = {seed: folder.saved(seed) for seed in left}
    begun = {seed: n for seed, n in saved.items() if n is not None}
    if not left:
        return "every seed had finished"
    if not begun:
        return (
            "nothing was saved yet, since no update was done; the same command starts "
            "again"
        )
    kept = ", ".join(f"seed {seed} is saved after {n}" for seed, n in begun.items())
    others = "" if len(begun) == len(left) else "; the same command also runs the rest"
    return (
        f"{kept} update{'s' if set(begun.values()) != {1} else ''}; go on with: "
        f"suite-bench resume {shlex.quote(str(folder.path))}{others}"
    )
