"""What a sweep adds up to, against numbers worked out by hand."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from dials import spec

from suite.cell import Cell
from suite.evaluation import probability_of_improvement
from suite.results.sweep_results import CellResults, Results, SeedResult, summary
from suite.sweep import Sweep

# Scores by (algo, env, k), a number a seed.
SCORES = {
    ("cql", "hopper", 0): [50, 54, 58],
    ("cql", "hopper", 30): [40, 43, 46],
    ("cql", "cheetah", 0): [20, 22, 24],
    ("cql", "cheetah", 30): [10, 30],  # seed 2 has not finished
    ("iql", "hopper", 0): [52, 52, 52],
    ("iql", "hopper", 30): [50, 50, 50],
    ("iql", "cheetah", 0): [21, 25, 29],
    ("iql", "cheetah", 30): [],
}
T_2 = 4.302652729749464  # Student's t for two degrees of freedom, 97.5 %
T_1 = 12.706204736432095


def seed_result(score: float) -> SeedResult:
    curve = [
        {"timesteps": 0.0, "score": 0.0},
        {"timesteps": 10.0, "score": float(score)},
    ]
    loss = [{"timesteps": 10.0, "loss": 2.0 * score}]
    result = {"final": score, "mean_of_last_3": score - 1}
    return SeedResult(result, (curve, loss))


def results(scores: Mapping[Any, Sequence[float]] = SCORES, **changes: Any) -> Results:
    cells = {
        place: Cell(dict(zip(("algo", "env", "k"), place, strict=True)), spec(1))
        for place in scores
    }
    arrangement = {"tasks": "env", "rivals": "algo", "baseline": "k0", **changes}
    return Results(
        Sweep("x", "", tuple(cells.values()), **arrangement),
        [
            CellResults(cells[place], {i: seed_result(s) for i, s in enumerate(each)})
            for place, each in scores.items()
        ],
    )


def row(name: str) -> dict[str, Any]:
    (found,) = (row for row in summary(results())["cells"] if row["cell"] == name)
    return found


def test_the_mean_of_a_cell_has_students_interval():
    found = row("cql-hopper-k0")
    # Mean 54, standard deviation 4 of three seeds.
    half = T_2 * 4 / math.sqrt(3)
    assert found["final"] == pytest.approx(
        {"value": 54, "low": 54 - half, "high": 54 + half}
    )
    assert found["mean_of_last_3"]["value"] == 53
    assert found["scores"] == [50, 54, 58] and found["seeds"] == [0, 1, 2]
    assert found["drop"] is None


def test_a_drop_is_paired_by_seed():
    found = row("cql-hopper-k30")["drop"]
    # 50 - 40, 54 - 43, 58 - 46: mean 11, standard deviation 1; unpaired it were 2.9.
    half = T_2 * 1 / math.sqrt(3)
    assert found.pop("from") == "cql-hopper-k0"
    assert found == pytest.approx(
        {"value": 11, "low": 11 - half, "high": 11 + half, "seeds": 3}
    )


def test_seeds_without_a_partner_do_not_count():
    found = row("cql-cheetah-k30")
    assert found["missing"] == [2]
    # 20 - 10 and 22 - 30: mean 1, standard deviation 9 sqrt(2).
    half = T_1 * 9
    assert found["drop"]["seeds"] == 2
    assert found["drop"]["value"] == pytest.approx(1)
    assert found["drop"]["high"] == pytest.approx(1 + half)


def test_what_has_not_run_is_told_as_missing():
    found = row("iql-cheetah-k30")
    assert found["seeds"] == [] and found["missing"] == [0, 1, 2]
    assert found["final"] is None and found["drop"] is None
    told = summary(results())
    assert (told["trials"], told["finished"]) == (24, 20)


def test_aggregates_are_over_tasks_and_seeds_that_all_tasks_have():
    found = {
        (row["rival"], row["condition"]): row
        for row in summary(results())["aggregates"]
    }
    assert set(found) == {("cql", "k0"), ("cql", "k30"), ("iql", "k0")}
    # Sorted 20 22 24 50 54 58; a quarter of six is one at each end.
    assert found["cql", "k0"]["iqm"]["value"] == pytest.approx((22 + 24 + 50 + 54) / 4)
    assert found["cql", "k0"]["seeds"] == 3
    # Seeds 0 and 1 alone: 10 30 40 43, one off each end.
    assert found["cql", "k30"]["iqm"]["value"] == pytest.approx(35)
    iqm = found["cql", "k0"]["iqm"]
    assert iqm["low"] < iqm["value"] < iqm["high"]


def test_an_interval_of_the_bootstrap_is_that_of_all_resamples():
    # One task, two seeds: the mean is 0, 1/2 or 1, each end with probability 1/4.
    found = results({("a", "t", 0): [0, 1], ("b", "t", 0): [2, 2]}, baseline=None)
    (one, other) = summary(found)["aggregates"]
    assert one["iqm"] == {"value": 0.5, "low": 0.0, "high": 1.0}
    assert other["iqm"] == {"value": 2.0, "low": 2.0, "high": 2.0}


def test_improvement_counts_the_pairs_that_are_won():
    (found,) = summary(results())["improvements"]
    assert (found["rival"], found["over"], found["condition"]) == ("cql", "iql", "k0")
    # Hopper: 50 54 58 against 52: 6 of 9. Cheetah: 20 22 24 against 21 25 29: 2 of 9.
    assert found["probability"]["value"] == pytest.approx((6 / 9 + 2 / 9) / 2)
    ours, theirs = (
        np.array([SCORES[algo, env, 0] for env in ("hopper", "cheetah")]).T
        for algo in ("cql", "iql")
    )
    assert found["probability"]["value"] == probability_of_improvement(ours, theirs)
    assert 0 <= found["probability"]["low"] < found["probability"]["high"] <= 1


def test_one_seed_has_no_interval():
    found = summary(
        results({("a", "t", 0): [3.0], ("b", "t", 0): [2.0]}, baseline=None)
    )
    assert found["cells"][0]["final"] == {"value": 3.0, "low": None, "high": None}
    assert found["aggregates"][0]["iqm"] == {"value": 3.0, "low": None, "high": None}
    assert found["improvements"][0]["probability"]["value"] == 1.0


def test_curves_are_read_from_the_table_that_has_them():
    found = results().cells[0]
    steps, values = found.curves("score")
    assert steps.tolist() == [0, 10] and values.tolist() == [[0, 50], [0, 54], [0, 58]]
    steps, values = found.curves("loss")
    assert steps.tolist() == [10] and values.tolist() == [[100], [108], [116]]
    steps, values = found.curves("absent")
    assert steps.shape == (0,) and values.shape == (0, 0)


def test_seeds_that_were_measured_elsewhere_share_what_they_can():
    one = SeedResult({}, ([{"timesteps": t, "y": t} for t in (0.0, 5.0, 10.0)],))
    other = SeedResult({}, ([{"timesteps": t, "y": 2 * t} for t in (5.0, 10.0, 15.0)],))
    found = CellResults(Cell({"k": 1}, spec(1)), {0: one, 1: other})
    steps, values = found.curves("y")
    assert steps.tolist() == [5, 10] and values.tolist() == [[5, 10], [10, 20]]


def test_a_sweep_without_rivals_or_tasks_has_one_of_each():
    scores = {("a", "t", 0): [1, 2], ("a", "t", 30): [1, 1]}
    told = summary(results(scores, tasks=None, rivals=None, baseline="a-t-k0"))
    assert [row["condition"] for row in told["cells"]] == ["a-t-k0", "a-t-k30"]
    assert told["cells"][1]["drop"]["value"] == 0.5
    assert told["improvements"] == []
    assert [row["rival"] for row in told["aggregates"]] == [None, None]
