"""SAC's update against autograd and against Stable-Baselines3."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import stable_baselines3 as sb3
import torch
from gymnasium import spaces
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.type_aliases import ReplayBufferSamples

from suite.agents.policies import load_policy, save_policy
from suite.agents.soft_update import NAMES, Soft, SoftUpdate
from suite.agents.squashed import LOG_STD, SquashedPolicy, drawn, raw_gradient
from suite.agents.stacked_mlp import FlatAdam, Pass, StackedMLP
from suite.storage import IntegrityError
from suite.worldmodels.experience import Experience

ROWS, OBS, ACTIONS = 32, 3, 2
BOX = spaces.Box(np.array([-2.0, 0.0], np.float32), np.array([2.0, 1.0], np.float32))
SMALL = Soft(net_arch=(16, 8), batch_size=ROWS)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def batch(seed: int = 0) -> Experience:
    draws = generator(seed)
    unit = torch.rand(ROWS, ACTIONS, generator=draws)
    low, high = torch.tensor(BOX.low), torch.tensor(BOX.high)
    return Experience(
        torch.randn(ROWS, OBS, generator=draws),
        low + unit * (high - low),
        torch.randn(ROWS, generator=draws),
        torch.randn(ROWS, OBS, generator=draws),
        (torch.rand(ROWS, generator=draws) < 0.3).float(),
    )


# --------------------------------------------------------------------- the networks
@pytest.mark.parametrize("activation", ["relu", "tanh"])
@pytest.mark.parametrize("members", [1, 2])
def test_written_out_gradients_are_those_of_autograd(activation, members):
    net = StackedMLP(
        members, 5, 3, hidden=(7, 6), activation=activation, generator=generator()
    )
    rows, part = 10, 4
    x = torch.randn(rows, 5, generator=generator(1)).requires_grad_()
    grad = torch.randn(members, rows, 3, generator=generator(2))
    grad[:, part:] = 0
    out = net(x)
    leaves = [x, *net.parameters()]
    expected = torch.autograd.grad((out * grad).sum(), leaves)
    walked = Pass(net, rows)
    assert torch.equal(walked.forward(x.detach()), out)
    walked.weight_gradients(grad[:, :part])  # the other rows have none
    for found, wanted in zip(net.parameters(), expected[1:], strict=True):
        assert found.grad is not None
        torch.testing.assert_close(found.grad, wanted)
    by_input = walked.input_gradient(grad, first=2).sum(dim=0)
    torch.testing.assert_close(by_input, expected[0][:, 2:])


def test_all_weights_lie_in_one_array():
    net = StackedMLP(2, 3, 1, hidden=(4,), generator=generator())
    assert len(net.flat) == sum(p.numel() for p in net.parameters()) == 2 * (16 + 5)
    with torch.no_grad():
        net.flat.zero_()
    assert all(not p.any() for p in net.parameters())


def test_flat_adam_is_torchs():
    one = torch.randn(50, generator=generator())
    two = torch.nn.Parameter(one.clone())
    ours, theirs = FlatAdam(one, 1e-2), torch.optim.Adam([two], 1e-2)
    for step in range(5):
        one.grad = two.grad = torch.randn(50, generator=generator(step))
        ours.step()
        theirs.step()
    torch.testing.assert_close(one, two.detach())


def test_the_gradient_of_a_draw_is_that_of_autograd_and_of_the_density():
    raw = torch.randn(ROWS, 2 * ACTIONS, generator=generator())
    raw[0, ACTIONS], raw[1, ACTIONS] = LOG_STD[0] - 1, LOG_STD[1] + 1  # no gradient
    raw.requires_grad_()
    noise = torch.randn(ROWS, ACTIONS, generator=generator(1))
    weights = torch.randn(ROWS, ACTIONS, generator=generator(2))
    found = drawn(raw, noise)
    mean, log_std = raw.detach().chunk(2, dim=1)
    normal = torch.distributions.Normal(mean, log_std.clamp(*LOG_STD).exp())
    bend = torch.log(1 - found.action.detach() ** 2 + 1e-6).sum(dim=1)
    before = normal.log_prob(mean + normal.stddev * noise).sum(dim=1)
    rows = slice(1, None)  # of row 0 a float cannot tell noise from mean
    torch.testing.assert_close(
        found.log_prob[rows], (before - bend)[rows], rtol=1e-4, atol=1e-4
    )
    loss = (found.action * weights).sum() + 0.7 * found.log_prob.sum()
    (expected,) = torch.autograd.grad(loss, raw)
    with torch.no_grad():
        ours = raw_gradient(drawn(raw, noise), weights, 0.7)
    torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-5)
    assert ours[0, ACTIONS] == ours[1, ACTIONS] == 0


# ------------------------------------------------------------- Stable-Baselines3's
class _Spaces(gym.Env):
    observation_space = spaces.Box(-np.inf, np.inf, (OBS,), np.float32)
    action_space = BOX


def theirs(gamma: float = 0.9) -> sb3.SAC:
    made = sb3.SAC(
        "MlpPolicy",
        _Spaces(),
        gamma=gamma,
        tau=0.1,
        learning_rate=3e-3,
        buffer_size=1,
        ent_coef="auto_0.5",
        policy_kwargs={"net_arch": [16, 8]},
        seed=0,
        device="cpu",
    )
    made.set_logger(Logger(None, []))
    made._current_progress_remaining = 1.0
    return made


def layers(network: Any) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Weights (in, out) and biases of SB3's linear layers, in order."""
    found = [m for m in network.modules() if isinstance(m, torch.nn.Linear)]
    return [(m.weight.detach().T, m.bias.detach()) for m in found]


