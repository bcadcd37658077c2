"""Jobs: seeds to be carried out, and what is told of them on the way.

A job is idempotent, goes on from its newest checkpoint, holds a lock while it writes
and writes its result last. Whoever carries it out may thus lose it, start it twice or
find it finished: nothing is computed twice and nothing is mixed.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path

from suite.benchmark import Benchmark
from suite.running.run_folder import RunBusy, RunFolder
from suite.running.training import Progress


@dataclass(frozen=True)
class Job:
    """One seed to run, with the arguments of ``suite.runs.run_seed``.

    Attributes:
        path: Of the run folder.
        seed: The seed.
        spec: What to run.
        device: Where networks live.
        command: What the user typed, for the record.
        fresh: Start over, finished or not.
    """

    path: Path
    seed: int
    spec: Benchmark
    device: str = "auto"
    command: str = ""
    fresh: bool = False

    @property
    def folder(self) -> RunFolder:
        """Where it runs."""
        return RunFolder(self.path)


@dataclass(frozen=True)
class Started:
    """A job begins; loading takes a few seconds."""

    job: Job


@dataclass(frozen=True)
class Moment:
    """A job is under way."""

    job: Job
    progress: Progress


@dataclass(frozen=True)
class Finished:
    """A job came to its end, perhaps one that it had reached before."""

    job: Job


@dataclass(frozen=True)
class Failed:
    """A job that ended before its end, and why."""

    job: Job
    reason: Exception

    @property
    def is_held(self) -> bool:
        """Whether that is because another process is at it."""
        return isinstance(self.reason, RunBusy)


@dataclass(frozen=True)
class Held:
    """A job that another process is at; it comes again when the others are done."""

    job: Job


Event = Started | Moment | Finished | Failed | Held


def moments(job: Job, threads: int) -> Generator[Progress, None, None]:
    """Carry out a job in this process; yields as it goes.

    Args:
        job: The job.
        threads: Threads that simulate.

    Raises:
        Exception: What ``suite.runs.run_seed`` raises.
    """
    from suite.runs import run_seed

    yield from run_seed(
        job.spec,
        job.folder,
        job.seed,
        device=job.device,
        threads=threads,
        command=job.command,
        fresh=job.fresh,
    )
