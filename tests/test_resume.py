"""A run that was stopped ends with the bytes of one that was not."""

from __future__ import annotations

import functools
import tempfile
from pathlib import Path
from typing import Any

import pytest
import torch
from toys import RESUMABLE

from suite.benchmark import Benchmark
from suite.run_folder import RunFolder
from suite.runs import Progress, run_seed

UPDATES = 4
WALL_CLOCK = {"timing.csv", "timing.json", "run.log"}


def contents(home: Path) -> dict[str, bytes]:
    """Every file that must repeat, by path."""
    return {
        str(path.relative_to(home)): path.read_bytes()
        for path in sorted(home.rglob("*"))
        if path.is_file() and path.name not in WALL_CLOCK
    }


def start(out: Path, spec: Benchmark, **kwargs: Any):
    folder = RunFolder.of(spec, out)
    return run_seed(spec, folder, 0, **{"device": "cpu", "threads": 1, **kwargs})


@functools.cache
def uninterrupted(name: str) -> dict[str, bytes]:
    spec = RESUMABLE[name]
    with tempfile.TemporaryDirectory() as out:
        list(start(Path(out), spec))
        return contents(RunFolder.of(spec, out).seed(0))


def stopped(out: Path, spec: Benchmark, moments: int) -> Path:
    """Run up to a number of moments; the seed's folder."""
    run = start(out, spec)
    for _ in range(moments):
        next(run)
    run.close()
    return RunFolder.of(spec, out).seed(0)


def notes(told: list[Progress]) -> list[str]:
    return [each.note for each in told if each.note is not None]


def disturb_generators() -> None:
    """What another process would have: other states of every global generator."""
    import random

    import numpy as np

    random.seed(99)
    np.random.seed(99)
    torch.manual_seed(99)


@pytest.mark.parametrize("moments", range(1, 2 * UPDATES + 2))
@pytest.mark.parametrize("name", RESUMABLE)
def test_a_run_stopped_anywhere_ends_with_the_same_bytes(tmp_path, name, moments):
    spec = RESUMABLE[name]
    home = stopped(tmp_path, spec, moments)
    updates = moments // 2
    assert RunFolder(home.parent).saved(0) == (updates or None)
    disturb_generators()
    told = list(start(tmp_path, spec))
    expected = [f"continues from iteration {updates + 1}"] if updates else []
    assert notes(told) == expected
    assert contents(home) == uninterrupted(name)
