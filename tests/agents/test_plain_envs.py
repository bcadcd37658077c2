"""Agents on environments that are not of this suite."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch

from suite.agents.mpc import MPC
from suite.agents.pace import Pace
from suite.agents.planners import RandomShooting
from suite.agents.sac import SAC
from suite.arrays import NotRestorable
from suite.envs.same_step import SameStepVectorEnv
from suite.worldmodels.batches import Bootstrap
from suite.worldmodels.ensemble import Ensemble
from suite.worldmodels.fit import Fit
from suite.worldmodels.learned import LearnedDynamics
from suite.wrappers import RewardNoise


def pendulums(rows: int) -> SameStepVectorEnv:
    make = lambda: gym.make("Pendulum-v1", max_episode_steps=7)  # noqa: E731
    return SameStepVectorEnv([make] * rows)


def cost(obs: Any, action: Any, next_obs: Any) -> Any:
    """Pendulum's reward, by a user who writes it down again."""
    angle = torch.atan2(obs[..., 1], obs[..., 0])
    return -(angle**2 + 0.1 * obs[..., 2] ** 2 + 0.001 * action[..., 0] ** 2)


def planning(env: Any) -> MPC:
    return MPC(
        env,
        planner=RandomShooting(4, 20),
        fit=Fit(
            LearnedDynamics(Ensemble(2, 4, 3, hidden=(16,)), reward=cost),
            batches=Bootstrap(16),
        ),
        initial_steps=60,
        batch_size=30,
        fit_epochs=2,
    )


def test_mpc_learns_a_plain_environment_with_a_users_own_reward():
    agent = planning(pendulums(3))
    *_, last = agent.iterate(90)
    # The reward is the environment's, and no transition goes over an end.
    assert last["model/reward_error"] < 1e-3 and last["model/end_error"] == 0
    data = agent.data
    assert data is not None and len(data) == 90 and not data.terminated.any()
    turned = torch.atan2(data.next_states[:, 1], data.next_states[:, 0])
    came = torch.atan2(data.states[:, 1], data.states[:, 0])
    moved = torch.remainder(turned - came + torch.pi, 2 * torch.pi) - torch.pi
    torch.testing.assert_close(moved, 0.05 * data.next_states[:, 2], rtol=0, atol=1e-4)


def test_sac_tells_the_returns_of_plain_environments():
    pace = Pace(exploration=42, collect=3, updates=1, epoch=42)
    agent = SAC(RewardNoise(pendulums(3), std=0.0, seed=0), pace=pace)
    told = next(agent.iterate(84))
    assert told["rollout/length_mean"] == 7
    assert -7 * 17 < told["rollout/return_mean"] < 0
    assert not agent.memory.sample(100, torch.Generator()).terminated.any()


def test_gymnasiums_own_mode_is_refused_with_a_way_out():
    def make() -> gym.Env:
        return gym.make("Pendulum-v1")

    with pytest.raises(ValueError, match="and put others into suite"):
        planning(gym.vector.SyncVectorEnv([make]))


def test_a_plain_environment_says_that_it_cannot_be_saved():
    agent = planning(pendulums(3))
    next(agent.iterate(60))
    with pytest.raises(NotRestorable, match="has no snapshot, restore and halt"):
        agent.state()
    assert np.isfinite(agent.policy.predict(np.zeros((1, 3), np.float32))[0]).all()
