from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from stable_baselines3.common.policies import ActorCriticPolicy
from toys import TIME_LIMIT, TOY, ToyTask

from suite.evaluation import (
    SuccessRate,
    bootstrap_interval,
    iqm,
    mean_interval,
    mean_of_last,
    normalized_score,
    probability_of_improvement,
)


def toy_policy(push: float, log_std: float = -20.0) -> ActorCriticPolicy:
    """Pushes the point by a constant, with hardly any noise unless it is given."""
    policy = ActorCriticPolicy(
        ToyTask.observation_space,
        ToyTask.action_space,
        lambda _: 0.0,
        net_arch=[],
        log_std_init=log_std,
    )
    with torch.no_grad():
        policy.get_parameter("action_net.weight").zero_()
        policy.get_parameter("action_net.bias").fill_(push)
    return policy


def success_rate(*, glued: bool = False, **kwargs: Any) -> SuccessRate:
    spec = TOY.with_settings({"env.glued": glued})
    numbers = {"envs": 4, "steps": TIME_LIMIT, "min_episodes": 8} | kwargs
    return SuccessRate(spec.make_env, **{"first_episode_envs": 8, **numbers})


# ---------------------------------------------------------------------- success rate
def test_a_policy_that_always_succeeds_scores_one_and_one_that_never_does_zero():
    for push, share in ((-1.0, 1.0), (1.0, 0.0)):
        found = success_rate()(toy_policy(push), 0)
        assert found["success_log_metric"] == share
        assert found["success_first_stochastic"] == share
        assert found["success_first_deterministic"] == share
    assert found["episode_length"] == TIME_LIMIT


