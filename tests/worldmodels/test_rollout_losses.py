"""Losses are what is written of them, with gradients where they should be."""

from __future__ import annotations

import logging
import math

import pytest
import torch
from cars import PLANT_ALONE
from torch import Tensor

from suite.worldmodels.car import Adapter, Car, Friction, Residual
from suite.worldmodels.car_dynamics import CarDynamics
from suite.worldmodels.cvar import CVaR, Exact, RockafellarUryasev
from suite.worldmodels.dynamics import Transition
from suite.worldmodels.rollout_losses import (
    Layout,
    Losses,
    OneStep,
    Pose,
    Rollout,
)
from suite.worldmodels.unrolled import Snippets, Unrolled, unrolled

SMALL = Car(
    adapter=Adapter((6,)), residual=Residual((6,)), friction=Friction((6,)), history=1
)
ONES = torch.ones(1, 1, 3, dtype=torch.float64)


def snippets(horizon: int = 4, rows=(1, 7), history: int = 1) -> Snippets:
    draws = torch.Generator().manual_seed(5)

    def drawn(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=draws, dtype=torch.float64)

    return Snippets(
        drawn(horizon + 1, *rows, 6), drawn(horizon, *rows, 2), drawn(*rows, history, 2)
    )


def model(seed: int = 1) -> CarDynamics:
    dynamics = CarDynamics(SMALL).double()
    draws = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for part in dynamics.parameters():
            part.add_(0.2 * torch.randn(part.shape, generator=draws))
    return dynamics


def predicted(dynamics: CarDynamics, data: Snippets) -> Tensor:
    z = dynamics.start(data.states[0], data.history)
    return unrolled(dynamics, z, data.actions).states


# ------------------------------------------------------------------------- formulas
def test_terms_are_their_formulas():
    dynamics, data = model(), snippets()
    scale = torch.tensor([[[0.5, 2.0, 3.0]]], dtype=torch.float64)
    losses = Losses(
        OneStep(weight=2.0, columns=(1.0, 3.0, 5.0)),
        Rollout(4, weight=0.5, teacher_forcing=0.0),
        Pose(weight=0.05, heading=True),
    )
    found = losses.terms(dynamics, data, scale)
    miss = predicted(dynamics, data) - data.states[1:]
    squares = (miss[..., 3:] / scale) ** 2
    weights = torch.tensor([1.0, 3.0, 5.0], dtype=torch.float64)
    one_step = (weights * squares[0]).mean()
    rollout = squares.mean()
    turn = (miss[..., 2] + math.pi) % (2 * math.pi) - math.pi
    pose = (miss[..., 0] ** 2 + miss[..., 1] ** 2 + turn**2).mean() / 3
    for name, value in (
        ("one_step", one_step),
        ("rollout_mean", rollout),
        ("rollout_cvar", rollout),
        ("pose", pose),
    ):
        torch.testing.assert_close(found.told[name], value.detach()[None])
    total = 2 * one_step + 0.5 * rollout + 0.05 * pose
    torch.testing.assert_close(found.loss, total[None])
    assert found.told["k_used"].tolist() == [7] and found.told["alpha"].tolist() == [1]


def test_later_steps_are_discounted():
    dynamics, data = model(), snippets()
    losses = Losses(None, Rollout(4, 1.0, 0.0, discount=0.5))
    miss = predicted(dynamics, data) - data.states[1:]
    each = (miss[..., 3:] ** 2).mean(dim=(1, 2, 3))
    expected = (each * torch.tensor([8.0, 4, 2, 1])).sum() / 15
    torch.testing.assert_close(losses.terms(dynamics, data, ONES).loss, expected[None])


def test_a_heading_error_is_wrapped():
    states = torch.zeros(1, 1, 1, 6)
    truth = states.clone()
    states[..., 2], truth[..., 2] = math.pi - 0.1, -math.pi + 0.1
    losses = Losses(rollout=Rollout(1), pose=Pose(heading=True))
    _, pose, _ = losses.errors(Unrolled(states), truth, torch.ones(1, 1, 3))
    assert pose is not None
    assert float(pose) == pytest.approx(0.2**2 / 3, rel=1e-5)


