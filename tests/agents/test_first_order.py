"""PWM's update: sizes, what learns from what, and a task it must solve."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from oracle import Integrator
from torch import Tensor, nn

from suite.agents.encoded_policy import EncodedPolicy, LatentActor
from suite.agents.first_order import NAMES, FirstOrder, FirstOrderUpdate
from suite.agents.mish_mlp import MishMLP
from suite.agents.stacked_mlp import FlatAdam
from suite.storage import IntegrityError
from suite.worldmodels.dynamics import Transition

BOX = spaces.Box(-1.0, 1.0, (1,), np.float32)
SMALL = FirstOrder(
    horizon=4, batch_size=64, actor_arch=(32,), critic_arch=(32,), gamma=0.9,
    actor_learning_rate=3e-3, critic_learning_rate=3e-3, critic_iterations=2,
)  # fmt: skip


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def numbers(net: nn.Module) -> int:
    return sum(part.numel() for part in net.parameters())


# -------------------------------------------------------------------------- networks
@pytest.mark.parametrize(
    ("latent", "actor", "critics"), [(512, 307_716, 860_403), (768, 410_116, 1_167_603)]
)
def test_published_sizes_have_the_published_numbers_of_weights(latent, actor, critics):
    space = spaces.Box(-1, 1, (8,), np.float32)
    update = FirstOrderUpdate(FirstOrder(), nn.Identity(), latent, space)
    assert (numbers(update.actor), numbers(update.critics)) == (actor, critics)
    assert len(update.critics.flat) == critics


def test_stacked_members_are_the_layers_written_out():
    net = MishMLP(3, 5, 2, hidden=(7, 6), generator=generator())
    with torch.no_grad():
        net.flat.normal_(generator=generator(1))
    x = torch.randn(10, 5, generator=generator(2))
    for member, found in enumerate(net(x)):
        h = x
        for layer in range(2):
            h = h @ net.weights[layer][member] + net.biases[layer][member]
            h = nn.functional.mish(h)
            scale, shift = net.scales[layer][member], net.shifts[layer][member]
            h = (h - h.mean(1, keepdim=True)) / (
                h.var(1, correction=0, keepdim=True) + 1e-5
            ).sqrt() * scale + shift
        wanted = h @ net.weights[2][member] + net.biases[2][member]
        torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)


def test_first_weights_are_orthogonal_and_differ_between_members():
    net = MishMLP(2, 5, 3, hidden=(8,), generator=generator())
    one, other = net.weights[0]
    torch.testing.assert_close(one @ one.T, 2 * torch.eye(5))
    assert not torch.allclose(one, other)
    assert not net.biases[0].any() and (net.scales[0] == 1).all()


def test_an_actor_begins_like_layers_of_torch():
    actor = LatentActor(100, 3, hidden=(400,), generator=generator())
    for weight, bias in zip(actor.network.weights, actor.network.biases, strict=True):
        largest = weight.shape[1] ** -0.5
        for part in (weight, bias):
            assert part.abs().max() <= largest
        assert weight.std().item() == pytest.approx(largest / 3**0.5, rel=0.05)
        assert bias.abs().max() > largest / 10


def test_the_deviation_is_that_of_its_parameter():
    actor = LatentActor(3, 2, hidden=(4,), generator=generator())
    latents = torch.zeros(1, 3)
    with torch.no_grad():
        spread = torch.atanh(actor(latents, torch.ones(1, 2)))
        spread -= torch.atanh(actor(latents))
    torch.testing.assert_close(spread, torch.full((1, 2), np.exp(-1)))


def test_the_deviation_stops_at_its_least_and_can_rise_again():
    least = -1.427
    actor = LatentActor(3, 2, hidden=(4,), log_std=-9.0, generator=generator())
    actor.keep_exploring()
    assert (actor.log_std == least).all()
    actor(torch.ones(1, 3), torch.ones(1, 2)).sum().backward()
    assert actor.log_std.grad is not None and (actor.log_std.grad != 0).all()
    with torch.no_grad():
        actor.log_std.fill_(-1.2)
    actor.keep_exploring()
    torch.testing.assert_close(actor.log_std.detach(), torch.full((2,), -1.2))


def test_adam_is_torchs_with_other_betas_and_rates():
    one = torch.randn(20, generator=generator())
    two = nn.Parameter(one.clone())
    one.grad = torch.zeros_like(one)
    ours = FlatAdam(one, 1e-2, (0.7, 0.95))
    theirs = torch.optim.Adam([two], lr=1e-2, betas=(0.7, 0.95))
    for step in range(5):
        two.grad = torch.randn(20, generator=generator(step))
        one.grad.copy_(two.grad)
        ours.learning_rate = theirs.param_groups[0]["lr"] = 1e-2 / (step + 1)
        ours.step()
        theirs.step()
    torch.testing.assert_close(one, two.detach(), rtol=1e-6, atol=1e-7)


# ------------------------------------------------------------------------ the update
class Slide:
    """x' = clip(x + 0.3 a), paid -x'^2."""

    def __init__(self) -> None:
        self.strength = nn.Parameter(torch.tensor(0.3))

    def start(self, state: Tensor) -> Tensor:
        return state

    def step(self, z: Tensor, action: Tensor, *, generator: Any = None) -> Transition:
        x = (z + self.strength * action).clamp(-1, 1)
        return Transition(x, -x[:, 0].square(), torch.zeros(len(x), dtype=torch.bool))

    def observe(self, z: Tensor) -> Tensor:
        return z


def starts(seed: int, rows: int = 64) -> Tensor:
    return 2 * torch.rand(rows, 1, generator=generator(seed)) - 1


def trained(updates: int, **changed: Any) -> FirstOrderUpdate:
    settings = {**SMALL.__dict__, **changed}
    update = FirstOrderUpdate(FirstOrder(**settings), nn.Identity(), 1, BOX)
    for index in range(updates):
        update.update(Slide(), starts(index))
    return update


def cost(update: FirstOrderUpdate) -> float:
    """Of four steps from everywhere; the best is 0.0 within a step or three."""
    z, total = torch.linspace(-1, 1, 201)[:, None], 0.0
    for _ in range(4):
        with torch.no_grad():
            z = (z + 0.3 * update.policy(z)).clamp(-1, 1)
        total += float(z.square().mean())
    return total


def best_cost() -> float:
    z, total = torch.linspace(-1, 1, 201), 0.0
    for _ in range(4):
        z = z - z.clamp(-0.3, 0.3)
        total += float(z.square().mean())
    return total


@pytest.mark.parametrize("detach", [True, False])
def test_it_learns_to_come_to_the_middle(detach):
    update = trained(150, detach=detach)
    assert cost(trained(0)) > best_cost() + 0.15
    assert cost(update) < best_cost() + 0.03


def test_critics_learn_what_the_policy_earns():
    # The least of several is lower than the truth, and leans on itself.
    update = trained(150, critic_arch=(32, 32), critics=1, critic_batches=2)
    x = torch.linspace(-0.9, 0.9, 30)[:, None]
    z, earned = x.repeat(200, 1), torch.zeros(6000, 1)
    with torch.no_grad():
        for h in range(40):
            noise = torch.randn(len(z), 1, generator=generator(h))
            z = (z + 0.3 * update.actor(z, noise)).clamp(-1, 1)
            earned = earned - 0.9**h * z.square()
    wanted = earned.view(200, 30).mean(dim=0)
    found = update.value(x).detach()
    assert float((found - wanted).abs().mean()) < 0.15 * float(wanted.abs().max())


def test_the_model_and_the_critics_get_no_gradient_of_the_actors_loss():
    update, model = FirstOrderUpdate(SMALL, nn.Identity(), 1, BOX), Slide()
    before = update.critics.flat.clone()
    update._step_actor(model, starts(0))
    assert model.strength.grad is None
    assert not update.critics.flat.grad.any()  # pyright: ignore
    assert torch.equal(update.critics.flat, before)


def test_gradients_are_cut_to_their_norm():
    update = FirstOrderUpdate(
        FirstOrder(**{**SMALL.__dict__, "actor_clip": 1e-3}), nn.Identity(), 1, BOX
    )
    told = dict(zip(NAMES, update.update(Slide(), starts(0)), strict=True))
    assert told["actor_gradient"] > 1e-3
    flats = (update.actor.network.flat, update.actor.log_std)
    squares = [f.grad.square().sum() for f in flats if f.grad is not None]
    assert float(torch.stack(squares).sum().sqrt()) == pytest.approx(1e-3, rel=1e-2)


class Fading(Slide):
    """Ends after each step with a chance of a tenth."""

    def going_on(self, z: Tensor) -> Tensor:
        return torch.full((len(z),), 0.9)


@pytest.mark.parametrize(("model", "chance"), [(Slide(), 1.0), (Fading(), 0.9**4)])
def test_the_chance_to_survive_all_steps_is_told(model, chance):
    update = FirstOrderUpdate(SMALL, nn.Identity(), 1, BOX)
    told = dict(zip(NAMES, update.update(model, starts(0)), strict=True))
    assert told["survival"] == pytest.approx(chance)


def test_learning_rates_fall_in_a_line():
    update = FirstOrderUpdate(SMALL, nn.Identity(), 1, BOX)
    for share, rate in ((0, 3e-3), (0.5, (3e-3 + 1e-5) / 2), (1, 1e-5)):
        update.anneal(share, 1e-5)
        rates = [each.learning_rate for each in update._optimizers.values()]
        assert rates == pytest.approx([rate] * 3)


def test_the_least_value_counts():
    update = FirstOrderUpdate(SMALL, nn.Identity(), 1, BOX)
    seen = torch.randn(4, 5, 1, generator=generator())
    found = update.value(seen)
    each = update.critics(seen.reshape(20, 1))[..., 0].view(3, 4, 5)
    assert found.shape == (4, 5) and torch.equal(found, each.amin(dim=0))


def test_taken_over_it_goes_on_alike():
    one, other = trained(3), FirstOrderUpdate(SMALL, nn.Identity(), 1, BOX, seed=9)
    other.load_state(one.state())
    for index in range(3, 6):
        told = [each.update(Slide(), starts(index)) for each in (one, other)]
        assert told[0] == told[1]
    assert torch.equal(one.critics.flat, other.critics.flat)
    assert torch.equal(one.actor.network.flat, other.actor.network.flat)


def test_a_state_of_other_networks_is_refused():
    other = FirstOrderUpdate(FirstOrder(), nn.Identity(), 1, BOX)
    with pytest.raises(IntegrityError, match="actor"):
        trained(0).load_state(other.state())


def test_a_return_that_is_not_finite_is_named():
    class Broken(Integrator):
        def step(self, z: Tensor, action: Tensor, *, generator: Any = None):
            rows = torch.full((len(z),), torch.inf)
            return Transition(z, rows, torch.zeros(len(z), dtype=torch.bool))

    update = FirstOrderUpdate(SMALL, nn.Identity(), 1, BOX)
    with pytest.raises(FloatingPointError, match=r"actor_loss is nan .*horizon"):
        update.update(Broken(), starts(0))


@pytest.mark.parametrize(
    ("make", "complaint"),
    [
        (lambda: FirstOrder(horizon=0), "horizon must be at least 1, got 0"),
        (lambda: FirstOrder(actor_clip=0), "actor_clip must be positive, got 0"),
        (lambda: FirstOrder(betas=(1.5, 0.9)), r"betas must be .* got \[1.5, 0.9\]"),
        (lambda: FirstOrder(betas=(0.9,)), "betas must be two numbers"),
        (lambda: FirstOrder(lam=1.5), "gamma and lam"),
        (lambda: FirstOrder(batch_size=3, critic_batches=5), "multiple of critic_b"),
        (lambda: FirstOrder(log_std=-2.0), "log_std must start at"),
        (lambda: MishMLP(1, 2, 0, hidden=()), "sizes of 1 or more"),
        (lambda: MishMLP(1, 2, 1, hidden=())(torch.zeros(1, 3)), "take 2 numbers"),
        (
            lambda: EncodedPolicy(
                nn.Identity(), LatentActor(1, 2, hidden=()), BOX
            ),
            "actor gives 2 numbers, the environment takes 1",
        ),
        (
            lambda: FirstOrderUpdate(SMALL, nn.Identity(), 1, spaces.Discrete(2)),
            "bounded Box of actions",
        ),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_refused(make, complaint):
    with pytest.raises(ValueError, match=complaint):
        make()
