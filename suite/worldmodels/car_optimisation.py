"""How the weights of several members are changed, each as if it were alone."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Optimisation:
    """How weights are changed: Adam, its rate on a cosine, gradients clipped.

    Args:
        batch_size: Snippets of one member in one step.
        learning_rate: At first.
        final_rate: At the end of the cosine, and after it.
        decay_epochs: Epochs of the cosine.
        clip: Largest norm of a member's gradient, or None.
        weight_decay: Of Adam, in the gradient.
        steps_per_epoch: None is one pass over the starts of the member that has least.

    Raises:
        ValueError: If a number is out of range.
    """

    batch_size: int = 256
    learning_rate: float = 1e-3
    final_rate: float = 1e-6
    decay_epochs: int = 300
    clip: float | None = 1.0
    weight_decay: float = 0.0
    steps_per_epoch: int | None = None

    def __post_init__(self) -> None:
        counts = (self.batch_size, self.decay_epochs, self.steps_per_epoch or 1)
        rates = (self.learning_rate, self.final_rate, self.clip or 1.0)
        if min(counts) < 1 or min(rates) <= 0 or self.weight_decay < 0:
            raise ValueError(
                "an optimisation needs counts of 1 or more and positive rates, got "
                f"{self}"
            )

    def rate(self, epoch: int) -> float:
        """The learning rate of an epoch, counted from 0."""
        share = min(epoch / self.decay_epochs, 1.0)
        spread = self.learning_rate - self.final_rate
        return self.final_rate + spread * (1 + math.cos(math.pi * share)) / 2


def clipped(members: nn.Module, largest: float | None) -> Tensor:
    """Bring each member's gradient below a norm; the norms (E,) before.

    Args:
        members: All of its parameters have the leading axis E.
        largest: The norm, or None to leave gradients as they are.
    """
    grads = [p.grad for p in members.parameters() if p.grad is not None]
    if not grads:
        return torch.zeros(1)
    norms = torch.stack([torch.linalg.vector_norm(g.flatten(1), dim=1) for g in grads])
    norms = torch.linalg.vector_norm(norms, dim=0)
    if largest is not None:
        factor = (largest / (norms + 1e-6)).clamp(max=1.0)
        for grad in grads:
            grad.mul_(factor.view(-1, *[1] * (grad.dim() - 1)))
    return norms
