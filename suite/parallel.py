"""Several seeds, one after the other or side by side in processes of their own."""

from __future__ import annotations

import contextlib
import multiprocessing
import pickle
import signal
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any

from suite.benchmark import Benchmark
from suite.process import cores
from suite.run_folder import RunFolder
from suite.training import Progress

PATIENCE = 5.0  # seconds for a process to end when it is asked to


@dataclass(frozen=True)
class Job:
    """One seed to run, with the arguments of ``suite.runs.run_seed``.

    Attributes:
        seed: The seed.
        spec: What to run.
        device: Where networks live.
        command: What the user typed, for the record.
        fresh: Start over, finished or not.
    """

    seed: int
    spec: Benchmark
    device: str = "auto"
    command: str = ""
    fresh: bool = False


@dataclass(frozen=True)
class Started:
    """A seed begins; loading takes a few seconds."""

    seed: int


@dataclass(frozen=True)
class Failed:
    """A seed that ended before its end, and why."""

    seed: int
    reason: Exception


class ProcessDied(RuntimeError):
    """The process of a seed ended without a word."""


Event = Started | Progress | Failed


def run_jobs(
    jobs: Sequence[Job],
    folder: RunFolder,
    *,
    side_by_side: int = 1,
    threads: int | None = None,
) -> Generator[Event, None, None]:
    """Run seeds; yields what happens in all of them. A failure stops no other.

    One at a time they run in this process. More run in spawned ones (a forked one would
    inherit a simulator without its threads), and end when this generator is closed.
    What a seed computes is the same either way.

    Args:
        jobs: What to run.
        folder: Where.
        side_by_side: How many at a time.
        threads: Threads that simulate in each; by default the cores are shared.
    """
    side_by_side = min(side_by_side, len(jobs))
    threads = threads or max(1, cores() // max(1, side_by_side))
    if side_by_side > 1:
        yield from _spawned(list(jobs), folder, side_by_side, threads)
        return
    for job in jobs:
        yield Started(job.seed)
        try:
            yield from _run(job, folder, threads)
        except Exception as reason:
            yield Failed(job.seed, reason)


def _run(job: Job, folder: RunFolder, threads: int) -> Generator[Progress, None, None]:
    from suite.runs import run_seed

    yield from run_seed(
        job.spec,
        folder,
        job.seed,
        device=job.device,
        threads=threads,
        command=job.command,
        fresh=job.fresh,
    )


def _spawned(
    jobs: list[Job], folder: RunFolder, side_by_side: int, threads: int
) -> Iterator[Event]:
    running: dict[Connection, tuple[BaseProcess, Job]] = {}
    try:
        while jobs or running:
            while jobs and len(running) < side_by_side:
                job = jobs.pop(0)
                connection, process = _spawn(job, folder, threads)
                running[connection] = (process, job)
                yield Started(job.seed)
            for connection in wait(list(running)):
                assert isinstance(connection, Connection)
                process, job = running[connection]
                event = _received(connection, process, job)
                if not isinstance(event, Progress):
                    process.join()
                    connection.close()
                    del running[connection]
                if event is not None:
                    yield event
    finally:
        _end([process for process, _ in running.values()])


def _spawn(job: Job, folder: RunFolder, threads: int) -> tuple[Connection, BaseProcess]:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(
        target=_child, args=(theirs, job, folder.path, threads), daemon=True
    )
    # A terminal sends Ctrl-C to every process in front of it. The mask is inherited:
    # from its first moment a child hears only from us, who end it by SIGTERM.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        process.start()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    theirs.close()
    return ours, process


def _received(connection: Connection, process: BaseProcess, job: Job) -> Event | None:
    """The next event of a process, None when it is done."""
    try:
        return connection.recv()
    except EOFError:
        process.join()
        code = process.exitcode or 0
        how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        return Failed(
            job.seed, ProcessDied(f"the process of seed {job.seed} died ({how})")
        )


def _child(connection: Connection, job: Job, path: Any, threads: int) -> None:
    def end(*_: Any) -> None:
        raise SystemExit(128 + signal.SIGTERM)

    signal.signal(signal.SIGTERM, end)
    # If our parent is gone there is nobody to tell: end, what is done is saved.
    with contextlib.suppress(BrokenPipeError):
        try:
            with contextlib.closing(_run(job, RunFolder(path), threads)) as moments:
                for progress in moments:
                    connection.send(progress)
            connection.send(None)
        except BrokenPipeError:
            raise
        except Exception as reason:
            connection.send(Failed(job.seed, _portable(reason)))


def _portable(reason: Exception) -> Exception:
    """The exception if it survives a pipe, else one that says the same."""
    try:
        copy = pickle.loads(pickle.dumps(reason))
    except Exception:
        copy = None
    if type(copy) is type(reason) and str(copy) == str(reason):
        return reason
    return RuntimeError(f"{type(reason).__name__}: {reason}")


def _end(processes: list[BaseProcess]) -> None:
    for process in processes:
        process.terminate()
    for process in processes:
        process.join(PATIENCE)
        if process.is_alive():
            process.kill()
            process.join()
