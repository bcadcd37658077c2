"""Latent dynamics as a flow: the next latent solves a learned differential equation."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import nn

from suite.envs.arguments import require_known
from suite.worldmodels.latent_networks import (
    INIT_STD,
    Mish,
    SimNorm,
    SmallLinear,
    grouped,
    hidden_layers,
    normed,
)
from suite.worldmodels.latent_sizes import LatentSizes
from suite.worldmodels.noise import Noise, standard_normal, standard_uniform
from suite.worldmodels.ode import Heun, Solver

SOURCES, HEADS, TAUS = (
    ("state", "noise"),
    ("linear", "simnorm"),
    ("uniform", "midpoint"),
)
LEAST_SHARE = 1e-4  # of a number in its group after a projection
_FASTEST = 100.0  # rad per unit of tau, of the quickest sine


@dataclass(frozen=True)
class Flow:
    """The next latent is where a learned velocity carries the source from tau 0 to 1.

        dx/dtau = v(x, tau | a),  x(0) = z,  z' = project(x(1))

    fitted by conditional flow matching on the straight path from the source x0 to the
    target x1: |v(x0 + tau (x1 - x0), tau | a) - (x1 - x0)|^2 at a random tau. With the
    latent as its source it is deterministic, and with a velocity that also sees where
    it began (``sees_start``) it has nothing to gain from more than one step: the ideal
    velocity is then constant along the path, and the flow a residual network.

    Use it inside a ``LatentModel`` to compare with ``Direct``; a step costs
    ``solver.evaluations`` times as much.

    Args:
        solver: ``Euler`` or ``Heun`` with K steps; the same in fit and rollouts.
        source: ``"state"``, the latent itself; ``"noise"``, standard normal numbers,
            which makes the model stochastic.
        sees_start: Whether the velocity is also given z.
        tau_features: 1 gives tau itself to the network; an even number, so many sines
            and cosines of it.
        taus: Where the velocity is fitted: ``"uniform"`` in [0, 1], or at the
            ``"midpoint"``.
        head: ``"linear"``, which begins at 0, so that the latent stays; ``"simnorm"``
            is for comparison alone. It cannot fit: targets sum to 0 in each group, it
            sums to 1, and each step of the model adds 1 to the group.
        project: Whether groups are brought back to shares of 1 after each step.
        rollout: How much the squared error of the next latent counts beside the
            velocity's, so that the flow is right at the solver's few steps.

    Raises:
        ValueError: For an unknown name, an odd number of features, a negative weight,
            or noise with what does not go with it.

    Source: Lipman et al. 2023, equation 23, arXiv:2210.02747 (there with noise as
    source); Liu et al. 2023, arXiv:2209.03003, for other sources.
    """

    solver: Solver = field(default_factory=Heun)
    source: str = "state"
    sees_start: bool = False
    tau_features: int = 1
    taus: str = "uniform"
    head: str = "linear"
    project: bool = True
    rollout: float = 1.0

    def __post_init__(self) -> None:
        require_known("source", self.source, SOURCES)
        require_known("head", self.head, HEADS)
        require_known("taus", self.taus, TAUS)
        if self.tau_features != 1 and (self.tau_features < 2 or self.tau_features % 2):
            raise ValueError(
                "tau_features is 1 or an even number of sines and cosines, got "
                f"{self.tau_features}"
            )
        if self.rollout < 0:
            raise ValueError(f"rollout must be 0 or more, got {self.rollout}")
        if self.source == "noise" and not self.sees_start:
            raise ValueError(
                "a flow from noise knows nothing of the latent it starts from; give "
                "sees_start=True"
            )
        if self.source == "noise" and self.rollout:
            raise ValueError(
                "a squared error of what came out of noise teaches the flow to forget "
                f"the noise; give rollout=0 with source='noise', got {self.rollout}"
            )

    @property
    def keeps_simplices(self) -> bool:
        """If it projects."""
        return self.project

    def network(
        self, sizes: LatentSizes, action_size: int, generator: torch.Generator | None
    ) -> VelocityNetwork:
        """The velocity's network."""
        given = action_size + (sizes.latent if self.sees_start else 0)
        return VelocityNetwork(
            sizes, given, self.tau_features, self.head == "simnorm", generator
        )

    # ------------------------------------------------------------------------ going on
    def next(
        self,
        network: VelocityNetwork,
        z: torch.Tensor,
        action: torch.Tensor,
        generator: Noise,
    ) -> torch.Tensor:
        """Next latents (B, L); noise is drawn once a step."""
        given = network.given(self._given(z, action))
        found = self.solver.solve(
            lambda x, tau: network(x, tau, given), self._source(z, generator)
        )
        return projected(found) if self.project else found

    def errors(
        self,
        network: VelocityNetwork,
        z: torch.Tensor,
        action: torch.Tensor,
        next_z: torch.Tensor,
        target: torch.Tensor,
        generator: Noise,
    ) -> torch.Tensor:
        """The velocity's mean squared errors (...), and the rollout's, weighted."""
        start = self._source(z, generator)
        tau = self._tau(z, generator)
        velocity = network(
            torch.lerp(start, target, tau), tau, network.given(self._given(z, action))
        )
        found = (velocity - (target - start)).square().mean(dim=-1)
        if not self.rollout:
            return found
        return found + self.rollout * (next_z - target).square().mean(dim=-1)

    def _source(self, z: torch.Tensor, generator: Noise) -> torch.Tensor:
        return z if self.source == "state" else standard_normal(z, generator)

    def _tau(self, z: torch.Tensor, generator: Noise) -> torch.Tensor:
        """Where to look at the velocity of each row (..., 1)."""
        if self.taus == "midpoint":
            return torch.full_like(z[..., :1], 0.5)
        return standard_uniform(z[..., :1], generator)

    def _given(self, z: torch.Tensor, action: torch.Tensor) -> torch.Tensor:
        return torch.cat([action, z], dim=-1) if self.sees_start else action


