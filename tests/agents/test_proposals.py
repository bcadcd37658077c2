"""Proposals draw from what they say, and refit by the numbers."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from gymnasium import spaces

from suite.agents.action_sets import Bounds, Choices, action_set
from suite.agents.proposals import (
    Belief,
    Categorical,
    ClippedNormal,
    TruncatedNormal,
    coloured_noise,
)

BOX = Bounds(torch.tensor([-1.0, 0.0]), torch.tensor([1.0, 4.0]))


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_actions_of_spaces():
    box = action_set(spaces.Box(np.array([-2, 0], "f4"), np.array([2, 1], "f4")))
    assert isinstance(box, Bounds) and box.size == 2
    assert box.middle.tolist() == [0.0, 0.5]
    choices = action_set(spaces.Discrete(3, start=5))
    assert choices == Choices(3, first=5)
    drawn = choices.uniform((2, 2000, 4), generator())
    assert set(np.unique(choices.to_env(drawn))) == {5, 6, 7}
    torch.testing.assert_close(
        drawn.mean(dim=(0, 1, 2)), torch.full((3,), 1 / 3), atol=0.02, rtol=0
    )


def test_uniform_draws_fill_the_bounds():
    drawn = BOX.uniform((1, 5000, 2), generator())
    assert (drawn >= BOX.low).all() and (drawn <= BOX.high).all()
    torch.testing.assert_close(
        drawn.std(dim=(0, 1, 2)),
        (BOX.high - BOX.low) / math.sqrt(12),
        rtol=0.03,
        atol=0,
    )


# ------------------------------------------------------------------------------ normal
def test_alpha_is_the_weight_of_the_old_mean_and_variance():
    belief = Belief(torch.tensor([[[1.0, 2.0]]]), torch.tensor([[[0.5, 1.0]]]))
    elites = torch.tensor([[[[0.0, 1.0]], [[0.4, 3.0]]]])
    refit = ClippedNormal().refit(BOX, belief, elites, alpha=0.25)
    assert refit.centre.flatten().tolist() == pytest.approx([0.4, 2.0])
    # The elites' are 0.2 and 1: 0.75 * 0.04 + 0.25 * 0.25, and 0.75 * 1 + 0.25 * 1.
    assert refit.spread is not None
    assert refit.spread.square().flatten().tolist() == pytest.approx([0.0925, 1.0])


def test_after_a_uniform_draw_the_old_variance_is_the_uniforms():
    proposal = ClippedNormal(std=None)
    belief = proposal.start(BOX, BOX.middle.repeat(1, 1, 1))
    refit = proposal.refit(BOX, belief, torch.ones(1, 3, 1, 2), alpha=0.5)
    assert refit.spread is not None
    variance = refit.spread.square().flatten().tolist()
    assert variance == pytest.approx([0.5 * 4 / 12, 0.5 * 16 / 12])


def test_first_deviation_is_in_units_of_half_the_range():
    belief = ClippedNormal(0.1).start(BOX, BOX.middle.repeat(2, 3, 1))
    drawn = ClippedNormal(0.1).sample(BOX, belief, 3000, generator())
    assert drawn.shape == (2, 3000, 3, 2)
    torch.testing.assert_close(
        drawn.std(dim=(0, 1, 2)), torch.tensor([0.1, 0.2]), rtol=0.03, atol=0
    )


def test_clipped_draws_pile_up_at_the_bounds_and_truncated_ones_do_not():
    centre = torch.tensor([0.9, 1.0]).repeat(1, 1, 1)
    belief = Belief(centre, torch.full_like(centre, 0.5))
    clipped = ClippedNormal().sample(BOX, belief, 2000, generator())
    assert float((clipped[..., 0] == 1.0).float().mean()) == pytest.approx(
        0.42, abs=0.04
    )
    truncated = TruncatedNormal().sample(BOX, belief, 2000, generator())
    assert ((truncated > BOX.low) & (truncated < BOX.high)).all()
    # Two deviations reach the bound: 0.05 for the first number, 0.5 for the second.
    low, high = (
        truncated[0, :, 0].min(dim=0).values,
        truncated[0, :, 0].max(dim=0).values,
    )
    torch.testing.assert_close(low, torch.tensor([0.8, 0.0]), atol=0.03, rtol=0)
    torch.testing.assert_close(high, torch.tensor([1.0, 2.0]), atol=0.03, rtol=0)


def test_truncated_normal_has_the_variance_of_the_closed_form():
    belief = Belief(BOX.middle.repeat(1, 1, 1), torch.full((1, 1, 2), 0.3))
    drawn = TruncatedNormal().sample(BOX, belief, 40_000, generator())
    density = math.exp(-2) / math.sqrt(2 * math.pi)
    variance = 1 - 4 * density / math.erf(math.sqrt(2))
    expected = torch.full((2,), 0.3 * math.sqrt(variance))
    torch.testing.assert_close(drawn.std(dim=(0, 1, 2)), expected, rtol=0.015, atol=0)


# ------------------------------------------------------------------------- categorical
def test_choices_are_drawn_as_often_as_they_are_likely():
    probabilities = torch.tensor([[[0.1, 0.6, 0.3], [1.0, 0.0, 0.0]]])
    belief = Belief(probabilities, None)
    drawn = Categorical().sample(Choices(3), belief, 20_000, generator())
    assert (drawn.sum(dim=-1) == 1).all()
    torch.testing.assert_close(drawn.mean(dim=1), probabilities, atol=0.015, rtol=0)


def test_choices_refit_to_how_often_the_elites_made_them():
    belief = Belief(torch.full((1, 1, 4), 0.25), None)
    elites = torch.eye(4)[torch.tensor([[[1], [1], [3], [1]]])]
    refit = Categorical().refit(Choices(4), belief, elites, alpha=0.2)
    assert refit.centre.flatten().tolist() == pytest.approx([0.05, 0.65, 0.05, 0.25])
    decided = Categorical().decided(refit.centre)
    assert decided.flatten().tolist() == [0, 1, 0, 0]


def test_a_plan_of_choices_begins_with_a_share_of_equal_chances():
    certain = torch.tensor([[[1.0, 0.0]]])
    belief = Categorical(fresh=0.5).start(Choices(2), certain)
    assert belief.centre.flatten().tolist() == pytest.approx([0.75, 0.25])


# ------------------------------------------------------------------------------- noise
@pytest.mark.parametrize("colour", [0.0, 0.25, 2.0, 3.5])
@pytest.mark.parametrize("length", [2, 15, 64])
def test_coloured_noise_has_variance_one_at_every_step(colour, length):
    noise = coloured_noise((1, 20_000, length), colour, generator())
    assert noise.shape == (1, 20_000, length)
    torch.testing.assert_close(
        noise.var(dim=(0, 1)), torch.ones(length), atol=0.06, rtol=0
    )
    assert noise.mean(dim=(0, 1)).abs().max() < 0.04


def test_noise_over_a_single_step_is_white():
    assert coloured_noise((4000, 1), 2.0, generator()).std() == pytest.approx(
        1, abs=0.05
    )


@pytest.mark.parametrize("colour", [0.0, 0.25, 2.0, 3.5])
def test_power_falls_with_the_exponent(colour):
    noise = coloured_noise((2000, 64), colour, generator()).numpy()
    power = (np.abs(np.fft.rfft(noise)) ** 2).mean(axis=0)[1:-1]
    frequency = np.fft.rfftfreq(64)[1:-1]
    slope = np.polyfit(np.log(frequency), np.log(power), 1)[0]
    assert slope == pytest.approx(-colour, abs=0.05)


def test_white_noise_is_uncorrelated_and_red_noise_is_not():
    for colour, low, high in ((0.0, -0.03, 0.03), (2.0, 0.7, 1.0)):
        noise = coloured_noise((5000, 30), colour, generator())
        neighbours = (noise[:, 1:] * noise[:, :-1]).mean()
        assert low < neighbours < high
