"""What ``run`` and ``resume`` share: carrying seeds out, watched, to their end."""

from __future__ import annotations

import contextlib
import shlex
import signal
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from suite_bench.errors import Interrupted, Stopped, Terminated, explained
from suite_bench.report import publish

if TYPE_CHECKING:
    from suite.jobs import Failed, Job
    from suite.run_folder import RunFolder


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
    try:
        with _sigterm_ends():
            failures = _watch(jobs, remarks, side_by_side, threads)
    except KeyboardInterrupt as reason:
        how = (Stopped, "terminated") if isinstance(reason, Terminated) else None
        kind, word = how or (Interrupted, "interrupted")
        raise kind(f"{word}; {_way_on(jobs, folder)}") from None
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


def _watch(
    jobs: Sequence[Job], remarks: Sequence[str], side_by_side: int, threads: int | None
) -> list[Failed]:
    from suite.jobs import Failed, Moment, Started
    from suite.parallel import executor
    from suite_bench.display import Screen

    failures: list[Failed] = []
    metric = jobs[0].spec.metric if jobs else ""
    events = executor(side_by_side, jobs, threads).run(jobs)
    with Screen(metric) as screen, contextlib.closing(events):
        for remark in remarks:
            screen.say(remark)
        for event in events:
            if isinstance(event, Started):
                screen.begin(event.job.seed)
            elif isinstance(event, Failed):
                failures.append(event)
                if len(jobs) > 1:
                    text = explained(event.reason).format_message()
                    screen.say(f"seed {event.job.seed}  failed: {text}")
            elif isinstance(event, Moment):
                screen.show(event.progress)
    return failures


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


@contextlib.contextmanager
def _sigterm_ends() -> Iterator[None]:
    def end(*_: Any) -> None:
        raise Terminated

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
