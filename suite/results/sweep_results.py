"""What the cells of a sweep add up to: scores, intervals, drops, comparisons."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from suite.evaluation import (
    Interval,
    bootstrap_interval,
    iqm,
    mean_interval,
    probability_of_improvement,
)
from suite.results.columns import rows_with
from suite.results.paired import pairs
from suite.results.units import unit

if TYPE_CHECKING:
    from suite.cell import Cell, Value
    from suite.sweep import Sweep, Trial

Place = tuple["Value | None", "Value | None", str]  # rival, task, condition


@dataclass(frozen=True)
class SeedResult:
    """What a finished seed left.

    Attributes:
        result: Of result.json.
        tables: Rows of eval.csv and of metrics.csv.
        details: Arrays of details.npz, where the evaluation has some.
    """

    result: Mapping[str, Any]
    tables: tuple[Sequence[Mapping[str, float]], ...]
    details: Mapping[str, np.ndarray] = field(default_factory=dict)

    def series(self, column: str) -> dict[float, float]:
        """A column by timesteps, from the first table that has it; empty if none."""
        rows = rows_with(self.tables, column)
        return {row["timesteps"]: row[column] for row in rows}


@dataclass(frozen=True)
class CellResults:
    """A cell and its finished seeds."""

    cell: Cell
    seeds: Mapping[int, SeedResult]

    def scores(self, kind: str = "final") -> dict[int, float]:
        """The metric of each seed: ``"final"``, ``"mean_of_last_3"``."""
        return {seed: float(done.result[kind]) for seed, done in self.seeds.items()}

    @property
    def missing(self) -> list[int]:
        """Seeds that have not finished."""
        return [seed for seed in self.cell.spec.seeds if seed not in self.seeds]

    def curves(self, column: str) -> tuple[np.ndarray, np.ndarray]:
        """A column over training.

        Returns:
            (points,) timesteps that every seed has, and (seeds, points) values.
        """
        series = [done.series(column) for done in self.seeds.values()]
        series = [each for each in series if each]
        steps = sorted(set.intersection(*map(set, series))) if series else []
        values = [[each[step] for step in steps] for each in series]
        return np.array(steps), np.array(values).reshape(len(series), len(steps))


@dataclass(frozen=True)
class Results:
    """All cells of a sweep with what is finished of them.

    Attributes:
        sweep: Which.
        cells: In its order.
        damaged: Trials that have a result which cannot be read, each with the reason;
            among the cells they count as missing.
    """

    sweep: Sweep
    cells: Sequence[CellResults]
    damaged: Mapping[Trial, Exception] = field(default_factory=dict)

    def place(self, cell: Cell) -> Place:
        """Where a cell stands in tables and figures."""
        sweep = self.sweep
        rival, task = (
            None if axis is None else cell.axes[axis]
            for axis in (sweep.rivals, sweep.tasks)
        )
        return rival, task, sweep.condition(cell)

    @functools.cached_property
    def places(self) -> dict[Place, CellResults]:
        """The cells by place, in their order."""
        return {self.place(found.cell): found for found in self.cells}

    @property
    def rivals(self) -> list[Value | None]:
        """In the order of the cells; one that is None if nothing is compared."""
        return list(dict.fromkeys(place[0] for place in self.places))

    @property
    def tasks(self) -> list[Value | None]:
        """In the order of the cells; one that is None if there is one task."""
        return list(dict.fromkeys(place[1] for place in self.places))

    @property
    def begun(self) -> tuple[list[Value | None], list[Value | None]]:
        """Rivals and tasks of which a seed has finished; all of them if none has."""
        done = [place for place, found in self.places.items() if found.seeds]
        places = done or list(self.places)
        rivals, tasks = ({place[axis] for place in places} for axis in (0, 1))
        return (
            [rival for rival in self.rivals if rival in rivals],
            [task for task in self.tasks if task in tasks],
        )

    @functools.cached_property
    def aggregates(self) -> list[dict[str, Any]]:
        """The interquartile mean of each rival and condition over all tasks."""
        return list(_aggregates(self))

    @functools.cached_property
    def improvements(self) -> list[dict[str, Any]]:
        """How probably each rival beats each one after it, by condition."""
        return list(_improvements(self))


def summary(results: Results) -> dict[str, Any]:
    """The numbers of a sweep, plain JSON: what tables and texts quote.

    Returns:
        ``cells``: each with the scores of its seeds, their mean with Student's t
        interval, and the ``drop`` from the baseline, paired by seed; ``aggregates``:
        for each rival and condition the interquartile mean over tasks and seeds, with
        a stratified bootstrap interval; ``improvements``: how probable it is that a
        run of one rival beats one of another, by condition.
    """
    sweep = results.sweep
    return {
        "sweep": sweep.name,
        "metric": sweep.metric,
        "baseline": sweep.baseline,
        "trials": sum(len(cell.spec.seeds) for cell in sweep.cells),
        "finished": sum(len(found.seeds) for found in results.cells),
        "cells": [_row(results, found) for found in results.cells],
        "aggregates": results.aggregates,
        "improvements": results.improvements,
        "pairs": pairs(results, _compared_errors(sweep)),
    }


def _compared_errors(sweep: Sweep) -> list[str]:
    """The errors whose tails its figures compare."""
    return [
        str(getattr(figure, "values", ""))
        for figure in sweep.figures
        if figure.kind == "tails"
    ]


def _row(results: Results, found: CellResults) -> dict[str, Any]:
    scores = found.scores()
    return {
        "cell": found.cell.label,
        "axes": dict(found.cell.axes),
        "condition": results.place(found.cell)[2],
        "folder": found.cell.folder_name,
        "seeds": list(scores),
        "missing": found.missing,
        "scores": list(scores.values()),
        "final": _told(_mean(list(scores.values()))),
        "mean_of_last_3": _told(_mean(list(found.scores("mean_of_last_3").values()))),
        "drop": _drop(results, found),
    }


def _mean(values: Sequence[float]) -> Interval | None:
    return mean_interval(values) if values else None


def _drop(results: Results, found: CellResults) -> dict[str, Any] | None:
    """By how much a cell is below the baseline with the same rival and task."""
    rival, task, condition = results.place(found.cell)
    baseline = results.sweep.baseline
    reference = results.places.get((rival, task, baseline or ""))
    if reference is None or condition == baseline:
        return None
    theirs, ours = reference.scores(), found.scores()
    paired = [theirs[seed] - ours[seed] for seed in ours if seed in theirs]
    told = _told(_mean(paired))
    return told and {"from": reference.cell.label, **told, "seeds": len(paired)}


def _aggregates(results: Results) -> Iterator[dict[str, Any]]:
    for rival in results.rivals:
        for condition in results.sweep.conditions:
            scores = _matrix(results, rival, condition)
            if scores.size:
                yield {
                    "rival": rival,
                    "condition": condition,
                    "seeds": len(scores),
                    "iqm": _told(_bootstrapped(scores, iqm)),
                }


def _improvements(results: Results) -> Iterator[dict[str, Any]]:
    for ours, theirs in itertools.combinations(results.rivals, 2):
        for condition in results.sweep.conditions:
            pair = [_matrix(results, rival, condition) for rival in (ours, theirs)]
            count = min(map(len, pair))
            if count:
                # Side by side, so that each rival's seeds are drawn on their own; of
                # errors less is better.
                sign = -1 if unit(results.sweep.metric).best is min else 1
                both = np.hstack([sign * scores[:count] for scores in pair])
                yield {
                    "rival": ours,
                    "over": theirs,
                    "condition": condition,
                    "seeds": count,
                    "probability": _told(_bootstrapped(both, _beats)),
                }


def _beats(both: np.ndarray) -> float:
    ours, theirs = np.hsplit(both, 2)
    return probability_of_improvement(ours, theirs)


def _matrix(results: Results, rival: Value | None, condition: str) -> np.ndarray:
    """Scores (seeds, tasks) of the seeds that finished on every task."""
    found = [results.places.get((rival, task, condition)) for task in results.tasks]
    scores = [{} if each is None else each.scores() for each in found]
    seeds = sorted(set.intersection(*map(set, scores)))
    return np.array([[each[seed] for each in scores] for seed in seeds])


def _bootstrapped(scores: np.ndarray, statistic: Any) -> Interval:
    if len(scores) < 2:
        return Interval(float(statistic(scores)), None, None)
    return bootstrap_interval(scores, statistic)


def _told(found: Interval | None) -> dict[str, Any] | None:
    return found and asdict(found)
