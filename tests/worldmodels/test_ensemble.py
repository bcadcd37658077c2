"""Stacked weights are as good as separate networks, folded ones as good as plain."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from worlds import line_data, pendulum_data, pendulum_dynamics

from suite.worldmodels.ensemble import Ensemble, GaussianEnsemble, Output
from suite.worldmodels.learned import LearnedDynamics
from suite.worldmodels.normaliser import Normaliser

KINDS = [Ensemble, GaussianEnsemble]


def separate(ensemble: Ensemble, member: int) -> torch.nn.Sequential:
    """One member as a stack of ``torch.nn.Linear``."""
    layers: list[torch.nn.Module] = []
    for weight, bias in zip(ensemble.weights, ensemble.biases, strict=True):
        layer = torch.nn.Linear(weight.shape[1], weight.shape[2])
        with torch.no_grad():
            layer.weight.copy_(weight[member].T)
            layer.bias.copy_(bias[member, 0])
        layers += [layer, torch.nn.Tanh()]
    return torch.nn.Sequential(*layers[:-1])


def test_training_all_members_at_once_is_training_each_alone():
    torch.manual_seed(0)
    ensemble = Ensemble(3, 4, 2, hidden=(8, 8))
    alone = [separate(ensemble, member) for member in range(3)]
    together = torch.optim.Adam(ensemble.parameters(), lr=1e-2)
    optimizers = [torch.optim.Adam(net.parameters(), lr=1e-2) for net in alone]
    for _ in range(20):
        x, y = torch.randn(3, 16, 4), torch.randn(3, 16, 2)
        together.zero_grad()
        ensemble(x).losses(y).sum().backward()
        together.step()
        for member, (net, optimizer) in enumerate(zip(alone, optimizers, strict=True)):
            optimizer.zero_grad()
            (net(x[member]) - y[member]).square().mean().backward()
            optimizer.step()
    x = torch.randn(10, 4)
    expected = torch.stack([net(x) for net in alone])
    torch.testing.assert_close(ensemble(x).mean, expected, rtol=1e-4, atol=1e-5)


def test_gaussian_loss_is_the_one_of_pets():
    # One row, two outputs: (1 - 0)^2 e^0 + 0 and (3 - 1)^2 e^-ln 4 + ln 4, averaged.
    mean = torch.tensor([[[1.0, 3.0]]])
    logvar = torch.log(torch.tensor([[[1.0, 4.0]]]))
    target = torch.tensor([[[0.0, 1.0]]])
    expected = (1 + (1 + 1.3862944)) / 2
    assert Output(mean, logvar).losses(target).item() == pytest.approx(expected)
    assert Output(mean, None).losses(target).item() == pytest.approx((1 + 4) / 2)


def test_variances_stay_within_learned_bounds():
    ensemble = GaussianEnsemble(2, 3, 2, hidden=(4,))
    with torch.no_grad():
        ensemble.weights[-1].mul_(1e4)
    logvar = ensemble(torch.randn(100, 3)).logvar
    # The bounds are soft by softplus: ln(1 + e^-10.5) above the upper one.
    assert logvar.min() >= -10 and logvar.max() <= 0.5 + 1e-4
    assert logvar.max() > 0.4 and logvar.min() < -9.9
    # 0.01 (sum of max - sum of min), two members of two outputs.
    assert ensemble.regulariser().item() == pytest.approx(0.01 * 4 * 10.5)
    ensemble.regulariser().backward()
    torch.testing.assert_close(
        ensemble.max_logvar.grad, torch.full_like(ensemble.max_logvar, 0.01)
    )


def test_widths_that_are_one_number_are_refused():
    with pytest.raises(TypeError, match="hidden must be of type Sequence, got int; su"):
        Ensemble(2, 1, 1, hidden=32)  # pyright: ignore


def test_weight_decay_is_half_the_squares_by_layer():
    ensemble = Ensemble(2, 1, 1, hidden=(1,))
    with torch.no_grad():
        ensemble.weights[0].fill_(2.0)
        ensemble.weights[1].fill_(3.0)
    assert ensemble.decay([0.1, 1.0]).item() == pytest.approx(2 * (0.2 + 4.5))
    with pytest.raises(ValueError, match=r"one rate a layer \(2\)"):
        ensemble.decay([0.1])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("hidden", [(), (9,), (12, 7)], ids=len)
def test_frozen_says_the_same_with_the_elites_alone(kind, hidden):
    torch.manual_seed(0)
    ensemble = kind(4, 3, 3, hidden=hidden, activation="silu")
    dynamics = LearnedDynamics(ensemble)
    data = line_data()
    dynamics.refresh(data)
    dynamics.is_elite[1] = False
    frozen = dynamics.frozen()
    assert frozen.ensemble.members == 3 and len(frozen.elites) == 3
    plain = dynamics.predict(data.states, data.actions)
    folded = frozen.predict(data.states, data.actions)
    torch.testing.assert_close(folded.mean, plain.mean, rtol=1e-5, atol=1e-5)
    if kind is GaussianEnsemble:
        torch.testing.assert_close(folded.std, plain.std, rtol=1e-4, atol=1e-6)
    assert not any(weight.requires_grad for weight in frozen.parameters())
    with pytest.raises(ValueError, match="frozen already"):
        frozen.frozen()
    with pytest.raises(ValueError, match="cannot be fitted"):
        frozen.refresh(data)


def test_frozen_hidden_layers_may_be_of_half_the_size():
    dynamics, data = pendulum_dynamics(GaussianEnsemble), pendulum_data(80)
    dynamics.refresh(data)
    half = dynamics.frozen(hidden_dtype=torch.bfloat16)
    assert [w.dtype for w in half.ensemble.weights] == [
        torch.float32,
        torch.bfloat16,
        torch.float32,
    ]
    plain = dynamics.predict(data.states, data.actions).mean
    found = half.predict(data.states, data.actions).mean
    assert found.dtype == torch.float32
    # bfloat16 has 8 bits: about 1 % of a change, which has deviation 1 here.
    scale = (data.next_states - data.states).std(dim=0)
    assert ((found - plain).abs() / scale).max() < 0.1


def test_a_constant_is_not_blown_up():
    normaliser = Normaliser(2)
    rows = torch.tensor([[1.0, 0.7], [3.0, 0.7], [5.0, 0.7]])
    normaliser.refresh(rows)
    found = normaliser(rows)
    torch.testing.assert_close(found[:, 1], torch.zeros(3), rtol=0, atol=1e-7)
    torch.testing.assert_close(found[:, 0].std(correction=0), torch.tensor(1.0))
    torch.testing.assert_close(normaliser.inverse(found), rows)


def test_first_weights_are_those_of_the_sources():
    linear = Ensemble(2, 100, 1, hidden=(50,))
    assert all(
        w.abs().max() <= n**-0.5 and w.abs().max() > 0.9 * n**-0.5
        for w, n in zip(linear.weights, (100, 50), strict=True)
    )
    gaussian = GaussianEnsemble(2, 100, 1, hidden=(50,))
    for weight, (inputs, _) in zip(
        gaussian.weights, pairwise((100, 50, 2)), strict=True
    ):
        assert weight.abs().max() <= inputs**-0.5  # two deviations
        # A normal distribution cut at two deviations has 0.88 of its deviation.
        std = 0.5 * inputs**-0.5
        assert weight.std().item() == pytest.approx(0.88 * std, rel=0.15)
    assert not any(bias.any() for bias in gaussian.biases)


def test_what_cannot_be_is_refused():
    with pytest.raises(ValueError, match=r"\['tanh', 'silu'\], got 'relu'"):
        Ensemble(1, 1, 1, activation="relu")
    with pytest.raises(ValueError, match="members must be at least 1, got 0"):
        Ensemble(0, 1, 1)
    with pytest.raises(ValueError, match="0 for the action"):
        LearnedDynamics(Ensemble(1, 2, 2), reward=lambda s, a, n: s[..., 0])
    dynamics = pendulum_dynamics()
    with pytest.raises(ValueError, match=r"states \(B, 3\) and actions \(B, 1\), got"):
        dynamics(torch.zeros(5, 4), torch.zeros(5, 1))
    with pytest.raises(ValueError, match=r"got \(5, 3\) and \(4, 1\)"):
        dynamics(torch.zeros(5, 3), torch.zeros(4, 1))
