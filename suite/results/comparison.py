"""Cells of a sweep against one of them, seed by seed, over any part of training."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from suite.evaluation import Interval, mean_interval, mean_of_last
from suite.parts import ConfigError
from suite.results.columns import no_column, rows_with
from suite.results.units import unit
from suite.unknown_names import no_such

if TYPE_CHECKING:
    from suite.results.sweep_results import CellResults, Results, SeedResult


@dataclass(frozen=True)
class Span:
    """A part of training and how its rows become one number.

    Attributes:
        about: As a heading says it.
        number: Of values by iteration, in their order, and the name of the column.
    """

    about: str
    number: Callable[[Mapping[int, float], str, int], float]


def span(text: str) -> Span:
    """A part of training by its name.

    Args:
        text: ``"final"``, the last row; ``"last3"``, the mean of the last three rows,
            which leaves out what precedes all training; ``"2-15"``, the mean over those
            iterations, ``"6"`` that one alone; ``"peak"``, the row of the largest
            number, or of the smallest where the column's unit says that less is
            better, which is biased.

    Raises:
        ConfigError: If it is none of these.
    """
    if text == "final":
        return Span("at the end", lambda values, *_: [*values.values()][-1])
    if text == "peak":
        return Span("at its best, biased", _peak)
    if found := re.fullmatch(r"last([1-9]\d*)", text):
        return Span(
            f"mean of the last {found[1]}",
            lambda values, _, untrained: mean_of_last(
                [*values.values()], int(found[1]), untrained=untrained
            ),
        )
    if found := re.fullmatch(r"(\d+)(?:-(\d+))?", text):
        first, last = int(found[1]), int(found[2] or found[1])
        if first <= last:
            over = f"mean over iterations {first} to {last}"
            return Span(
                over if first < last else f"iteration {first}",
                lambda values, column, _: _mean_over(values, column, first, last),
            )
    raise ConfigError(
        "a part of training is 'final', 'peak', 'last3' or iterations such as '2-15' "
        f"or '6', got {text!r}"
    )


def _peak(values: Mapping[int, float], column: str, _: int) -> float:
    return unit(column).best(values.values())


def _mean_over(
    values: Mapping[int, float], column: str, first: int, last: int
) -> float:
    missing = [i for i in range(first, last + 1) if i not in values]
    if missing:
        raise ConfigError(
            f"{column} has no iteration {missing[0]}; it has {len(values)} between "
            f"{min(values)} and {max(values)}"
        )
    return math.fsum(values[i] for i in range(first, last + 1)) / (last - first + 1)


@dataclass(frozen=True)
class Compared:
    """A cell beside the first one.

    Attributes:
        cell: Its label.
        values: A number a seed.
        mean: Over seeds, with Student's t interval.
        difference: Its mean less the first one's, paired by seed, with such an
            interval; None for the first one and if no seed is in both.
        pairs: Seeds in both.
    """

    cell: str
    values: Mapping[int, float]
    mean: Interval
    difference: Interval | None
    pairs: int


def compare(
    results: Results,
    labels: Sequence[str] = (),
    *,
    column: str = "",
    over: str = "final",
    confidence: float = 0.95,
) -> list[Compared]:
    """Cells of a sweep against the first one named.

    Use it for what the sweep's own table, which is of its metric and baseline, does not
    say: other pairs, other columns, a mean over some iterations, an equivalence (a 90 %
    interval within the bounds is two one-sided tests at 5 %).

    Args:
        results: Of the sweep.
        labels: Of the cells; if none is named all that have results, the baseline
            first.
        column: Of eval.csv or metrics.csv; the metric if empty.
        over: Which part of training, see ``span``.
        confidence: Coverage of the intervals.

    Raises:
        ConfigError: If a cell, a column or an iteration is not there; names what is.
    """
    column, part = column or results.sweep.metric, span(over)
    cells = chosen(results, labels)
    found = [
        {seed: _number(done, column, part) for seed, done in cell.seeds.items()}
        for cell in cells
    ]
    return [
        _compared(cell.cell.label, values, found[0], index > 0, confidence)
        for index, (cell, values) in enumerate(zip(cells, found, strict=True))
    ]


def _compared(
    label: str,
    values: Mapping[int, float],
    first: Mapping[int, float],
    is_other: bool,
    confidence: float,
) -> Compared:
    less = [values[seed] - first[seed] for seed in values if seed in first]
    return Compared(
        label,
        values,
        mean_interval([*values.values()], confidence),
        mean_interval(less, confidence) if less and is_other else None,
        len(less),
    )


def chosen(results: Results, labels: Sequence[str]) -> list[CellResults]:
    """The cells of these labels; all that have results, the baseline first, if none.

    Raises:
        ConfigError: If one is not there, or all differ in more than one thing.
    """
    known = {found.cell.label: found for found in results.cells if found.seeds}
    if not known:
        raise ConfigError(f"nothing of {results.sweep.name} has finished")
    if not labels:
        return _all(results, known)
    for label in labels:
        if label not in known:
            raise ConfigError(no_such("finished cell", label, known))
    return [known[label] for label in dict.fromkeys(labels)]


def _all(results: Results, known: Mapping[str, CellResults]) -> list[CellResults]:
    sweep = results.sweep
    if sweep.tasks or sweep.rivals:
        raise ConfigError(
            f"cells of {sweep.name} differ in more than one thing; name those to "
            f"compare, such as {' '.join([*known][:2])}"
        )
    return sorted(
        known.values(), key=lambda each: sweep.condition(each.cell) != sweep.baseline
    )


def _number(done: SeedResult, column: str, part: Span) -> float:
    rows = rows_with(done.tables, column)
    if not rows:
        raise no_column(done.tables, column)
    values = {int(row["iteration"]): row[column] for row in rows}
    # metrics.csv begins with the first update, eval.csv before it.
    untrained = 0 if rows[0].get("updates", 0) > 0 else 1
    number = part.number(values, column, untrained)
    if not math.isfinite(number):
        raise ConfigError(f"{column} is {number} {part.about}; choose other iterations")
    return number


def told(found: Compared) -> dict[str, Any]:
    """Plain JSON."""
    return {
        "cell": found.cell,
        "seeds": [*found.values],
        "values": [*found.values.values()],
        "mean": asdict(found.mean),
        "difference": found.difference and asdict(found.difference),
        "pairs": found.pairs,
    }
