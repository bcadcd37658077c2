"""Small networks as stacked weights, whose first layer is told in two parts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn


class Stacked(nn.Module):
    """E times G networks of the same form; those of a member share nothing with others.

    Use it inside a recurrent model. What is known of all steps before the first one,
    the commands, goes through the first layer once (``prepared``), for all steps in
    one product; only what the model says itself goes through it at each step. Hidden
    layers are tanh. The last layer begins at zero, so that what the network corrects
    begins uncorrected.

    Attributes:
        felt: (E, G, felt, width), the first layer's weights for what is felt.
        known: (E, G, known, width), those for what is known.
        weights: (E, G, in, out) of each later layer.
        biases: (E, G, 1, out) of each layer.

    Args:
        generators: One a member, of its first weights.
        groups: G, networks of a member.
        felt: Numbers of an input that each step produces.
        known: Numbers of an input that are known before.
        outputs: Numbers of an output.
        hidden: Widths, 1 or more of them.

    Raises:
        ValueError: If there is no hidden layer or a size is below 1.
    """

    def __init__(
        self,
        generators: Sequence[torch.Generator],
        groups: int,
        felt: int,
        known: int,
        outputs: int,
        hidden: Sequence[int],
    ):
        super().__init__()
        if not hidden or min(*hidden, groups, felt, known, outputs) < 1:
            raise ValueError(
                "a network needs hidden layers and sizes of 1 or more, got hidden "
                f"{list(hidden)}, {groups} groups, {felt} + {known} inputs and "
                f"{outputs} outputs"
            )
        shapes = list(pairwise((felt + known, *hidden, outputs)))
        layers = [_layer(generators, groups, *shape) for shape in shapes]
        first = layers[0][0]
        self.felt = nn.Parameter(first[:, :, :felt].clone())
        self.known = nn.Parameter(first[:, :, felt:].clone())
        self.weights = nn.ParameterList([weight for weight, _ in layers[1:]])
        self.biases = nn.ParameterList([bias for _, bias in layers])
        for part in (self.weights[-1], self.biases[-1]):
            nn.init.zeros_(part)

    def prepared(self, known: Tensor, shift: Tensor) -> Tensor:
        """What the known part of the input gives to the first layer.

        Args:
            known: (H, E, B, known).
            shift: (E, 1, felt), what is to be subtracted from all that is felt.

        Returns:
            (H, E G, B, width).
        """
        steps, members, rows, size = known.shape
        bias = self.biases[0] - shift[:, None] @ self.felt
        together = known.transpose(0, 1).reshape(members, 1, steps * rows, size)
        found = (together @ self.known).view(members, -1, steps, rows, bias.shape[-1])
        return (found + bias[:, :, None]).flatten(0, 1).transpose(0, 1).contiguous()

    def unfolded(self, scale: Tensor) -> list[tuple[Tensor, Tensor | None]]:
        """Layers as ``applied`` takes them, inputs divided by a scale (E, 1, felt)."""
        first = self.felt / scale.transpose(1, 2)[:, None]
        later = zip(self.weights, list(self.biases)[1:], strict=True)
        flat = [(w.flatten(0, 1), b.flatten(0, 1)) for w, b in later]
        return [(first.flatten(0, 1), None), *flat]


def applied(
    layers: Sequence[tuple[Tensor, Tensor | None]], felt: Tensor, prepared: Tensor
) -> Tensor:
    """Outputs (E G, B, out) of felt inputs (E G, B, felt) at one step.

    Args:
        layers: Of ``Stacked.unfolded``.
        felt: What is felt, not scaled.
        prepared: (E G, B, width), one step of ``Stacked.prepared``.
    """
    x = torch.baddbmm(prepared, felt, layers[0][0])
    for weight, bias in layers[1:]:
        assert bias is not None
        x = torch.baddbmm(bias, torch.tanh(x), weight)
    return x


def _layer(
    generators: Sequence[torch.Generator], groups: int, inputs: int, outputs: int
) -> tuple[nn.Parameter, nn.Parameter]:
    """As ``torch.nn.Linear``: uniform within 1 / sqrt(inputs), a stream a member."""
    bound = 1 / math.sqrt(inputs)
    weights, biases = [], []
    for generator in generators:
        drawn = torch.rand(groups, inputs + 1, outputs, generator=generator)
        drawn = (2 * drawn - 1) * bound
        weights.append(drawn[:, :inputs])
        biases.append(drawn[:, inputs:])
    return nn.Parameter(torch.stack(weights)), nn.Parameter(torch.stack(biases))
