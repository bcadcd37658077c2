"""The car's physics against kinematics and friction, and each gap in a measurement."""

from __future__ import annotations

from typing import Any

import mujoco
import numpy as np
import pytest

from suite.envs import mushr
from suite.envs.mushr_car import WHEELS, car_model, rest, wheel_angles
from suite.envs.mushr_env import MushrVectorEnv
from suite.envs.mushr_gaps import GAPS, Gap

G, L = 9.81, mushr.WHEELBASE
X, Y, THETA, VX, VY, OMEGA = range(6)


def driven(
    actions: Any, steps: int, start: Any = (0, 0, 0, 0, 0, 0), **kwargs: Any
) -> np.ndarray:
    """Cars (T + 1, n, 6) under actions (n, 2) that are kept up."""
    actions = np.atleast_2d(np.asarray(actions, np.float32))
    kwargs = {"friction": 1.0, **kwargs} if kwargs.get("gap") is None else kwargs
    env = MushrVectorEnv(len(actions), task="drift", **kwargs)
    env.reset_to(np.broadcast_to(start, (len(actions), 6)))
    cars = [env.cars.named_state(None)]
    for _ in range(steps):
        assert not env.cars.step(None, actions).any()
        cars.append(env.cars.named_state(None))
    return np.array(cars)[..., :6]


def action(steer: float = 0.0, speed: float = 0.0) -> list[float]:
    """What commands a steering (rad) and a speed (m/s)."""
    return [steer / mushr.MAX_STEER, speed / mushr.MAX_SPEED]


def radius(cars: np.ndarray) -> np.ndarray:
    """Of the rear axle's circle at the end (n,), m, positive to the left."""
    return cars[-1, :, VX] / cars[-1, :, OMEGA]


# ---------------------------------------------------------------------------- nominal
def test_slow_turns_have_the_radius_of_kinematics_and_no_slip():
    steer = np.array([0.1, 0.2, 0.3, 0.38, -0.2, -0.38])
    cars = driven([action(each, 0.6) for each in steer], 60)
    np.testing.assert_allclose(radius(cars), L / np.tan(steer), rtol=0.004)
    across = cars[-1, :, VY] - mushr.REAR_AXLE * cars[-1, :, OMEGA]
    np.testing.assert_allclose(across / cars[-1, :, VX], 0, atol=0.01)


def test_reverse_turns_on_the_same_circle():
    cars = driven([action(0.2, -0.6)], 60)
    assert radius(cars)[0] == pytest.approx(L / np.tan(0.2), rel=0.004)
    assert cars[-1, 0, VX] < -0.5 and cars[-1, 0, OMEGA] < -0.3


def test_the_front_wheels_share_one_centre_of_turning():
    steer = np.linspace(-0.38, 0.38, 21)
    steer = steer[np.abs(steer) > 1e-9]
    angles = wheel_angles(car_model(Gap()), steer)
    turning_centre = L / np.tan(steer)  # to the left of the rear axle's middle
    for wheel, angle in enumerate(angles.T):
        expected = np.arctan(L / (turning_centre - WHEELS[wheel, 1]))
        np.testing.assert_allclose(angle, expected, atol=0.004)


def test_speed_is_reached_in_a_tenth_of_a_second_less_four_percent():
    vx = driven([action(0, 1.0), action(0, 2.0)], 60)[..., VX]
    np.testing.assert_allclose(vx[-1], [0.961, 1.923], rtol=0.002)
    assert vx[1, 0] < 0.632 * vx[-1, 0] < vx[2, 0]  # 0.09 s


def test_the_twist_is_the_poses_derivative_in_the_cars_frame():
    cars = driven([action(0.3, 1.5)], 60)[:, 0]
    middle = (cars[1:] + cars[:-1]) / 2
    dx, dy = np.diff(cars[:, :2], axis=0).T / mushr.DT
    turn = mushr.wrap(np.diff(cars[:, THETA]))
    theta = cars[:-1, THETA] + turn / 2
    late = slice(10, None)
    ahead = np.cos(theta) * dx + np.sin(theta) * dy
    left = np.cos(theta) * dy - np.sin(theta) * dx
    np.testing.assert_allclose(ahead[late], middle[late, VX], rtol=0.002)
    np.testing.assert_allclose(left[late], middle[late, VY], rtol=0.01)
    np.testing.assert_allclose(turn[late] / mushr.DT, middle[late, OMEGA], rtol=0.002)