def test_the_log_metric_counts_the_short_episodes_of_successful_rows_more_often():
    # From a start in [0.5, 1], one to three steps of a third lead to |x| < 0.25.
    found = success_rate(glued=True)(toy_policy(-1.0), 0)
    assert found["success_first_stochastic"] == 0.5  # every other row is glued
    assert found["success_first_deterministic"] == 0.5
    failures = found["episodes"] * (1 - found["success_log_metric"])
    assert failures == pytest.approx(2 * (8 // 4))  # one a glued row and repetition
    assert found["success_log_metric"] > 0.7


def test_episodes_are_counted_until_there_are_enough():
    found = success_rate(min_episodes=50, first_episode_envs=1)(toy_policy(1.0), 0)
    assert found["episodes"] == 52  # whole repetitions of 4 rows, one episode each


def test_noise_matters_to_the_stochastic_shares_only():
    # Pushed away from the goal on average; half of the noise pushes towards it.
    found = success_rate(min_episodes=200)(toy_policy(0.1, log_std=0.0), 0)
    assert found["success_first_deterministic"] == 0.0
    assert 0.1 < found["success_first_stochastic"] < 1.0
    assert found["log_std"] == 0.0


def test_a_key_is_a_draw_of_episodes():
    policy, evaluate = toy_policy(0.0, log_std=0.0), success_rate(min_episodes=100)
    first = evaluate(policy, 3)
    assert evaluate(policy, 4) != first
    assert evaluate(policy, 3) == first
    assert success_rate(min_episodes=100, seed=1)(policy, 3) != first


def test_evaluating_leaves_global_randomness_and_the_policy_as_they_were():
    policy = toy_policy(0.0, log_std=0.0)
    policy.set_training_mode(True)
    torch.manual_seed(1)
    np.random.seed(1)
    expected = torch.rand(3), np.random.rand(3)
    torch.manual_seed(1)
    np.random.seed(1)
    success_rate()(policy, 0)
    assert torch.equal(torch.rand(3), expected[0])
    assert np.array_equal(np.random.rand(3), expected[1])
    assert policy.training


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_policy_with_weights_that_are_no_numbers_is_named_as_diverged(value: float):
    with pytest.raises(FloatingPointError, match=r"diverged: its action_net.bias"):
        success_rate()(toy_policy(value), 0)


def test_too_few_steps_for_an_episode_are_refused():
    with pytest.raises(ValueError, match=r"4 of 4 episodes did not end within 3 steps"):
        success_rate(steps=3)(toy_policy(1.0), 0)


def test_numbers_that_are_not_positive_are_refused():
    with pytest.raises(ValueError, match="positive numbers, got envs=0, steps=10"):
        success_rate(envs=0)


# ------------------------------------------------------------------------ statistics
def test_mean_interval_is_students():
    # t(2, 97.5 %) = 4.302653; the standard error of (1, 2, 3) is 1/sqrt(3).
    found = mean_interval([1.0, 2.0, 3.0])
    assert found.value == 2.0
    assert found.high == pytest.approx(2 + 4.302653 / np.sqrt(3), abs=1e-6)
    assert found.low == pytest.approx(2 - 4.302653 / np.sqrt(3), abs=1e-6)


def test_a_single_seed_has_no_interval():
    found = mean_interval([0.5])
    assert (found.value, found.low, found.high) == (0.5, None, None)


def test_mean_interval_covers_as_often_as_it_says():
    draws = np.random.default_rng(0).normal(size=(2000, 3))
    found = [mean_interval(draw, confidence=0.8) for draw in draws]
    covered = [f.low < 0 < f.high for f in found if f.low is not None and f.high]
    assert np.mean(covered) == pytest.approx(0.8, abs=0.03)


def test_iqm_is_the_mean_of_the_middle_half():
    assert iqm([8, 1, 7, 2, 6, 3, 5, 4]) == np.mean([3, 4, 5, 6])
    assert iqm([0, 0, 1, 100]) == 0.5
    assert iqm([5.0]) == 5.0


def test_iqm_along_an_axis():
    assert iqm([[0, 4], [1, 4], [3, 4], [99, 4]], axis=0).tolist() == [2.0, 4.0]
    assert iqm([[0, 1, 3, 99], [4, 4, 4, 4]], axis=1).tolist() == [2.0, 4.0]


def test_bootstrap_draws_seeds_within_each_task():
    # Each task is constant over seeds: drawing seeds changes nothing, tasks would.
    found = bootstrap_interval([[0.0, 1.0, 5.0]] * 4, np.mean, resamples=50)
    assert (found.low, found.value, found.high) == (2.0, 2.0, 2.0)


def test_bootstrap_of_a_mean_is_about_the_normal_interval():
    scores = np.random.default_rng(1).normal(size=(50, 4))
    found = bootstrap_interval(scores, np.mean)
    half = 1.96 * np.sqrt(scores.var(axis=0).sum()) / 4 / np.sqrt(50)
    assert found.high is not None
    assert found.high - found.value == pytest.approx(half, rel=0.1)
    assert bootstrap_interval(scores, np.mean) == found


def test_probability_of_improvement_counts_pairs_and_halves_ties():
    # First task: 2 > {1, 0} and 1 beats 0, ties 1: (2 + 1.5) / 4. Second: never.
    ours, theirs = [[2, 0], [1, 0]], [[1, 5], [0, 5]]
    assert probability_of_improvement(ours, theirs) == (3.5 / 4 + 0) / 2


def test_normalized_score_is_zero_at_low_and_one_at_high():
    assert normalized_score([10, 20, 30], 10, 30).tolist() == [0.0, 0.5, 1.0]
    with pytest.raises(ValueError, match="two different ends"):
        normalized_score(1, 2, 2)


# ----------------------------------------------------------------------- the last three
@pytest.mark.parametrize(
    ("values", "mean"),
    [
        ([9.0], 9.0),
        ([9.0, 1.0], 1.0),
        ([9.0, 1.0, 2.0], 1.5),
        ([9.0, 1.0, 2.0, 3.0], 2.0),
        ([9.0, 1.0, 2.0, 3.0, 4.0], 3.0),
    ],
)
def test_the_mean_of_the_last_leaves_out_what_was_not_trained(values, mean):
    assert mean_of_last(values) == mean
