"""Errors and calibration against numbers worked out by hand."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from worlds import is_far, line_data, linear_model, pays_first

from suite.envs.obstacles import ObstaclesVectorEnv
from suite.worldmodels.diagnostics import (
    Windows,
    calibration,
    one_step_error,
    open_loop,
    outcome_errors,
    prediction_errors,
    windows,
)
from suite.worldmodels.ensemble import Ensemble
from suite.worldmodels.learned import LearnedDynamics
from suite.worldmodels.prediction_error import PredictionError


def counted(steps: int, rows: int) -> np.ndarray:
    """States (T, K, 1) that say step and row: 10 t + k."""
    return (10.0 * np.arange(steps)[:, None] + np.arange(rows))[..., None]


def test_windows_never_reach_beyond_an_episodes_end():
    done = np.zeros((6, 2), bool)
    done[2, 0] = done[4, 1] = True
    states = counted(6, 2)
    found = windows(states, states, states + 0.5, done, horizon=3)
    assert found is not None
    # Row 0 ends after step 2: from 0, and from 3. Row 1 after 4: from 0, 1 and 2.
    assert found.states[0].flatten().tolist() == [0, 1, 11, 21, 30]
    for b, first in enumerate([0, 1, 11, 21, 30]):
        assert found.actions[:, b, 0].tolist() == [first, first + 10, first + 20]
        expected = [first, first + 10, first + 20, first + 20.5]
        assert found.states[:, b, 0].tolist() == expected
    few = windows(states, states, states, done, horizon=3, most=3)
    assert few is not None and few.states[0].flatten().tolist() == [0, 11, 30]
    assert windows(states, states, states, done, horizon=7) is None
    assert windows(states, states, states, ~done, horizon=3) is None


def test_windows_have_no_step_that_was_given_up():
    done = np.zeros((6, 1), bool)
    done[2] = True
    states = counted(6, 1)
    assert windows(states, states, states, done, unstable=done, horizon=4) is None
    found = windows(states, states, states, done, unstable=done, horizon=2)
    assert found is not None and found.states[0].flatten().tolist() == [0, 30, 40]


def straight(steps: int = 10) -> Windows:
    """x' = x + 1 from 0 and from 4, under actions 1."""
    start = torch.tensor([[0.0], [4.0]])
    states = start + torch.arange(steps + 1.0)[:, None, None]
    return Windows(states, torch.ones(steps, 2, 1))


def test_each_member_goes_its_own_way_and_errors_are_those_of_the_formula():
    # Members that are right, and that add 0.1 too much in every step.
    dynamics = linear_model([1.0, 1.0], [0.0, 0.1])
    found = straight()
    trajectory = open_loop(dynamics, found)
    assert trajectory.shape == (11, 2, 2, 1)
    torch.testing.assert_close(trajectory[:, 0], found.states)
    drift = 0.1 * torch.arange(11.0)[:, None, None]
    torch.testing.assert_close(trajectory[:, 1], found.states + drift)
    told = prediction_errors(dynamics, found)
    # Over 10 states, the exact one first: the mean of (0.1 h)^2, in one of two members.
    expected = 0.01 * sum(h * h for h in range(10)) / 10 / 2
    assert told["prediction_error"] == pytest.approx(expected, rel=1e-4)
    spread = float(found.states.double().std(correction=0))
    for k in (1, 5, 10):
        assert told[f"error_{k}"] == pytest.approx(
            0.1 * k / math.sqrt(2) / spread, rel=1e-4
        )
    assert one_step_error(dynamics, found) == pytest.approx(0.01 / 2, rel=1e-4)
    assert calibration(dynamics, found) == {}


def test_elites_alone_are_asked_and_constants_have_no_scale():
    dynamics = linear_model([1.0, 1.0], [0.0, 5.0])
    dynamics.is_elite[1] = False
    assert prediction_errors(dynamics, straight())["error_10"] < 1e-5
    still = Windows(torch.ones(11, 2, 1), torch.zeros(10, 2, 1))
    assert math.isnan(prediction_errors(dynamics, still)["error_1"])


def noisy(std: float, rows: int = 20_000) -> Windows:
    """One step of x' = x + a + noise."""
    generator = torch.Generator().manual_seed(0)
    state = torch.randn(rows, 1, generator=generator)
    action = torch.randn(rows, 1, generator=generator)
    after = state + action + std * torch.randn(rows, 1, generator=generator)
    return Windows(torch.stack([state, after]), action[None])


