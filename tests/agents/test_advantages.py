from __future__ import annotations

import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3.common.buffers import RolloutBuffer

from suite.agents.advantages import GAE, MonteCarlo, Rollout


def rollout(rewards, values, terminated, truncated, final_values) -> Rollout:
    empty = np.zeros((*rewards.shape, 1))
    return Rollout(
        empty,
        empty,
        rewards,
        terminated,
        truncated,
        values,
        final_values,
        empty[..., 0],
    )


def random_rollout(seed: int, steps: int = 40, envs: int = 6) -> Rollout:
    rng = np.random.default_rng(seed)
    terminated = rng.random((steps, envs)) < 0.1
    truncated = (rng.random((steps, envs)) < 0.1) & ~terminated
    final_values = rng.normal(size=(steps, envs)) * (terminated | truncated)
    final_values[-1] = rng.normal(size=envs)
    shape = (steps, envs)
    return rollout(
        rng.normal(size=shape),
        rng.normal(size=shape),
        terminated,
        truncated,
        final_values,
    )


def sb3_estimate(r: Rollout, gamma: float, lam: float) -> tuple[np.ndarray, np.ndarray]:
    """What SB3 computes; it folds the value at a time limit into the reward."""
    steps, envs = r.rewards.shape
    box = spaces.Box(-1, 1, (1,), np.float32)
    buffer = RolloutBuffer(steps, box, box, "cpu", lam, gamma, envs)
    done = r.terminated | r.truncated
    starts = np.concatenate([np.ones((1, envs)), done[:-1]])
    for t in range(steps):
        buffer.add(
            r.obs[t],
            r.actions[t],
            r.rewards[t] + gamma * r.final_values[t] * r.truncated[t],
            starts[t],
            torch.as_tensor(r.values[t]),
            torch.as_tensor(r.log_probs[t]),
        )
    buffer.compute_returns_and_advantage(torch.as_tensor(r.final_values[-1]), done[-1])
    return buffer.advantages, buffer.returns


@pytest.mark.parametrize("seed", range(5))
def test_gae_equals_sb3_buffer_with_truncations_inside_the_rollout(seed):
    r = random_rollout(seed)
    assert r.truncated.any() and r.terminated.any()
    advantages, returns = sb3_estimate(r, 0.9, 0.8)
    estimate = GAE(0.9, 0.8)(r)
    np.testing.assert_allclose(estimate.advantages, advantages, atol=2e-6)
    np.testing.assert_allclose(estimate.returns, returns, atol=2e-6)


def test_bootstrap_on_success_treats_termination_as_a_time_limit():
    r = random_rollout(0)
    as_limit = rollout(
        r.rewards,
        r.values,
        np.zeros_like(r.terminated),
        r.terminated | r.truncated,
        r.final_values,
    )
    ours = GAE(0.9, 0.8, bootstrap_on_success=True)(r).advantages
    np.testing.assert_array_equal(ours, GAE(0.9, 0.8)(as_limit).advantages)
    assert np.abs(ours - GAE(0.9, 0.8)(r).advantages).max() > 0.1


@pytest.mark.parametrize("gamma", [0.8, 0.99])
def test_monte_carlo_of_constant_reward_equals_geometric_sum(gamma):
    steps = 30
    zeros = np.zeros((steps, 1))
    truncated = np.zeros((steps, 1), bool)
    terminated = np.zeros((steps, 1), bool)
    terminated[-1] = True
    r = rollout(np.ones((steps, 1)), zeros + 0.3, terminated, truncated, zeros)
    left = steps - np.arange(steps)
    expected = (1 - gamma**left) / (1 - gamma)
    estimate = MonteCarlo(gamma)(r)
    np.testing.assert_allclose(estimate.returns[:, 0], expected)
    np.testing.assert_allclose(estimate.advantages[:, 0], expected - 0.3)


def test_monte_carlo_of_endless_constant_reward_is_one_over_one_minus_gamma():
    steps, gamma = 12, 0.8
    worth = np.full((steps, 1), 1 / (1 - gamma))
    never = np.zeros((steps, 1), bool)
    last = np.zeros((steps, 1))
    last[-1] = 1 / (1 - gamma)
    estimate = MonteCarlo(gamma)(
        rollout(np.ones((steps, 1)), worth, never, never, last)
    )
    np.testing.assert_allclose(estimate.returns, worth)
    np.testing.assert_allclose(estimate.advantages, 0, atol=1e-12)


def test_gae_of_hand_numbers():
    # gamma .5, lam .5: delta_1 = 2 - .4 = 1.6 (terminal); delta_0 = 1 + .5 * .4 - .2 =
    # 1.0
    r = rollout(
        np.array([[1.0], [2.0]]),
        np.array([[0.2], [0.4]]),
        np.array([[False], [True]]),
        np.zeros((2, 1), bool),
        np.array([[0.0], [9.0]]),
    )
    np.testing.assert_allclose(GAE(0.5, 0.5)(r).advantages, [[1.0 + 0.25 * 1.6], [1.6]])
