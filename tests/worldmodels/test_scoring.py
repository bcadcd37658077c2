"""The fast score is that of a plain loop over members, steps and layers."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from suite.envs import cheetah, obstacles
from suite.envs.locomotion import HalfCheetah, Hopper
from suite.worldmodels import constant_units, scoring
from suite.worldmodels.constant_units import sigmoid_is_cheaper
from suite.worldmodels.ensemble import Ensemble, GaussianEnsemble
from suite.worldmodels.imagine import imagine
from suite.worldmodels.learned import LearnedDynamics
from suite.worldmodels.normaliser import Normaliser
from suite.worldmodels.propagation import TSInf
from suite.worldmodels.scoring import EnsembleScore

Layers = tuple[list[Tensor], list[Tensor]]
HORIZON = 5


def ensemble(
    inputs: int, outputs: int, hidden: tuple[int, ...], members: int
) -> Layers:
    """Weights and biases of any sizes, of which every one matters."""
    rng, sizes = torch.Generator().manual_seed(0), (inputs, *hidden, outputs)
    weights, biases = [], []
    for a, b in pairwise(sizes):
        weights.append(torch.randn(members, a, b, generator=rng) / a**0.5)
        biases.append(torch.randn(members, 1, b, generator=rng) / 3)
    return weights, biases


def plain_score(
    layers: Layers,
    states: Tensor,
    actions: Tensor,
    task: Any,
    activation: Any,
    terminated: Any = None,
) -> Tensor:
    """The definition, in float64: each member, environment and candidate by itself."""
    weights, biases = ([x.double() for x in each] for each in layers)
    batch, count, horizon, _ = actions.shape
    scores = torch.zeros(batch, count, dtype=torch.float64)
    for member in range(len(weights[0])):
        state = states.double()[:, None].expand(-1, count, -1)
        running = torch.ones(batch, count)
        for step in range(horizon):
            action = actions[:, :, step].double()
            x = torch.cat([state, action], dim=-1)
            for layer, (weight, bias) in enumerate(zip(weights, biases, strict=True)):
                x = x @ weight[member] + bias[member]
                x = activation(x) if layer < len(weights) - 1 else x
            following = state + x
            scores += running * task.reward(state, action, following)
            if terminated is not None:
                running = running * ~terminated(following)
            state = following
    return scores / len(weights[0])


def inputs_of(
    task: Any, batch: int, count: int, seed: int = 1
) -> tuple[Tensor, Tensor]:
    rng = np.random.default_rng(seed)
    states = rng.normal(0, 0.3, (batch, task.STATE_SIZE))
    size = 6 if task is cheetah else 2
    actions = rng.uniform(-1, 1, (batch, count, HORIZON, size))
    return torch.tensor(states).float(), torch.tensor(actions).float()


@pytest.mark.parametrize("activation", ["tanh", "silu"])
@pytest.mark.parametrize("hidden", [(), (7,), (16, 16), (33, 20, 5)])
def test_score_is_that_of_the_plain_loop(hidden, activation):
    layers = ensemble(27, 21, hidden, members=3)
    states, actions = inputs_of(cheetah, 2, 50)
    score = EnsembleScore(
        *layers,
        horizon=HORIZON,
        reward=cheetah.reward,
        activation=activation,
        block=32,  # 100 candidates are no multiple
    )
    plain = {"tanh": torch.tanh, "silu": torch.nn.functional.silu}[activation]
    expected = plain_score(layers, states, actions, cheetah, plain)
    assert expected.std() > 1
    got = score(states, actions)
    torch.testing.assert_close(got.double(), expected, rtol=1e-4, atol=1e-3)
    # Memory that is used again is not looked at again.
    assert torch.equal(score.at(states)(actions), got)
    fewer = score(states[:1], actions[:1, :7])
    torch.testing.assert_close(fewer, got[:1, :7], rtol=1e-5, atol=1e-4)
    assert torch.equal(score(states, actions), got)


@pytest.mark.parametrize(
    ("capability", "is_amd", "is_replaced"),
    [("AVX2", False, True), ("AVX512", True, True), ("AVX512", False, False)],
)
def test_tanh_is_as_exact_as_float32_whatever_stands_in_for_it(
    capability, is_amd, is_replaced, monkeypatch
):
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    monkeypatch.setattr(constant_units, "is_amd", lambda: is_amd)
    layers = ensemble(27, 21, (250, 250), members=3)
    layers[0][-1][:] *= 0.05  # the size of a step in practice
    states, actions = inputs_of(cheetah, 2, 50)
    states = states - 1  # far from where the reward jumps
    score = EnsembleScore(*layers, horizon=HORIZON, reward=cheetah.reward)
    assert (score.activate is torch.sigmoid_) == is_replaced
    expected = plain_score(layers, states, actions, cheetah, torch.tanh)
    torch.testing.assert_close(
        score(states, actions).double(), expected, rtol=1e-6, atol=1e-5
    )


def test_what_is_coarse_or_not_on_the_processor_keeps_its_tanh(monkeypatch):
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX2")
    cpu, single = torch.device("cpu"), [torch.float32] * 3
    assert sigmoid_is_cheaper(single, cpu)
    assert not sigmoid_is_cheaper([*single, torch.bfloat16], cpu)
    assert not sigmoid_is_cheaper(single, torch.device("cuda"))


def test_nothing_is_paid_after_the_end():
    layers = ensemble(6, 4, (8,), members=2)
    layers[0][-1][:] *= 0.1
    states, actions = inputs_of(obstacles, 3, 60)
    states[:, 2:] = states[:, :2] + 0.15  # near the goal
    score = EnsembleScore(
        *layers,
        horizon=HORIZON,
        reward=obstacles.reward,
        terminated=obstacles.success,
    )
    plain = plain_score(
        layers, states, actions, obstacles, torch.tanh, obstacles.success
    )
    without = plain_score(layers, states, actions, obstacles, torch.tanh)
    assert ((plain - without).abs() > 0.1).float().mean() > 0.05
    got = score(states, actions).double()
    torch.testing.assert_close(got, plain, rtol=1e-4, atol=1e-4)


def test_what_a_model_says_after_the_end_may_be_infinite():
    weights, biases = [torch.zeros(1, 2, 1)], [torch.full((1, 1), 1e38)]
    score = EnsembleScore(
        weights,
        biases,
        horizon=HORIZON,
        reward=lambda state, action, following: following[..., 0],
        terminated=lambda state: state[..., 0] > 1,
    )
    got = score(torch.zeros(1, 1), torch.zeros(1, 1, HORIZON, 1))
    assert got.item() == pytest.approx(1e38)


def test_what_leaves_the_finite_numbers_has_no_score_whatever_its_reward():
    weights = [torch.tensor([[[0.0], [1e38]]])]  # s' = s + 1e38 a
    score = EnsembleScore(
        weights,
        [torch.zeros(1, 1)],
        horizon=3,
        reward=lambda state, action, following: (following[..., 0] < 1).float(),
    )
    actions = torch.tensor([[0, 0, 0], [-4, 0, 0], [0, 0, 4], [-1, 0, 0]]).float()
    got = score(torch.zeros(1, 1), actions.view(1, 4, 3, 1))[0]
    assert got.isnan().tolist() == [False, True, True, False]
    assert got[[0, 3]].tolist() == [3, 3]


def test_states_that_are_not_finite_are_named():
    layers = ensemble(6, 4, (16,), members=2)
    score = EnsembleScore(*layers, horizon=2, reward=obstacles.reward)
    states = torch.zeros(3, 4)
    states[1, 2] = torch.nan
    with pytest.raises(ValueError, match=r"must be finite.* in row 1; check what"):
        score.at(states)


def test_reward_sees_state_action_and_next_state_of_each_step():
    weights = [torch.tensor([[[1.0], [2.0]]])]  # s' = 2 s + 2 a
    seen = []

    def reward(state: Tensor, action: Tensor, following: Tensor) -> Tensor:
        seen.append((state, action, following))
        return state[..., 0] * action[..., 0] + following[..., 0]

    score = EnsembleScore(weights, [torch.zeros(1, 1)], horizon=2, reward=reward)
    actions = torch.tensor([3.0, -1.0]).reshape(1, 1, 2, 1)
    # 1 -> 8 -> 14: 1 * 3 + 8, then 8 * -1 + 14.
    assert score(torch.ones(1, 1), actions).item() == 17
    assert [tuple(x.shape) for x in seen[0]] == [(2, 1, 1, 1)] * 3


def test_bfloat16_rounds_to_three_digits(monkeypatch):
    monkeypatch.setattr(scoring, "has_fast_bfloat16", lambda device: True)
    layers = ensemble(27, 21, (64, 64), members=3)
    layers[0][-1][:] *= 0.1
    states, actions = inputs_of(cheetah, 1, 200)
    states = states - 1  # far from where the reward jumps
    options = {"horizon": HORIZON, "reward": cheetah.reward, "activation": "silu"}
    exact = EnsembleScore(*layers, **options)(states, actions)
    rounded = EnsembleScore(*layers, hidden_dtype=torch.bfloat16, **options)
    got = rounded(states, actions)
    assert got.dtype == torch.float32 and not torch.equal(got, exact)
    assert ((got - exact) / exact).abs().max() < 2e-3
    both = torch.stack([got.flatten(), exact.flatten()])
    assert torch.corrcoef(both)[0, 1] > 0.999  # the order of candidates stays


# ---------------------------------------------------------------------- learned models
def learned(
    task: Any = None, inputs: int = 27, outputs: int = 21, kind: Any = Ensemble
) -> LearnedDynamics:
    """A model with normalisation of its own, of a cheetah unless said otherwise."""
    rng = torch.Generator().manual_seed(0)
    network = kind(3, inputs, outputs, hidden=(12, 12), generator=rng)
    model = LearnedDynamics.of_task(network, task or cheetah.Cheetah())
    for scale in (model.input_scale, model.output_scale):
        assert isinstance(scale, Normaliser)
        scale.mean.normal_(0, 0.2, generator=rng)
        scale.std.uniform_(0.2, 0.5, generator=rng)
    return model


def imagined_score(model: LearnedDynamics, states: Tensor, actions: Tensor) -> Tensor:
    """What a trajectory by each member alone is worth, by ``TSInf``."""
    (batch, count, horizon, _), members = actions.shape, len(model.elites)
    order = (batch, count, members)
    rows = states[:, None, None].expand(*order, -1).flatten(0, 2)
    did = actions[:, :, None].expand(*order, -1, -1).flatten(0, 2).transpose(0, 1)
    member = model.elites.repeat(batch * count)
    propagation = TSInf(model)
    found = imagine(propagation, propagation.start(rows, member), did, horizon)
    return found.returns().view(order).mean(dim=-1)


@pytest.mark.parametrize(
    "model",
    [
        pytest.param(learned(), id="cheetah of CS285"),
        pytest.param(learned(HalfCheetah(), 23, 18), id="features"),
        pytest.param(learned(Hopper(), 14, 12), id="features and an end"),
        pytest.param(learned(obstacles.Obstacles(), 6, 4), id="an end"),
    ],
)
def test_score_of_a_fitted_model_is_what_its_members_imagine(model):
    model.is_elite[1] = False
    rng = torch.Generator().manual_seed(2)
    states = 0.1 * torch.randn(2, model.state_size, generator=rng)
    states[:, 1] += 1.0  # a hopper's height: not fallen yet
    actions = torch.rand(2, 30, HORIZON, model.action_size, generator=rng) - 0.5
    with torch.no_grad():
        expected = imagined_score(model, states, actions)
        got = EnsembleScore.of(model.frozen(), horizon=HORIZON)(states, actions)
    assert expected.std() > 0.02
    torch.testing.assert_close(got, expected, rtol=1e-3, atol=1e-3)


def test_of_a_gaussian_ensemble_the_means_are_taken():
    model, (states, actions) = learned(kind=GaussianEnsemble), inputs_of(cheetah, 1, 20)
    network = Ensemble(3, 27, 21, hidden=(12, 12))
    plain = LearnedDynamics.of_task(network, cheetah.Cheetah())
    plain.input_scale, plain.output_scale = model.input_scale, model.output_scale
    for name in ("weights", "biases"):
        theirs, own = getattr(model.ensemble, name), getattr(network, name)
        for layer, tensor in enumerate(theirs):
            own[layer].data = tensor.data[..., : own[layer].shape[-1]].clone()
    scores = [
        EnsembleScore.of(each.frozen(), horizon=HORIZON)(states, actions)
        for each in (model, plain)
    ]
    torch.testing.assert_close(*scores)


def test_a_model_it_cannot_score_is_refused():
    with pytest.raises(ValueError, match="must be frozen first"):
        EnsembleScore.of(learned(), horizon=3)
    network = Ensemble(2, 27, 22, hidden=(4,))
    with pytest.raises(ValueError, match="given reward and termination; use Imagined"):
        EnsembleScore.of(LearnedDynamics(network).frozen(), horizon=3)


# ------------------------------------------------------------------------------ errors
def made(hidden: tuple[int, ...] = (8,), **changes: Any) -> EnsembleScore:
    options = {"horizon": 3, "reward": cheetah.reward, **changes}
    return EnsembleScore(*ensemble(27, 21, hidden, members=2), **options)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: made(horizon=0), "horizon must be at least 1, got 0"),
        (lambda: made(activation="relu"), r"\['tanh', 'silu'\], got 'relu'"),
        (
            lambda: EnsembleScore(*ensemble(4, 4, (3,), 1), horizon=3, reward=max),
            "from 4 numbers, 4 of them of the state, leaves none for an",
        ),
        (
            lambda: EnsembleScore(
                [torch.zeros(2, 5, 8), torch.zeros(2, 7, 4)],
                [torch.zeros(2, 8), torch.zeros(2, 4)],
                horizon=3,
                reward=max,
            ),
            "follow each other, got",
        ),
        (
            lambda: made()(torch.zeros(2, 21), torch.zeros(2, 9, 4, 6)),
            r"\(B, 21\) and actions \(B, K, 3, 6\), got \(2, 21\) and \(2, 9, 4, 6\)",
        ),
        (
            lambda: made()(torch.zeros(1, 21), torch.zeros(2, 9, 3, 6)),
            r"got \(1, 21\) and \(2, 9, 3, 6\)",
        ),
    ],
)
def test_misuse_is_refused_in_one_sentence(make, message):
    with pytest.raises(ValueError, match=message) as caught:
        make()
    assert "\n" not in str(caught.value)


def test_bfloat16_is_refused_where_it_is_slow(monkeypatch):
    monkeypatch.setattr(scoring, "has_fast_bfloat16", lambda device: False)
    with pytest.raises(ValueError, match="amx_bf16, or AMD's with avx512_bf16"):
        made(hidden=(8, 8), hidden_dtype=torch.bfloat16)
