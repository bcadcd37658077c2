"""Mish, and softmax over small groups, for processors.

torch's kernels are slow for such rows: on one core with AVX-512 its softmax over groups
of 8 takes 2.5 times as long as the matrix product before it (256 x 512 by 512 x 512),
these 0.3 times; its Mish with the gradient takes 1.3 times with AVX2 (as measured in
docs/performance/activations.json) and 1.8 times with AVX-512, these half of that or
less. On an accelerator torch's own are used, and for the softmax with AVX2, whose
vectors have the size of a group.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.autograd.function import once_differentiable
from torch.nn import functional

from suite.worldmodels.processor import has_avx2

GROUP = 8  # numbers of a latent that sum to 1 together
_SOFTMAX_LIMIT = 80.0  # e^80 is finite, and a layer norm's output far below 80


def mish(x: torch.Tensor) -> torch.Tensor:
    """X tanh(log(1 + e^x)), of numbers of any shape; once differentiable.

    Source: Misra 2020, equation 1, arXiv:1908.08681.
    """
    if x.device.type != "cpu":
        return functional.mish(x)
    if torch.is_grad_enabled() and x.requires_grad:
        return _Mish.apply(x)  # pyright: ignore[reportReturnType]
    spare = torch.sigmoid(x)
    return _gate(spare, spare).mul_(x)


def group_softmax(x: torch.Tensor) -> torch.Tensor:
    """Shares (..., L) of each group of 8 numbers (..., L); once differentiable."""
    if has_fast_softmax(x.device):
        return x.unflatten(-1, (-1, GROUP)).softmax(dim=-1).flatten(-2)
    if torch.is_grad_enabled() and x.requires_grad:
        return _GroupSoftmax.apply(x)  # pyright: ignore[reportReturnType]
    return _shares(x)


def has_fast_softmax(device: torch.device) -> bool:
    """Whether torch's softmax over groups is faster than ours there."""
    return device.type != "cpu" or has_avx2()


def _gate(sigmoid: torch.Tensor, spare: torch.Tensor) -> torch.Tensor:
    """What mish multiplies x by, given sigmoid(x); overwrites ``spare``.

    It is t = tanh(log(1 + e^x)) = u / (2 - u) with u = s (2 - s) and s = sigmoid(x):
    one exponential, nothing that overflows or cancels.
    """
    # In place where it can be: fresh memory costs more than the arithmetic.
    gate = torch.rsub(sigmoid, 2.0).mul_(sigmoid)
    return gate.div_(torch.sub(2.0, gate, out=spare))


class _Mish(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        slope, spare = torch.sigmoid(x), torch.empty_like(x)
        gate = _gate(slope, spare)
        # mish' = t + x (1 - t^2) sigmoid(x), found now, while x and t are in the cache.
        slope.mul_(x)
        slope.addcmul_(slope, torch.mul(gate, gate, out=spare), value=-1.0).add_(gate)
        ctx.save_for_backward(slope)
        return gate.mul_(x)

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, change: torch.Tensor
    ) -> torch.Tensor:
        (slope,) = ctx.saved_tensors
        return slope * change


def _shares(x: torch.Tensor) -> torch.Tensor:
    # Cut instead of shifted by the largest, which is slow to find for a group of 8.
    grown = x.clamp(-_SOFTMAX_LIMIT, _SOFTMAX_LIMIT).exp_()
    groups = grown.view(-1, GROUP)
    groups.mul_(_sums(groups).reciprocal_())
    return grown


def _sums(groups: torch.Tensor) -> torch.Tensor:
    """(G, 1) of (G, 8), as a product: a reduction over so few numbers is slow."""
    return groups.mv(groups.new_ones(GROUP))[:, None]


class _GroupSoftmax(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        shares = _shares(x)
        ctx.save_for_backward(shares)
        return shares

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, change: torch.Tensor
    ) -> torch.Tensor:
        (shares,) = ctx.saved_tensors
        found = change * shares
        groups = found.view(-1, GROUP)
        groups.addcmul_(shares.view(-1, GROUP), _sums(groups), value=-1.0)
        return found
