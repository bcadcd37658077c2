"""What a model is told of its task is tried before a fit is spent on it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from worlds import is_far, line_data, pays_first

from suite.worldmodels.ensemble import Ensemble
from suite.worldmodels.fit import Fit
from suite.worldmodels.learned import LearnedDynamics
from suite.worldmodels.stored import load_dynamics, save_dynamics


def model(**functions: Any) -> LearnedDynamics:
    torch.manual_seed(0)
    outputs = 2 + (functions.get("reward", pays_first) is None)
    return LearnedDynamics(
        Ensemble(2, 3, outputs, hidden=(4,)), **{"reward": pays_first, **functions}
    )


@pytest.mark.parametrize(
    ("wrong", "kind", "message"),
    [
        # Of an int, ~ is no negation: a rollout's rows would all become the last one.
        (
            {"terminated": lambda s: is_far(s).int()},
            ValueError,
            r"terminated must give a bool .* for states \(3, 2\), got int32 \(3,\)",
        ),
        (
            {"terminated": lambda s: is_far(s).float()},
            ValueError,
            "terminated must give a bool tensor .* got float32",
        ),
        (
            {"success": lambda s: s[..., 0]},
            ValueError,
            "success must give a bool tensor",
        ),
        (
            {"reward": lambda s, a, n: n[..., :1]},
            ValueError,
            r"reward must give a float tensor \(3,\) for .*, got float32 \(3, 1\)",
        ),
        ({"reward": lambda s, a, n: np.zeros(3)}, ValueError, "got ndarray"),
        ({"reward": lambda s, a, n: s[..., 0] > 0}, ValueError, "got bool"),
        # A planner asks for (steps, members, rows, S) at once.
        (
            {"reward": lambda s, a, n: n[:, 0]},
            ValueError,
            r"\(2, 3\) for states \(2, 3, 2\), got .*as in state\[\.\.\., 0\]",
        ),
        ({"reward": lambda s, a, n: n.sum(dim=1)}, ValueError, "index the last axis"),
        ({"terminated": lambda s: s[:, 0] > 1}, ValueError, "index the last axis"),
        (
            {"terminated": lambda s, a, n: is_far(n)},
            TypeError,
            r"terminated is called with \(state\) of torch tensors, and failed: .*"
            "missing 2",
        ),
        (
            {"reward": lambda s, a, n: n[..., 9]},
            ValueError,
            r"reward is called with .*, and failed: .*out of .*\(3, 2\).*another task",
        ),
    ],
)
def test_a_function_that_says_something_else_is_refused_by_name(wrong, kind, message):
    with pytest.raises(kind, match=message):
        model(**wrong)


def test_what_is_learned_or_unknown_is_not_tried():
    assert model(reward=None).functions["reward"] is None


@pytest.mark.parametrize(
    ("had", "has", "name"),
    [
        ({"features": torch.sin}, {}, "features: given.*features: none"),
        ({"terminated": is_far}, {}, "terminated: given.*terminated: never"),
        ({}, {"success": is_far}, "success: none.*success: given"),
        ({}, {"reward": None}, "reward: given.*reward: none"),
    ],
)
def test_a_stored_model_wants_the_functions_it_was_fitted_with(
    had, has, name, tmp_path
):
    save_dynamics(model(**had), tmp_path / "model")
    with pytest.raises(ValueError, match=f"{name}.*name the functions that it had"):
        load_dynamics(tmp_path / "model", **{"reward": pays_first, **has})


def test_features_that_are_wider_than_those_of_the_fit_are_refused(tmp_path):
    had = LearnedDynamics(
        Ensemble(1, 5, 2, hidden=()), reward=pays_first, features=_doubled
    )
    save_dynamics(had, tmp_path / "model")
    with pytest.raises(ValueError, match="takes 1 numbers of action, and 3 with"):
        load_dynamics(tmp_path / "model", reward=pays_first, features=torch.sin)


def _doubled(state: torch.Tensor) -> torch.Tensor:
    return torch.cat([state, state], dim=-1)


def test_a_model_knows_whether_it_was_fitted(tmp_path):
    dynamics = model()
    assert not dynamics.is_fitted
    Fit(dynamics).run(line_data(2000), steps=1)
    assert dynamics.is_fitted and dynamics.frozen().is_fitted
    save_dynamics(dynamics, tmp_path / "model")
    assert load_dynamics(tmp_path / "model", reward=pays_first).is_fitted


def test_learned_rewards_and_ends_are_the_last_outputs():
    dynamics = LearnedDynamics(Ensemble(1, 3, 4, hidden=()), terminated=None)
    outcome = torch.tensor([[1.0, 2.0, 3.0, -0.1], [4.0, 5.0, 6.0, 0.1]])
    state, action = torch.zeros(2, 2), torch.zeros(2, 1)
    next_state, reward, ends = dynamics.settle(state, action, outcome)
    assert next_state.tolist() == [[1, 2], [4, 5]]
    assert reward.tolist() == [3, 6] and ends.tolist() == [False, True]
