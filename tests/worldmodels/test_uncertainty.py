"""The three measures by hand; a price and an end made of them."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from worlds import Pendulum, far_model, linear_model, pendulum_data, pendulum_dynamics

from suite.worldmodels.ensemble import GaussianEnsemble
from suite.worldmodels.imagine import imagine
from suite.worldmodels.learned import Prediction
from suite.worldmodels.model_env import ModelVectorEnv
from suite.worldmodels.propagation import TS1, Mean, TSInf
from suite.worldmodels.uncertainty import (
    Bounded,
    EnsembleStd,
    MaxDeviation,
    MaxSigma,
    Penalised,
)

# Two members, one row, a state of two numbers and a reward.
MEAN = torch.tensor([[[0.0, 0.0, 9.0]], [[6.0, 8.0, -9.0]]])
STD = torch.tensor([[[1.0, 2.0, 2.0]], [[3.0, 4.0, 0.0]]])


def test_the_measures_are_those_of_their_formulas():
    found = Prediction(MEAN, STD)
    # |(1, 2, 2)| = 3 and |(3, 4, 0)| = 5.
    assert MaxSigma()(found, 2).tolist() == [5.0]
    # Both are |(3, 4)| away from their mean (3, 4).
    assert MaxDeviation()(found, 2).tolist() == [5.0]
    # Variances of the means 9 and 16, mean squared sigmas 5 and 10.
    expected = (9 + 16 + 5 + 10) ** 0.5
    assert EnsembleStd()(found, 2).item() == pytest.approx(expected)
    assert EnsembleStd()(Prediction(MEAN, None), 2).item() == pytest.approx(5.0)


def test_a_price_is_taken_from_the_reward_alone():
    plain = Mean(far_model())
    priced = Penalised(plain, 0.5, MaxDeviation())
    state, action = torch.tensor([[0.0], [1.0], [3.0]]), torch.zeros(3, 1)
    found = priced.step(priced.start(state), action)
    free = plain.step(plain.start(state), action)
    # Members say x and -x: each is |x| away from their mean.
    paid = free.reward - found.reward
    assert paid.tolist() == [0.0, 0.5, 1.5]
    assert torch.equal(priced.observe(found.next_z), plain.observe(free.next_z))


def test_a_rollout_is_cut_off_where_members_disagree():
    # x grows by 1 a step; members disagree by |x|, too much from x = 2 on.
    model = Bounded(TSInf(far_model()), 1.5, MaxDeviation())
    z = model.start(torch.zeros(2, 1))
    z = z._replace(inner=z.inner._replace(member=torch.tensor([0, 0])))
    found = imagine(model, z, torch.ones(4, 2, 1), 4)
    assert found.truncated[:, 0].tolist() == [False, False, True, True]
    assert not found.terminated.any()
    assert found.running[:, 0].tolist() == [True, True, True, False]
    assert found.obs[:, 0, 0].tolist() == [0, 1, 2, 3, 4]


def test_wrappers_nest_either_way():
    inner = TS1(linear_model([1.0, -1.0], [0.0, 0.0], [-4.0, -4.0]))
    for model in (
        Penalised(Bounded(inner, 0.5, MaxDeviation()), 2.0),
        Bounded(Penalised(inner, 2.0), 0.5, MaxDeviation()),
    ):
        found = imagine(
            model, model.start(torch.tensor([[0.0], [1.0]])), torch.zeros(1, 2, 1), 1
        )
        assert found.truncated.tolist() == [[False, True]]


def test_an_uncertainty_that_is_nan_is_not_believed():
    def unsure(prediction: Any, state_size: int) -> torch.Tensor:
        return torch.tensor([0.0, float("nan"), float("inf")])

    model = Bounded(Mean(far_model()), 1.0, unsure)
    found = model.step(model.start(torch.zeros(3, 1)), torch.zeros(3, 1))
    assert model.truncated(found.next_z).tolist() == [False, True, True]


def test_an_environment_truncates_where_its_model_gives_up():
    dynamics = pendulum_dynamics(GaussianEnsemble)
    dynamics.refresh(pendulum_data(80))
    env = gym.make("Pendulum-v1")
    envs = ModelVectorEnv(
        env, Bounded(Mean(dynamics), 0.0), num_envs=2, autoreset_mode="disabled"
    )
    obs, _ = envs.reset(seed=0)
    after, rewards, terminated, truncated, info = envs.step(np.zeros((2, 1)))
    assert truncated.all() and not terminated.any() and info["sim_unstable"].all()
    assert (rewards == 0).all()
    np.testing.assert_array_equal(obs, after)


def test_what_has_no_members_or_no_sigma_is_refused():
    with pytest.raises(TypeError, match=r"Penalised asks the members.*got Pendulum"):
        Penalised(Pendulum(), 1.0)
    for make in (Penalised, Bounded):
        with pytest.raises(ValueError, match="must be 0 or more, got nan"):
            make(Mean(far_model()), float("nan"))
    for make in (Penalised, Bounded):
        with pytest.raises(TypeError, match="measure must be such as MaxSigma"):
            make(Mean(far_model()), 1.0, MaxSigma)  # pyright: ignore
    model = Penalised(Mean(far_model()), 1.0)
    with pytest.raises(ValueError, match="MaxSigma needs members that predict"):
        model.step(model.start(torch.zeros(1, 1)), torch.zeros(1, 1))
