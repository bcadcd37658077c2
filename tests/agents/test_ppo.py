from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import stable_baselines3 as sb3
import torch
from point_env import point_env
from stable_baselines3.common.callbacks import BaseCallback

from suite.agents.advantages import GAE, Estimate, MonteCarlo
from suite.agents.policies import load_policy
from suite.agents.ppo import PPO
from suite.agents.vec import SnapshotVecEnv

SMALL = {"n_steps": 64, "batch_size": 64, "n_epochs": 2, "seed": 0, "device": "cpu"}


def parameters(agent: sb3.PPO) -> np.ndarray:
    return (
        torch.nn.utils.parameters_to_vector(agent.policy.parameters()).detach().numpy()
    )


@pytest.mark.parametrize("env", ["CartPole-v1", "Pendulum-v1"])
def test_without_an_estimator_it_learns_what_sb3_learns(env):
    # Pendulum is truncated every 200 steps and never terminates; CartPole does both.
    # One after the other: SB3 seeds the global generators when it constructs.
    ours = PPO("MlpPolicy", env, **SMALL).learn(320)
    theirs = sb3.PPO("MlpPolicy", env, **SMALL).learn(320)
    np.testing.assert_allclose(parameters(ours), parameters(theirs), atol=1e-5)


def test_iterate_learns_what_learn_learns():
    by_learn = PPO("MlpPolicy", point_env(4, "same_step"), **SMALL)
    by_learn.learn(512)
    by_iterate = PPO("MlpPolicy", point_env(4, "same_step"), **SMALL)
    metrics = list(by_iterate.iterate(512))
    assert len(metrics) == 2 and "train/loss" in metrics[0]
    np.testing.assert_array_equal(parameters(by_learn), parameters(by_iterate))


def test_same_seed_gives_the_same_parameters():
    runs = [
        PPO("MlpPolicy", point_env(4, "same_step"), **SMALL).learn(512) for _ in "ab"
    ]
    np.testing.assert_array_equal(parameters(runs[0]), parameters(runs[1]))
    other = PPO("MlpPolicy", point_env(4, "same_step"), **{**SMALL, "seed": 1}).learn(
        512
    )
    assert (parameters(other) != parameters(runs[0])).any()


def test_estimator_sees_raw_rewards_and_its_steps_are_counted():
    class Constant:
        needs_snapshots = False
        seen = None

        def __call__(self, rollout, policy):
            Constant.seen = rollout
            return Estimate(np.ones_like(rollout.rewards), rollout.rewards, sim_steps=7)

    agent = PPO("MlpPolicy", point_env(4, "same_step"), advantage=Constant(), **SMALL)
    list(agent.iterate(256))
    rollout = Constant.seen
    assert rollout is not None
    # The point's reward is 1 exactly where it terminates: a folded bootstrap would
    # show.
    np.testing.assert_array_equal(
        rollout.rewards, rollout.terminated.astype(np.float32)
    )
    assert (
        rollout.final_values[:-1][~(rollout.terminated | rollout.truncated)[:-1]] == 0
    ).all()
    assert agent.sim_steps == 256 + 7
    assert (agent.rollout_buffer.advantages == 1).all()


def test_nan_advantages_stop_the_training_by_name():
    class Broken:
        needs_snapshots = False

        def __call__(self, rollout, policy):
            return Estimate(np.full_like(rollout.rewards, np.nan), rollout.rewards)

    agent = PPO("MlpPolicy", point_env(4, "same_step"), advantage=Broken(), **SMALL)
    with pytest.raises(FloatingPointError, match="Broken gave NaN"):
        list(agent.iterate(256))


@pytest.mark.parametrize(
    ("found", "told"),
    [
        ((np.zeros((64, 2)), np.zeros((64, 2))), "got tuple"),
        (None, "got NoneType"),
        (Estimate(np.zeros(2), np.zeros((64, 2))), r"got ndarray \(2,\) and ndarray"),
        (Estimate(np.zeros((64, 2)), np.zeros((64, 1))), r"and ndarray \(64, 1\)"),
        (Estimate(torch.zeros(64, 2), np.zeros((64, 2))), r"got Tensor"),  # pyright: ignore[reportArgumentType]
    ],
)
def test_what_is_no_estimate_of_the_rollout_is_refused(found, told):
    class Wrong:
        needs_snapshots = False

        def __call__(self, rollout, policy):
            return found

    env = point_env(2, "same_step")
    agent = PPO("MlpPolicy", env, advantage=Wrong(), **SMALL)
    with pytest.raises(ValueError, match=rf"Wrong must .* = \(64, 2\), .*{told}"):
        next(agent.iterate(128))


def test_callback_can_stop_a_rollout():
    class Stop(BaseCallback):
        def _on_step(self) -> bool:
            return self.num_timesteps < 40

    agent = PPO("MlpPolicy", point_env(4, "same_step"), **SMALL)
    agent.learn(10_000, callback=Stop())
    assert agent.num_timesteps == 40


def test_saved_agent_loads_in_sb3(tmp_path):
    agent = PPO("MlpPolicy", point_env(4, "same_step"), **SMALL)
    agent.save(tmp_path / "agent.zip")
    loaded = sb3.PPO.load(tmp_path / "agent.zip")
    np.testing.assert_array_equal(parameters(agent), parameters(loaded))


