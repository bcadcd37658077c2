from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from point_env import collect, point_env

from suite.agents.advantages import GAE
from suite.agents.awr import AWR, FixedBatchAWR, awr_weights


def agent(**kwargs) -> AWR:
    env = point_env(4, "same_step")
    defaults = {"n_steps": 8, "batch_size": 16, "n_epochs": 1, "seed": 0, "gamma": 0.8}
    return AWR("MlpPolicy", env, **{**defaults, **kwargs})


def test_weights_equal_hand_numbers_and_are_clipped():
    weights, clipped = awr_weights(torch.tensor([0.0, 0.5, -1.0, 10.0]), 0.5, 20.0)
    np.testing.assert_allclose(weights, [1.0, math.e, math.exp(-2), 20.0], rtol=1e-6)
    assert clipped.tolist() == [False, False, False, True]


def test_loss_equals_hand_numbers():
    a = agent(vf_coef=0.0)

    class Batch:
        observations = torch.zeros(2, 1)
        actions = torch.tensor([[0.5], [2.0]])  # the second is outside the box

    with torch.no_grad():
        a.policy.log_std.fill_(math.log(0.5))
        mean = a.policy.get_distribution(Batch.observations).mode()[0, 0].item()
        loss = a._loss(Batch, torch.tensor([1.0, 3.0])).item()
    # log N(x; m, .5) = -(x - m)^2 / (2 * .25) - ln(.5) - ln(2 pi) / 2
    log_prob = [
        -((x - mean) ** 2) / 0.5 - math.log(0.5) - 0.5 * math.log(2 * math.pi)
        for x in (0.5, 2.0)
    ]
    assert loss == pytest.approx(-(1.0 * log_prob[0] + 3.0 * log_prob[1]) / 2, rel=1e-5)


def test_advantages_are_normalised_over_the_batch_and_an_offset_cancels():
    def trained(offset: float) -> np.ndarray:
        a = agent(vf_coef=0.0, advantage=GAE(0.8, 0.9))
        collect(a)
        a.rollout_buffer.advantages += offset
        a.train()
        return a.policy.get_parameter("action_net.weight").detach().numpy().copy()

    np.testing.assert_allclose(trained(0.0), trained(-0.08), atol=1e-6)


def test_constant_advantages_give_plain_behaviour_cloning_weights():
    a = agent(vf_coef=0.0)
    collect(a)
    a.rollout_buffer.advantages[:] = 0.25
    a.train()
    assert a.logger.name_to_value["advantage/weight_mean"] == pytest.approx(1.0)
    assert a.logger.name_to_value["advantage/clipped"] == 0.0


def test_critic_is_untouched_without_and_trained_with_value_loss():
    for vf_coef, moves in ((0.0, False), (0.5, True)):
        a = agent(vf_coef=vf_coef)
        before = a.policy.value_net.weight.detach().clone()
        next(a.iterate(32))
        assert (a.policy.value_net.weight != before).any().item() is moves


def test_policy_improves_on_the_point_task():
    a = agent(n_steps=40, batch_size=80, n_epochs=20, beta=0.5, learning_rate=1e-3)
    list(a.iterate(40 * 4 * 25))
    assert a.ep_info_buffer is not None and a.ep_success_buffer is not None
    lengths = [episode["l"] for episode in a.ep_info_buffer]
    # Untrained, a random walk ends at the goal in some 70 % of episodes of 20 steps.
    assert np.mean(lengths) < 5 and np.mean(list(a.ep_success_buffer)) > 0.95


@pytest.mark.parametrize("bad", [{"beta": 0.0}, {"max_weight": -1.0}])
def test_bad_temperature_is_refused(bad):
    with pytest.raises(ValueError, match="must be positive"):
        agent(**bad)


def fixed(**kwargs) -> FixedBatchAWR:
    settings = {"n_steps": 8, "batch_size": 16, "n_epochs": 2, "seed": 0, "gamma": 0.8}
    env = point_env(4, "same_step")
    return FixedBatchAWR("MlpPolicy", env, **{**settings, "vf_coef": 0.0, **kwargs})


def test_a_fixed_batch_is_collected_once_and_regressed_on_again_and_again():
    a = fixed(updates=5)
    before = a.policy.log_std.item()
    seen = []
    for metrics in a.iterate(10**6):
        seen.append(a.rollout_buffer.actions.copy().ravel())
        assert metrics["train/n_updates"] == 2 * len(seen)
    assert len(seen) == 5 and a.num_timesteps == 32
    assert all(set(actions) == set(seen[0]) for actions in seen)
    assert a.policy.log_std.item() != before


def test_one_update_on_a_fixed_batch_is_one_update_of_awr():
    # One after the other: SB3 seeds the global generators when it constructs.
    offline = fixed(updates=1)
    list(offline.iterate(32))
    online = agent(vf_coef=0.0, n_epochs=2)
    list(online.iterate(32))
    ours, theirs = offline.policy.state_dict(), online.policy.state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_no_update_is_refused():
    with pytest.raises(ValueError, match="updates >= 1"):
        fixed(updates=0)
