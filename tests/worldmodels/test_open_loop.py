"""Errors of whole drives are what is written of them."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from cars import PLANT_ALONE, drives, recorded, true_step

from suite.transitions import Dataset
from suite.worldmodels.car import Adapter, Car, Residual
from suite.worldmodels.car_dynamics import CarDynamics
from suite.worldmodels.car_ensemble import CarMean
from suite.worldmodels.drive_errors import drive_errors, tail
from suite.worldmodels.dynamics import Transition
from suite.worldmodels.open_loop import OpenLoop
from suite.worldmodels.recordings import Recordings


class Truth:
    """The true car, off by a constant."""

    def __init__(self, offset=(0.0,) * 6):
        self.offset = torch.tensor(offset)

    def start(self, state):
        return state

    def step(self, z, action, *, generator=None):
        ends = torch.zeros(len(z), dtype=torch.bool)
        return Transition(true_step(z, action), z[:, 0], ends)

    def observe(self, z):
        return z + self.offset


def errors(model, data: Dataset, history: int = 0):
    return drive_errors(model, Recordings.of(data, history), 0.05)


def test_the_truth_makes_no_error():
    found = errors(Truth(), drives(5, 30))
    for name, values in found.by_name.items():
        if not np.isnan(values).all():
            assert values.max() < 1e-9, name
    assert found.summary()["diverged"] == 0


def test_a_constant_offset_gives_hand_numbers():
    offset = (0.3, 0.4, 2 * math.pi + 0.1, 1.0, 2.0, 3.0)
    found = errors(Truth(offset), drives(4, 30)).by_name
    expected = {
        "state_mse": (0.09 + 0.16 + 0.01 + 1 + 4 + 9) / 6,
        "pos_mse": 0.125,
        "vel_mse": 14 / 3,
        "ade": 0.5,
        "fde": 0.5,
        "heading": math.degrees(0.1),
        "error_0.5s": 0.5,
        "error_1s": 0.5,
        "diverged": 0.0,
    }
    for name, value in expected.items():
        assert found[name] == pytest.approx([value] * 4, rel=1e-4), name
    for name in ("error_2s", "error_5s", "error_10s"):
        assert np.isnan(found[name]).all()


def test_errors_are_those_of_each_drive_alone_whatever_their_lengths():
    model = CarDynamics(PLANT_ALONE)
    parts = [drives(1, steps, seed) for seed, steps in enumerate((12, 45, 30))]
    together = errors(model, Dataset.concatenated(parts, {}), history=3)
    assert together.lengths.tolist() == [12, 45, 30]
    for i, part in enumerate(parts):
        alone = errors(model, part, history=3)
        for name, values in alone.by_name.items():
            np.testing.assert_allclose(
                together.by_name[name][i], values[0], rtol=1e-4, err_msg=name
            )
    ade = together.by_name["ade"]
    assert together.per_trajectory()[1]["ade"] == ade[1] and (np.diff(ade) != 0).all()


def test_time_marks_are_at_their_steps():
    states = torch.zeros(1, 41, 6)
    states[0, :, 0] = torch.arange(41) * 0.1  # the true one moves, the model stands
    still = Truth()
    still.step = lambda z, action, generator=None: Transition(z, z[:, 0], z[:, 0] > 9)
    found = errors(still, recorded(states, torch.zeros(1, 40, 2))).by_name
    assert found["error_0.5s"] == pytest.approx([1.0])
    assert found["error_1s"] == pytest.approx([2.0])
    assert found["error_2s"] == pytest.approx([4.0])
    assert found["ade"] == pytest.approx([2.05]) and found["fde"] == pytest.approx(
        [4.0]
    )


def test_the_tail_of_known_values():
    found = tail(np.arange(1.0, 101.0))
    assert found == pytest.approx(
        {"median": 50.5, "p95": 95.05, "max": 100.0, "cvar20": 90.5}
    )
    # A fifth of 7 is 1.4 of them.
    assert tail(np.arange(7.0))["cvar20"] == pytest.approx((6 + 0.4 * 5) / 1.4)
    assert tail(np.array([1.0, np.inf, 2.0]))["max"] == np.inf
    assert tail(np.array([1.0, 2.0, 3.0, 4.0, np.inf]))["median"] == 3


def test_divergence_is_counted():
    model = CarDynamics(PLANT_ALONE)
    data = drives(6, 30)
    assert errors(model, data, 3).by_name["diverged"].sum() == 0
    far = Truth((200.0, 0, 0, 0, 0, 0))
    assert errors(far, data).summary()["diverged"] == 6
    gone = Truth((math.nan,) * 6)
    assert errors(gone, data).by_name["diverged"].tolist() == [1.0] * 6
    slow = torch.tensor([[0.1, 0.1, 0.1], [0.0, 0.0, 0.0]])
    model.refresh(0, slow, slow)
    assert errors(model, data, 3).by_name["diverged"].sum() > 3


def test_members_are_evaluated_side_by_side():
    car = Car(adapter=Adapter((8,)), residual=Residual((8,)), history=2)
    dynamics = CarDynamics(car, (0, 1))
    with torch.no_grad():
        for part in dynamics.parameters():
            part.add_(0.3 * torch.randn(part.shape))
    data = drives(5, 30)
    both = OpenLoop(data).errors(dynamics)
    assert both.by_name["ade"].shape == (2, 5)
    told = OpenLoop(data)(dynamics, 0)
    assert told["state_mse"] == pytest.approx(both.by_name["state_mse"].mean())
    assert told["error_1s_1"] == pytest.approx(both.by_name["error_1s"][1].mean())
    alone = CarDynamics(car)
    alone.load_state_dict(
        {
            n: p if n == "command_scale" else p[1:]
            for n, p in dynamics.state_dict().items()
        }
    )
    ade = OpenLoop(data).errors(alone).by_name["ade"]
    np.testing.assert_allclose(ade, both.by_name["ade"][1], rtol=1e-4)
    mean = errors(CarMean(dynamics), data, 2).by_name["ade"]
    assert mean.shape == (5,)
