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
    return medians_of(told_in(contenders, rounds))


def told_in(
    contenders: Mapping[str, Callable[[], float]], rounds: int
) -> list[dict[str, float]]:
    """What each tells in each round of one call each."""
    return [{name: tell() for name, tell in contenders.items()} for _ in range(rounds)]


def medians_of(rounds: list[dict[str, float]]) -> dict[str, float]:
    """Of each number over the rounds."""
    return {name: statistics.median(r[name] for r in rounds) for name in rounds[0]}


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
