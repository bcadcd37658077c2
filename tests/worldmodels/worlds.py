"""Models and data whose truth is known."""

from __future__ import annotations

from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np
import torch

from suite.arrays import namespace
from suite.worldmodels.dynamics import Transition
from suite.worldmodels.ensemble import Ensemble, GaussianEnsemble
from suite.worldmodels.experience import Experience
from suite.worldmodels.learned import LearnedDynamics


class Swing(NamedTuple):
    angle: torch.Tensor  # (B,) rad, 0 is up
    speed: torch.Tensor  # (B,) rad/s


class Pendulum:
    """Gymnasium's Pendulum-v1 in torch."""

    def start(self, state: torch.Tensor) -> Swing:
        state = state.double()
        return Swing(torch.atan2(state[:, 1], state[:, 0]), state[:, 2])

    def step(self, z: Swing, action: torch.Tensor, *, generator: Any = None):
        torque = action.double()[:, 0].clamp(-2, 2)
        angle = (z.angle + torch.pi) % (2 * torch.pi) - torch.pi
        cost = angle**2 + 0.1 * z.speed**2 + 0.001 * torque**2
        change = (15 * torch.sin(z.angle) + 3 * torque) * 0.05
        speed = (z.speed + change).clamp(-8, 8)
        ends = torch.zeros(len(cost), dtype=torch.bool)
        return Transition(Swing(z.angle + speed * 0.05, speed), -cost, ends)

    def observe(self, z: Swing) -> torch.Tensor:
        return torch.stack([torch.cos(z.angle), torch.sin(z.angle), z.speed], dim=1)


def swing_reward(state: Any, action: Any, next_state: Any) -> Any:
    """Pendulum's reward of observations (..., 3), NumPy or torch."""
    xp = namespace(state)
    angle = xp.atan2(state[..., 1], state[..., 0])
    return -(angle**2 + 0.1 * state[..., 2] ** 2 + 0.001 * action[..., 0] ** 2)


def is_far(state: Any) -> Any:
    """States whose first number is above 1 end."""
    return state[..., 0] > 1


def pays_first(state: Any, action: Any, next_state: Any) -> Any:
    return next_state[..., 0]


def pendulum_data(steps: int = 400) -> Experience:
    """Random Pendulum-v1 steps, 40 at a time."""
    env = gym.make("Pendulum-v1")
    env.action_space.seed(0)
    columns: list[list[Any]] = [[], [], [], [], []]
    for episode in range(steps // 40):
        obs, _ = env.reset(seed=episode)
        for _ in range(40):
            action = env.action_space.sample()
            next_obs, reward, terminated, _, _ = env.step(action)
            found = (obs, action, reward, next_obs, terminated)
            for column, value in zip(columns, found, strict=True):
                column.append(value)
            obs = next_obs
    return Experience.of(*(np.array(column) for column in columns))


def pendulum_dynamics(kind: type[Ensemble] = Ensemble, members: int = 3):
    """A small untrained ensemble on Pendulum's observations."""
    ensemble = kind(
        members, 4, 3, hidden=(16, 16), generator=torch.Generator().manual_seed(1)
    )
    return LearnedDynamics(ensemble, reward=swing_reward)


def linear_model(slopes: Any, shifts: Any, logvars: Any = None) -> LearnedDynamics:
    """x' = slope x + action + shift (+ noise), one slope, shift and logvar a member."""
    slopes, shifts = torch.tensor(slopes), torch.tensor(shifts)
    kind = Ensemble if logvars is None else GaussianEnsemble
    ensemble = kind(len(slopes), 2, 1, hidden=())
    with torch.no_grad():
        for part in (*ensemble.weights, *ensemble.biases):
            part.zero_()
        ensemble.weights[0][:, 0, 0] = slopes - 1
        ensemble.weights[0][:, 1, 0] = 1.0
        ensemble.biases[0][:, 0, 0] = shifts
        if logvars is not None:
            ensemble.biases[0][:, 0, 1] = torch.tensor(logvars)
    return LearnedDynamics(ensemble, reward=pays_first)


def line_data(rows: int = 300, seed: int = 0) -> Experience:
    """x' = 0.5 x + a, 2-dimensional with a constant beside it; reward 2 x'."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(rows, 1, generator=generator)
    action = torch.randn(rows, 1, generator=generator)
    after, constant = 0.5 * x + action, torch.full((rows, 1), 0.7)
    return Experience.of(
        torch.cat([x, constant], 1),
        action,
        2 * after[:, 0],
        torch.cat([after, constant], 1),
        after[:, 0] > 1,
    )


def far_model() -> LearnedDynamics:
    """Two members that agree at 0 and disagree by 2 at 1."""
    return linear_model([1.0, -1.0], [0.0, 0.0])
