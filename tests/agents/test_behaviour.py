"""Behaviours are SB3's actors, whoever else asks at the same time."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from sb3_contrib import TQC
from stable_baselines3 import PPO, SAC

from suite.agents.behaviour import (
    LOG_STD,
    SHARD,
    STEP,
    SquashedGaussian,
    behaviour_names,
    behaviour_of,
    load_behaviour,
    load_card,
    save_behaviour,
)
from suite.storage import IntegrityError, read_directory, write_directory


@pytest.fixture(scope="module", params=[SAC, TQC], ids=["SAC", "TQC"])
def model(request) -> Any:
    """Wide enough that standard deviations reach both clips."""
    model = request.param(
        "MlpPolicy", "Pendulum-v1", policy_kwargs={"net_arch": [64, 48]}, seed=3
    )
    with torch.no_grad():
        model.actor.log_std.weight *= 300
    return model


def observations(count: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(count, 3)).astype(np.float32)


def test_mean_and_distribution_are_sb3s(model):
    policy, obs = behaviour_of(model.actor), observations(SHARD)
    mean, std = policy.gaussian(obs)
    with torch.no_grad():
        actor = copy.deepcopy(model.actor).double()
        latent = actor.latent_pi(torch.as_tensor(obs).double())
        log_std = actor.log_std(latent).clamp(*LOG_STD)
        theirs, _, _ = model.actor.get_action_dist_params(torch.as_tensor(obs))
    torch.testing.assert_close(mean, actor.mu(latent), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(mean.float(), theirs, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(std, log_std.exp(), rtol=1e-10, atol=0)
    clipped = torch.log(std)
    assert clipped.min() < -6 and clipped.max() == LOG_STD[1]
    np.testing.assert_allclose(
        policy.act(obs, np.zeros((SHARD, 1))),
        model.predict(obs, deterministic=True)[0],
        atol=2 * STEP / 2 + 1e-5,  # torques to 2; the rest is SB3's single precision
    )


def test_samples_are_sb3s_of_the_same_noise(model):
    policy, obs = behaviour_of(model.actor), observations(SHARD)
    torch.manual_seed(5)
    theirs, _ = model.predict(obs)
    torch.manual_seed(5)
    noise = torch.randn(SHARD, 1)
    ours = policy.act(obs, noise.numpy())
    np.testing.assert_allclose(ours, theirs, atol=2 * STEP / 2 + 1e-5)


def test_an_action_does_not_depend_on_who_else_asks(model):
    policy, obs = behaviour_of(model.actor), observations(200)
    noise = np.random.default_rng(1).standard_normal((200, 1))
    whole = policy.act(obs, noise)
    assert whole.dtype == np.float32 and np.abs(whole).max() <= 2
    for rows in (
        np.arange(1),
        np.arange(65),
        np.random.default_rng(2).permutation(200),
    ):
        np.testing.assert_array_equal(policy.act(obs[rows], noise[rows]), whole[rows])


def test_a_behaviour_comes_back_bit_for_bit(model, tmp_path):
    policy = behaviour_of(model.actor)
    save_behaviour(policy, tmp_path / "mine", {"made": "here"})
    again = load_behaviour(tmp_path / "mine")
    obs, noise = observations(10), np.ones((10, 1))
    np.testing.assert_array_equal(again.act(obs, noise), policy.act(obs, noise))
    card = load_card(tmp_path / "mine")
    assert card["made"] == "here"
    assert card["behaviour"]["hidden"] == [64, 48]


def test_what_is_no_behaviour_is_one_clear_sentence(tmp_path):
    with pytest.raises(ValueError, match="no behaviour 'hoper-medium'; did you mean"):
        load_behaviour("hoper-medium")
    with pytest.raises(ValueError, match="only SAC's and TQC's squashed Gaussian MLP"):
        behaviour_of(PPO("MlpPolicy", gym.make("Pendulum-v1")).policy)
    tanh = SAC(
        "MlpPolicy", "Pendulum-v1", policy_kwargs={"activation_fn": torch.nn.Tanh}
    )
    with pytest.raises(ValueError, match="with ReLU can be taken over"):
        behaviour_of(tanh.actor)


def tiny() -> SquashedGaussian:
    ones = (torch.ones(2, 3), torch.zeros(2))
    mu, log_std = [(torch.ones(1, 2), torch.zeros(1)) for _ in range(2)]
    return SquashedGaussian((ones,), mu, log_std, -np.ones(1), np.ones(1))


BAD_CARDS = [
    {"hidden": [2, 2]},
    {"hidden": []},
    {"hidden": [10**9]},
    {"obs_size": 4},
    {"action_high": [1.0, 1.0]},
    {"hidden": "two"},
]


@pytest.mark.parametrize("change", BAD_CARDS)
def test_a_card_that_does_not_fit_is_refused(change: dict[str, Any], tmp_path: Path):
    save_behaviour(tiny(), tmp_path / "good", {})
    files = read_directory(tmp_path / "good")
    card = json.loads(files["card.json"])
    card["behaviour"].update(change)
    files["card.json"] = json.dumps(card).encode()
    write_directory(tmp_path / "bad", files)
    with pytest.raises(IntegrityError, match="does not hold a behaviour of ours"):
        load_behaviour(tmp_path / "bad")


def test_every_packaged_behaviour_loads_and_acts():
    for name in behaviour_names():
        policy = load_behaviour(name)
        obs = np.zeros((2, policy.hidden[0][0].shape[1]), np.float32)
        actions = policy.act(obs, np.zeros((2, *policy.noise_shape)))
        assert np.isfinite(actions).all()
