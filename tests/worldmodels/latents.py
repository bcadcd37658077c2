"""Latent models small enough to test, and pieces of episodes for them."""

from __future__ import annotations

import gymnasium as gym
import numpy as np
import torch

from suite.worldmodels.latent import LatentModel
from suite.worldmodels.latent_sizes import LatentSizes
from suite.worldmodels.subsequences import Subsequences

TINY = LatentSizes(16, (12,), (20, 24))
OBS, ACTIONS = 5, 2


def tiny_model(**kwargs) -> LatentModel:
    return LatentModel(OBS, ACTIONS, **{"size": TINY, "seed": 3, **kwargs})


def stirred(model: LatentModel, seed: int = 0) -> LatentModel:
    """With weights far from the first ones, among which many are 0."""
    drawn = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weights in model.parameters():
            weights.add_(0.3 * torch.randn(weights.shape, generator=drawn))
    return model


def pieces(steps: int = 4, rows: int = 6, seed: int = 0) -> Subsequences:
    """Random numbers; row 1 ends after its first step, row 2 after its last."""
    drawn = torch.Generator().manual_seed(seed)
    terminated = torch.zeros(steps, rows, dtype=torch.bool)
    terminated[0, 1] = terminated[-1, 2] = True
    return Subsequences(
        torch.randn(steps + 1, rows, OBS, generator=drawn),
        torch.randn(steps, rows, ACTIONS, generator=drawn),
        3 + 2 * torch.randn(steps, rows, generator=drawn),
        terminated,
    )


def pendulum_pieces(steps: int, rows: int, seed: int = 0) -> Subsequences:
    """Pieces of random play on Pendulum-v1."""
    env = gym.make("Pendulum-v1")
    env.action_space.seed(seed)
    columns: list[list] = [[], [], []]
    for row in range(rows):
        obs, rewards, actions = [env.reset(seed=seed + row)[0]], [], []
        for _ in range(steps):
            action = env.action_space.sample()
            seen, reward, *_ = env.step(action)
            obs.append(seen)
            rewards.append(reward)
            actions.append(action)
        for column, found in zip(columns, (obs, actions, rewards), strict=True):
            column.append(np.array(found, np.float32))
    obs, actions, rewards = (
        torch.from_numpy(np.stack(column, axis=1)) for column in columns
    )
    return Subsequences(obs, actions, rewards, torch.zeros_like(rewards).bool())
