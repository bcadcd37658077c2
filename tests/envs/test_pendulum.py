"""BatchedPendulum-v1 beside Gymnasium's own."""

from __future__ import annotations

import gymnasium as gym
import numpy as np
import pytest
import torch

import suite  # registers the environments
from suite.envs import pendulum


@pytest.mark.parametrize("seed", range(3))
def test_it_is_gymnasiums(seed):
    assert suite.__version__
    ours, theirs = gym.make("BatchedPendulum-v1"), gym.make("Pendulum-v1")
    rng, ended = np.random.default_rng(seed), ()
    np.testing.assert_array_equal(ours.reset(seed=seed)[0], theirs.reset(seed=seed)[0])
    for _ in range(200):
        action = rng.uniform(-3, 3, 1).astype(np.float32)  # some beyond the bounds
        found, wanted = ours.step(action), theirs.step(action)
        # Gymnasium computes the torque's part in float32.
        np.testing.assert_allclose(found[0], wanted[0], atol=2e-4)
        assert found[1] == pytest.approx(float(wanted[1]), abs=2e-3)
        assert not found[2]
        ended = (found[3], wanted[3])
    assert ended == (True, True)


def test_its_functions_are_those_of_both_libraries():
    rng = np.random.default_rng(0)
    state, action = 3 * rng.normal(size=(50, 2)), rng.normal(size=(50, 1))
    after = pendulum.next_state(state, action)
    tensors = torch.tensor(state), torch.tensor(action)
    np.testing.assert_allclose(pendulum.next_state(*tensors), after)
    np.testing.assert_allclose(
        pendulum.reward(*tensors, torch.tensor(after)),
        pendulum.reward(state, action, after),
    )
    np.testing.assert_allclose(
        pendulum.observe(torch.tensor(after)), pendulum.observe(after), rtol=1e-6
    )


def test_hanging_still_costs_pi_squared_a_step():
    hanging = np.array([[np.pi, 0.0]])
    none = np.zeros((1, 1))
    after = pendulum.next_state(hanging, none)
    np.testing.assert_allclose(after, hanging, atol=1e-15)
    assert pendulum.reward(hanging, none, after) == pytest.approx(-(np.pi**2))
