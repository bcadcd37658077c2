"""Numbers brought to mean 0 and deviation 1, and back."""

from __future__ import annotations

import torch
from torch import nn

STD_FLOOR = 1e-6  # below this a number counts as constant and is not scaled


class Normaliser(nn.Module):
    """(x - mean) / deviation, with the statistics of the data.

    A deviation below 1e-6 is that of a constant, such as a goal inside the state. It
    becomes 1: dividing by it would blow rounding up into a signal.

    Args:
        size: Numbers of one row.
    """

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, size: int):
        super().__init__()
        self.register_buffer("mean", torch.zeros(size))
        self.register_buffer("std", torch.ones(size))

    @torch.no_grad()
    def refresh(self, rows: torch.Tensor) -> None:
        """Take over the statistics of rows (M, size)."""
        exact = rows.double()  # float32 finds a deviation where there is none
        std = exact.std(dim=0, correction=0)
        self.mean.copy_(exact.mean(dim=0))
        self.std.copy_(torch.where(std < STD_FLOOR, torch.ones_like(std), std))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Normalised rows (..., size)."""
        return (x - self.mean) / self.std

    def inverse(self, x: torch.Tensor) -> torch.Tensor:
        """Back from normalised rows."""
        return x * self.std + self.mean

    def spread(self, deviation: torch.Tensor) -> torch.Tensor:
        """Back from normalised deviations."""
        return deviation * self.std


class Folded(nn.Module):
    """In the place of a ``Normaliser`` that the weights already contain."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """What went in."""
        return x

    inverse = spread = forward