# ------------------------------------------------------------------------ gradients
@pytest.mark.parametrize("heading", [False, True])
def test_the_pose_loss_has_a_gradient_equal_to_differences(heading):
    dynamics, data = model(), snippets()
    weight = {"rollout": Rollout(4, 0.0, 0.0), "pose": Pose(1.0, heading)}
    losses = Losses(None, **weight)
    losses.terms(dynamics, data, ONES).loss.sum().backward()
    for name, part in dynamics.named_parameters():
        assert part.grad is not None and part.grad.abs().max() > 0, name
        index, nudge = int(part.grad.abs().argmax()), 1e-6
        flat, values = part.data.view(-1), []
        for sign in (1, -1):
            flat[index] += sign * nudge
            values.append(float(losses.terms(dynamics, data, ONES).loss.detach()))
            flat[index] -= sign * nudge
        slope = (values[0] - values[1]) / (2 * nudge)
        assert slope == pytest.approx(float(part.grad.view(-1)[index]), rel=1e-5)


def test_gradients_end_at_every_step_if_told_so():
    dynamics, data = model(), snippets()
    start = data.states[0].clone().requires_grad_()
    z = dynamics.start(start, data.history)
    norms = []
    for detach in (False, True):
        losses = Losses(None, Rollout(4, 1.0, 0.0, detach=detach))
        teaching = losses.teaching(data.states, torch.ones(4, 1, 7))
        assert (teaching is not None) == detach
        states = unrolled(dynamics, z, data.actions, teaching).states
        for step in (0, 3):
            last = states[step].sum()
            (slope,) = torch.autograd.grad(
                last, start, retain_graph=True, allow_unused=True
            )
            norms.append(0.0 if slope is None else float(slope.abs().sum()))
    assert norms[0] > 0 and norms[1] > 0 and norms[3] == 0


# ------------------------------------------------------------------ teacher forcing
def test_a_horizon_that_grows_counts_its_first_steps_alone():
    rollout = Rollout(9, teacher_forcing=0.0, growth=4)
    assert [rollout.horizon_at(epoch) for epoch in range(6)] == [1, 3, 5, 7, 9, 9]
    dynamics, data = model(), snippets(9)
    early = Losses(rollout=rollout).terms(dynamics, data, ONES, epoch=1)
    short = Snippets(data.states[:4], data.actions[:3], data.history)
    whole = Losses(rollout=Rollout(3, teacher_forcing=0.0))
    expected = whole.terms(dynamics, short, ONES)
    assert torch.equal(early.loss, expected.loss)
    with pytest.raises(ValueError, match="growth and release are epochs"):
        Rollout(growth=-1)


def test_teacher_forcing_falls_evenly_from_every_step():
    rollout = Rollout(4, teacher_forcing=0.2, release=4)
    rates = [rollout.teacher_forcing_at(epoch) for epoch in range(6)]
    assert rates == pytest.approx([1, 0.8, 0.6, 0.4, 0.2, 0.2])
    states, draws = torch.zeros(5, 1, 9999, 6), torch.rand(4, 1, 9999)
    for epoch, rate in ((0, 1.0), (2, 0.6), (9, 0.2)):
        found = Losses(rollout=rollout).teaching(states, draws, epoch)
        assert found is not None and not found.mask[0].any()
        share = found.mask[1:].double().mean()
        assert float(share) == pytest.approx(rate, abs=0.02)


def test_teacher_forcing_has_its_rate_for_each_sample_apart():
    losses = Losses(rollout=Rollout(11, teacher_forcing=0.2))
    draws = torch.rand(11, 2, 4000, generator=torch.Generator().manual_seed(0))
    teaching = losses.teaching(torch.zeros(12, 2, 4000, 6), draws)
    assert teaching is not None
    mask = teaching.mask.float()
    assert not mask[0].any()
    # 80,000 coins: deviation sqrt(0.2 * 0.8 / 80000) = 0.0014.
    assert float(mask[1:].mean()) == pytest.approx(0.2, abs=0.006)
    # 10 coins a sample: not one coin for a whole batch.
    assert float(mask[1:].sum(dim=0).var()) == pytest.approx(10 * 0.16, rel=0.1)
    assert float(mask[1:].mean(dim=(1, 2)).std()) < 0.01


