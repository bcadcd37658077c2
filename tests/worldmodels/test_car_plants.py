"""Plants drive as physics says, forwards and backwards, with gradients at rest."""

from __future__ import annotations

import math

import pytest
import torch

from suite.worldmodels.car_motion import moved
from suite.worldmodels.car_plants import (
    FRONT,
    GRAVITY,
    REAR,
    Hold,
    Kinematic,
    Pacejka,
    SingleTrack,
)

WHEELBASE = FRONT + REAR
PLANTS = [Kinematic(), SingleTrack(), Pacejka()]
EACH = pytest.mark.parametrize("plant", PLANTS, ids=lambda plant: type(plant).__name__)


def double(*numbers: float) -> torch.Tensor:
    return torch.tensor(numbers, dtype=torch.float64)


def driven(plant, steer: float, speed: float, steps: int = 400, twist=None, dt=0.05):
    """The twist after so long under one command."""
    twist = double(0, 0, 0) if twist is None else twist
    for _ in range(steps):
        twist = plant.step(twist, double(steer)[0], double(speed)[0], None, dt)
    return twist


@pytest.mark.parametrize("steer", [0.38, 0.1, -0.25])
@pytest.mark.parametrize("speed", [0.05, 1.0, 3.0, -0.7])
def test_a_kinematic_car_drives_the_circle_of_its_steering_angle(steer, speed):
    plant = Kinematic()
    vx, vy, omega = driven(plant, steer, speed).tolist()
    assert vx == pytest.approx(speed)
    radius = WHEELBASE / math.tan(steer)  # of the rear axle
    assert vx / omega == pytest.approx(radius)
    assert vy == pytest.approx(REAR * omega)
    # The origin is REAR ahead of the rear axle, so its own circle is wider; after half
    # a turn it is a diameter away.
    steps = 64
    pose, dt = double(0, 0, 0), math.pi / abs(omega) / steps
    for _ in range(steps):
        pose = moved(pose, double(vx, vy, omega), dt)
    away = float(torch.linalg.vector_norm(pose[:2]))
    assert away == pytest.approx(2 * math.hypot(radius, REAR))


def test_kinematic_lags_are_first_order():
    plant = Kinematic(speed_lag=0.2, steer_lag=0.1)
    twist = driven(plant, 0.0, 1.0, steps=4)
    assert float(twist[0]) == pytest.approx(1 - math.exp(-1))
    # At a steady speed the curvature lags alone.
    start = double(2, 0, 0)
    twist = driven(plant, 0.3, 2.0, steps=2, twist=start)
    expected = 2 * math.tan(0.3) / WHEELBASE * (1 - math.exp(-1))
    assert float(twist[2]) == pytest.approx(expected, rel=1e-6)
    without = Kinematic(speed_lag=0.0, steer_lag=0.0)
    once = driven(without, 0.3, 2.0, steps=1)
    assert once.tolist() == pytest.approx(driven(without, 0.3, 2.0).tolist())


def test_a_curvature_that_is_kept_turns_with_the_speed():
    # Wheels stay where they are, speed doubles: the yaw rate doubles with it.
    plant = Kinematic(speed_lag=0.0, steer_lag=1e9)
    twist = plant.step(
        double(1.0, 0.1, 0.8), double(0.0)[0], double(2.0)[0], None, 0.05
    )
    assert float(twist[2]) == pytest.approx(1.6, rel=0.01)


def test_a_slow_single_track_is_a_kinematic_car():
    vx, vy, omega = driven(SingleTrack(), 0.2, 0.3).tolist()
    assert vx / omega == pytest.approx(WHEELBASE / math.tan(0.2), rel=0.01)
    assert vy == pytest.approx(REAR * omega, rel=0.05)


def test_single_track_understeer_is_that_of_the_closed_form():
    # Small angles: omega = v steer / (L + K v^2), K = (1/Cf - 1/Cr) / (mu g).
    plant = SingleTrack(stiffness_front=4.0, stiffness_rear=6.0, friction=0.9)
    steer = 0.01
    vx, _, omega = driven(plant, steer, 2.5, steps=2000).tolist()
    gradient = (1 / 4.0 - 1 / 6.0) / (0.9 * GRAVITY)
    assert omega == pytest.approx(vx * steer / (WHEELBASE + gradient * vx**2), rel=1e-3)
    assert omega < vx * steer / WHEELBASE * 0.85