@pytest.mark.parametrize("friction", [0.3, 1.0])
def test_each_tyre_touches_at_one_point_even_when_it_slides(friction):
    env = MushrVectorEnv(2, task="drift", friction=friction)
    env.reset_to(np.zeros((2, 6)))
    env.cars.ctrl[:] = [[0.38, 3.0], [-0.38, 3.0]]
    count = env.cars.batch.rollout(2000, record=["ncon"])["ncon"]
    assert count.max() <= 4  # an ellipsoid; other MuJoCo versions made more
    assert count[:, 500:].mean() > 3.9


def test_grip_limits_the_acceleration_in_a_bend():
    for friction in (0.45, 0.7, 1.0):
        cars = driven([action(0.38, 3.0)], 100, friction=friction)
        speed = np.hypot(cars[-1, 0, VX], cars[-1, 0, VY])
        assert 0.85 < speed * cars[-1, 0, OMEGA] / (friction * G) < 1.02
        assert radius(cars)[0] > 1.1 * L / np.tan(0.38)  # wider than without slip


def test_on_a_slippery_floor_the_car_spins():
    cars = driven([action(0.38, 3.0), action(-0.38, 3.0)], 100, friction=0.3)
    left, right = cars[-1]
    assert left[VY] < -0.5 and left[OMEGA] > 2.5  # the tail overtakes, outwards
    np.testing.assert_allclose(right[[VY, OMEGA]], -left[[VY, OMEGA]], rtol=1e-6)


def test_braking_is_limited_by_grip():
    for friction in (0.25, 0.5):
        start = [0, 0, 0, 2.0, 0, 0]
        vx = driven([action()], 6, start, friction=friction)[:, 0, VX]
        assert (vx[1] - vx[5]) / (4 * mushr.DT) == pytest.approx(friction * G, rel=0.05)


def test_the_car_never_tips_over_within_what_is_allowed():
    for payload in (0.0, 3.0):
        env = MushrVectorEnv(2, task="drift", friction=1.3, payload=payload)
        env.reset_to(np.array([[0, 0, 0, 3.0, 0, 0]] * 2))
        lowest = 1.0
        for step in range(100):
            side = 1.0 if step // 10 % 2 else -1.0
            env.cars.step(None, np.array([[side, 1.0], [1.0, 1.0]], np.float32))
            _, x, y, _ = env.cars.qpos[:, 3:7].T
            lowest = min(lowest, float((1 - 2 * (x * x + y * y)).min()))
        assert lowest > np.cos(0.5)


def test_a_start_in_motion_goes_on_as_if_it_had_come_there():
    circle = driven([action(0.2, 1.0)], 80)[-1, 0]
    cars = driven([action(0.2, 1.0)], 20, circle)
    np.testing.assert_allclose(
        cars[1:, 0, 3:], circle[None, 3:].repeat(20, 0), atol=2e-3
    )


def test_it_stands_still_where_it_is_put():
    for gap in GAPS:
        cars = driven([action()], 20, [1.0, -2.0, 2.5, 0, 0, 0], gap=gap)
        np.testing.assert_allclose(cars[-1, 0], [1.0, -2.0, 2.5, 0, 0, 0], atol=1e-4)


# ------------------------------------------------------------------------------- gaps
ROLLING = [0, 0, 0, 1.0, 0, 0]


def test_trim_turns_a_car_that_is_told_to_drive_straight():
    for gap in ("easy", "real"):
        cars = driven([action(0, 1.0)], 80, ROLLING, gap=gap)
        assert radius(cars)[0] == pytest.approx(L / np.tan(GAPS[gap].trim), rel=0.02)
    straight = driven([action(0, 1.0)], 80, ROLLING, gap="none")
    assert abs(straight[-1, 0, THETA]) < 1e-9


def test_gain_and_limits_make_other_circles():
    commands = [action(0.2, 0.6), action(0.38, 0.6), action(-0.38, 0.6)]
    real = radius(driven(commands, 100, gap="real"))
    expected = L / np.tan([0.9 * 0.2 + 0.03, 0.314, -0.263])
    np.testing.assert_allclose(real, expected, rtol=0.005)


