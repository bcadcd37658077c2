"""Seeds in processes of their own compute what they compute alone."""

from __future__ import annotations

import multiprocessing
from pathlib import Path

import pytest
from test_resume import contents
from toys import TOY, TOY_PPO

from suite import parallel
from suite.parallel import Failed, Job, Started, run_jobs
from suite.parts import ConfigError
from suite.run_folder import RunFolder
from suite.storage import IntegrityError
from suite.training import Progress


def seeds_of(events: list[parallel.Event]) -> list[int]:
    return [event.seed for event in events if isinstance(event, Started)]


@pytest.mark.slow
def test_seeds_side_by_side_leave_the_files_of_single_runs(tmp_path: Path):
    together, alone = RunFolder(tmp_path / "a"), RunFolder(tmp_path / "b")
    jobs = [Job(seed, TOY_PPO, "cpu") for seed in (0, 1, 2)]
    events = list(run_jobs(jobs, together, side_by_side=2))
    assert seeds_of(events) == [0, 1, 2]
    assert not [event for event in events if isinstance(event, Failed)]
    told = {event.seed for event in events if isinstance(event, Progress)}
    assert told == {0, 1, 2}
    for job in jobs[:2]:
        list(run_jobs([job], alone))
        assert contents(together.seed(job.seed)) == contents(alone.seed(job.seed))


@pytest.mark.slow
def test_processes_end_when_nobody_listens_any_more(tmp_path: Path):
    folder = RunFolder(tmp_path)
    spec = TOY.with_settings({"total_timesteps": 10**7})
    jobs = [Job(seed, spec, "cpu") for seed in (0, 1)]
    events = run_jobs(jobs, folder, side_by_side=2)
    while not all(folder.saved(seed) for seed in (0, 1)):
        next(events)
    events.close()
    assert multiprocessing.active_children() == []
    for seed in (0, 1):
        with folder.locked(seed):
            assert "stopped: " in (folder.seed(seed) / "run.log").read_text()


def test_the_cores_are_shared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    given = []
    monkeypatch.setattr(
        parallel, "_spawned", lambda *a: given.append(a[2:]) or iter(())
    )
    monkeypatch.setattr(parallel, "_run", lambda *a: given.append((1, a[2])) or ())
    monkeypatch.setattr(parallel, "cores", lambda: 8)
    jobs = [Job(seed, TOY) for seed in range(3)]
    for side_by_side, threads in ((2, None), (3, None), (99, None), (3, 5)):
        folder = RunFolder(tmp_path)
        list(run_jobs(jobs, folder, side_by_side=side_by_side, threads=threads))
    list(run_jobs(jobs[:1], RunFolder(tmp_path), side_by_side=4))
    assert given == [(2, 4), (3, 2), (3, 2), (3, 5), (1, 8)]
    assert list(run_jobs([], RunFolder(tmp_path), side_by_side=2)) == []


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
    assert parallel._portable(reason) is reason


def test_a_failure_that_does_not_travel_is_told_in_words():
    class Local(Exception):
        def __init__(self, one: int, two: int):
            super().__init__(f"{one} {two}")

    told = parallel._portable(Local(1, 2))
    assert (type(told), str(told)) == (RuntimeError, "Local: 1 2")
