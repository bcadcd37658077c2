"""Cells against one of them, against numbers worked out by hand."""

from __future__ import annotations

from typing import Any

import pytest
from dials import spec

from suite.cell import Cell
from suite.parts import ConfigError
from suite.results.comparison import Compared, compare, span
from suite.results.sweep_results import CellResults, Results, SeedResult
from suite.sweep import Sweep

T_1 = 12.706204736432095  # Student's t for one degree of freedom, 97.5 %
T_1_90 = 6.313751514675043  # 95 %, so of an interval at 90 %
# By cell and seed: the score after each iteration; the first precedes all training.
CURVES = {
    "k0": {0: [0, 10, 20, 30], 1: [0, 12, 24, 36], 2: [0, 1, 1, 1]},
    "k30": {0: [0, 10, 10, 20], 1: [0, 12, 26, 16]},
    "k60": {},
}


def seed_result(curve: list[float]) -> SeedResult:
    rows = [{"iteration": i, "score": float(s)} for i, s in enumerate(curve, 1)]
    loss = [{"iteration": 2, "loss": 0.5}, {"iteration": 3, "loss": float("nan")}]
    planned = [{"iteration": 1}, {"iteration": 2, "plan": curve[1]}, {"iteration": 3}]
    return SeedResult({"final": curve[-1]}, (rows, loss, planned))


def results(**changes: Any) -> Results:
    cells = {name: Cell({"k": int(name[1:])}, spec(1)) for name in CURVES}
    sweep = Sweep("x", "", tuple(cells.values()), **{"baseline": "k0", **changes})
    found = [
        CellResults(cells[name], {i: seed_result(c) for i, c in seeds.items()})
        for name, seeds in CURVES.items()
    ]
    return Results(sweep, found)


def second(**how: Any) -> Compared:
    first, other = compare(results(), ("k0", "k30"), **{"column": "score", **how})
    assert first.difference is None and first.cell == "k0"
    return other


def test_differences_are_paired_by_seed():
    found = second()  # -10 and -20; seed 2 has no partner
    assert found.values == {0: 20, 1: 16} and found.pairs == 2
    assert found.mean.value == 18 and found.difference is not None
    assert found.difference.value == -15
    half = T_1 * 5  # a deviation of 7.07 over the root of 2
    assert found.difference.low == pytest.approx(-15 - half)
    assert found.difference.high == pytest.approx(-15 + half)


def test_a_lower_confidence_makes_narrower_intervals():
    found = second(confidence=0.9).difference
    assert found is not None and found.low == pytest.approx(-15 - T_1_90 * 5)


@pytest.mark.parametrize(
    ("part", "values"),
    [
        ("final", (20, 16)),
        ("last2", (15, 21)),
        ("last9", (40 / 3, 18)),  # never what precedes all training
        ("peak", (20, 26)),
        ("1-2", (5, 6)),
        ("2-4", (40 / 3, 18)),
        ("3", (10, 26)),
    ],
)
def test_a_part_of_training_is_one_number_a_seed(part: str, values: tuple[float, ...]):
    assert second(over=part).values == pytest.approx(dict(enumerate(values)))


def test_iterations_without_a_value_are_passed_over():
    assert second(column="plan").values == {0: 10, 1: 12}
    with pytest.raises(ConfigError, match="plan has no iteration 1"):
        second(column="plan", over="1-2")


def test_the_least_error_is_the_peak():
    assert span("peak").number({1: 3.0, 2: 1.0, 3: 2.0}, "prediction_error", 1) == 1
    assert span("peak").number({1: 3.0, 2: 1.0, 3: 2.0}, "return_mean", 1) == 3


def test_without_names_all_are_compared_with_the_baseline():
    first, other = compare(results(baseline="k30"), column="score")
    assert (first.cell, other.cell) == ("k30", "k0")
    assert other.difference is not None and other.difference.value == 15


@pytest.mark.parametrize(
    ("labels", "how", "sentence"),
    [
        (("k0", "k31"), {}, "no finished cell 'k31'; did you mean k30"),
        (("k60",), {}, "no finished cell 'k60'"),
        (("k0",), {"column": "scor"}, "no column 'scor'; did you mean score"),
        (
            ("k0",),
            {"over": "3-5"},
            "score has no iteration 5; it has 4 between 1 and 4",
        ),
        (("k0",), {"over": "5-3"}, "a part of training is"),
        (("k0",), {"over": "last0"}, "a part of training is"),
        (("k0",), {"column": "loss"}, "loss is nan at the end; choose other"),
    ],
)
def test_what_is_not_there_is_named(labels: Any, how: Any, sentence: str):
    with pytest.raises(ConfigError, match=sentence):
        compare(results(), labels, **{"column": "score", **how})


def test_cells_of_several_tasks_must_be_named():
    with pytest.raises(ConfigError, match="name those to compare, such as k0 k30"):
        compare(results(tasks="k", baseline=None), column="score")