def test_a_tyre_at_its_limit_holds_no_more_than_friction():
    plant = Pacejka(friction=0.3)
    vx, vy, omega = driven(plant, 0.38, 3.0, steps=100).tolist()
    assert abs(vx * omega) < 0.3 * GRAVITY * 1.1
    assert math.hypot(vx, vy) < 3.1
    gripping = driven(Pacejka(friction=1.0), 0.38, 3.0, steps=100)
    assert abs(omega) < 0.6 * abs(float(gripping[2]))


def test_grip_scales_friction():
    twist, steer, speed = double(2.0, 0.1, 1.0), double(0.3)[0], double(3.0)[0]
    for kind in (Pacejka, SingleTrack):
        direct = kind(friction=0.4).step(twist, steer, speed, None, 0.05)
        scaled = kind(friction=0.8).step(twist, steer, speed, double(0.5)[0], 0.05)
        torch.testing.assert_close(direct, scaled)


def test_kinematic_grip_scales_the_curvature():
    twist, plant = double(1.0, 0.0, 0.0), Kinematic(steer_lag=0.0)
    whole, half = (
        plant.step(twist, double(0.3)[0], double(1.0)[0], double(grip)[0], 0.05)
        for grip in (1.0, 0.5)
    )
    assert float(half[2]) == pytest.approx(0.5 * float(whole[2]))
    assert float(half[0]) == float(whole[0])


@pytest.mark.parametrize("plant", [SingleTrack(), Pacejka()], ids=["linear", "magic"])
def test_few_substeps_come_close_to_many(plant):
    fine = type(plant)(substeps=200)
    twist = double(2.0, 0.0, 0.0)
    for _ in range(10):
        rough = driven(plant, 0.3, 2.5, steps=1, twist=twist)
        twist = driven(fine, 0.3, 2.5, steps=1, twist=twist)
        assert (rough - twist).abs().max() < 0.12


@EACH
def test_reversing_is_driving_forwards_seen_from_behind(plant):
    # A car that reverses along a path it has driven: same radius, opposite yaw rate.
    forwards = driven(plant, 0.2, 0.5)
    backwards = driven(plant, 0.2, -0.5)
    assert float(backwards[0]) == pytest.approx(-0.5, rel=0.02)
    assert float(backwards[2]) == pytest.approx(-float(forwards[2]), rel=0.05)


@EACH
def test_mirrored_commands_give_mirrored_drives(plant):
    flip = double(1, -1, -1)
    twist = double(1.5, 0.2, -1.0)
    one = plant.step(twist, double(0.3)[0], double(2.0)[0], None, 0.05)
    other = plant.step(flip * twist, double(-0.3)[0], double(2.0)[0], None, 0.05)
    torch.testing.assert_close(other, flip * one)


@EACH
@pytest.mark.parametrize("vx", [0.0, 1e-8, -1e-3, 2.0, -3.0])
def test_gradients_are_finite_at_rest_and_equal_to_differences(plant, vx):
    for omega in (0.0, 3.0):
        inputs = (double(vx, 0.0, omega), double(0.2)[0], double(1.0)[0])
        for part in inputs:
            part.requires_grad_()
        assert torch.autograd.gradcheck(
            lambda t, s, v: plant.step(t, s, v, None, 0.05), inputs, atol=1e-4
        )


@EACH
def test_nothing_blows_up_from_wild_twists(plant):
    generator = torch.Generator().manual_seed(0)
    twist = 5 * torch.randn(500, 3, generator=generator)
    steer = 0.4 * (2 * torch.rand(500, generator=generator) - 1)
    speed = 6 * torch.rand(500, generator=generator) - 3
    for _ in range(200):
        twist = plant.step(twist, steer, speed, None, 0.05)
    assert torch.isfinite(twist).all()
    assert twist.abs().max() < 40


def test_without_physics_a_twist_stays():
    twist = double(1, 2, 3)
    assert torch.equal(Hold().step(twist, double(1)[0], double(1)[0], None, 1.0), twist)


def test_a_plant_that_cannot_be_is_refused():
    with pytest.raises(ValueError, match="Kinematic needs positive lengths"):
        Kinematic(front=0.0)
    with pytest.raises(ValueError, match="lags of 0 or more"):
        Kinematic(speed_lag=-0.1)
    with pytest.raises(ValueError, match="substeps must be 1 or more, got 0"):
        Pacejka(substeps=0)