def test_a_taught_sample_starts_anew_at_the_truth_pose_included():
    dynamics, data = model(), snippets(3)
    always = Losses(None, Rollout(3, 1.0, teacher_forcing=1.0), Pose(1.0))
    found = always.terms(dynamics, data, ONES, draws=torch.rand(3, 1, 7))
    single = []
    for h in range(3):
        past = torch.cat([data.history, data.actions.movedim(0, -2)], dim=-2)
        piece = Snippets(
            data.states[h : h + 2], data.actions[h : h + 1], past[..., h : h + 1, :]
        )
        one = Losses(None, Rollout(1, 1.0, 0.0), Pose(1.0))
        single.append(one.terms(dynamics, piece, ONES).loss)
    torch.testing.assert_close(found.loss, torch.stack(single).mean(dim=0))


# ----------------------------------------------------------------------------- tail
def test_the_tail_is_of_rollout_and_pose_together_or_of_the_rollout():
    dynamics, data = model(), snippets(rows=(1, 10))
    parts = {"rollout": Rollout(4, 0.5, 0.0), "pose": Pose(0.05)}
    plain = Losses(None, **parts)
    states = predicted(dynamics, data)
    rollout, pose, _ = plain.errors(Unrolled(states), data.states[1:], ONES)
    assert pose is not None
    both = 0.5 * rollout + 0.05 * pose
    worst = both[0].topk(2).indices
    found = Losses(None, **parts, cvar=CVaR(0.2)).terms(dynamics, data, ONES)
    torch.testing.assert_close(found.loss, both[:, worst].mean(dim=1))
    torch.testing.assert_close(
        found.told["rollout_cvar"], rollout[:, worst].mean(dim=1).detach()
    )
    torch.testing.assert_close(found.told["rollout_mean"], rollout.mean(1).detach())
    assert found.told["k_used"].tolist() == [2]
    assert found.told["alpha"].tolist() == pytest.approx([0.2])
    only = CVaR(0.2, apply_to="rollout_only")
    found = Losses(None, **parts, cvar=only).terms(dynamics, data, ONES)
    expected = 0.5 * rollout[0].topk(2).values.mean() + 0.05 * pose.mean()
    torch.testing.assert_close(found.loss, expected[None])


def test_a_tail_of_everything_is_no_tail():
    dynamics, data = model(), snippets()
    parts = {"rollout": Rollout(4, 0.5, 0.0), "pose": Pose(0.05)}
    plain = Losses(**parts).terms(dynamics, data, ONES)
    for cvar in (CVaR(1.0), CVaR(1.0, estimator=Exact()), CVaR(0.2, warm_start=3)):
        found = Losses(**parts, cvar=cvar).terms(dynamics, data, ONES, epoch=2)
        assert torch.equal(found.loss, plain.loss)


def test_only_the_tail_trains():
    data = snippets(rows=(1, 10))
    data.states.requires_grad_()
    losses = Losses(None, Rollout(4, 1.0, 0.0), cvar=CVaR(0.2))
    losses.terms(model(), data, ONES).loss.sum().backward()
    assert data.states.grad is not None
    moved = data.states.grad.abs().amax(dim=(0, 1, 3)) > 0
    assert int(moved.sum()) == 2


def test_a_threshold_is_handed_on():
    dynamics, data = model(), snippets()
    cvar = CVaR(0.3, estimator=RockafellarUryasev(0.9))
    losses = Losses(None, Rollout(4, 1.0, 0.0), cvar=cvar)
    first = losses.terms(dynamics, data, ONES)
    assert torch.isfinite(first.memory).all()
    again = losses.terms(dynamics, data, ONES, memory=0 * first.memory)
    assert again.told["k_used"].tolist() == [7] and not torch.equal(
        first.memory, again.memory
    )


