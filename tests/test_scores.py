from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from toys import TIME_LIMIT, ToyVectorEnv

from suite.agents.tanh_policy import TanhPolicy
from suite.benchmark import get
from suite.data.cards import D4RL
from suite.scores import NormalizedReturn


def make_env(num_envs: int, **kwargs: Any) -> gym.vector.VectorEnv:
    kwargs.pop("num_threads")
    return ToyVectorEnv(num_envs, **kwargs)


def policy(weight: float) -> TanhPolicy:
    """Moves by a multiple of where it is."""
    layer = torch.nn.Linear(1, 1)
    torch.nn.init.constant_(layer.weight, weight)
    torch.nn.init.zeros_(layer.bias)
    return TanhPolicy([layer], gym.spaces.Box(-1.0, 1.0, (1,)))


def score(**kwargs: Any) -> NormalizedReturn:
    settings = {"reference": "hopper", "episodes": 16, "steps": TIME_LIMIT}
    return NormalizedReturn(make_env, **{**settings, **kwargs})


def test_points_are_by_d4rls_references_and_by_ours():
    # To the middle within a few steps, where the only reward is.
    found = score(local=(-1.0, 3.0))(policy(-9.0), 0)
    assert found["return_mean"] == 1 and found["return_std"] == 0
    assert 1 <= found["episode_length"] <= 4
    low, high = D4RL["hopper"]
    assert found["normalized_return"] == pytest.approx(100 * (1 - low) / (high - low))
    assert found["normalized_return_local"] == 50


def test_an_episode_that_ended_counts_no_further():
    # Away from the middle, so that only the time limit ends it.
    found = score()(policy(9.0), 0)
    assert found["return_mean"] == 0 and found["episode_length"] == TIME_LIMIT
    assert set(found) == {
        *("normalized_return", "return_mean", "return_std", "episode_length")
    }


def test_episodes_are_drawn_from_seed_and_key_and_from_nothing_else():
    slow = policy(-0.3)
    before = torch.get_rng_state(), np.random.get_state(legacy=False)
    found = [score(seed=s)(slow, key) for s, key in ((0, 5), (0, 5), (0, 6), (1, 5))]
    assert found[0] == found[1] and found[0] not in found[2:]
    assert torch.equal(before[0], torch.get_rng_state())
    np.testing.assert_equal(before[1], np.random.get_state(legacy=False))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"reference": "hoper"}, "no reference of D4RL 'hoper'; did you mean hopper"),
        ({"local": (3.0, 3.0)}, r"a higher one of an expert, got \[3.0, 3.0\]"),
        ({"episodes": 0}, "at least one episode"),
    ],
)
def test_misuse_is_refused_in_one_sentence(settings, message):
    with pytest.raises(ValueError, match=message):
        score(**settings)


def test_an_episode_beyond_the_steps_is_told_and_so_is_a_broken_policy():
    with pytest.raises(ValueError, match="16 of 16 episodes did not end within 3"):
        score(steps=3)(policy(9.0), 0)
    with pytest.raises(FloatingPointError, match="has diverged"):
        score()(policy(float("nan")), 0)


def test_numbers_of_info_are_told_as_means_over_steps():
    make_env = get("pwm-ant-5m").make_env

    layer = torch.nn.Linear(37, 8)
    torch.nn.init.zeros_(layer.weight)
    torch.nn.init.zeros_(layer.bias)
    still = TanhPolicy([layer], gym.spaces.Box(-1.0, 1.0, (8,)))
    found = NormalizedReturn(
        make_env, reference=None, episodes=2, steps=1000, told=["x_velocity"]
    )(still, 0)
    # Who stands still is paid about 1.2 a step, and goes nowhere.
    assert abs(found["x_velocity"]) < 0.1 and 1000 < found["return_mean"] < 1300
    with pytest.raises(ValueError, match="info has no 'speed' to tell of"):
        NormalizedReturn(make_env, reference=None, episodes=2, told=["speed"])(still, 0)
