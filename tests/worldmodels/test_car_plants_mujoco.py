"""Plants in SI units drive the circles of MuJoCo's car."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from suite.envs import mushr
from suite.envs.mushr_env import MushrVectorEnv
from suite.worldmodels.car import Car
from suite.worldmodels.car_dynamics import CarDynamics
from suite.worldmodels.car_plants import Kinematic, Pacejka, SingleTrack

STEERS = np.array([0.1, 0.2, 0.3, -0.2])  # rad
STEPS = 60
SERVO = 0.961  # of a commanded speed that the car's controller holds


def circles(speed: float, friction: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """MuJoCo's cars (T + 1, 4, 6) and their commands (4, 2)."""
    ratio = speed / mushr.MAX_SPEED
    actions = np.stack([STEERS / mushr.MAX_STEER, np.full(4, ratio)], axis=1)
    env = MushrVectorEnv(4, task="drift", friction=friction)
    env.reset_to(np.zeros((4, 6)))
    seen = [env.cars.named_state(None)[:, :6]]
    for _ in range(STEPS):
        env.cars.step(None, actions.astype(np.float32))
        seen.append(env.cars.named_state(None)[:, :6])
    return np.array(seen), actions


def driven(plant, actions: np.ndarray) -> np.ndarray:
    model = CarDynamics(Car(plant, adapter=None, residual=None, history=0))
    actions = actions * [1.0, SERVO]
    steps = torch.as_tensor(actions, dtype=torch.float32).expand(STEPS, 4, 2)
    with torch.no_grad():
        return model.unroll(model.start(torch.zeros(4, 6)), steps).states.numpy()


@pytest.mark.parametrize("plant", [Kinematic(), SingleTrack(), Pacejka()])
def test_slow_circles_are_those_of_mujoco(plant):
    truth, actions = circles(0.6)
    ours = driven(plant, actions)
    radius = truth[-1, :, 3] / truth[-1, :, 5]  # of the rear axle
    np.testing.assert_allclose(ours[-1, :, 3] / ours[-1, :, 5], radius, rtol=0.03)
    np.testing.assert_allclose(ours[-1, :, 3], truth[-1, :, 3], rtol=0.03)
    np.testing.assert_allclose(ours[-1, :, 5], truth[-1, :, 5], rtol=0.04)
    # After 3 s and a third of a turn or more, from rest.
    miss = np.hypot(*(ours[-1, :, :2] - truth[-1, :, :2]).T)
    assert miss.max() < 0.06


def test_where_grip_ends_tyres_that_slip_drive_mujocos_wider_circle():
    truth, actions = circles(2.5, friction=0.45)
    wide = truth[-1, 2, 3] / truth[-1, 2, 5]
    assert wide > 1.3 * mushr.WHEELBASE / np.tan(STEERS[2])
    for plant, error in ((Pacejka(friction=0.45), 0.02), (Kinematic(), 0.3)):
        ours = driven(plant, actions)[-1, 2]
        assert abs(ours[3] / ours[5] / wide - 1) < error
    assert ours[3] / ours[5] < 0.75 * wide  # the kinematic one knows no grip
