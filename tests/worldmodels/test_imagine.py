"""Rollouts: sums by hand, gradients by finite differences."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from worlds import Pendulum, far_model, is_far, linear_model, pays_first

from suite.worldmodels.ensemble import GaussianEnsemble
from suite.worldmodels.imagine import imagine
from suite.worldmodels.learned import LearnedDynamics
from suite.worldmodels.propagation import TS1, Mean, TSInf
from suite.worldmodels.uncertainty import Bounded, MaxDeviation


def ending(model: LearnedDynamics) -> LearnedDynamics:
    return LearnedDynamics(model.ensemble, reward=pays_first, terminated=is_far)


def test_rewards_count_until_the_end_of_the_episode():
    # x doubles: 0.4, 0.8, 1.6 (ends), 3.2. The second row starts at 0 and stays.
    model = Mean(ending(linear_model([2.0], [0.0])))
    z = model.start(torch.tensor([[0.4], [0.0]]))
    found = imagine(model, z, torch.zeros(3, 2, 1), 3)
    assert found.obs.shape == (4, 2, 1) and found.rewards.shape == (3, 2)
    assert found.terminated.T.tolist() == [[False, True, True], [False] * 3]
    assert found.running.T.tolist() == [[True, True, False], [True] * 3]
    torch.testing.assert_close(found.returns(), torch.tensor([2.4, 0.0]))
    torch.testing.assert_close(found.returns(0.5), torch.tensor([0.8 + 0.8, 0.0]))
    assert found.final_z.state[0, 0].item() == pytest.approx(3.2)


def test_a_policy_sees_observations():
    model = Mean(linear_model([1.0], [0.0]))
    found = imagine(model, model.start(torch.ones(2, 1)), lambda obs: -obs / 2, 2)
    assert found.actions[:, 0, 0].tolist() == [-0.5, -0.25]
    assert found.obs[-1, 0, 0] == 0.25


@pytest.mark.parametrize("wrapper", [Mean, TS1, TSInf])
def test_gradients_are_those_of_finite_differences(wrapper):
    torch.manual_seed(0)
    ensemble = GaussianEnsemble(3, 3, 3, hidden=(5, 5))
    model = wrapper(LearnedDynamics(ensemble, terminated=None).double())
    assert model.dynamics.state_size == 1 and model.dynamics.action_size == 2
    state = torch.randn(4, 1, dtype=torch.float64, requires_grad=True)
    actions = torch.randn(3, 4, 2, dtype=torch.float64, requires_grad=True)

    def returns(state, actions):
        generator = torch.Generator().manual_seed(1)  # the same noise each time
        found = imagine(model, model.start(state), actions, 3, generator=generator)
        return found.rewards.sum(dim=0), found.obs[-1]

    assert torch.autograd.gradcheck(returns, (state, actions))


def test_gradients_reach_the_weights():
    model = Mean(far_model())
    found = imagine(model, model.start(torch.ones(2, 1)), torch.zeros(2, 2, 1), 2)
    found.returns().sum().backward()
    gradient = model.dynamics.ensemble.weights[0].grad
    assert gradient is not None and gradient.abs().sum() > 0


def test_any_model_of_the_protocol_is_rolled_out():
    model = Pendulum()
    found = imagine(model, model.start(torch.eye(3)), torch.zeros(5, 3, 1), 5)
    assert found.obs.shape == (6, 3, 3) and not found.truncated.any()
    found.require_finite()


def test_what_is_not_finite_is_named_where_it_entered():
    model = Mean(linear_model([1e20], [0.0]))
    found = imagine(model, model.start(torch.ones(3, 1)), torch.zeros(4, 3, 1), 4)
    with pytest.raises(FloatingPointError, match="observation became NaN or infinite"):
        found.require_finite()
    with pytest.raises(FloatingPointError, match="in step 1 of row 0"):
        found.require_finite()
    # After the end nobody looks.
    ended = Mean(ending(linear_model([1e20], [0.0])))
    imagine(ended, ended.start(torch.ones(3, 1)), torch.zeros(4, 3, 1), 4)
    found = imagine(ended, ended.start(torch.ones(3, 1)), torch.zeros(4, 3, 1), 4)
    found.require_finite()
    assert torch.isfinite(found.returns()).all()


def test_wrong_horizons_and_actions_are_refused():
    model = Pendulum()
    z = model.start(torch.eye(3))
    with pytest.raises(TypeError, match="act must be a policy or a tensor of actions"):
        imagine(model, z, np.zeros((5, 3, 1)), 5)  # pyright: ignore
    with pytest.raises(ValueError, match="horizon must be at least 1, got 0"):
        imagine(model, z, torch.zeros(0, 3, 1), 0)
    with pytest.raises(ValueError, match=r"shape \(5, 3, A\).*got \(4, 3, 1\)"):
        imagine(model, z, torch.zeros(4, 3, 1), 5)


def test_a_step_that_is_not_believed_is_neither_paid_nor_looked_at():
    # x: 1, 2, 3. Members say x and -x, so that they part by 2 in the step from 2 on.
    model = Bounded(Mean(far_model()), 1.5, MaxDeviation())
    found = imagine(model, model.start(torch.ones(1, 1)), torch.ones(3, 1, 1), 3)
    assert found.truncated[:, 0].tolist() == [False, False, False]
    model = Bounded(Mean(far_model()), 0.5, MaxDeviation())
    found = imagine(model, model.start(torch.ones(1, 1)), torch.ones(3, 1, 1), 3)
    assert found.truncated[0].all() and found.running[0].all()
    assert found.rewards[0] == 1 and found.returns() == 0
    unknown = replace(found, rewards=found.rewards.clone().fill_(torch.nan))
    unknown.require_finite()


def test_what_became_nan_first_is_named():
    model = Mean(linear_model([1.0], [0.0]))
    found = imagine(model, model.start(torch.ones(2, 1)), torch.ones(3, 2, 1), 3)
    found.require_finite()
    found.obs[3, 0] = torch.nan
    found.rewards[1, 1] = torch.nan
    with pytest.raises(FloatingPointError, match=r"reward .* in step 1 of row 1"):
        found.require_finite()
    found.obs[2, 0] = torch.inf
    with pytest.raises(FloatingPointError, match=r"observation .* in step 1 of row 0"):
        found.require_finite()
