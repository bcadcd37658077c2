"""Multilayer perceptrons with Mish and layer norms, as stacked weights."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import nn
from torch.nn import functional

from suite.agents.stacked_mlp import flat_parameters
from suite.worldmodels.activations import mish


class MishMLP(nn.Module):
    """E networks of the same form, evaluated side by side in one product a layer.

    Use it for actor (E = 1) and critics of ``PWM``. A hidden layer is linear, Mish,
    layer norm, in this order; the last layer is linear. All weights lie in one array,
    ``flat``, all gradients in ``flat.grad``.

    Args:
        members: E.
        inputs: Numbers that go in.
        outputs: Numbers that come out.
        hidden: Widths of the hidden layers.
        gain: First weights are orthogonal with this gain and biases 0, as the published
            critics'; None is PyTorch's own for linear layers, as the published actor's.
        generator: Of the first weights; None is torch's global one.
        device: Where the weights lie.

    Raises:
        ValueError: If a size is below 1.

    Source: Georgiev et al. 2025, appendix, arXiv:2407.02466, and its code.
    """

    def __init__(
        self,
        members: int,
        inputs: int,
        outputs: int,
        *,
        hidden: Sequence[int],
        gain: float | None = 2**0.5,
        generator: torch.Generator | None = None,
        device: str = "cpu",
    ):
        super().__init__()
        if min(members, inputs, outputs, *hidden) < 1:
            raise ValueError(
                f"networks need sizes of 1 or more, got {members} members, {inputs} "
                f"inputs, {outputs} outputs and hidden widths {list(hidden)}"
            )
        self.members, self.widths = members, (inputs, *hidden, outputs)
        weights = [(members, *pair) for pair in pairwise(self.widths)]
        rows = [(members, 1, width) for width in self.widths[1:]]
        count, norms = len(weights), rows[:-1]
        self.flat, found = flat_parameters([*weights, *rows, *norms, *norms], device)
        self.weights = nn.ParameterList(found[:count])
        self.biases = nn.ParameterList(found[count : 2 * count])
        self.scales = nn.ParameterList(found[2 * count : 3 * count - 1])
        self.shifts = nn.ParameterList(found[3 * count - 1 :])
        self._initialise(gain, generator)

    @torch.no_grad()
    def _initialise(
        self, gain: float | None, generator: torch.Generator | None
    ) -> None:
        self.flat.zero_()
        for scale in self.scales:
            scale.fill_(1)
        for weight, bias in zip(self.weights, self.biases, strict=True):
            if gain is None:
                _like_linear(weight, bias, generator)
                continue
            for member in weight:
                drawn = torch.empty(member.T.shape)
                nn.init.orthogonal_(drawn, gain, generator=generator)
                member.copy_(drawn.T)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(E, B, out) of inputs (B, in), which all members get.

        Raises:
            ValueError: If an input has another width.
        """
        if x.shape[-1] != self.widths[0]:
            raise ValueError(
                f"the networks take {self.widths[0]} numbers a row, got "
                f"{tuple(x.shape)}"
            )
        x = x.expand(self.members, *x.shape)
        weight, bias = self.weights[0], self.biases[0]
        for layer, width in enumerate(self.widths[1:-1]):
            x = mish(torch.baddbmm(bias, x, weight))
            x = functional.layer_norm(x, (width,))
            # A norm's scale and shift act on the next layer's weights, which are fewer
            # than the rows of a batch.
            following = self.weights[layer + 1]
            weight = following * self.scales[layer].mT
            bias = torch.baddbmm(self.biases[layer + 1], self.shifts[layer], following)
        return torch.baddbmm(bias, x, weight)


def _like_linear(
    weight: torch.Tensor, bias: torch.Tensor, generator: torch.Generator | None
) -> None:
    """What ``nn.Linear`` begins with: uniform within 1 / sqrt(inputs), both."""
    for part in (weight, bias):
        drawn = torch.rand(part.shape, generator=generator)  # on the CPU, wherever used
        part.copy_((2 * drawn - 1) * weight.shape[1] ** -0.5)