def test_vec_env_refuses_another_autoreset_mode_and_says_what_to_do():
    with pytest.raises(ValueError, match="same_step"):
        SnapshotVecEnv(gym.make_vec("CartPole-v1", num_envs=2))


def test_vec_env_reports_the_end_of_an_episode():
    env = SnapshotVecEnv(point_env(3, "same_step"))
    env.seed(0)
    env.reset()
    ends = []
    for _ in range(60):
        step: Any = env.step(np.zeros((3, 1), np.float32))
        obs, _, dones, infos = step
        ends += [(info, obs[row]) for row, info in enumerate(infos) if dones[row]]
    cut = [info for info, _ in ends if info["TimeLimit.truncated"]]
    won = [info for info, _ in ends if info["is_success"]]
    assert cut and all(info["episode"]["l"] == 20 for info in cut)
    assert all(abs(info["terminal_observation"][0]) < 0.15 for info in won)
    assert all((info["terminal_observation"] != obs).any() for info, obs in ends)


def test_warm_up_trains_the_critic_and_leaves_the_actor():
    agent = PPO(
        "MlpPolicy", point_env(4, "same_step"), critic_warmup=2, **SMALL, gamma=0.8
    )
    actor = agent.policy.get_parameter("action_net.weight")
    critic = agent.policy.get_parameter("value_net.weight")
    start = actor.detach().clone(), critic.detach().clone()
    actors = []
    for metrics in agent.iterate(3 * 4 * 64):
        actors.append(torch.equal(actor, start[0]))
        assert "train/value_loss" in metrics
    assert actors == [True, True, False]
    assert not torch.equal(critic, start[1])


def test_a_warm_up_regresses_the_value_of_each_obs_on_its_own_return():
    settings = {**SMALL, "n_epochs": 1, "batch_size": 256, "learning_rate": 0.0}
    agent = PPO("MlpPolicy", point_env(4, "same_step"), critic_warmup=1, **settings)
    (metrics,) = agent.iterate(4 * 64)
    buffer = agent.rollout_buffer
    by_hand = np.mean((buffer.values - buffer.returns) ** 2)
    assert metrics["train/value_loss"] == pytest.approx(by_hand, rel=1e-5)
    assert buffer.returns.std() > 0.1


def test_a_negative_warm_up_is_refused():
    with pytest.raises(ValueError, match="critic_warmup must be 0 or more"):
        PPO("MlpPolicy", "Pendulum-v1", critic_warmup=-1)


def test_a_pretrained_critic_is_taken_over_and_its_actor_is_not():
    other = PPO("MlpPolicy", point_env(4, "same_step"), **{**SMALL, "seed": 7}).policy
    plain = PPO("MlpPolicy", point_env(4, "same_step"), **SMALL).policy.state_dict()
    taken = PPO("MlpPolicy", point_env(4, "same_step"), critic=other, **SMALL)
    for name, tensor in taken.policy.state_dict().items():
        source = other.state_dict() if "value_net" in name else plain
        assert torch.equal(tensor, source[name]), name


def test_a_critic_that_was_not_saved_is_refused():
    policy = load_policy("pickcube-expert")
    with pytest.raises(ValueError, match="saved without its critic"):
        PPO("MlpPolicy", point_env(4, "same_step"), critic=policy, **SMALL)


def test_a_critic_of_another_shape_is_refused():
    small = {**SMALL, "policy_kwargs": {"net_arch": [8]}}
    other = PPO("MlpPolicy", point_env(4, "same_step"), **small).policy
    with pytest.raises(ValueError, match=r"does not fit: .*value_net.* has shape"):
        PPO("MlpPolicy", point_env(4, "same_step"), critic=other, **SMALL)


def test_a_loaded_agent_estimates_with_the_gamma_and_lambda_it_was_saved_with(tmp_path):
    settings = {**SMALL, "gamma": 0.5, "gae_lambda": 0.6}
    env: Any = point_env(4, "same_step")
    PPO("MlpPolicy", env, **settings).save(tmp_path / "a.zip")
    loaded = PPO.load(tmp_path / "a.zip", env=env)
    assert loaded.estimator == GAE(0.5, 0.6)
    loaded.set_env(env)
    loaded.learn(256)


def test_an_agent_saved_with_an_estimator_wants_it_back_when_loaded(tmp_path):
    env: Any = point_env(4, "same_step")
    PPO("MlpPolicy", env, advantage=MonteCarlo(0.8), **SMALL).save(tmp_path / "a.zip")
    with pytest.raises(ValueError, match="saved with the estimator MonteCarlo"):
        PPO.load(tmp_path / "a.zip", env=env).learn(256)
    again = PPO.load(tmp_path / "a.zip", env=env, advantage=MonteCarlo(0.8))
    assert again.estimator == MonteCarlo(0.8)
    again.learn(256)


@pytest.mark.parametrize("wrong", ["gae", GAE, lambda rollout, policy: None])
def test_what_is_no_estimator_is_refused(wrong):
    with pytest.raises(TypeError, match="advantage must be an estimator such as GAE"):
        PPO("MlpPolicy", point_env(4, "same_step"), advantage=wrong, **SMALL)


def test_no_epoch_is_refused():
    with pytest.raises(ValueError, match="n_epochs must be 1 or more, got 0"):
        PPO("MlpPolicy", point_env(4, "same_step"), **{**SMALL, "n_epochs": 0})
