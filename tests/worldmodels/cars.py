"""A car in closed form whose gap to its nominal model is known, and its drives."""

from __future__ import annotations

import numpy as np
import torch

from suite.transitions import Dataset
from suite.worldmodels.car import Car
from suite.worldmodels.car_motion import moved
from suite.worldmodels.car_plants import Kinematic

NOMINAL = Kinematic()
TRUE = Kinematic(speed_lag=0.15, steer_lag=0.1)
TRIM = 0.03  # rad, that the true car steers to the left of what it is told
PLANT_ALONE = Car(adapter=None, residual=None)


def true_step(state: torch.Tensor, action: torch.Tensor) -> torch.Tensor:
    """The next states (..., 6) of the true car."""
    steer, speed = 0.38 * action[..., 0] + TRIM, 3.0 * action[..., 1]
    twist = TRUE.step(state[..., 3:], steer, speed, None, 0.05)
    return torch.cat([moved(state[..., :3], twist, 0.05), twist], dim=-1)


def drives(
    count: int = 20, steps: int = 40, seed: int = 0, *, first_id: int = 0
) -> Dataset:
    """Trajectories of the true car under commands held for ten steps each."""
    generator = torch.Generator().manual_seed(seed)
    state = torch.zeros(count, 6)
    state[:, 2] = 6.28 * torch.rand(count, generator=generator)
    state[:, 3] = 2 * torch.rand(count, generator=generator)
    held = 2 * torch.rand(count, -(-steps // 10), 2, generator=generator) - 1
    actions = held.repeat_interleave(10, dim=1)[:, :steps]
    states = [state]
    for t in range(steps):
        states.append(true_step(states[-1], actions[:, t]))
    return recorded(torch.stack(states, dim=1), actions, first_id)


def recorded(states: torch.Tensor, actions: torch.Tensor, first_id: int = 0) -> Dataset:
    """Trajectories (N, T + 1, 6) and commands (N, T, 2) as a dataset."""
    count, steps = actions.shape[:2]
    ends = np.zeros((count, steps), bool)
    ends[:, -1] = True
    return Dataset(
        obs=states[:, :-1].reshape(count * steps, -1).numpy(),
        actions=actions.reshape(count * steps, -1).numpy(),
        rewards=np.zeros(count * steps),
        next_obs=states[:, 1:].reshape(count * steps, -1).numpy(),
        terminated=np.zeros(count * steps, bool),
        truncated=ends.ravel(),
        lengths=np.full(count, steps),
        episode_ids=first_id + np.arange(count),
    )