class VelocityNetwork(nn.Module):
    """A network of x, tau and what stays the same while x moves.

    The first layer's weights are kept apart, so that the part of what stays is
    multiplied once a step, not once an evaluation.

    Args:
        sizes: Widths.
        given: Numbers that stay the same.
        tau_features: As ``Flow``.
        has_simplices: Whether it ends in SimNorm instead of a linear layer at 0.
        generator: Of the first weights; None is torch's global one.
    """

    frequencies: torch.Tensor  # (tau_features / 2,) rad

    def __init__(
        self,
        sizes: LatentSizes,
        given: int,
        tau_features: int,
        has_simplices: bool,
        generator: torch.Generator | None,
    ):
        super().__init__()
        latent, first, last = sizes.latent, sizes.hidden[0], sizes.hidden[-1]
        self.given = SmallLinear(given, first, generator)
        self.at_x = nn.Parameter(_small(first, latent, generator))
        self.at_tau = nn.Parameter(_small(first, tau_features, generator))
        self.rest = nn.Sequential(
            nn.LayerNorm(first), Mish(), *hidden_layers(sizes.hidden, generator)
        )
        if has_simplices:
            self.rest.extend(normed(last, latent, SimNorm(latent), generator))
        else:
            self.rest.append(SmallLinear(last, latent, generator))
            nn.init.zeros_(self.rest[-1].weight)  # pyright: ignore[reportArgumentType]
        count = tau_features // 2
        powers = torch.arange(count) / max(count - 1, 1)
        self.register_buffer("frequencies", _FASTEST**powers, persistent=False)

    def forward(
        self, x: torch.Tensor, tau: torch.Tensor | float, given: torch.Tensor
    ) -> torch.Tensor:
        """Velocities (..., L).

        Args:
            x: (..., L).
            tau: (..., 1), or one for all rows.
            given: (..., hidden), what ``self.given`` makes of what stays the same.
        """
        moved = nn.functional.linear(x, self.at_x) + (given + self._tau_part(tau))
        return self.rest(moved)

    def _tau_part(self, tau: torch.Tensor | float) -> torch.Tensor:
        """What the first layer gets of tau, (..., hidden)."""
        if not len(self.frequencies):
            return tau * self.at_tau[:, 0]
        angle = tau * self.frequencies
        waves = torch.cat([angle.sin(), angle.cos()], dim=-1)
        return nn.functional.linear(waves, self.at_tau)


def projected(z: torch.Tensor) -> torch.Tensor:
    """Latents (..., L) with every group brought back to positive shares of 1.

    Without it a velocity that is not learned yet drifts off the simplices, where the
    encoder never is, and further with each step.
    """
    groups = grouped(z).clamp_min(LEAST_SHARE)
    return (groups / groups.sum(dim=-1, keepdim=True)).flatten(-2)


def _small(
    outputs: int, inputs: int, generator: torch.Generator | None
) -> torch.Tensor:
    return nn.init.trunc_normal_(
        torch.empty(outputs, inputs), std=INIT_STD, generator=generator
    )
