"""World models that live in a latent space, without a decoder."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from gymnasium import spaces
from torch import nn

from suite.envs.arguments import require_positive
from suite.worldmodels.dynamics import Transition
from suite.worldmodels.latent_heads import Head, Scalar
from suite.worldmodels.latent_networks import latent_mlp, plain_mlp
from suite.worldmodels.latent_sizes import LatentSizes, sizes_of
from suite.worldmodels.noise import Noise
from suite.worldmodels.running import RunningNormaliser


class Latent(NamedTuple):
    """A latent (B, L)."""

    z: torch.Tensor


class Dynamics(Protocol):
    """How a latent goes on: a strategy over a network that the model holds."""

    @property
    def keeps_simplices(self) -> bool:
        """Whether each group of a next latent is positive and sums to 1."""
        ...

    def network(
        self, sizes: LatentSizes, action_size: int, generator: torch.Generator | None
    ) -> nn.Module:
        """Its network, untrained."""
        ...

    def next(
        self, network: Any, z: torch.Tensor, action: torch.Tensor, generator: Noise
    ) -> torch.Tensor:
        """Next latents (B, L) of latents (B, L) under actions (B, A)."""
        ...

    def errors(
        self,
        network: Any,
        z: torch.Tensor,
        action: torch.Tensor,
        next_z: torch.Tensor,
        target: torch.Tensor,
        generator: Noise,
    ) -> torch.Tensor:
        """What it is fitted by, (...), over steps that were rolled out.

        Args:
            network: Its network.
            z: (..., L), where steps began.
            action: (..., A).
            next_z: (..., L), where ``next`` brought them.
            target: (..., L), where they should have come to, without a gradient.
            generator: Of what it draws.
        """
        ...


@dataclass(frozen=True)
class Direct:
    """The network says the next latent: z' = f(z, a), fitted by squared error.

    Use it unless you want to compare; it is PWM's and TD-MPC2's.
    """

    keeps_simplices = True

    def network(
        self, sizes: LatentSizes, action_size: int, generator: torch.Generator | None
    ) -> nn.Module:
        """Latent and action in, latent out."""
        widths = (sizes.latent + action_size, *sizes.hidden, sizes.latent)
        return latent_mlp(widths, generator)

    def next(
        self, network: Any, z: torch.Tensor, action: torch.Tensor, generator: Noise
    ) -> torch.Tensor:
        """Next latents (B, L); nothing is drawn."""
        return network(torch.cat([z, action], dim=-1))

    def errors(
        self,
        network: Any,
        z: torch.Tensor,
        action: torch.Tensor,
        next_z: torch.Tensor,
        target: torch.Tensor,
        generator: Noise,
    ) -> torch.Tensor:
        """Mean squared errors (...) of next latents."""
        return (next_z - target).square().mean(dim=-1)


class LatentModel(nn.Module):
    """A model of what matters for reward, in a latent space; a ``DynamicsModel``.

        z = encoder(obs);  z' = dynamics(z, a);  r = reward(z, a);  end = end(z')

    Use it where observations are larger than what a task depends on, or where gradients
    shall flow through long rollouts. It shows its latent, since nothing decodes it:
    whoever acts in the world encodes what was seen. Rewards are learned normalised, by
    ``reward_scale``, which is the fit's to refresh; ``step`` pays them in the units of
    the environment. Everything is differentiable, and ``encode``, ``next`` and the
    heads take any leading axes.

    Args:
        obs_size: O.
        action_size: A.
        size: Widths, by name (``suite.worldmodels.latent_sizes.SIZES``) or as
            ``LatentSizes``.
        dynamics: How a latent goes on; None is ``Direct()``.
        reward: How outputs stand for a reward; None is ``Scalar()``.
        has_end: Whether terminations are learned. Without, no episode ends here.
        seed: Of the first weights.

    Raises:
        ValueError: For an unknown size, sizes below 1, or a name or number where
            dynamics or reward want an object.

    Source: Georgiev et al. 2025, section 4, arXiv:2407.02466; layers and initial
    weights of their code. Deviation: the termination head, which they lack.
    """

    def __init__(
        self,
        obs_size: int,
        action_size: int,
        *,
        size: str | LatentSizes = "pendulum",
        dynamics: Dynamics | None = None,
        reward: Head | None = None,
        has_end: bool = False,
        seed: int = 0,
    ):
        super().__init__()
        require_positive("obs_size", obs_size)
        require_positive("action_size", action_size)
        self.state_size, self.action_size = obs_size, action_size
        self.sizes = sizes = sizes_of(size)
        self.strategy: Dynamics = Direct() if dynamics is None else dynamics
        self.head: Head = Scalar() if reward is None else reward
        _require("dynamics", self.strategy, "network", "Direct() or Flow()")
        _require("reward", self.head, "outputs", "Scalar() or TwoHot(bins=101)")
        drawn = torch.Generator().manual_seed(seed)
        self.encoder = latent_mlp((obs_size, *sizes.encoder, sizes.latent), drawn)
        self.dynamics = self.strategy.network(sizes, action_size, drawn)
        both = sizes.latent + action_size
        self.reward = plain_mlp((both, *sizes.hidden, self.head.outputs), drawn)
        self.end = (
            plain_mlp((sizes.latent, *sizes.hidden, 1), drawn) if has_end else None
        )
        self.reward_scale = RunningNormaliser()

    @property
    def observation_space(self) -> spaces.Box:
        """Of what it shows, its latent (L,)."""
        # On simplices numbers are shares, elsewhere they may go anywhere.
        bounds = (0.0, 1.0) if self.strategy.keeps_simplices else (-np.inf, np.inf)
        return spaces.Box(*bounds, (self.sizes.latent,), np.float32)

    # ----------------------------------------------------------------------- parts
    def encode(self, obs: torch.Tensor) -> torch.Tensor:
        """Latents (..., L) of observations (..., O).

        Raises:
            ValueError: If observations have another width.
        """
        if obs.shape[-1] != self.state_size:
            raise ValueError(
                f"the model takes observations (..., {self.state_size}), got "
                f"{tuple(obs.shape)}; was it made for another environment?"
            )
        return self.encoder(obs)

    def next(
        self, z: torch.Tensor, action: torch.Tensor, *, generator: Noise = None
    ) -> torch.Tensor:
        """Next latents (B, L) of latents (B, L) under actions (B, A).

        Raises:
            ValueError: If a width is another.
        """
        self._require_fitting(z, action)
        return self.strategy.next(self.dynamics, z, action, generator)

    def normalised_reward(self, z: torch.Tensor, action: torch.Tensor) -> torch.Tensor:
        """What a step pays (...), in the units that the reward is learned in."""
        return self.head.value(self.reward_output(z, action))

    def reward_output(self, z: torch.Tensor, action: torch.Tensor) -> torch.Tensor:
        """What the reward's network says (..., outputs), for its head to read."""
        return self.reward(torch.cat([z, action], dim=-1))

    def end_logit(self, z: torch.Tensor) -> torch.Tensor | None:
        """Logit (...) of having ended on arriving at latents (..., L), if learned."""
        return None if self.end is None else self.end(z)[..., 0]

    def _require_fitting(self, z: torch.Tensor, action: torch.Tensor) -> None:
        own = self.sizes.latent, self.action_size
        if (z.shape[-1], action.shape[-1]) != own:
            raise ValueError(
                f"the model takes latents (B, {own[0]}) and actions (B, {own[1]}), got "
                f"{tuple(z.shape)} and {tuple(action.shape)}; was it made for another "
                "environment, or is an observation not encoded?"
            )

    # --------------------------------------------------------------- DynamicsModel
    def start(self, state: torch.Tensor) -> Latent:
        """The latent of observations (B, O)."""
        return Latent(self.encode(state.to(next(self.parameters()).dtype)))

    def step(
        self, z: Latent, action: torch.Tensor, *, generator: Noise = None
    ) -> Transition:
        """One step under actions (B, A), paid in the environment's units.

        Raises:
            ValueError: If a width is another.
        """
        after = Latent(self.next(z.z, action, generator=generator))
        paid = self.reward_scale.inverse(self.normalised_reward(z.z, action))
        return Transition(after, paid, self._ended(after.z))

    def _ended(self, z: torch.Tensor) -> torch.Tensor:
        logit = self.end_logit(z)
        if logit is None:
            return torch.zeros(z.shape[:-1], dtype=torch.bool, device=z.device)
        return logit > 0

    def going_on(self, z: Latent) -> torch.Tensor:
        """Probability (B,) that the episode had not ended on arriving there."""
        logit = self.end_logit(z.z)
        return z.z.new_ones(z.z.shape[:-1]) if logit is None else torch.sigmoid(-logit)

    def observe(self, z: Latent) -> torch.Tensor:
        """The latent (B, L) itself."""
        return z.z


def _require(name: str, part: Any, has: str, ours: str) -> None:
    if not hasattr(part, has):
        raise ValueError(f"{name} must be an object such as {ours}, got {part!r}")
