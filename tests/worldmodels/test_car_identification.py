"""The numbers of a car are found again from its drives."""

from __future__ import annotations

import cars
import numpy as np
import pytest
import torch

from suite.storage import IntegrityError
from suite.worldmodels.car import Car
from suite.worldmodels.car_dynamics import CarDynamics
from suite.worldmodels.car_identification import Identification
from suite.worldmodels.car_motion import moved
from suite.worldmodels.car_plants import Kinematic
from suite.worldmodels.car_servo import Servo
from suite.worldmodels.car_stored import load_car, save_car
from suite.worldmodels.identification import CrossEntropy, misfit, residuals

# The car in closed form has no limits.
CAR = Car(Servo(low=-0.6, high=0.6), adapter=None, residual=None)
BOUNDS = {
    "plant.trim": (-0.1, 0.1),
    "plant.plant.speed_lag": (0.02, 0.4),
    "plant.plant.steer_lag": (0.02, 0.4),
}


def identification(**kwargs) -> Identification:
    settings = {"bounds": BOUNDS, "snippets": 60, "candidates": 24, "elites": 6}
    return Identification(cars.drives(), CAR, **{**settings, **kwargs})


def test_trim_and_lags_of_a_car_in_closed_form_are_found():
    search = identification()
    told = list(search.iterate(25))[-1]
    assert told["identification/misfit"] < 0.01
    found = search.model.car.plant
    assert isinstance(found, Servo) and isinstance(found.plant, Kinematic)
    assert found.trim == pytest.approx(cars.TRIM, abs=5e-4)
    assert found.plant.speed_lag == pytest.approx(cars.TRUE.speed_lag, rel=0.02)
    assert found.plant.steer_lag == pytest.approx(cars.TRUE.steer_lag, rel=0.03)


@pytest.mark.parametrize("seed", range(10))
def test_a_valley_that_lies_across_is_followed_to_its_end(seed):
    # A sum is told a hundred times better than each number. Of 200 seeds 199 end within
    # 0.005; with a spread for each number alone, half end more than 0.2 away.
    bounds = {"a": (-1.0, 1.0), "b": (-1.0, 1.0)}
    search = CrossEntropy(bounds, candidates=40, elites=8, seed=seed)
    for _ in range(25):
        drawn = search.ask()
        a, b = (drawn - [0.5, -0.3]).T
        search.tell(drawn, (100 * (a + b)) ** 2 + (a - b) ** 2)
    np.testing.assert_allclose(search.best, [0.5, -0.3], atol=0.01)


def test_a_run_that_was_stopped_ends_with_the_same_numbers():
    whole, first, second = identification(), identification(), identification()
    list(whole.iterate(6))
    list(first.iterate(3))
    second.load_state(first.state())
    list(second.iterate(6))
    np.testing.assert_array_equal(second.search.best, whole.search.best)
    other = Identification(cars.drives(seed=1), CAR, bounds=BOUNDS, snippets=5)
    with pytest.raises(IntegrityError, match="fitted to data of sha256"):
        other.load_state(first.state())


def test_a_servo_is_off_as_its_numbers_say():
    servo = Servo(trim=0.03, gain=0.5, low=-0.1, high=0.2, speed_gain=0.9)
    twist = torch.tensor([[1.0, 0.0, 0.0]]).repeat(3, 1)
    steer, speed = torch.tensor([0.2, 0.5, -0.5]), torch.ones(3)
    meant = torch.tensor([0.13, 0.2, -0.1])
    expected = Kinematic().step(twist, meant, 0.9 * speed, None, 0.05)
    torch.testing.assert_close(servo.step(twist, steer, speed, None, 0.05), expected)


@pytest.mark.parametrize(("delay", "share"), [(0.0, 0.0), (0.02, 0.4), (0.05, 1.0)])
def test_a_delayed_command_acts_in_part(delay, share):
    car = Car(Kinematic(), adapter=None, residual=None, delay=delay)
    before, now = torch.tensor([[[0.4, 0.2]]]), torch.tensor([[-0.4, 0.6]])
    model, state = CarDynamics(car), torch.tensor([[0, 0, 0, 1.0, 0, 0]])
    found = model.unroll(
        model.start(state, torch.cat([0 * before, 0 * before, before], dim=1)),
        now[None],
    ).states[0]
    steer, speed = (share * before[:, 0] + (1 - share) * now).unbind(-1)
    twist = Kinematic().step(state[:, 3:], 0.38 * steer, 3 * speed, None, 0.05)
    torch.testing.assert_close(found[:, 3:], twist)
    torch.testing.assert_close(found[:, :3], moved(state[:, :3], twist, 0.05))


def test_a_delay_of_whole_steps_is_one_however_it_is_rounded():
    car = Car(
        Kinematic(), adapter=None, residual=None, delay=0.15
    )  # 3.0000000000000004
    model = CarDynamics(car)
    history = torch.tensor([[[0.0, 1.0], [0.0, 0.0], [0.0, 0.0]]])
    z = model.start(torch.zeros(1, 6), history)
    found = model.unroll(z, torch.zeros(1, 1, 2)).states
    assert float(found[0, 0, 3]) > 1.0


def test_headings_wrap_in_residuals_and_a_rollout_that_ran_away_counts_once():
    truth, predicted = torch.zeros(1, 2, 6), torch.zeros(1, 2, 6)
    truth[..., 2], predicted[..., 2] = 3.1, -3.1
    assert float(residuals(predicted, truth)[0, 0, 2]) == pytest.approx(
        0.0832 / 0.2, 1e-2
    )
    predicted[0, 0, 0] = torch.nan
    assert 1e5 < misfit(residuals(predicted, truth)) < 1e6


def test_a_servo_is_stored(tmp_path):
    found = Car(Servo(Kinematic(rear=0.1), trim=0.02), None, None, delay=0.06)
    save_car(CarDynamics(found), tmp_path / "car")
    assert load_car(tmp_path / "car").car == found


def test_what_cannot_be_identified_is_refused():
    with pytest.raises(ValueError, match="Kinematic has no number 'grip'; it has"):
        identification(bounds={"plant.plant.grip": (0, 1)})
    with pytest.raises(ValueError, match="identification is of physics alone"):
        Identification(cars.drives(), Car(), bounds=BOUNDS)
    with pytest.raises(ValueError, match="a low below their high"):
        CrossEntropy({"trim": (1, 0)})
    with pytest.raises(ValueError, match="a delay must be 0 to the 3 commands"):
        Car(delay=0.2)
    with pytest.raises(ValueError, match="limits on both sides of 0"):
        Servo(low=0.1)