def test_members_have_tails_of_their_own():
    dynamics = CarDynamics(SMALL, (1, 2)).double()
    data = snippets(rows=(2, 10))
    losses = Losses(None, Rollout(4, 1.0, 0.0), Pose(), cvar=CVaR(0.2))
    together = losses.terms(dynamics, data, ONES.expand(2, 1, 3))
    for member in range(2):
        one = slice(member, member + 1)
        alone = Snippets(data.states[:, one], data.actions[:, one], data.history[one])
        found = losses.terms(CarDynamics(SMALL, (member + 1,)).double(), alone, ONES)
        torch.testing.assert_close(found.loss, together.loss[one])


def test_without_rollouts_the_tail_is_off_and_says_so_once(caplog):
    with caplog.at_level(logging.WARNING):
        losses = Losses(cvar=CVaR())
        for _ in range(2):
            losses.terms(model(), snippets(1), ONES)
        found = losses.terms(model(), snippets(1), ONES)
    assert [r.message for r in caplog.records] == [
        "CVaR is off: it weighs rollouts, and rollout is off"
    ]
    assert losses.tail is None and "rollout_cvar" not in found.told
    torch.testing.assert_close(
        found.loss, Losses().terms(model(), snippets(1), ONES).loss
    )


def test_the_tail_serves_any_model():
    class Line:
        """x' = slope x + action."""

        def __init__(self):
            self.slope = torch.tensor(0.5, requires_grad=True)

        def start(self, state: Tensor) -> Tensor:
            return state

        def step(self, z: Tensor, action: Tensor, *, generator=None) -> Transition:
            ends = torch.zeros(len(z), dtype=torch.bool)
            return Transition(self.slope * z + action, z[:, 0], ends)

        def observe(self, z: Tensor) -> Tensor:
            return z

    states = torch.zeros(3, 4, 1)
    states[0, :, 0] = torch.tensor([1.0, 2.0, 3.0, 4.0])
    data = Snippets(states, torch.zeros(2, 4, 1), torch.zeros(4, 0, 1))
    losses = Losses(
        None, Rollout(2, 1.0, 0.0), cvar=CVaR(0.25), layout=Layout((0,), (), None)
    )
    line = Line()
    found = losses.terms(line, data, torch.ones(1))
    # x = 4 goes to 2 and 1 where it should be 0: (4 + 1) / 2.
    assert float(found.loss.detach()) == pytest.approx(2.5)
    found.loss.backward()
    # d/ds of ((4 s)^2 + (4 s^2)^2) / 2 at 0.5 = (32 s + 64 s^3) / 2
    assert line.slope.grad is not None
    assert float(line.slope.grad) == pytest.approx(12.0)


# ------------------------------------------------------------------------ penalties
def test_penalties_are_mean_squares_in_their_own_units():
    dynamics, data = model(), snippets()
    names = {"residual": 0.01, "correction": 0.5, "log_grip": 2.0}
    losses = Losses(None, Rollout(4, 1.0, 0.0), penalties=names)
    found = losses.terms(dynamics, data, ONES)
    z = dynamics.start(data.states[0], data.history)
    extras = unrolled(dynamics, z, data.actions).extras
    total = found.told["rollout_mean"].clone()
    for name, weight in names.items():
        square = extras[name].square().mean().detach()
        torch.testing.assert_close(found.told[f"reg_{name}"], square[None])
        total += weight * square
    torch.testing.assert_close(found.loss.detach(), total)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Losses(None), "need one_step or rollout, got neither"),
        (lambda: Losses(pose=Pose()), "a pose loss needs a rollout"),
        (lambda: Losses(OneStep(columns=(1, 2))), "each of 3 columns.*got 2"),
        (lambda: Rollout(0), "horizon of 1 or more"),
        (lambda: Rollout(teacher_forcing=1.2), r"teacher_forcing in \[0, 1\]"),
        (lambda: Rollout(discount=0.0), "discount must be positive"),
    ],
)
def test_what_cannot_be_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_a_penalty_on_what_is_not_there_is_refused():
    losses = Losses(penalties={"residual": 0.1})
    with pytest.raises(
        ValueError, match="nothing of residual to penalise; it says noth"
    ):
        losses.terms(CarDynamics(PLANT_ALONE).double(), snippets(1, history=3), ONES)
