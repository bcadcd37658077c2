from __future__ import annotations

import pytest

from suite.results.units import POINTS, SHARE, Unit, unit


def test_a_share_is_shown_in_percent_and_bounded():
    assert unit("success_log_metric") is SHARE
    assert SHARE.written(0.98765) == "98.8%" == f"{0.98765:.1%}"
    assert SHARE.shown(None) == "-"
    assert (SHARE.within(-0.1), SHARE.within(1.2), SHARE.within(0.3)) == (0, 1, 0.3)


def test_points_are_shown_as_they_are():
    assert unit("normalized_return") is POINTS
    assert POINTS.written(-3.25, 2) == "-3.25 points"
    assert POINTS.within(-3.25) == -3.25 and POINTS.within(120.0) == 120


def test_an_error_is_best_where_it_is_least():
    error = unit("error_1s")
    assert error.best([0.3, 0.1, 0.2]) == 0.1 and SHARE.best([0.3, 0.1]) == 0.3
    assert error.written(0.123) == "12.3 cm" and error.within(-1.0) == 0


@pytest.mark.parametrize(
    "column",
    [
        *("model/holdout_error", "model/error_10", "model/nll", "train/critic_loss"),
        *("train_loss_0", "model/train_loss_2", "one_step_error", "pos_mse", "error_5"),
    ],
)
def test_losses_and_errors_are_best_where_they_are_least_and_no_shares(column):
    found = unit(column, [1.5])
    assert found.best([0.3, -0.1, 0.2]) == -0.1
    assert found.written(1.5) == "1.500" and found.within(-2.0) == -2


@pytest.mark.parametrize("column", ["train/lossless", "plan/real", "train/entropy"])
def test_of_other_columns_the_highest_is_picked(column):
    assert unit(column).best([0.3, 0.1]) == 0.3


def test_a_unit_is_not_said_twice():
    assert unit("return_mean").named("return_mean", -3.25) == "return_mean -3.2"
    assert unit("x_velocity").named("x_velocity", 0.125) == "x_velocity 0.12 m/s"
    assert unit("return_mean").named("return_mean", None) == "return_mean -"
    assert unit("laps").named("laps", 3.0) == "laps 3.0"


def test_a_column_has_its_unit_once():
    velocity = unit("x_velocity")
    assert velocity.headed("velocity") == "velocity (m/s)"
    assert velocity.headed("velocity (m/s)") == "velocity (m/s)"
    # A unit's letters in a word are no unit.
    assert unit("lap_time").headed("lap times") == "lap times (s)"
    assert unit("return_mean").headed("return") == "return"
    assert unit("return_mean").headed("return_mean") == "return_mean"
    assert Unit("").headed("loss") == "loss"
