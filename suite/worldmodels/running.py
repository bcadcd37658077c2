"""Mean and deviation of numbers that arrive in batches."""

from __future__ import annotations

import torch
from torch import nn

_FIRST_COUNT = 1e-4  # of the mean 0 and variance 1 that it begins with
_FLOOR = 1e-5  # added to the variance


class RunningNormaliser(nn.Module):
    """(x - mean) / deviation with the statistics of all numbers seen so far.

    Use it for rewards, whose size no one knows beforehand. It begins as the identity
    and counts every number alike, so that it comes to rest.

    Source: Chan et al. 1979, "Updating formulae and a pairwise algorithm for computing
    sample variances", equation 2.1.
    """

    mean: torch.Tensor
    var: torch.Tensor
    std: torch.Tensor
    count: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        # float64: a float32 count would stop to grow, and its mean to move.
        for name, first in (
            ("mean", 0),
            ("var", 1),
            ("std", 1),
            ("count", _FIRST_COUNT),
        ):
            self.register_buffer(name, torch.tensor(float(first), dtype=torch.float64))

    @torch.no_grad()
    def refresh(self, x: torch.Tensor) -> None:
        """Take numbers of any shape into the statistics."""
        exact, rows = x.double(), x.numel()
        total, gap = self.count + rows, exact.mean() - self.mean
        squares = self.var * self.count + exact.var(correction=0) * rows
        self.var.copy_((squares + gap.square() * self.count * rows / total) / total)
        self.mean.add_(gap * rows / total)
        self.count.copy_(total)
        self.std.copy_((self.var + _FLOOR).sqrt())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Normalised numbers, any shape."""
        return (x - self.mean) / self.std

    def inverse(self, x: torch.Tensor) -> torch.Tensor:
        """Back from normalised numbers."""
        return x * self.std + self.mean
