"""A car's model is an environment like any other model."""

from __future__ import annotations

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces

from suite.worldmodels.car import Adapter, Car, Friction, Residual
from suite.worldmodels.car_dynamics import CarDynamics
from suite.worldmodels.car_ensemble import CarMean, CarTS1, CarTSInf
from suite.worldmodels.car_plants import Pacejka
from suite.worldmodels.model_env import ModelEnv, ModelVectorEnv

CAR = Car(Pacejka(), Adapter((8, 8)), Residual((8,)), Friction((8,)), history=2)


class Yard(gym.Env):
    """Where cars start; it is never stepped."""

    observation_space = spaces.Box(-np.inf, np.inf, (6,), np.float32)
    action_space = spaces.Box(-1, 1, (2,), np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        state = self.np_random.uniform(-1, 1, 6).astype(np.float32)
        return state, {"state": state}


def dynamics(members: int) -> CarDynamics:
    made = CarDynamics(
        CAR,
        range(members),
        {
            "reward": lambda state, action, next_state: next_state[..., 3],
            "terminated": lambda state: state[..., 0] > 3,
        },
    )
    draws = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for part in made.parameters():
            part.add_(0.2 * torch.randn(part.shape, generator=draws))
    return made


MODELS = [pytest.param(dynamics(1), id="one")] + [
    pytest.param(kind(dynamics(3)), id=kind.__name__)
    for kind in (CarMean, CarTS1, CarTSInf)
]


@pytest.mark.parametrize("model", MODELS)
def test_rows_are_single_environments_bit_for_bit(model):
    many = ModelVectorEnv(
        Yard(), model, 5, max_episode_steps=30, autoreset_mode="disabled"
    )
    alone = ModelEnv(Yard(), model, max_episode_steps=30)
    first, _ = many.reset(seed=4)
    obs, _ = alone.reset(seed=6)
    np.testing.assert_array_equal(first[2], obs)
    rng = np.random.default_rng(0)
    for _ in range(20):
        actions = rng.uniform(-1, 1, (5, 2)).astype(np.float32)
        rows, rewards, ends, *_ = many.step(actions)
        obs, reward, end, *_ = alone.step(actions[2])
        np.testing.assert_array_equal(rows[2], obs)
        assert rewards[2] == reward and ends[2] == end
        if ends.any():
            break


@pytest.mark.parametrize("model", MODELS)
def test_a_moment_comes_back_with_its_history(model):
    env = ModelVectorEnv(Yard(), model, 4, max_episode_steps=50)
    env.reset(seed=0)
    actions = np.random.default_rng(1).uniform(-1, 1, (6, 4, 2)).astype(np.float32)
    for action in actions[:3]:
        env.step(action)
    moment = env.snapshot()
    expected = [env.step(action)[0] for action in actions[3:]]
    env.restore(moment)
    for action, obs in zip(actions[3:], expected, strict=True):
        np.testing.assert_array_equal(env.step(action)[0], obs)


def test_a_row_beyond_all_that_was_seen_is_truncated():
    model = dynamics(1)
    slow = 0.4 * torch.ones(2, 3)
    model.refresh(0, slow, slow)
    env = ModelVectorEnv(Yard(), model, 8, max_episode_steps=50)
    env.reset(seed=0)
    *_, truncated, info = env.step(np.ones((8, 2), np.float32))
    assert truncated.any() and (truncated == info["sim_unstable"]).all()
