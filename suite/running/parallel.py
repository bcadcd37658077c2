"""Executors: where jobs are carried out, here or side by side in other processes."""

from __future__ import annotations

import contextlib
import time
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import Protocol

from suite.running.jobs import (
    Event,
    Failed,
    Finished,
    Held,
    Job,
    Moment,
    Started,
    moments,
)
from suite.running.process import cores
from suite.running.worker import Worker, end

GLANCE = 0.5  # seconds between two looks at a job that another process is at


class Executor(Protocol):
    """A place where jobs are carried out: this machine, a cluster.

    All it can rely on is what a job is, see ``suite.running.jobs``.
    """

    def run(self, jobs: Sequence[Job]) -> Generator[Event, None, None]:
        """Carry out jobs, in their order as far as there is room.

        Yields what happens: of each job that it is started, its moments, and that it
        has finished or failed. A failure stops no other. Closing the generator ends
        what is under way; what was saved by then is kept.
        """
        ...


def executor(
    side_by_side: int, jobs: Sequence[Job], threads: int | None = None
) -> Executor:
    """The executor for some jobs on this machine.

    Args:
        side_by_side: How many jobs at a time.
        jobs: What it is for; no more processes are started than there are.
        threads: Threads that simulate in each; by default the cores are shared.
    """
    side_by_side = max(1, min(side_by_side, len(jobs)))
    threads = threads or max(1, cores() // side_by_side)
    return Processes(side_by_side, threads) if side_by_side > 1 else Here(threads)


def patiently(executor: Executor, jobs: Sequence[Job]) -> Generator[Event, None, None]:
    """Carry out jobs though others work on the same ones.

    Use it where two of us may share a folder: what another process is at is come back
    to when the rest is done. If that process finished it, there is nothing to do, and
    if it died the job goes on here.
    """
    while jobs:
        held: list[Job] = []
        with contextlib.closing(executor.run(jobs)) as events:
            for event in events:
                if isinstance(event, Failed) and event.is_held:
                    held.append(event.job)
                    yield Held(event.job)
                else:
                    yield event
        while held and all(job.folder.is_busy(job.seed) for job in held):
            time.sleep(GLANCE)
        jobs = held


@dataclass(frozen=True)
class Here:
    """One job after the other, in this process.

    Args:
        threads: Threads that simulate.
    """

    threads: int

    def run(self, jobs: Sequence[Job]) -> Generator[Event, None, None]:
        """See ``Executor.run``."""
        for job in jobs:
            yield Started(job)
            try:
                with contextlib.closing(moments(job, self.threads)) as told:
                    for progress in told:
                        yield Moment(job, progress)
            except Exception as reason:
                yield Failed(job, reason)
            else:
                yield Finished(job)


@dataclass(frozen=True)
class Processes:
    """Several jobs at a time, in spawned processes that take one after the other.

    Spawned, since a forked one would inherit a simulator without its threads. They take
    several, since loading torch takes seconds; what a job computes does not depend on
    what its process did before, and one in which a job failed is replaced.

    Args:
        count: How many.
        threads: Threads that simulate in each.
    """

    count: int
    threads: int

    def run(self, jobs: Sequence[Job]) -> Generator[Event, None, None]:
        """See ``Executor.run``."""
        waiting, workers = deque(jobs), list[Worker]()
        try:
            while waiting or any(worker.job for worker in workers):
                for worker in self._free(workers, len(waiting)):
                    worker.begin(job := waiting.popleft())
                    yield Started(job)
                busy = {worker.connection: worker for worker in workers if worker.job}
                for connection in wait(list(busy)):
                    assert isinstance(connection, Connection)
                    worker = busy[connection]
                    event = worker.event()
                    if isinstance(event, Failed) and not event.is_held:
                        workers.remove(worker)
                        end([worker])
                    yield event
        finally:
            end(workers)

    def _free(self, workers: list[Worker], wanted: int) -> Iterator[Worker]:
        """Up to as many workers as wanted, those that wait for a job first."""
        idle = [worker for worker in workers if worker.job is None]
        for dead in [worker for worker in idle if not worker.is_alive]:
            workers.remove(dead)  # no job is lost: another takes its place
            idle.remove(dead)
            end([dead])
        yield from idle[:wanted]
        for _ in range(min(wanted - len(idle), self.count - len(workers))):
            workers.append(Worker(self.threads))
            yield workers[-1]
