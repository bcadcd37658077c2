from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from point_env import point_env, point_policy
from stable_baselines3 import PPO as SB3PPO

from suite.agents.policies import (
    Frozen,
    copy_actor,
    load_policy,
    policy_names,
    sample_actions,
    save_policy,
)
from suite.runs import IntegrityError

OBS = np.linspace(-1, 1, 50, dtype=np.float32)[:, None]


def test_saved_policy_acts_the_same(tmp_path):
    policy = point_policy()
    save_policy(policy, tmp_path / "p", {"from": "a test"})
    loaded = load_policy(tmp_path / "p")
    np.testing.assert_array_equal(
        sample_actions(policy, OBS), sample_actions(loaded, OBS)
    )
    card = json.loads((tmp_path / "p" / "card.json").read_text())
    assert card["from"] == "a test"


@pytest.mark.parametrize("name", ["policy.safetensors", "card.json", "MANIFEST.json"])
def test_damaged_file_is_refused_by_name(tmp_path, name):
    save_policy(point_policy(), tmp_path / "p", {})
    path = tmp_path / "p" / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(IntegrityError, match=name):
        load_policy(tmp_path / "p")


def test_unknown_policy_names_the_known_ones():
    with pytest.raises(
        ValueError, match="no policy 'pickcube-expurt'; did you mean pickcube-expert"
    ):
        load_policy("pickcube-expurt")


def test_loading_draws_nothing_from_the_global_generator(tmp_path):
    save_policy(point_policy(), tmp_path / "p", {})
    torch.manual_seed(0)
    before = torch.get_rng_state()
    load_policy(tmp_path / "p")
    assert torch.equal(before, torch.get_rng_state())


def test_sampling_uses_its_own_generator_and_the_policy_distribution():
    policy = point_policy(log_std=-1.0)
    torch.manual_seed(0)
    before = torch.get_rng_state()
    draws = [
        sample_actions(
            policy, OBS[25:26].repeat(4000, 0), torch.Generator().manual_seed(s)
        )
        for s in (1, 1, 2)
    ]
    assert torch.equal(before, torch.get_rng_state())
    np.testing.assert_array_equal(draws[0], draws[1])
    assert (draws[0] != draws[2]).any()
    # 4000 draws: the standard error of the mean is .006, of the deviation .004
    assert draws[0].mean() == pytest.approx(
        sample_actions(policy, OBS[25:26]).item(), abs=0.03
    )
    assert draws[0].std() == pytest.approx(np.exp(-1.0), abs=0.02)


def test_categorical_policies_sample_with_their_own_generator():
    policy = SB3PPO("MlpPolicy", "CartPole-v1", seed=0, device="cpu").policy
    obs = np.zeros((1000, 4), np.float32)
    actions = sample_actions(policy, obs, torch.Generator().manual_seed(0))
    assert set(actions.tolist()) == {0, 1} and 0.4 < actions.mean() < 0.6


def test_copied_actor_keeps_the_targets_critic():
    source, target = point_policy(seed=1), point_policy(seed=2)
    critic = target.value_net.weight.detach().clone()
    copy_actor(source, target)
    np.testing.assert_array_equal(
        sample_actions(source, OBS), sample_actions(target, OBS)
    )
    assert torch.equal(target.value_net.weight, critic)


def test_policy_kept_without_its_critic_acts_the_same_and_values_nothing(tmp_path):
    policy = point_policy()
    save_policy(policy, tmp_path / "p", {}, with_critic=False)
    loaded = load_policy(tmp_path / "p")
    np.testing.assert_array_equal(
        sample_actions(policy, OBS), sample_actions(loaded, OBS)
    )
    assert torch.isnan(loaded.predict_values(torch.as_tensor(OBS))).all()


def test_start_policy_of_another_shape_is_refused():
    policy = SB3PPO("MlpPolicy", "Pendulum-v1", device="cpu").policy
    with pytest.raises(ValueError, match="does not fit"):
        copy_actor(policy, point_policy())


def test_frozen_agent_only_changes_its_noise():
    agent = Frozen(
        "MlpPolicy", point_env(2, "same_step"), log_std=-2.0, policy_kwargs=None
    )
    start = agent.policy.state_dict()
    agent.start_from(agent.policy)
    assert list(agent.iterate(1000)) == []
    assert (agent.policy.log_std == -2.0).all()
    assert all(torch.equal(v, start[k]) for k, v in agent.policy.state_dict().items())


def test_packaged_policies_load_and_name_their_origin():
    for name in policy_names():
        assert load_policy(name).action_space.shape == (8,)
