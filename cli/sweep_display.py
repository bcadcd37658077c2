"""What a sweep shows on the way: all of it and what runs, on one screen."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn

from suite.results.units import unit
from suite_bench.errors import explained
from suite_bench.plot import title

if TYPE_CHECKING:
    from suite.running.jobs import Event, Job
    from suite.runs import Progress as RunProgress

Key = tuple[Path, int]
SILENCE = 300.0  # seconds without a line, after which a log gets one


class SweepScreen:
    """Shows the progress of a sweep on stderr; use it as a context manager.

    On a terminal each job has a bar. Elsewhere, as in a cluster's log, a line tells of
    all that run when there was none for five minutes.

    Args:
        jobs: What is to be done.
        costs: The work of each beside that of the others.
    """

    def __init__(self, jobs: Sequence[Job], costs: Sequence[float]):
        keys = [_key(job) for job in jobs]
        self._pace = Pace(dict(zip(keys, costs, strict=True)))
        self._console = Console(stderr=True, highlight=False)
        self._bar = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(bar_width=12),
            TextColumn("{task.fields[story]}"),
            console=self._console,
            disable=not self._console.is_terminal,
        )
        self._all = self._bar.add_task("all", total=sum(costs) or 1, story="")
        self._count, self._ended = len(jobs), 0
        self._running: dict[Key, Any] = {}
        self._values: dict[Key, str] = {}
        self._stories: dict[Key, str] = {}  # of those that run, for a log
        self._said = time.monotonic()

    def __enter__(self) -> SweepScreen:
        self._bar.start()
        return self

    def __exit__(self, *_: Any) -> None:
        self._bar.stop()

    def say(self, line: str) -> None:
        """A line that stays."""
        self._said = time.monotonic()
        self._console.print(line, soft_wrap=True, markup=False)

    def take(self, event: Event) -> None:
        """Show what happened."""
        from suite.running.jobs import Failed, Finished, Held, Moment, Started

        job, key = event.job, _key(event.job)
        if isinstance(event, Started):
            self._running[key] = self._bar.add_task(title(job), total=None, story="")
        elif isinstance(event, Moment):
            self._show(job, event.progress)
        elif isinstance(event, Finished):
            self._end(job, self._values.get(key, "was finished meanwhile"))
        elif isinstance(event, Failed):
            self._end(job, f"failed: {explained(event.reason).format_message()}")
        elif isinstance(event, Held):
            self._drop(key)
            self.say(f"{title(job)}  another process is at it; it is come back to")

    def _show(self, job: Job, progress: RunProgress) -> None:
        key = _key(job)
        if progress.note is not None:
            self.say(f"{title(job)}  {progress.note}")
        if progress.evaluation is not None:
            metric = job.spec.metric
            value = progress.evaluation[metric]
            self._values[key] = unit(metric).named(metric, value)
        self._pace.take(key, progress.updates / (progress.total_updates or 1))
        done = f"{progress.updates}/{progress.total_updates}"
        story = "  ".join(filter(None, (done, self._values.get(key))))
        self._stories[key] = f"{title(job)}  {story}"
        self._bar.update(
            self._running[key],
            total=progress.total_updates or 1,
            completed=progress.updates,
            story=story,
        )
        self._tell_all()

    def _end(self, job: Job, told: str) -> None:
        self._ended += 1
        self._pace.take(_key(job), 1.0)
        self._drop(_key(job))
        self.say(f"{self._ended}/{self._count}  {title(job)}  {told}{self._left()}")
        self._tell_all()

    def _drop(self, key: Key) -> None:
        self._bar.remove_task(self._running.pop(key))
        self._stories.pop(key, None)

    def _tell_all(self) -> None:
        story = f"{self._ended}/{self._count}{self._left()}"
        self._bar.update(self._all, completed=self._pace.done, story=story)
        is_log = not self._console.is_terminal
        if is_log and self._stories and time.monotonic() - self._said >= SILENCE:
            self.say("; ".join([story, *self._stories.values()]))

    def _left(self) -> str:
        seconds = self._pace.left()
        if seconds is None or self._ended == self._count:
            return ""
        minutes, seconds = divmod(round(seconds), 60)
        return f"  ETA {minutes // 60}:{minutes % 60:02}:{seconds:02}"


class Pace:
    """How much is done, and how long the rest will take.

    Args:
        costs: The work of each job beside that of the others.
    """

    def __init__(self, costs: dict[Key, float]):
        self._costs = costs
        self._started = time.monotonic()
        self._first: dict[Key, float] = {}  # shares that were done before this session
        self._now: dict[Key, float] = {}

    def take(self, key: Key, share: float) -> None:
        """Take in which share of a job is done by now."""
        # A job that ends without a moment was done by somebody else, all of it.
        self._first.setdefault(key, share)
        self._now[key] = share

    @property
    def done(self) -> float:
        """Work that is done, by whomever."""
        return sum(self._costs[key] * share for key, share in self._now.items())

    def left(self) -> float | None:
        """Seconds until all is done, None before anything is."""
        before = sum(self._costs[key] * share for key, share in self._first.items())
        ours, left = self.done - before, sum(self._costs.values()) - self.done
        elapsed = time.monotonic() - self._started
        return elapsed * left / ours if ours > 0 else None


def _key(job: Job) -> Key:
    return job.path, job.seed
