from __future__ import annotations

import numpy as np
import pytest
from stored import dataset

from suite.agents.probe import Probe

CONSTANT = {"actor": lambda obs: np.zeros((len(obs), 2), np.float32), "gamma": 0.5}


def sizes(obs: np.ndarray, actions: np.ndarray) -> np.ndarray:
    """Two critics: the sum of an action, and two more."""
    return np.stack([actions.sum(axis=1), actions.sum(axis=1) + 2])


def brute_force(data, row: int, gamma: float) -> float:
    """The discounted return from a row, NaN where the data does not know it."""
    end = data.offsets[1:][data.offsets[1:] > row][0]
    total = sum(gamma**h * float(data.rewards[row + h]) for h in range(end - row))
    known = data.terminated[end - 1] or gamma ** (end - row) <= 0.01
    return total if known else np.nan


@pytest.mark.parametrize("gamma", [0.5, 0.97, 1.0])
def test_returns_are_those_of_the_data_where_it_knows_them(gamma):
    data = dataset()
    probe = Probe(data, pairs=10_000)
    expected = [brute_force(data, row, gamma) for row in range(len(data))]
    np.testing.assert_allclose(probe.returns(gamma), expected)
    assert np.isnan(expected).any() and not np.isnan(expected).all()


def test_a_probe_tells_what_its_docstring_says():
    data = dataset()
    probe = Probe(data, pairs=50, seed=3)
    told = probe.told(sizes, **CONSTANT)
    values, returns = probe.actions.sum(axis=1) + 1.0, probe.returns(0.5)
    known = ~np.isnan(returns)
    bound = np.abs(data.rewards).max() / 0.5
    assert told == pytest.approx(
        {
            "q/mean": values.mean(),
            "q/std": values.std(),
            "q/critic_std": 1.0,
            "q/policy_advantage": 1 - values.mean(),
            "q/return_gap": (values - returns)[known].mean(),
            "q/out_of_bounds": (np.abs(values) > bound).mean(),
            "q/not_finite": 0.0,
        },
        rel=1e-5,
    )


def test_values_that_no_policy_can_reach_are_told():
    probe = Probe(dataset(), pairs=8)
    reach = np.abs(dataset().rewards).max() / 0.5
    told = probe.told(lambda obs, _: np.full((2, len(obs)), -1.01 * reach), **CONSTANT)
    assert told["q/out_of_bounds"] == 1 and told["q/not_finite"] == 0
    told = probe.told(lambda obs, _: np.full((2, len(obs)), np.inf), **CONSTANT)
    assert told["q/out_of_bounds"] == told["q/not_finite"] == 1


def test_without_a_known_return_there_is_no_gap():
    cut = dataset((1, 5)).select(np.array([False, True]))
    told = Probe(cut).told(sizes, **{**CONSTANT, "gamma": 0.99})
    assert np.isnan(told["q/return_gap"]) and np.isfinite(told["q/mean"])


def test_a_draw_repeats_and_another_seed_draws_others():
    one, two, other = (Probe(dataset(), pairs=9, seed=s).obs for s in (0, 0, 1))
    assert np.array_equal(one, two) and not np.array_equal(one, other)
    with pytest.raises(ValueError, match="at least one pair, got 0"):
        Probe(dataset(), pairs=0)
