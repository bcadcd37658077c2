"""The task's functions on torch tensors, and Stable-Baselines3's checker."""

from __future__ import annotations

import gymnasium as gym
import numpy as np
import pytest
from scripted_pick import grasping

from suite.envs import pickcube

torch = pytest.importorskip("torch")


@pytest.fixture(scope="module")
def states() -> np.ndarray:
    """States of every stage, of real picks and at random about the thresholds."""
    env, scripts, obs = grasping(20, autoreset_mode="disabled")
    visited = []
    for _ in range(28):
        obs, *_, info = env.step(scripts.act(obs))
        visited.append(info["state"])
    rng = np.random.default_rng(0)
    random = rng.normal(0, 0.02, (500, 42))
    random[:, pickcube.ARM_QVEL] *= 10
    random[:, pickcube.IS_GRASPED] = rng.integers(2, size=500)
    return np.concatenate([*visited, random])


@pytest.mark.parametrize("name", list(pickcube.REWARDS))
def test_rewards_in_torch_equal_those_in_numpy(states, name):
    reward = pickcube.REWARDS[name]
    tensors = torch.as_tensor(states)
    action = np.zeros((len(states), 8))
    expected = reward(states, action, states)
    got = reward(tensors, torch.as_tensor(action), tensors)
    assert 0 < expected.max() <= 1 and len(set(expected)) > 1
    np.testing.assert_allclose(got.numpy(), expected, atol=1e-12)


def test_success_and_observation_in_torch_equal_those_in_numpy(states):
    task, tensors = pickcube.PickCube(), torch.as_tensor(states)
    success = task.success(tensors).numpy()
    assert 0 < success.sum() < len(states)
    np.testing.assert_array_equal(success, task.success(states))
    np.testing.assert_array_equal(task.observe(tensors).numpy(), task.observe(states))


def test_dense_reward_is_differentiable(states):
    tensors = torch.as_tensor(states[:1]).requires_grad_()
    pickcube.normalized_dense_reward(
        tensors, torch.zeros(1, 8), tensors
    ).sum().backward()
    assert tensors.grad is not None and torch.isfinite(tensors.grad).all()


@pytest.mark.filterwarnings("error")
def test_stable_baselines3_has_nothing_to_say_about_the_environment():
    checker = pytest.importorskip("stable_baselines3.common.env_checker")
    checker.check_env(gym.make("PickCube-v0").unwrapped, skip_render_check=True)
