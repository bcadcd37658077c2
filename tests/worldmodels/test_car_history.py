"""What came before a recording: hand numbers, and where they end up."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from cars import drives

from suite.worldmodels.car import Car
from suite.worldmodels.car_history import car_recordings, steady_command


def test_a_steady_turn_needs_its_kinematic_steering():
    car = Car()
    states = np.array(
        [
            [5, 6, 1, 1.5, 0, 1.5 * math.tan(0.2) / 0.2965],  # steers by 0.2 rad
            [0, 0, 0, -1.0, 0, -math.tan(0.1) / 0.2965],  # backwards
            [0, 0, 0, 0.1, 0, 3.0],  # too slow to tell
            [0, 0, 0, 9.0, 0, 0],  # faster than any command
        ]
    )
    expected = [[0.2 / 0.38, 0.5], [0.1 / 0.38, -1 / 3], [0, 0.1 / 3], [0, 1]]
    assert steady_command(states, car) == pytest.approx(np.array(expected))
    found = steady_command(torch.tensor(states), car)
    assert found.numpy() == pytest.approx(np.array(expected))


def test_recordings_are_led_by_it():
    data, car = drives(3, 12), Car(history=2)
    records = car_recordings(data, car)
    for first in records.first.tolist():
        expected = steady_command(records.states[first], car)
        assert torch.equal(records.actions[first - 2], expected)
        assert torch.equal(records.actions[first - 1], expected)
