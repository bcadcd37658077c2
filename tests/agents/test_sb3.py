"""Stable-Baselines3's and Gymnasium's own tools over ours, and ours over them."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import stable_baselines3 as sb3
from point_env import LIMIT, point_env
from stable_baselines3.common.callbacks import EvalCallback
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.vec_env import VecMonitor, VecNormalize

from suite.agents.ppo import PPO
from suite.agents.vec import SnapshotVecEnv
from suite.wrappers import RewardNoise, RewardScale

SMALL = {"n_steps": 32, "batch_size": 32, "n_epochs": 1, "seed": 0, "device": "cpu"}


def vec(num_envs: int = 4) -> SnapshotVecEnv:
    return SnapshotVecEnv(point_env(num_envs, "same_step"))


def test_vec_monitor_counts_the_episodes_that_the_environment_counts():
    env = VecMonitor(vec())
    env.seed(0)
    env.reset()
    seen = 0
    for _ in range(3 * LIMIT):
        _, _, dones, infos = env.step(np.full((4, 1), 0.5, np.float32))
        for info in (infos[row] for row in np.flatnonzero(dones)):
            seen += 1
            # The point moves until it is at the goal, where it is paid 1 and ends.
            assert info["episode"]["r"] == float(info["is_success"])
            assert 1 <= info["episode"]["l"] <= LIMIT
    assert seen >= 4


def test_evaluate_policy_counts_what_the_episodes_paid():
    agent = PPO("MlpPolicy", vec(), **SMALL)
    played: Any = evaluate_policy(
        agent, VecMonitor(vec()), n_eval_episodes=12, return_episode_rewards=True
    )
    returns, lengths = played
    assert len(returns) == 12 and set(returns) <= {0.0, 1.0}
    assert all(1 <= length <= LIMIT for length in lengths)


def test_eval_callback_evaluates_beside_a_training(tmp_path):
    callback = EvalCallback(
        VecMonitor(vec()), n_eval_episodes=4, eval_freq=32, log_path=str(tmp_path)
    )
    PPO("MlpPolicy", VecMonitor(vec()), **SMALL).learn(256, callback=callback)
    stored = np.load(tmp_path / "evaluations.npz")
    assert stored["timesteps"].tolist() == [128, 256]
    assert stored["results"].shape == (2, 4)


def test_vec_normalize_scales_what_sb3_learns_from():
    env = VecNormalize(vec(), norm_obs=True, norm_reward=False)
    sb3.PPO("MlpPolicy", env, **SMALL).learn(512)
    statistics: Any = env.obs_rms
    assert abs(statistics.mean[0]) < 1 and 0 < statistics.var[0] < 1


def next_step(num_envs: int = 3) -> Any:
    return point_env(num_envs, "next_step")


@pytest.mark.parametrize("is_outside", [True, False])
def test_episode_statistics_over_and_under_a_wrapper_of_ours(is_outside):
    record = gym.wrappers.vector.RecordEpisodeStatistics
    env: Any = next_step()
    env = record(RewardScale(env, 3.0)) if is_outside else RewardScale(record(env), 3.0)
    env.reset(seed=0)
    returns = []
    for _ in range(3 * LIMIT):
        *_, info = env.step(np.full((3, 1), 0.5, np.float32))
        if "episode" in info:
            returns += info["episode"]["r"][info["_episode"]].tolist()
    # From outside they count what the agent is paid, from inside what the task pays.
    assert set(returns) <= {0.0, 3.0 if is_outside else 1.0} and len(set(returns)) == 2


def test_normalize_reward_over_noise_of_ours_and_noise_over_it():
    for env in (
        gym.wrappers.vector.NormalizeReward(RewardNoise(next_step(), 0.5, seed=1)),
        RewardNoise(gym.wrappers.vector.NormalizeReward(next_step()), 0.5, seed=1),
    ):
        env.reset(seed=0)
        rewards = [env.step(np.zeros((3, 1), np.float32))[1] for _ in range(2 * LIMIT)]
        assert np.isfinite(rewards).all() and np.std(rewards) > 0.1
