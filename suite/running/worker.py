"""A process of its own that carries out one job after the other.

``concurrent.futures.ProcessPoolExecutor`` would do so, but one process that is killed
breaks its whole pool with every job that waits, a task that runs cannot be cancelled,
and Ctrl-C reaches its processes while they start. Here a job that dies fails alone, and
all end within seconds when nobody listens any more.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import pickle
import signal
import threading
from collections.abc import Sequence
from multiprocessing.connection import Connection

from suite.running.jobs import Event, Failed, Finished, Job, Moment, moments
from suite.running.training import Progress

PATIENCE = 5.0  # seconds for a process to end when it is asked to


class ProcessDied(RuntimeError):
    """The process of a job ended without a word."""


class Worker:
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

    @property
    def is_alive(self) -> bool:
        """Whether there is still a process to hand a job to."""
        return self.process.is_alive()

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


def end(workers: Sequence[Worker]) -> None:
    """End processes, whatever they are at; what they saved is kept."""
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
    def stop(*_: object) -> None:
        raise SystemExit(128 + signal.SIGTERM)

    signal.signal(signal.SIGTERM, stop)
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
        with contextlib.closing(moments(job, threads)) as told:
            for progress in told:
                connection.send(progress)
    except BrokenPipeError:
        raise
    except Exception as reason:
        connection.send(portable(reason))
    else:
        connection.send(None)


def portable(reason: Exception) -> Exception:
    """The exception if it survives a pipe, else one that says the same."""
    try:  # bytes made right here, read as the pipe's other end will read them
        copy = pickle.loads(pickle.dumps(reason))
    except Exception:
        copy = None
    if type(copy) is type(reason) and str(copy) == str(reason):
        return reason
    return RuntimeError(f"{type(reason).__name__}: {reason}")
