"""A latent fit minimises what it says, learns, and goes on exactly."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from latents import ACTIONS, OBS, pendulum_pieces, pieces, stirred, tiny_model
from torch.nn import functional

from suite.checkpoints import pack, unpack
from suite.storage import IntegrityError
from suite.worldmodels.flow import Flow
from suite.worldmodels.latent import Direct, LatentModel
from suite.worldmodels.latent_fit import LatentFit, LatentLoss
from suite.worldmodels.latent_heads import TwoHot
from suite.worldmodels.subsequences import Subsequences

LOSS = LatentLoss(consistency=3.0, reward=0.5, end=0.7, decay=0.9)


def by_hand(model: LatentModel, batch: Subsequences, loss: LatentLoss) -> torch.Tensor:
    """The weighted loss, a step and a row at a time, without what follows an end."""
    total, count = torch.zeros(()), 0
    for row in range(batch.rewards.shape[1]):
        z = model.encode(batch.obs[0, row])
        for h in range(len(batch.rewards)):
            action = batch.actions[h, row]
            reward = model.normalised_reward(z, action)
            z = model.next(z, action)
            aim = model.encode(batch.obs[h + 1, row]).detach()
            scale = model.reward_scale
            paid = (batch.rewards[h, row] - scale.mean) / scale.std
            paid = paid.float().clamp(-5, 5)
            step = loss.consistency * (z - aim).square().mean()
            step = step + loss.reward * (reward - paid).square()
            logit = model.end_logit(z)
            if logit is not None:
                ended = batch.terminated[h, row].float()
                step = step + loss.end * functional.binary_cross_entropy_with_logits(
                    logit, ended
                )
            total = total + loss.decay**h * step
            count += 1
            if batch.terminated[h, row]:
                break
    return total / count


@pytest.mark.parametrize("has_end", [False, True])
def test_the_loss_and_its_gradient_are_those_by_hand(has_end):
    model = stirred(tiny_model(has_end=has_end))
    fit, batch = LatentFit(model, loss=LOSS), pieces()
    model.reward_scale.refresh(batch.rewards[batch.mask])
    weights = list(model.parameters())
    own = fit.losses(batch)["model/loss"]
    expected = by_hand(model, batch, LOSS)
    torch.testing.assert_close(own, expected)
    for left, right in zip(
        torch.autograd.grad(own, weights),
        torch.autograd.grad(expected, weights),
        strict=True,
    ):
        torch.testing.assert_close(left, right, rtol=1e-4, atol=1e-6)


def test_the_loss_of_the_papers_code_is_a_choice_of_factors():
    # (1 / H) (sum of decay^h mse_h + mean of decay^h squared error of rewards)
    model, batch, steps = stirred(tiny_model()), pieces(), 4
    batch = batch._replace(terminated=torch.zeros(steps, 6, dtype=torch.bool))
    fit = LatentFit(model, loss=LatentLoss(1.0, 1 / steps))
    fit.update(batch)  # takes over the rewards' statistics
    z, errors, rewards = model.encode(batch.obs[0]), [], []
    for h in range(steps):
        paid = model.reward_scale(batch.rewards[h]).clamp(-5, 5)
        reward = model.normalised_reward(z, batch.actions[h])
        rewards.append(0.99**h * (reward - paid).square().mean())
        z = model.next(z, batch.actions[h])
        aim = model.encode(batch.obs[h + 1])
        errors.append(0.99**h * (z - aim).square().mean())
    expected = (sum(errors) + sum(rewards) / steps) / steps
    torch.testing.assert_close(fit.losses(batch)["model/loss"], expected)


def test_what_follows_an_end_counts_for_nothing():
    batch, other = pieces(), pieces()
    assert batch.mask[:, 1].tolist() == [True, False, False, False]
    assert batch.mask.sum() == 6 * 4 - 3
    other.obs[2:, 1], other.actions[1:, 1], other.rewards[1:, 1] = 1e3, -1e3, 1e6
    found = []
    for each in (batch, other):
        fit = LatentFit(stirred(tiny_model(has_end=True)), loss=LOSS)
        told = [fit.update(each) for _ in range(3)]
        found.append((told[-1], [w.detach() for w in fit.model.parameters()]))
    assert found[0][0] == found[1][0]
    for left, right in zip(found[0][1], found[1][1], strict=True):
        torch.testing.assert_close(left, right, rtol=1e-4, atol=1e-6)


def test_ends_are_learned():
    drawn = torch.Generator().manual_seed(0)
    steps, rows = 2, 128
    obs = torch.randn(steps + 1, rows, OBS, generator=drawn)
    actions = torch.randn(steps, rows, ACTIONS, generator=drawn)
    obs[1:, :, 0] = obs[0, :, 0] + actions[..., 0].cumsum(0)  # a sum that may end it
    batch = Subsequences(obs, actions, torch.zeros(steps, rows), obs[1:, :, 0] > 1)
    fit = LatentFit(tiny_model(has_end=True), learning_rate=3e-3)
    losses = [fit.update(batch)["model/end"] for _ in range(200)]
    assert losses[-1] < 0.1
    z = fit.model.step(fit.model.start(obs[0]), actions[0])
    assert (z.terminated == batch.terminated[0]).float().mean() > 0.95


def test_pendulums_rewards_are_predicted_open_loop():
    train, test = pendulum_pieces(6, 256), pendulum_pieces(6, 64, seed=1000)
    fit = LatentFit(LatentModel(3, 1), learning_rate=1e-3)
    drawn = torch.Generator().manual_seed(0)
    for _ in range(150):
        rows = torch.randint(256, (64,), generator=drawn)
        fit.update(Subsequences(*(part[:, rows] for part in train)))
    model, z, errors = fit.model, fit.model.start(test.obs[0]), []
    with torch.no_grad():
        for action, reward in zip(test.actions, test.rewards, strict=True):
            found = model.step(z, action)
            z = found.next_z
            errors.append((found.reward - reward).square().mean())
    assert torch.stack(errors).mean() < 0.05 * test.rewards.var()


def test_bins_learn_rewards_too():
    train = pendulum_pieces(2, 128)
    model = LatentModel(3, 1, reward=TwoHot(), seed=1)
    fit = LatentFit(model, learning_rate=1e-3, normalise_rewards=False)
    for _ in range(150):
        fit.update(train)
    assert float(model.reward_scale.std) == 1.0
    z = model.encode(train.obs[:-1])
    with torch.no_grad():
        read = model.reward_scale.inverse(model.normalised_reward(z, train.actions))
    told = torch.stack([read.flatten(), train.rewards.flatten()])
    assert torch.corrcoef(told)[0, 1] > 0.9


def test_updates_are_those_of_adam_with_the_gradient_cut():
    fit = LatentFit(tiny_model(), learning_rate=1e-2, clip=0.5, loss=LOSS)
    model = tiny_model()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for seed in range(3):
        batch = pieces(seed=seed)
        model.reward_scale.refresh(batch.rewards[batch.mask])
        optimizer.zero_grad()
        by_hand(model, batch, LOSS).backward()
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), 0.5)
        optimizer.step()
        found = fit.update(batch)
        torch.testing.assert_close(found["model/grad_norm"], norm)
        assert norm > 0.5
    for left, right in zip(fit.model.parameters(), model.parameters(), strict=True):
        torch.testing.assert_close(left, right, rtol=1e-3, atol=1e-4)


def test_a_gradient_that_others_left_is_not_taken():
    fits = [LatentFit(tiny_model(), learning_rate=1e-2) for _ in range(3)]
    fits[1].model.encode(torch.ones(2, OBS)).square().sum().backward()
    fits[2].model.zero_grad()  # sets all gradients to None
    found = [[fit.update(pieces()), fit.update(pieces())] for fit in fits]
    assert found[0] == found[1] == found[2]
    for other in fits[1:]:
        for left, right in zip(states(fits[0]), states(other), strict=True):
            assert torch.equal(left, right)


def test_a_model_that_moved_after_its_fit_was_made_is_refused():
    fit = LatentFit(tiny_model())
    fit.model.double()
    with pytest.raises(RuntimeError, match="weights were replaced since"):
        fit.update(pieces())


# ------------------------------------------------------------------------ checkpoints
def states(fit: LatentFit) -> list[torch.Tensor]:
    return [part.clone() for part in fit.model.state_dict().values()]


def test_a_fit_goes_on_exactly(tmp_path):
    def fresh() -> LatentFit:
        return LatentFit(tiny_model(has_end=True), learning_rate=1e-3, seed=5)

    whole, first, second = fresh(), fresh(), fresh()
    batches = [pieces(seed=seed) for seed in range(6)]
    for batch in batches:
        whole.update(batch)
    for batch in batches[:3]:
        first.update(batch)
    first.learning_rate = whole.learning_rate
    second.load_state(unpack(pack(first.state()), tmp_path))
    for batch in batches[3:]:
        second.update(batch)
    assert second.updates == 6
    for left, right in zip(states(whole), states(second), strict=True):
        assert torch.equal(left, right)


def test_the_state_of_another_model_is_refused():
    fit = LatentFit(tiny_model())
    with pytest.raises(IntegrityError, match=r"latent fit\.weights does not fit"):
        fit.load_state(LatentFit(tiny_model(has_end=True)).state())


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("dynamics", [None, Flow(taus="midpoint")], ids=str)
def test_an_accelerator_finds_the_same(dynamics):
    losses = []
    for device in ("cpu", "cuda"):
        model = tiny_model(has_end=True, dynamics=dynamics)
        fit = LatentFit(model, learning_rate=1e-3, device=device)
        batch = Subsequences(*(part.to(device) for part in pieces()))
        told = [fit.update(batch)["model/loss"].cpu() for _ in range(5)]
        again = LatentFit(
            tiny_model(has_end=True, dynamics=dynamics),
            learning_rate=1e-3,
            device=device,
        )
        again.load_state(fit.state())
        told.append(again.update(batch)["model/loss"].cpu())
        losses.append(torch.stack(told))
    torch.testing.assert_close(*losses, rtol=1e-3, atol=1e-4)


# ----------------------------------------------------------------------------- errors
def test_pieces_of_other_sizes_are_refused():
    fit, batch = LatentFit(tiny_model()), pieces()
    with pytest.raises(ValueError, match=r"obs \(H \+ 1, B, 5\), actions \(H, B, 2\)"):
        fit.update(batch._replace(obs=batch.obs[1:]))
    with pytest.raises(ValueError, match=r"terminated must be bool, got torch\.float"):
        fit.update(batch._replace(terminated=batch.terminated.float()))


def test_a_loss_that_is_not_finite_is_an_error_and_changes_no_weight():
    fit, batch = LatentFit(tiny_model()), pieces()
    before = [weights.clone() for weights in fit.model.parameters()]
    batch.obs[0, 0, 0] = torch.inf
    with pytest.raises(FloatingPointError, match="became nan in update 0 of its fit"):
        fit.update(batch)
    for left, right in zip(before, fit.model.parameters(), strict=True):
        assert torch.equal(left, right)


def test_factors_and_rates_out_of_range_are_refused():
    with pytest.raises(ValueError, match="decay must be within"):
        LatentLoss(decay=0.0)
    for wrong in (-1.0, torch.nan):
        with pytest.raises(ValueError, match="reward must be 0 or more"):
            LatentLoss(reward=wrong)
    for wrong in (0.0, torch.nan):
        with pytest.raises(ValueError, match="learning_rate must be above 0"):
            LatentFit(tiny_model(), learning_rate=wrong)
        with pytest.raises(ValueError, match="clip must be above 0"):
            LatentFit(tiny_model(), clip=wrong)


def test_the_error_of_the_next_latent_is_told_beside_the_transitions_own_loss():
    def told(dynamics: Any) -> tuple[torch.Tensor, torch.Tensor]:
        model = stirred(tiny_model(dynamics=dynamics, has_end=True))
        found = LatentFit(model, loss=LOSS).losses(pieces())
        return found["model/consistency"], found["model/latent_error"]

    own, error = told(Direct())
    torch.testing.assert_close(own, error)
    both, error = told(Flow(rollout=1.0))
    velocity, same = told(Flow(rollout=0.0))
    assert torch.equal(error, same) and not error.requires_grad
    torch.testing.assert_close(both - velocity, error)
    assert velocity > 1e-4 < error
