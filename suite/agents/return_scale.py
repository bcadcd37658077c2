"""The running spread of returns, by which an actor's loss is divided."""

from __future__ import annotations

from typing import Any

import torch

from suite.checkpoints import require_like

_FIRST_COUNT = 1e-4  # weight of the first guess, mean 0 and variance 1
_SMALLEST = 1e-5  # added to the variance


class ReturnScale:
    """The standard deviation of all returns seen so far.

    Use it through ``FirstOrder``: it only scales, so that the gradient's direction is
    that of the return.

    Args:
        device: Where the returns are.

    Source: Chan et al. 1979, eq. 2.1, for the merging of batches.
    """

    def __init__(self, device: str = "cpu"):
        first = [_FIRST_COUNT, 0.0, 1.0]  # count, mean, variance
        self._moments = torch.tensor(first, dtype=torch.float64, device=device)

    @torch.no_grad()
    def update(self, returns: torch.Tensor) -> torch.Tensor:
        """Take in returns (B,); the deviation of all, (), in their dtype."""
        exact, rows = returns.double(), len(returns)
        count, mean, variance = self._moments
        total, shift = count + rows, exact.mean() - mean
        spread = count * variance + rows * exact.var(correction=0)
        spread = spread + shift.square() * count * rows / total
        parts = (total, mean + shift * rows / total, spread / total)
        self._moments = torch.stack(parts)
        return (self._moments[2] + _SMALLEST).sqrt().to(returns)

    def state(self) -> dict[str, Any]:
        """What it remembers; live tensors."""
        return {"moments": self._moments}

    def load_state(self, tree: dict[str, Any], where: str) -> None:
        """Take over a ``state()``.

        Raises:
            IntegrityError: If it is none, naming ``where``.
        """
        require_like(tree, {"moments": self._moments.cpu()}, where)
        self._moments = tree["moments"].to(self._moments.device, copy=True)