def reached(values: np.ndarray, share: float) -> float:
    """Seconds until a quantity (T + 1,) has come so far towards its last value."""
    begin, end = values[0], values[-1]
    done = (values - begin) / (end - begin) >= share
    after = int(np.argmax(done))
    low, high = (values[after - 1 : after + 1] - begin) / (end - begin)
    return (after - 1 + (share - low) / (high - low)) * mushr.DT


def test_lag_and_delay_of_the_steering_show_in_the_yaw_rate():
    took = {
        gap: reached(
            driven([action(0.2, 1.0)], 60, ROLLING, gap=gap)[:, 0, OMEGA], 0.632
        )
        for gap in ("none", "easy", "real")
    }
    assert took["none"] < 0.05
    assert took["easy"] == pytest.approx(0.06 + took["none"] / 2, abs=0.03)
    assert took["real"] == pytest.approx(0.05 + 0.1 + took["none"] / 2, abs=0.03)


def test_lag_and_delay_of_the_speed_show_in_the_speed():
    start = [0, 0, 0, 1.0, 0, 0]
    speeds = {
        gap: driven([action(0, 1.5)], 80, start, gap=gap)[:, 0, VX]
        for gap in ("none", "real")
    }
    settled = driven([action(0, 1.0)], 1, start, gap="real")[1, 0, VX]
    # The delay line holds the speed of the start: a step later nothing has changed.
    assert speeds["real"][1] == pytest.approx(settled, abs=1e-9)
    slower = reached(speeds["real"], 0.632) - reached(speeds["none"], 0.632)
    assert slower == pytest.approx(0.05 + 0.15, abs=0.06)


def test_a_delay_is_of_whole_steps_exactly():
    cars = driven([action(0.38, 1.0), action(0.0, 1.0)], 3, ROLLING, gap="real")
    np.testing.assert_array_equal(cars[1, 0], cars[1, 1])
    assert abs(cars[2, 0, OMEGA] - cars[2, 1, OMEGA]) > 0.1


def test_payload_presses_the_springs():
    heavy = Gap(payload=0.6)
    lower = rest(Gap())[2] - rest(heavy)[2]
    assert lower == pytest.approx(0.6 * G / (4 * 900), rel=0.02)
    gained = mujoco.mj_getTotalmass(car_model(heavy)) - 3.56
    assert gained == pytest.approx(0.6)


def test_ice_is_slippery():
    start = [0, 0, 0, 2.0, 0, 0]
    vx = driven([action()], 6, start, gap="ice")[:, 0, VX]
    assert (vx[1] - vx[5]) / (4 * mushr.DT) == pytest.approx(0.25 * G, rel=0.05)
    cars = driven([action(0.38, 3.0)], 60, gap="ice")
    assert np.hypot(cars[-1, 0, VX], cars[-1, 0, VY]) * cars[-1, 0, OMEGA] < 0.26 * G


# ---------------------------------------------------------------------------- patches
def test_a_patch_brakes_as_its_own_friction_allows():
    start = [[0, 0, 0, 2.0, 0, 0], [9, 0, 0, 2.0, 0, 0]]
    vx = driven([action()] * 2, 4, start, friction_patches=[(0, 0, 2.0, 0.1)])[..., VX]
    lost = vx[1] - vx[3]
    assert lost[0] / (2 * mushr.DT) == pytest.approx(0.1 * G, rel=0.12)
    assert lost[1] > 5 * lost[0]


def test_ice_under_one_side_turns_a_braking_car_to_the_other():
    patches = [(0, 1.05, 1.0, 0.1)]  # under the left wheels
    start = [0, 0, 0, 2.0, 0, 0]
    cars = driven([action()], 4, start, friction_patches=patches)
    assert cars[-1, 0, OMEGA] < -0.2


def test_where_patches_overlap_the_last_one_counts():
    patches = [(0, 0, 2.0, 0.1), (0, 0, 1.0, 0.9)]
    start = [0, 0, 0, 1.5, 0, 0]
    last = driven([action()], 3, start, friction_patches=patches)
    alone = driven([action()], 3, start, friction_patches=patches[1:])
    np.testing.assert_array_equal(last, alone)