def pairs(ours: SoftUpdate, their: sb3.SAC) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Each array of ours beside the same one of theirs."""
    found = []
    *hidden, mean, log_std = layers(their.actor)
    head = tuple(torch.cat(each, dim=-1) for each in zip(mean, log_std, strict=True))
    stacks = [(ours.policy.network, [[*hidden, head]])]
    critics = [layers(q) for q in their.critic.q_networks]
    targets = [layers(q) for q in their.critic_target.q_networks]
    stacks += [(ours.critics, critics), (ours.targets, targets)]
    for net, members in stacks:
        for layer, (weight, bias) in enumerate(
            zip(net.weights, net.biases, strict=True)
        ):
            for m, chain in enumerate(members):
                found += [(weight[m], chain[layer][0]), (bias[m, 0], chain[layer][1])]
    assert their.log_ent_coef is not None
    return [*found, (ours._log_temperature, their.log_ent_coef.detach())]


def test_losses_and_weights_after_updates_are_those_of_stable_baselines3():
    their = theirs()
    settings = Soft(
        net_arch=(16, 8),
        learning_rate=3e-3,
        gamma=0.9,
        tau=0.1,
        batch_size=ROWS,
        temperature=0.5,
    )
    ours = SoftUpdate(settings, OBS, BOX)
    with torch.no_grad():
        for own, other in pairs(ours, their):
            own.copy_(other)
    for seed in range(3):
        data = batch(seed)
        actions = torch.tensor(their.policy.scale_action(data.actions.numpy()))
        sample = ReplayBufferSamples(
            data.states,
            actions,
            data.next_states,
            data.terminated[:, None],
            data.rewards[:, None],
        )
        their.replay_buffer.sample = lambda *_, sample=sample, **__: sample  # pyright: ignore
        torch.manual_seed(seed)
        noise = torch.cat([torch.normal(torch.zeros(ROWS, ACTIONS), 1.0) for _ in "ab"])
        torch.manual_seed(seed)
        their.train(1, ROWS)
        told: dict[str, float] = dict(zip(NAMES, ours.update(data, noise), strict=True))
        logged = their.logger.name_to_value
        for name, key in (
            ("critic_loss", "critic_loss"),
            ("actor_loss", "actor_loss"),
            ("temperature", "ent_coef"),
            ("temperature_loss", "ent_coef_loss"),
        ):
            assert told[name] == pytest.approx(logged[f"train/{key}"], rel=2e-4), name
        logged.clear()
        for own, other in pairs(ours, their):
            torch.testing.assert_close(own.detach(), other, rtol=1e-4, atol=2e-5)


# ------------------------------------------------------------------- exact, refused
def test_a_state_taken_over_goes_on_with_the_same_bits():
    one, two = SoftUpdate(SMALL, OBS, BOX), SoftUpdate(SMALL, OBS, BOX, seed=1)
    one.update(batch())
    two.load_state(one.state())
    assert one.update(batch(1)) == two.update(batch(1))
    assert torch.equal(one.policy.network.flat, two.policy.network.flat)
    assert torch.equal(one.targets.flat, two.targets.flat)
    # Weights and the array that is stepped still share their memory.
    assert two.critics.weights[0].data_ptr() == two.critics.flat.data_ptr()


def test_a_state_of_other_networks_is_refused():
    other = SoftUpdate(Soft(net_arch=(4,), batch_size=ROWS), OBS, BOX)
    with pytest.raises(IntegrityError, match="policy"):
        SoftUpdate(SMALL, OBS, BOX).load_state(other.state())


@pytest.mark.parametrize(
    ("space", "complaint"),
    [
        (spaces.Discrete(3), r"bounded Box of actions, got Discrete\(3\).*; take PPO"),
        (
            spaces.Box(-np.inf, np.inf, (2,)),
            "make it one by gymnasium.*TransformAction",
        ),
        (spaces.Box(-1, 1, (2, 2)), "flat, bounded"),
    ],
)
def test_other_actions_are_refused(space, complaint):
    with pytest.raises(ValueError, match=complaint):
        SoftUpdate(SMALL, OBS, space)


@pytest.mark.parametrize(
    "wrong", [{"gamma": 1.1}, {"tau": 0.0}, {"batch_size": 0}, {"temperature": 0.0}]
)
def test_numbers_out_of_range_are_refused(wrong):
    with pytest.raises(ValueError, match="must be"):
        Soft(**wrong)


def test_a_reward_that_is_not_finite_stops_the_training_by_name():
    data = batch()
    data.rewards[3] = torch.nan
    update = SoftUpdate(SMALL, OBS, BOX)
    with pytest.raises(FloatingPointError, match="critic_loss is nan in update 1"):
        update.update(data)


def test_a_batch_of_another_size_is_refused():
    with pytest.raises(ValueError, match="takes 32 transitions, got 5"):
        SoftUpdate(SMALL, OBS, BOX).update(batch()[:5])


# ------------------------------------------------------------------------ the policy
def test_a_saved_policy_acts_as_it_did(tmp_path: Path):
    policy = SoftUpdate(SMALL, OBS, BOX).policy
    save_policy(policy, tmp_path / "policy", {})
    loaded = load_policy(tmp_path / "policy")
    assert isinstance(loaded, SquashedPolicy)
    obs = batch().states.numpy()
    np.testing.assert_array_equal(policy.predict(obs)[0], loaded.predict(obs)[0])
    assert loaded.predict(obs[0])[0].shape == (ACTIONS,)


def test_actions_fill_their_bounds_and_follow_their_generator():
    policy = SoftUpdate(SMALL, OBS, BOX).policy
    obs = torch.zeros(4000, OBS)
    acted = policy.act(obs, generator(3)).numpy()
    assert (acted >= BOX.low).all() and (acted <= BOX.high).all()
    assert (acted.max(axis=0) > BOX.high - 0.3).all()
    assert (acted.min(axis=0) < BOX.low + 0.3).all()
    np.testing.assert_array_equal(acted, policy.act(obs, generator(3)).numpy())
    assert len(np.unique(policy.predict(obs.numpy())[0], axis=0)) == 1
