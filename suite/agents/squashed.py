"""Squashed Gaussian actions: draws, densities, gradients, and who acts so."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np
import torch

from suite.agents.scaling import to_unit_box
from suite.agents.stacked_mlp import StackedMLP

LOG_STD = (-20.0, 2.0)  # Haarnoja et al. 2018; what is beyond has no gradient
SLACK = 1e-6  # Stable-Baselines3's: keeps the density finite where tanh is 1
_HALF_LOG_2PI = 0.5 * math.log(2 * math.pi)


class Drawn(NamedTuple):
    """Actions of B rows, drawn by reparametrisation: a = tanh(mu + sigma eps).

    Attributes:
        action: (B, A) in [-1, 1].
        log_prob: (B,), of the action.
        slope: (B, A), da/du = 1 - a^2.
        spread: (B, A), du/d log sigma = sigma eps.
        is_free: (B, A), 1 where log sigma is within its bounds, else 0.
    """

    action: torch.Tensor
    log_prob: torch.Tensor
    slope: torch.Tensor
    spread: torch.Tensor
    is_free: torch.Tensor

    def rows(self, rows: slice) -> Drawn:
        """Some of the rows."""
        return Drawn(*(part[rows] for part in self))


def drawn(raw: torch.Tensor, noise: torch.Tensor) -> Drawn:
    """Actions of an actor's outputs.

        log p(a) = sum_i [-eps_i^2 / 2 - log sigma_i - log(2 pi) / 2
                          - log(1 - a_i^2 + 1e-6)]

    Args:
        raw: (B, 2 A), mu and log sigma.
        noise: eps (B, A), standard normal.

    Source: Haarnoja et al. 2018, appendix C, arXiv:1801.01290.
    """
    mean, unbounded = raw.chunk(2, dim=1)
    log_std = unbounded.clamp(*LOG_STD)
    spread = log_std.exp() * noise
    action = torch.tanh(mean + spread)
    slope = torch.addcmul(torch.ones_like(action), action, action, value=-1)
    terms = (0.5 * noise).mul_(noise).add_(log_std).add_(torch.log(slope + SLACK))
    log_prob = -terms.sum(dim=1) - raw.shape[1] / 2 * _HALF_LOG_2PI
    return Drawn(action, log_prob, slope, spread, (unbounded == log_std).to(raw))


def raw_gradient(found: Drawn, by_action: torch.Tensor, by_log_prob: float):
    """The gradient (B, 2 A) of a loss by the actor's outputs.

    Args:
        found: What was drawn.
        by_action: (B, A), of the loss by the action alone.
        by_log_prob: Of the loss by each row's log probability.
    """
    # d log p / da = 2 a / (1 - a^2 + slack), and da/du = 1 - a^2.
    through = 2 * by_log_prob * found.action / (found.slope + SLACK)
    by_mean = (by_action + through).mul_(found.slope)
    by_log_std = (by_mean * found.spread).sub_(by_log_prob).mul_(found.is_free)
    return torch.cat([by_mean, by_log_std], dim=1)


class BoxPolicy(ABC, torch.nn.Module):
    """Acts in a box, by numbers within [-1, 1] that are stretched to its bounds.

    Subclass it with ``forward`` and ``act``.

    Attributes:
        centre: (A,), of the box.
        scale: (A,), half its width.

    Args:
        action_space: Of the environment.
        device: Where it acts.

    Raises:
        ValueError: If the actions have no bounds.
    """

    centre: torch.Tensor
    scale: torch.Tensor

    def __init__(self, action_space: gym.Space, device: torch.device):
        super().__init__()
        self.action_space = require_bounded(action_space)
        unit = to_unit_box(self.action_space)
        for name, values in (("centre", unit.shift), ("scale", unit.spread)):
            self.register_buffer(name, torch.tensor(values).float().to(device))

    @abstractmethod
    def forward(self, obs: torch.Tensor) -> torch.Tensor:
        """Actions (N, A) without noise for observations (N, O)."""

    @abstractmethod
    def act(
        self, obs: torch.Tensor, generator: torch.Generator | None = None
    ) -> torch.Tensor:
        """Actions (N, A) of the environment, drawn for observations (N, O).

        Args:
            obs: On the policy's device.
            generator: Of the noise, on the CPU; None is torch's global one.
        """

    def predict(
        self,
        obs: Any,
        state: Any = None,
        episode_start: Any = None,
        deterministic: bool = True,
    ) -> tuple[np.ndarray, None]:
        """Actions for observations, as Stable-Baselines3's policies give them.

        Args:
            obs: (N, O), or (O,) for a single action.
            state: Not used: the policy has no memory.
            episode_start: Not used.
            deterministic: Whether without noise; with noise of torch's global generator
                otherwise.

        Returns:
            Actions (N, A) or (A,), and None.
        """
        obs = np.array(obs, np.float32)  # a copy: stored data is read-only
        rows = torch.as_tensor(obs.reshape(-1, obs.shape[-1]), device=self.scale.device)
        with torch.inference_mode():
            actions = (self(rows) if deterministic else self.act(rows)).cpu().numpy()
        return (actions if obs.ndim > 1 else actions[0]), None


class SquashedPolicy(BoxPolicy):
    """Acts by tanh of a Gaussian, stretched to the bounds of the actions.

    Use it through ``SAC``, whose actor it is, or ``suite.load_policy``.

        action = centre + scale * tanh(mu(obs) + sigma(obs) * eps)

    Args:
        network: Of one member, from observations (O,) to mu and log sigma (2 A,).
        action_space: Of the environment, bounded.

    Raises:
        ValueError: If the actions have no bounds or are of another number.
    """

    def __init__(self, network: StackedMLP, action_space: gym.Space):
        super().__init__(action_space, network.flat.device)
        space = self.action_space
        if (network.members, network.widths[-1]) != (1, 2 * space.shape[0]):
            raise ValueError(
                f"a policy for {space} needs one network with {2 * space.shape[0]} "
                f"outputs, got {network.members} with {network.widths[-1]}"
            )
        self.network = network

    def forward(self, obs: torch.Tensor) -> torch.Tensor:
        """The most likely actions before squashing, squashed: (N, A) of (N, O)."""
        mean = self.network(obs)[0].chunk(2, dim=1)[0]
        return self.centre + self.scale * torch.tanh(mean)

    @torch.no_grad()
    def act(
        self, obs: torch.Tensor, generator: torch.Generator | None = None
    ) -> torch.Tensor:
        """See ``BoxPolicy.act``."""
        raw = self.network(obs)[0]
        noise = torch.randn(len(obs), raw.shape[1] // 2, generator=generator)
        return self.centre + self.scale * drawn(raw, noise.to(raw)).action

    def architecture(self) -> dict[str, Any]:
        """What is written down to build it again."""
        return {
            "kind": "squashed",
            "net_arch": list(self.network.widths[1:-1]),
            "activation": self.network.activation,
            "obs_size": self.network.widths[0],
            "action_low": self.action_space.low.tolist(),
            "action_high": self.action_space.high.tolist(),
        }

    @staticmethod
    def built(plan: dict[str, Any]) -> SquashedPolicy:
        """A policy of an ``architecture``, its weights not set yet."""
        low = np.array(plan["action_low"], np.float32)
        high = np.array(plan["action_high"], np.float32)
        network = StackedMLP(
            1,
            plan["obs_size"],
            2 * low.size,
            hidden=plan["net_arch"],
            activation=plan["activation"],
        )
        return SquashedPolicy(network, gym.spaces.Box(low, high, low.shape, np.float32))


def require_bounded(space: gym.Space) -> gym.spaces.Box:
    """The space, if it is a flat box with bounds.

    Raises:
        ValueError: If not.
    """
    is_box = isinstance(space, gym.spaces.Box)
    if not is_box or len(space.shape) != 1 or not space.is_bounded():
        advice = "take PPO"
        if is_box:
            advice = "make it one by gymnasium.wrappers.TransformAction, or take PPO"
        raise ValueError(
            f"a squashed Gaussian needs a flat, bounded Box of actions, got {space}; "
            f"{advice}"
        )
    return space
