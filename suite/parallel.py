"""Executors: where seeds are carried out, here or side by side in other processes.

What is carried out is a ``Job``, one seed of one run folder. It is idempotent, goes on
from its newest checkpoint, holds a lock while it writes and writes its result last. An
executor may thus lose a job, start it twice or find it finished: nothing is computed
twice and nothing is mixed. That is all that one for a cluster can rely on, too.

``concurrent.futures.ProcessPoolExecutor`` would carry jobs, but one process that is
killed breaks its whole pool with every job that waits, a task that runs cannot be
cancelled, and Ctrl-C reaches its processes while they start. Here a job that dies fails
alone, and all end within seconds when nobody listens any more.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import pickle
import signal
import threading
import time
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Protocol

from suite.benchmark import Benchmark
from suite.process import cores
from suite.run_folder import RunBusy, RunFolder
from suite.training import Progress

PATIENCE = 5.0  # seconds for a process to end when it is asked to
GLANCE = 0.5  # seconds between two looks at a job that another process is at


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


@dataclass(frozen=True)
class Held:
    """A job that another process is at; it comes again when the others are done."""

    job: Job


Event = Started | Moment | Finished | Failed | Held


class ProcessDied(RuntimeError):
    """The process of a job ended without a word."""


class Executor(Protocol):
    """A place where jobs are carried out."""

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
                if isinstance(event, Failed) and _is_held(event):
                    held.append(event.job)
                    yield Held(event.job)
                else:
                    yield event
        while held and all(job.folder.is_busy(job.seed) for job in held):
            time.sleep(GLANCE)
        jobs = held


def _is_held(event: Failed) -> bool:
    return isinstance(event.reason, RunBusy)


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
                with contextlib.closing(_moments(job, self.threads)) as moments:
                    for progress in moments:
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
        waiting, workers = deque(jobs), list[_Worker]()
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
                    if isinstance(event, Failed) and not _is_held(event):
                        workers.remove(worker)
                        _end([worker])
                    yield event
        finally:
            _end(workers)

    def _free(self, workers: list[_Worker], wanted: int) -> Iterator[_Worker]:
        """Up to as many workers as wanted, those that wait for a job first."""
        idle = [worker for worker in workers if worker.job is None]
        yield from idle[:wanted]
        for _ in range(min(wanted - len(idle), self.count - len(workers))):
            workers.append(_Worker(self.threads))
            yield workers[-1]


class _Worker:
    """A process that carries out one job after the other.

    Args:
        threads: Threads that simulate.
    """

    def __init__(self, threads: int):
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self.process = context.Process(
            target=_serve, args=(theirs, threads), daemon=True
        )
        self.job: Job | None = None
        # A terminal sends Ctrl-C to every process in front of it. The mask is
        # inherited: from its first moment a child hears only from us, who end it by
        # SIGTERM.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            self.process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        theirs.close()

    def begin(self, job: Job) -> None:
        """Hand over a job."""
        self.job = job
        with contextlib.suppress(BrokenPipeError):  # a dead one: its event says so
            self.connection.send(job)

    def event(self) -> Event:
        """What happens next in its job; waits for it."""
        job = self.job
        assert job is not None
        try:
            told = self.connection.recv()
        except (EOFError, ConnectionResetError):
            told = ProcessDied(f"the process of seed {job.seed} died ({self._how()})")
        if isinstance(told, Progress):
            return Moment(job, told)
        self.job = None
        return Finished(job) if told is None else Failed(job, told)

    def _how(self) -> str:
        self.process.join()
        code = self.process.exitcode or 0
        return signal.Signals(-code).name if code < 0 else f"exit code {code}"


def _end(workers: Sequence[_Worker]) -> None:
    for worker in workers:
        worker.process.terminate()
    for worker in workers:
        worker.process.join(PATIENCE)
        if worker.process.is_alive():
            worker.process.kill()
            worker.process.join()
        worker.connection.close()


# ------------------------------------------------------------- in the spawned process
def _serve(connection: Connection, threads: int) -> None:
    def end(*_: object) -> None:
        raise SystemExit(128 + signal.SIGTERM)

    signal.signal(signal.SIGTERM, end)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    while True:
        try:
            job = connection.recv()
        except EOFError:
            return
        try:
            _carry_out(job, connection, threads)
        except BrokenPipeError:  # nobody is left to tell; what is done is saved
            return


def _end_with_parent() -> None:
    """End this process when its parent is gone, even if that was killed."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os.kill(os.getpid(), signal.SIGTERM)


def _carry_out(job: Job, connection: Connection, threads: int) -> None:
    try:
        with contextlib.closing(_moments(job, threads)) as moments:
            for progress in moments:
                connection.send(progress)
    except BrokenPipeError:
        raise
    except Exception as reason:
        connection.send(_portable(reason))
    else:
        connection.send(None)


def _moments(job: Job, threads: int) -> Generator[Progress, None, None]:
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


def _portable(reason: Exception) -> Exception:
    """The exception if it survives a pipe, else one that says the same."""
    try:
        copy = pickle.loads(pickle.dumps(reason))
    except Exception:
        copy = None
    if type(copy) is type(reason) and str(copy) == str(reason):
        return reason
    return RuntimeError(f"{type(reason).__name__}: {reason}")
