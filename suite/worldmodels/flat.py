"""All weights of a network as one array, for optimizers of small networks."""

from __future__ import annotations

from itertools import accumulate

import torch
from torch import nn


class Flattened:
    """The weights of a network and their gradients, moved into one array each.

    Use it to optimize small networks: norm, cut and step are then one operation each
    instead of one a weight, of which there are dozens. The network's weights become
    views of ``flat``, and their gradients of ``flat.grad``; everything else stays as it
    was. Move the network to its device and dtype before.

    Args:
        network: Whose.
    """

    def __init__(self, network: nn.Module):
        self._weights = list(network.parameters())
        ends = list(accumulate(weights.numel() for weights in self._weights))
        self._starts = [0, *ends[:-1]]
        joined = torch.cat([weights.detach().flatten() for weights in self._weights])
        self.flat = nn.Parameter(joined)
        self.flat.grad = torch.zeros_like(joined)
        self._attach(joined, self.flat.grad)

    def _attach(self, joined: torch.Tensor, grads: torch.Tensor) -> None:
        for start, weights in zip(self._starts, self._weights, strict=True):
            part = slice(start, start + weights.numel())
            weights.data = joined[part].view_as(weights)
            weights.grad = grads[part].view_as(weights)

    def zero_grad(self) -> None:
        """Forget all gradients, in place.

        Raises:
            RuntimeError: If the network was moved since, so that nothing would reach
                it.
        """
        grads = self.flat.grad
        assert grads is not None
        if self._weights[0].data_ptr() != self.flat.data_ptr():
            raise RuntimeError(
                "the network's weights were replaced since its optimizer was made; "
                "move it to its device or dtype before"
            )
        grads.zero_()
        # Whoever set a gradient to None, such as another optimizer, cut it loose.
        if any(weights.grad is None for weights in self._weights):
            self._attach(self.flat.detach(), grads)
