"""Rollouts inside a model: batched, pure and differentiable."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from suite.envs.arguments import require_positive
from suite.worldmodels.dynamics import DynamicsModel, require_outcome, truncated
from suite.worldmodels.noise import Noise

Act = torch.Tensor | Callable[[torch.Tensor], torch.Tensor]


@dataclass(frozen=True, eq=False)
class Imagined:
    """B rollouts of H steps. A row goes on past its end; ``running`` says where.

    Attributes:
        obs: (H + 1, B, O), the start first.
        actions: (H, B, A).
        rewards: (H, B).
        terminated: (H, B) bool, whether the episode ended in ``obs[h + 1]``.
        truncated: (H, B) bool, whether the model does not believe step h (``Bounded``)
            and goes no further.
        final_z: To imagine on from.
    """

    obs: torch.Tensor
    actions: torch.Tensor
    rewards: torch.Tensor
    terminated: torch.Tensor
    truncated: torch.Tensor
    final_z: Any

    @property
    def running(self) -> torch.Tensor:
        """(H, B) bool: the episode had not ended before step h."""
        ended = torch.cumsum((self.terminated | self.truncated).long(), dim=0) > 0
        first = torch.ones_like(ended[:1])
        return torch.cat([first, ~ended[:-1]])

    @property
    def believed(self) -> torch.Tensor:
        """(H, B) bool: where ``running``, but for the step that is not believed."""
        return self.running & ~self.truncated

    def returns(self, gamma: float = 1.0) -> torch.Tensor:
        """Discounted sum of the believed rewards until the episode's end, (B,)."""
        discounts = gamma ** torch.arange(len(self.rewards), device=self.rewards.device)
        # Not a product with 0: what a row says after its end may be infinite.
        paid = torch.where(self.believed, self.rewards, 0.0)
        return (discounts.to(paid.dtype)[:, None] * paid).sum(dim=0)

    def require_finite(self) -> None:
        """Refuse a rollout in which something became NaN or infinite.

        Raises:
            FloatingPointError: Naming what it was, and in which step and row it came
                first.
        """
        # What follows an end means nothing and is not looked at.
        shown, paid = self.obs[1:].isfinite().all(dim=2), self.rewards.isfinite()
        wrong = torch.nonzero(~(shown & paid) & self.believed)
        if len(wrong):
            step, row = wrong[0].tolist()
            name = "reward" if shown[step, row] else "observation"
            raise FloatingPointError(
                f"the model's {name} became NaN or infinite in step {step} of row "
                f"{row}; shorten the horizon, or fit the model to more data at a "
                "lower learning rate"
            )


def imagine(
    model: DynamicsModel,
    z: Any,
    act: Act,
    horizon: int,
    *,
    generator: Noise = None,
) -> Imagined:
    """Roll a model out.

    Use it for whatever learns or plans inside a model. Gradients flow from rewards and
    observations to actions, start and weights.

    Args:
        model: What to roll out.
        z: Where to begin, ``model.start(states)``.
        act: A policy that gives actions (B, A) for observations (B, O), or the actions
            themselves, (H, B, A).
        horizon: H, 1 or more.
        generator: Of the model's noise; None is torch's global one.

    Raises:
        TypeError: If there is nothing to act with.
        ValueError: For a horizon below 1, or actions of another shape.
    """
    require_positive("imagine's horizon", horizon)
    if isinstance(act, type) or not isinstance(act, torch.Tensor | Callable):
        raise TypeError(
            f"act must be a policy or a tensor of actions, got {type(act).__name__}"
        )
    obs, steps = [model.observe(z)], []
    if isinstance(act, torch.Tensor):
        rows = len(obs[0])
        if act.dim() != 3 or act.shape[:2] != (horizon, rows):
            raise ValueError(
                f"actions must have shape ({horizon}, {rows}, A), one for each step "
                f"and row, got {tuple(act.shape)}"
            )
    for h in range(horizon):
        action = act[h] if isinstance(act, torch.Tensor) else act(obs[-1])
        found = model.step(z, action, generator=generator)
        if h == 0:
            require_outcome(found, len(obs[0]))
        z = found.next_z
        obs.append(model.observe(z))
        unsure = truncated(model, z, found.terminated)
        steps.append((action, found.reward, found.terminated, unsure))
    columns = [torch.stack(column) for column in zip(*steps, strict=True)]
    return Imagined(torch.stack(obs), *columns, final_z=z)
