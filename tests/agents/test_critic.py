from __future__ import annotations

import numpy as np
import pytest
import torch
from point_env import collect, endless_task, point_env, point_policy

from suite.agents.advantages import GAE, Rollout
from suite.agents.critic import CriticError, CriticPretraining, ReturnsToGo
from suite.agents.policies import copy_actor, sample_actions

GAMMA = 0.8


def rollout(rewards, terminated, truncated) -> Rollout:
    rewards = np.array(rewards, float)[:, None]
    zeros = np.zeros_like(rewards)
    return Rollout(
        obs=zeros[..., None],
        actions=zeros[..., None],
        rewards=rewards,
        terminated=np.array(terminated, bool)[:, None],
        truncated=np.array(truncated, bool)[:, None],
        values=zeros,
        final_values=zeros,
        log_probs=zeros,
    )


def test_returns_to_go_equal_hand_numbers_and_are_unknown_after_the_last_end():
    #        succeeds at step 2, is cut at step 4, goes on after step 5
    found = ReturnsToGo(0.5)(
        rollout(
            [0.0, 0.0, 1.0, 0.5, 1.0, 8.0],
            [False, False, True, False, False, False],
            [False, False, False, False, True, False],
        )
    )
    np.testing.assert_array_equal(
        found.returns[:, 0], [0.25, 0.5, 1.0, 1.0, 1.0, np.nan]
    )
    assert found.advantages[-1, 0] == 0
    assert found.metrics["critic/known_share"] == pytest.approx(5 / 6)


def agent(**kwargs) -> CriticPretraining:
    settings = {
        "n_steps": 64,
        "batch_size": 64,
        "n_epochs": 20,
        "seed": 0,
        "gamma": GAMMA,
        "learning_rate": 3e-3,
        "policy_kwargs": {"net_arch": {"pi": [8], "vf": [32, 32]}},
    }
    return CriticPretraining(
        "MlpPolicy", point_env(8, "same_step"), **settings | kwargs
    )


def test_pretraining_fits_the_critic_and_leaves_the_actor_as_it_was():
    made, actor = agent(), point_policy()
    made.start_from(actor)
    error = CriticError(point_env_of, gamma=GAMMA, episodes=64)
    before = error(made.policy, 0)
    for metrics in made.iterate(8 * 64 * 6):
        assert metrics["critic/held_out_mse"] >= 0
    after = error(made.policy, 0)
    # The point's way is decided by where it starts: a critic can be almost perfect.
    assert before["value_explained_variance"] < 0.5
    assert after["value_explained_variance"] > 0.95
    assert after["mean_return"] == before["mean_return"]
    for name, tensor in actor.state_dict().items():
        if "value" not in name:
            assert torch.equal(tensor, made.policy.state_dict()[name]), name


def point_env_of(num_envs: int, autoreset_mode: str = "disabled", num_threads: int = 1):
    return point_env(num_envs, autoreset_mode)


@pytest.mark.parametrize("deterministic", [True, False])
def test_critic_error_equals_a_plain_loop(deterministic):
    policy = point_policy(log_std=-1.0)
    found = CriticError(
        point_env_of, gamma=GAMMA, deterministic=deterministic, episodes=16, seed=3
    )(policy, 5)
    seeds = np.random.SeedSequence([3, 5]).generate_state(2)
    generator = torch.Generator().manual_seed(int(seeds[1]))
    env = point_env(16)
    obs, _ = env.reset(seed=int(seeds[0] >> 1))
    paths = [[] for _ in range(16)]
    done = np.zeros(16, bool)
    while not done.all():
        values = policy.predict_values(torch.as_tensor(obs)).detach().numpy()[:, 0]
        noise = None if deterministic else generator
        obs, rewards, terminated, truncated, _ = env.step(
            sample_actions(policy, obs, noise)
        )
        for row in np.flatnonzero(~done):
            paths[row].append((values[row], rewards[row]))
        done |= terminated | truncated
    errors, returns = [], []
    for path in paths:
        for t, (value, _) in enumerate(path):
            gain = sum(GAMMA**k * reward for k, (_, reward) in enumerate(path[t:]))
            errors.append(value - gain)
            returns.append(gain)
    assert found["value_mse"] == pytest.approx(np.mean(np.square(errors)), rel=1e-5)
    assert found["mean_return"] == pytest.approx(np.mean(returns), rel=1e-6)


def test_without_noise_it_collects_what_the_most_likely_action_does():
    few = {"n_steps": 4, "batch_size": 32}
    silent, noisy = agent(**few), agent(**few, deterministic=False)
    for made in (silent, noisy):
        copy_actor(point_policy(log_std=0.0), made.policy)
    actions = []
    for made in (silent, noisy):
        collect(made)
        obs = torch.as_tensor(made.rollout_buffer.observations[:, 0])
        likely = made.policy.get_distribution(obs).mode().detach().numpy()
        actions.append(np.abs(made.rollout_buffer.actions[:, 0] - likely).max())
    assert actions[0] < 1e-6 and actions[1] > 0.1


def test_a_rollout_without_an_end_is_refused():
    made = CriticPretraining(
        "MlpPolicy",
        point_env(2, "same_step", endless_task()),
        n_steps=4,
        batch_size=8,
        gamma=GAMMA,
    )
    with pytest.raises(ValueError, match="no episode ended within 4 steps"):
        next(made.iterate(8))


def test_an_estimator_is_refused():
    with pytest.raises(ValueError, match="takes no advantage estimator"):
        agent(advantage=GAE(0.8, 0.9))