@pytest.mark.parametrize(
    ("believed", "coverage"),
    # P(|x| < 1.6449 ratio) of a standard normal, by its error function.
    [(ratio, math.erf(1.6449 * ratio / math.sqrt(2))) for ratio in (0.5, 1.0, 2.0)],
)
def test_coverage_and_likelihood_are_those_of_the_normal_distribution(
    believed, coverage
):
    std = 0.3 * believed
    dynamics = linear_model([1.0, 1.0], [0.0, 0.0], [2 * math.log(std)] * 2)
    with torch.no_grad():  # out of the way of the soft bounds
        for name, bound in (("max_logvar", 20.0), ("min_logvar", -30.0)):
            getattr(dynamics.ensemble, name).fill_(bound)
    told = calibration(dynamics, noisy(0.3))
    assert told["coverage_90"] == pytest.approx(coverage, abs=0.01)
    expected = math.log(std) + math.log(2 * math.pi) / 2 + 1 / believed**2 / 2
    assert told["nll"] == pytest.approx(expected, abs=0.05)


def test_members_that_disagree_widen_what_is_covered():
    # Each is sure and wrong by 1; together they have the truth within their spread.
    dynamics = linear_model([1.0, 1.0], [-1.0, 1.0], [-8.0, -8.0])
    assert calibration(dynamics, noisy(0.1))["coverage_90"] == 1.0
    dynamics.is_elite[0] = False
    assert calibration(dynamics, noisy(0.1))["coverage_90"] == 0.0


def test_errors_of_reward_and_end_are_those_of_the_formulas():
    data = line_data(200)
    rewards = data.rewards
    # Given ones are asked about the real next state: 2 x' is right, x' half of it.
    for share, error in ((2.0, 0.0), (1.0, 0.5)):
        told = outcome_errors(_of_line(share), data)
        root = float(rewards.square().mean().sqrt() / rewards.std(correction=0))
        assert told["reward_error"] == pytest.approx(error * root, abs=1e-6)
        assert told["end_error"] == 0
    forgot = LearnedDynamics(Ensemble(1, 3, 2, hidden=()), reward=pays_first)
    share = float(data.terminated.mean())
    assert outcome_errors(forgot, data)["end_error"] == pytest.approx(share)
    # Learned ones about the elites' mean, here 0 and an end everywhere.
    learned = LearnedDynamics(Ensemble(2, 3, 4, hidden=()), terminated=None)
    for part in learned.ensemble.parameters():
        torch.nn.init.zeros_(part)
    learned.ensemble.biases[-1].data[..., 3] = 1.0
    told = outcome_errors(learned, data)
    assert told["reward_error"] == pytest.approx(root)
    assert told["end_error"] == pytest.approx(1 - share)


def _of_line(share: float) -> LearnedDynamics:
    return LearnedDynamics(
        Ensemble(1, 3, 2, hidden=()),
        reward=lambda s, a, n: share * n[..., 0],
        terminated=is_far,
    )


def test_a_frozen_model_is_refused_where_units_are_needed():
    dynamics = linear_model([1.0], [0.0]).frozen()
    with pytest.raises(ValueError, match="give the model that it was frozen from"):
        one_step_error(dynamics, straight())


# --------------------------------------------------------------------------- evaluation
def make(num_envs: int, autoreset_mode: str, num_threads: int) -> Any:
    return ObstaclesVectorEnv(num_envs, autoreset_mode=autoreset_mode)


def still() -> LearnedDynamics:
    """A model by which nothing moves."""
    dynamics = LearnedDynamics(Ensemble(1, 6, 4, hidden=()), reward=pays_first)
    for part in dynamics.ensemble.parameters():
        torch.nn.init.zeros_(part)
    return dynamics


def test_evaluation_plays_new_episodes_each_time_and_repeats_itself():
    evaluation = PredictionError(make, episodes=4, steps=30, seed=1)
    first, again = evaluation(still(), 0), evaluation(still(), 0)
    assert first == again != evaluation(still(), 1)
    assert first != PredictionError(make, episodes=4, steps=30, seed=2)(still(), 0)
    # Steps are uniform within 0.099, a third of its square; few are refused.
    assert 0 < first["one_step_error"] <= 0.099**2 / 3 * 0.6
    assert first["error_1"] < first["error_5"] < first["error_10"]


def test_evaluation_refuses_what_it_cannot_judge():
    with pytest.raises(ValueError, match="steps must be 10 or more, got 9"):
        PredictionError(make, steps=9)
    broken = still()
    torch.nn.init.constant_(broken.ensemble.biases[0], torch.nan)
    with pytest.raises(FloatingPointError, match=r"diverged: its ensemble\.biases\.0"):
        PredictionError(make, episodes=2, steps=10)(broken, 0)
