"""Layers without biases, for products that take no detour.

The input's last column is 1, and each hidden layer has one unit that never changes;
their outgoing weights are the biases of the next layer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

CACHE_LINE = 16  # float32 numbers


class Activation(NamedTuple):
    """An activation, and a number that it keeps constant in every dtype."""

    apply: Callable[[Tensor], Any]  # in place
    plain: Callable[[Tensor], Tensor]
    constant: float  # what goes into the constant unit


ACTIVATIONS = {
    "tanh": Activation(torch.tanh_, torch.tanh, 20.0),  # comes out as exactly 1
    "silu": Activation(
        lambda x: functional.silu(x, inplace=True), functional.silu, 1.0
    ),
}


def with_constant_units(
    weights: Sequence[Tensor],
    biases: Sequence[Tensor],
    types: Sequence[torch.dtype],
    activation: str,
) -> list[Tensor]:
    """Layers without biases: each but the last has a unit that never changes.

    The input's last column is 1. The constant unit is the first of the padding.
    """
    sizes = [_padded(weight.shape[2]) for weight in weights[:-1]]
    sizes.append(weights[-1].shape[2])
    layers, inputs, constant = [], weights[0].shape[1] + 1, 1.0
    for layer, (weight, bias, size) in enumerate(
        zip(weights, biases, sizes, strict=True)
    ):
        members, used, units = weight.shape
        padded = weight.new_zeros(members, inputs, size, dtype=torch.float64)
        padded[:, :used, :units] = weight
        padded[:, used, :units] = bias.reshape(members, units) / constant
        if layer < len(weights) - 1:
            goes_in = ACTIVATIONS[activation].constant
            padded[:, used, units] = goes_in / constant
            constant = _comes_out(activation, goes_in, types[layer])
        layers.append(padded.to(types[layer]))
        inputs = size
    return layers


def _padded(units: int) -> int:
    """The next multiple of a cache line that leaves room for a constant unit."""
    return (units // CACHE_LINE + 1) * CACHE_LINE


def _comes_out(activation: str, goes_in: float, dtype: torch.dtype) -> float:
    return float(ACTIVATIONS[activation].plain(torch.tensor([goes_in], dtype=dtype)))
