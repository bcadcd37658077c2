"""Jobs in other processes compute what they compute alone."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from test_resume import contents, environment
from toys import TOY, TOY_PPO

from suite.benchmark import Benchmark
from suite.parts import ConfigError
from suite.running import parallel, worker
from suite.running.jobs import Event, Failed, Finished, Held, Job, Moment, Started
from suite.running.parallel import Here, Processes, executor, patiently
from suite.running.run_folder import RunFolder
from suite.storage import IntegrityError, write_json

ENDLESS = TOY.with_settings({"total_timesteps": 10**7})


def jobs_in(path: Path, spec: Benchmark, *seeds: int) -> list[Job]:
    return [Job(path, seed, spec, "cpu") for seed in seeds]


def seeds_of(events: list[Event], kind: type) -> list[int]:
    return [event.job.seed for event in events if isinstance(event, kind)]


@pytest.mark.slow
def test_jobs_side_by_side_leave_the_files_of_single_runs(tmp_path: Path):
    together, alone = tmp_path / "a", tmp_path / "b"
    jobs = jobs_in(together, TOY_PPO, 0, 1, 2)
    events = list(Processes(2, 1).run(jobs))
    assert seeds_of(events, Started) == [0, 1, 2]
    assert sorted(seeds_of(events, Finished)) == [0, 1, 2]
    assert set(seeds_of(events, Moment)) == {0, 1, 2}
    for job in jobs_in(alone, TOY_PPO, 0, 2):  # the last one had a used process
        list(Here(1).run([job]))
        told = RunFolder(together).seed(job.seed)
        assert contents(told) == contents(RunFolder(alone).seed(job.seed))


@pytest.mark.slow
def test_jobs_of_many_folders_share_the_processes(tmp_path: Path):
    other = TOY.with_settings({"agent.n_epochs": 1})
    jobs = [
        *jobs_in(tmp_path / "a", TOY, 0, 1),
        *jobs_in(tmp_path / "b", other, 0, 1),
    ]
    events = list(Processes(2, 1).run(jobs))
    assert [event.job for event in events if isinstance(event, Started)] == jobs
    assert all(job.folder.result(job.seed) for job in jobs)


@pytest.mark.slow
def test_a_process_that_dies_between_two_jobs_costs_none(tmp_path: Path, monkeypatch):
    started: list[worker.Worker] = []

    class Watched(worker.Worker):
        def __init__(self, threads: int):
            super().__init__(threads)
            started.append(self)

    monkeypatch.setattr(parallel, "Worker", Watched)
    told, killed = [], 0
    for event in Processes(1, 1).run(jobs_in(tmp_path, TOY, 0, 1)):
        told.append(event)
        if isinstance(event, Finished) and not killed:
            killed = started[0].process.pid
            started[0].process.kill()
            started[0].process.join()
    assert killed and len(started) == 2
    assert seeds_of(told, Finished) == [0, 1] and not seeds_of(told, Failed)


def test_processes_end_when_nobody_listens_any_more(tmp_path: Path):
    folder = RunFolder(tmp_path)
    events = Processes(2, 1).run(jobs_in(tmp_path, ENDLESS, 0, 1))
    while not all(folder.saved(seed) for seed in (0, 1)):
        next(events)
    events.close()
    assert multiprocessing.active_children() == []
    for seed in (0, 1):
        with folder.locked(seed):
            assert "stopped: " in (folder.seed(seed) / "run.log").read_text()


PARENT = """
import sys
from pathlib import Path
from suite.benchmark import Benchmark
from suite.running.jobs import Job
from suite.running.parallel import Processes
from suite.storage import read_json

if __name__ == "__main__":
    path = Path(sys.argv[1])
    spec = Benchmark.from_json(read_json(path / "spec.json"))
    list(Processes(2, 1).run([Job(path, seed, spec, "cpu") for seed in (0, 1)]))
"""


@pytest.mark.slow
def test_processes_end_when_their_parent_is_killed(tmp_path: Path):
    folder = RunFolder(tmp_path)
    write_json(tmp_path / "spec.json", ENDLESS.to_json())
    (tmp_path / "parent.py").write_text(PARENT)
    parent = subprocess.Popen(
        [sys.executable, str(tmp_path / "parent.py"), str(tmp_path)],
        env=environment(),
    )
    while not all(folder.saved(seed) for seed in (0, 1)):
        assert parent.poll() is None
        time.sleep(0.05)
    os.kill(parent.pid, signal.SIGKILL)
    parent.wait()
    deadline = time.monotonic() + 20
    while any(folder.is_busy(seed) for seed in (0, 1)):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_the_cores_are_shared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(parallel, "cores", lambda: 8)
    jobs = jobs_in(tmp_path, TOY, 0, 1, 2)
    asked = ((2, None), (3, None), (99, None), (3, 5))
    given = [executor(count, jobs, threads) for count, threads in asked]
    assert given == [Processes(2, 4), *[Processes(3, 2)] * 2, Processes(3, 5)]
    assert executor(4, jobs[:1]) == Here(8)
    for place in (executor(2, []), Processes(2, 1)):
        assert list(place.run([])) == []


def test_what_another_process_is_at_is_come_back_to(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(parallel, "GLANCE", 0.0)
    folder = RunFolder(tmp_path)
    told: list[Event] = []
    looks = iter([True, True, False])
    monkeypatch.setattr(RunFolder, "is_busy", lambda *_: next(looks))
    with folder.locked(1):
        events = patiently(Here(1), jobs_in(tmp_path, TOY, 0, 1, 2))
        while 2 not in seeds_of(told, Finished):
            told.append(next(events))
    told += events
    assert seeds_of(told, Held) == [1]
    assert seeds_of(told, Finished) == [0, 2, 1]
    assert not seeds_of(told, Failed)
    assert next(looks, None) is None


def test_without_patience_a_folder_in_other_hands_is_a_failure(tmp_path: Path):
    with RunFolder(tmp_path).locked(0):
        *_, last = Here(1).run(jobs_in(tmp_path, TOY, 0))
    assert isinstance(last, Failed) and "another run is writing" in str(last.reason)


@pytest.mark.parametrize(
    "reason",
    [
        ConfigError("a"),
        OSError(28, "No space", "file"),
        IntegrityError("b"),
        FloatingPointError("c"),
    ],
    ids=str,
)
def test_a_failure_keeps_its_kind_on_the_way_to_the_parent(reason: Exception):
    assert worker.portable(reason) is reason


def test_a_failure_that_does_not_travel_is_told_in_words():
    class Local(Exception):
        def __init__(self, one: int, two: int):
            super().__init__(f"{one} {two}")

    told = worker.portable(Local(1, 2))
    assert (type(told), str(told)) == (RuntimeError, "Local: 1 2")
