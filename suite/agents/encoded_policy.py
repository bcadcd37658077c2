"""Who acts by what a world model's encoder makes of an observation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from torch import nn

from suite.agents.mish_mlp import MishMLP
from suite.agents.squashed import BoxPolicy
from suite.worldmodels.latent_networks import latent_mlp


class LatentActor(nn.Module):
    """A Gaussian over actions before squashing, its deviation the same everywhere.

    Args:
        latent_size: L.
        action_size: A.
        hidden: Widths of the hidden layers.
        log_std: Of the first actions.
        least_log_std: Of any actions, if ``keep_exploring`` follows every step.
        generator: Of the first weights.
        device: Where the weights lie.

    Raises:
        ValueError: If a size is below 1.
    """

    def __init__(
        self,
        latent_size: int,
        action_size: int,
        *,
        hidden: Sequence[int],
        log_std: float = -1.0,
        least_log_std: float = -1.427,
        generator: torch.Generator | None = None,
        device: str = "cpu",
    ):
        super().__init__()
        self.network = MishMLP(
            1,
            latent_size,
            action_size,
            hidden=hidden,
            gain=None,
            generator=generator,
            device=device,
        )
        self.least_log_std = least_log_std
        self.log_std = nn.Parameter(torch.full((action_size,), log_std, device=device))
        self.log_std.grad = torch.zeros_like(self.log_std)

    def forward(
        self, latents: torch.Tensor, noise: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Actions (B, A) within [-1, 1] for latents (B, L).

            tanh(mu(z) + exp(log_std) eps)

        Args:
            latents: (B, L).
            noise: eps (B, A), standard normal; None is 0.
        """
        mean = self.network(latents)[0]
        if noise is None:
            return torch.tanh(mean)
        return torch.tanh(torch.addcmul(mean, self.log_std.exp(), noise))

    @torch.no_grad()
    def keep_exploring(self) -> None:
        """Lift the deviation to its least; after every step of an optimizer.

        Were it only read as that, no gradient could ever lift it again.
        """
        self.log_std.clamp_(min=self.least_log_std)


class EncodedPolicy(BoxPolicy):
    """Encodes every observation anew and acts on the latent.

    Use it through ``PWM``, whose policy it is, or ``suite.load_policy``.

        action = centre + scale * tanh(mu(encode(obs)) + sigma eps)

    Args:
        encoder: Latents (N, L) of observations (N, O); shared, not copied, so that the
            policy of a training is always the newest.
        actor: On latents.
        action_space: Of the environment.

    Raises:
        ValueError: If the actions have no bounds or are of another number.
    """

    def __init__(self, encoder: nn.Module, actor: LatentActor, action_space: gym.Space):
        super().__init__(action_space, actor.log_std.device)
        if len(actor.log_std) != self.action_space.shape[0]:
            raise ValueError(
                f"the actor gives {len(actor.log_std)} numbers, the environment takes "
                f"{self.action_space.shape[0]}; was it made for another one?"
            )
        self.encoder, self.actor = encoder, actor

    def stretched(self, unit: torch.Tensor) -> torch.Tensor:
        """Actions of the environment from such within [-1, 1]."""
        return torch.addcmul(self.centre, self.scale, unit)

    def forward(self, obs: torch.Tensor) -> torch.Tensor:
        """The most likely actions before squashing, squashed: (N, A) of (N, O)."""
        return self.stretched(self.actor(self.encoder(obs)))

    @torch.no_grad()
    def act(
        self, obs: torch.Tensor, generator: torch.Generator | None = None
    ) -> torch.Tensor:
        """See ``BoxPolicy.act``."""
        noise = torch.randn(len(obs), len(self.scale), generator=generator)
        return self.stretched(self.actor(self.encoder(obs), noise.to(self.scale)))

    def architecture(self) -> dict[str, Any]:
        """What is written down to build it again."""
        return {
            "kind": "encoded",
            "net_arch": [*self._encoder_widths[1:], *self.actor.network.widths[1:-1]],
            "encoder_layers": len(self._encoder_widths) - 1,
            "least_log_std": self.actor.least_log_std,
            "obs_size": self._encoder_widths[0],
            "action_low": self.action_space.low.tolist(),
            "action_high": self.action_space.high.tolist(),
        }

    @property
    def _encoder_widths(self) -> list[int]:
        linear = [
            part for part in self.encoder.modules() if isinstance(part, nn.Linear)
        ]
        return [linear[0].in_features, *(layer.out_features for layer in linear)]

    @staticmethod
    def built(plan: dict[str, Any]) -> EncodedPolicy:
        """A policy of an ``architecture``, its weights not set yet."""
        low = np.array(plan["action_low"], np.float32)
        high = np.array(plan["action_high"], np.float32)
        layers, count = plan["net_arch"], plan["encoder_layers"]
        encoder = latent_mlp((plan["obs_size"], *layers[:count]), None)
        actor = LatentActor(
            layers[count - 1],
            low.size,
            hidden=layers[count:],
            least_log_std=plan["least_log_std"],
        )
        space = gym.spaces.Box(low, high, low.shape, np.float32)
        return EncodedPolicy(encoder, actor, space)
