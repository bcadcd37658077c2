"""A critic's gradient finds the worst of a box: known in closed form for quadratics."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from stored import dataset

import suite.wrappers as w
from suite.agents.attacks import GradientAttack
from suite.data.recording import recorded
from suite.envs.replay import ReplayEnv

DATA = dataset([40, 30, 50], seed=4)


def hill(obs: torch.Tensor, actions: torch.Tensor) -> torch.Tensor:
    """Q = -|s|^2 - |a|^2: the worst is the corner farther out."""
    return -(obs**2).sum(-1) - (actions**2).sum(-1)


def bowl(obs: torch.Tensor, actions: torch.Tensor) -> torch.Tensor:
    """Q = |s - 0.3|^2 + |a|^2: the worst is the point of the box next to 0.3."""
    return ((obs - 0.3) ** 2).sum(-1) + (actions**2).sum(-1)


def box(name: str, epsilon: float) -> tuple[np.ndarray, np.ndarray]:
    values = getattr(DATA, name).astype(float)
    return values, epsilon * values.std(axis=0)


@pytest.mark.parametrize(
    ("wrapper", "name"),
    [(w.AdversarialObservations, "obs"), (w.AdversarialActions, "actions")],
)
def test_on_a_hill_the_worst_is_the_far_corner(wrapper: Any, name: str):
    values, size = box(name, 0.5)
    done = wrapper(DATA, GradientAttack(hill), rate=1.0, epsilon=0.5)
    far = values + np.sign(values) * size
    np.testing.assert_allclose(getattr(done, name), far, atol=1e-5)


def test_in_a_bowl_the_worst_is_the_nearest_point_to_its_bottom():
    values, size = box("obs", 0.5)
    attack = GradientAttack(bowl, steps=600)
    done = w.AdversarialObservations(DATA, attack, rate=1.0, epsilon=0.5)
    nearest = np.clip(0.3, values - size, values + size)
    np.testing.assert_allclose(done.obs, nearest, atol=2e-3)
    before, after = (bowl(torch.tensor(d.obs), torch.zeros(1)) for d in (DATA, done))
    assert bool((after <= before).all())


def test_dynamics_are_attacked_through_the_policy():
    values, size = box("next_obs", 0.5)
    # The policy undoes the observation's first entry: only the others can hurt.
    attack = GradientAttack(
        lambda obs, actions: -((obs[:, :1] - actions) ** 2 + obs[:, 1:] ** 2).sum(-1),
        policy=lambda obs: obs[:, :1],
    )
    done = w.AdversarialDynamics(DATA, attack, rate=1.0, epsilon=0.5)
    np.testing.assert_allclose(done.next_obs[:, 0], values[:, 0], atol=1e-6)
    far = values + np.sign(values) * size
    assert (np.abs(done.next_obs - far)[:, 1:] < 1e-5).all()
    with pytest.raises(ValueError, match="an attack on next_obs needs a policy"):
        w.AdversarialDynamics(DATA, GradientAttack(hill), rate=1.0)


def test_critics_of_an_ensemble_are_averaged():
    both = GradientAttack(lambda o, a: torch.stack([hill(o, a), 3 * hill(o, a)]))
    one = w.AdversarialActions(DATA, GradientAttack(hill), rate=0.5)
    assert w.AdversarialActions(DATA, both, rate=0.5).sha256 == one.sha256


def test_a_streamed_attack_is_that_of_the_whole():
    # With a network, whose bits would depend on how many rows pass at once.
    torch.manual_seed(0)
    network = torch.nn.Sequential(
        torch.nn.Linear(5, 32), torch.nn.ReLU(), torch.nn.Linear(32, 1)
    )

    def critic(obs: torch.Tensor, actions: torch.Tensor) -> torch.Tensor:
        return network(torch.cat([obs, actions], -1))[:, 0]

    attack = GradientAttack(critic, steps=5, name="a random network")
    whole = w.AdversarialObservations(DATA, attack, rate=0.4)
    streamed = recorded(w.AdversarialObservations(ReplayEnv(DATA), attack, rate=0.4))
    assert streamed.sha256 == whole.sha256 != DATA.sha256
    assert all(parameter.grad is None for parameter in network.parameters())
    told = whole.card["corruptions"][0]["params"]["attack"]
    assert told["critic"] == "a random network" and told["steps"] == 5


def test_a_critic_that_is_not_finite_is_refused():
    attack = GradientAttack(lambda obs, actions: hill(obs, actions) / 0)
    with pytest.raises(ValueError, match="the critic is not finite around the actions"):
        w.AdversarialActions(DATA, attack)
