"""Contenders that take turns, so that a drifting machine hits all alike."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any


def medians(
    contenders: Mapping[str, Callable[[], float]], rounds: int
) -> dict[str, float]:
    """Median of what each tells, such as a rate, over rounds of one call each."""
    told: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, contender in contenders.items():
            told[name].append(contender())
    return {name: statistics.median(values) for name, values in told.items()}


def turns(
    contenders: Mapping[str, Callable[[], Any]],
    rounds: int,
    repeats: int,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, float]:
    """Median seconds of one call of each, after a call that is not timed."""

    def timed(work: Callable[[], Any]) -> float:
        work()  # caches belong to whoever is timed
        started = clock()
        for _ in range(repeats):
            work()
        return (clock() - started) / repeats

    timers = {name: lambda work=work: timed(work) for name, work in contenders.items()}
    return medians(timers, rounds)
