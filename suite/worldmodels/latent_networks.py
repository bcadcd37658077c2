"""Networks of latent world models: normed layers, and latents on simplices."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import nn

from suite.worldmodels.activations import GROUP, group_softmax, mish

INIT_STD = 0.02  # of first weights, which are cut at +-2, hundred deviations


class SimNorm(nn.Module):
    """Softmax over each group of 8 numbers, so that a latent is a row of simplices.

    Use it last in an encoder or a transition: latents cannot run away, however long a
    rollout is.

    Args:
        size: L, numbers of a latent.

    Raises:
        ValueError: If L is no multiple of 8.

    Source: Hansen et al. 2024, section 3.1, arXiv:2310.16828 (V = 8, no temperature).
    """

    def __init__(self, size: int):
        super().__init__()
        require_groups(size)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Latents (..., L) of any numbers (..., L)."""
        return group_softmax(x)


class Mish(nn.Module):
    """``mish`` as a layer."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Numbers of the shape that goes in."""
        return mish(x)


def grouped(z: torch.Tensor) -> torch.Tensor:
    """The groups (..., L / 8, 8) of latents (..., L)."""
    return z.unflatten(-1, (-1, GROUP))


def require_groups(size: int) -> None:
    """Refuse a width that does not fall into groups.

    Raises:
        ValueError: Naming the widths next to it.
    """
    if size < GROUP or size % GROUP:
        below = max(size // GROUP, 1) * GROUP
        raise ValueError(
            f"a latent falls into groups of {GROUP} numbers, so its width must be a "
            f"multiple of {GROUP}, got {size}; take {below} or {below + GROUP}"
        )


class SmallLinear(nn.Linear):
    """A linear layer whose biases begin at 0 and whose weights are small.

    Args:
        inputs: Numbers that go in.
        outputs: Numbers that come out.
        generator: Of the first weights; None is torch's global one.
    """

    def __init__(self, inputs: int, outputs: int, generator: torch.Generator | None):
        super().__init__(inputs, outputs)
        nn.init.trunc_normal_(self.weight, std=INIT_STD, generator=generator)
        nn.init.zeros_(self.bias)

    def reset_parameters(self) -> None:
        """Nothing: torch's own first weights would be drawn from its global stream."""


def normed(
    inputs: int, outputs: int, last: nn.Module, generator: torch.Generator | None
) -> list[nn.Module]:
    """Linear, LayerNorm, then ``last``: inputs * outputs + 3 * outputs numbers."""
    return [SmallLinear(inputs, outputs, generator), nn.LayerNorm(outputs), last]


def hidden_layers(
    widths: Sequence[int], generator: torch.Generator | None
) -> list[nn.Module]:
    """Normed layers with Mish between these widths."""
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(widths):
        layers += normed(inputs, outputs, Mish(), generator)
    return layers


def latent_mlp(
    widths: Sequence[int], generator: torch.Generator | None
) -> nn.Sequential:
    """A network whose output is a latent: normed layers with Mish, SimNorm last.

    Args:
        widths: Of input, hidden layers and latent.
        generator: Of the first weights; None is torch's global one.

    Raises:
        ValueError: If the last width is no multiple of 8.
    """
    layers = hidden_layers(widths[:-1], generator)
    last = normed(widths[-2], widths[-1], SimNorm(widths[-1]), generator)
    return nn.Sequential(*layers, *last)


def plain_mlp(
    widths: Sequence[int], generator: torch.Generator | None
) -> nn.Sequential:
    """A network with a linear last layer whose weights begin at 0, and so its output.

    Args:
        widths: Of input, hidden layers and output.
        generator: Of the first weights; None is torch's global one.
    """
    last = SmallLinear(widths[-2], widths[-1], generator)
    nn.init.zeros_(last.weight)
    return nn.Sequential(*hidden_layers(widths[:-1], generator), last)
