"""What a sweep says where there is no terminal."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from dials import spec

from suite.running.jobs import Finished, Job, Moment, Started
from suite.running.training import Progress
from suite_bench import sweep_display
from suite_bench.sweep_display import SILENCE, SweepScreen


class Clock:
    """Seconds that pass when they are told to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch):
        self.now = 0.0
        monkeypatch.setattr(sweep_display.time, "monotonic", lambda: self.now)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


JOBS = [Job(Path(f"runs/{cell}-0123abcd"), 0, spec(0.5)) for cell in ("a", "b")]
BEGUN = Progress(0, updates=0, total_updates=10, timesteps=0, sim_steps=0, seconds=0.0)


def moment(job: Job, updates: int, value: float) -> Moment:
    found = {job.spec.metric: value}
    return Moment(job, replace(BEGUN, updates=updates, evaluation=found))


def test_a_log_gets_a_line_of_all_that_run_after_five_minutes_of_silence(clock, capsys):
    with SweepScreen(JOBS, [1.0, 1.0]) as screen:
        for job in JOBS:
            screen.take(Started(job))
            screen.take(moment(job, 0, 0.0))
        clock.now = SILENCE - 1
        screen.take(moment(JOBS[0], 4, 25.0))
        assert capsys.readouterr().err == ""

        clock.now = SILENCE
        screen.take(moment(JOBS[1], 1, 50.0))
        first = capsys.readouterr().err
        screen.take(moment(JOBS[1], 2, 50.0))
        assert capsys.readouterr().err == ""

        screen.take(Finished(JOBS[0]))  # says so at once, and is no more of those
        capsys.readouterr()
        clock.now = 2 * SILENCE
        screen.take(moment(JOBS[1], 3, 75.0))
        second = capsys.readouterr().err

    # 5 of 20 updates took 300 s, 13 of 20 took 600.
    assert first == (
        "0/2  ETA 0:15:00; a seed 0  4/10  normalized_return 25.0 points; "
        "b seed 0  1/10  normalized_return 50.0 points\n"
    )
    assert second == (
        "1/2  ETA 0:05:23; b seed 0  3/10  normalized_return 75.0 points\n"
    )
