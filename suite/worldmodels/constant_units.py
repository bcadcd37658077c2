"""Layers without biases, for products that take no detour, and a tanh for all machines.

The input's last column is 1, and each hidden layer has one unit that never changes;
their outgoing weights are the biases of the next layer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from suite.worldmodels.processor import has_avx2, is_amd

CACHE_LINE = 16  # float32 numbers
VECTOR = 8  # of AVX2; MKL takes longer for 21 columns than for 24 on an AMD processor


class Activation(NamedTuple):
    """An activation, and a number that it keeps constant in every dtype."""

    apply: Callable[[Tensor], Any]  # in place
    plain: Callable[[Tensor], Tensor]
    constant: float  # what goes into the constant unit


# tanh(x) = 2 sigmoid(2 x) - 1: twos and ones can be put into the weights.
SIGMOID = Activation(torch.sigmoid_, torch.sigmoid, 20.0)
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
    activation: Activation,
) -> list[Tensor]:
    """Layers without biases: each but the last has a unit that never changes.

    The input's last column is 1. The constant unit is the first of the padding. The
    last layer is padded to whole vectors with columns of zeros.
    """
    sizes = [_padded(weight.shape[2]) for weight in weights[:-1]]
    sizes.append(-(-weights[-1].shape[2] // VECTOR) * VECTOR)
    layers, inputs, constant = [], weights[0].shape[1] + 1, 1.0
    for layer, (weight, bias, size) in enumerate(
        zip(weights, biases, sizes, strict=True)
    ):
        members, used, units = weight.shape
        padded = weight.new_zeros(members, inputs, size, dtype=torch.float64)
        padded[:, :used, :units] = weight
        padded[:, used, :units] = bias.reshape(members, units) / constant
        if layer < len(weights) - 1:
            padded[:, used, units] = activation.constant / constant
            constant = _comes_out(activation, types[layer])
        layers.append(padded.to(types[layer]))
        inputs = size
    return layers


def _padded(units: int) -> int:
    """The next multiple of a cache line that leaves room for a constant unit."""
    return (units // CACHE_LINE + 1) * CACHE_LINE


def _comes_out(activation: Activation, dtype: torch.dtype) -> float:
    return float(activation.plain(torch.tensor([activation.constant], dtype=dtype)))


# ------------------------------------------------------------------------ tanh, cheaply
def sigmoid_is_cheaper(types: Sequence[torch.dtype], device: torch.device) -> bool:
    """Whether a network of tanh had better be one of sigmoid.

    On AMD processors torch's tanh takes 3.6 times as long as its sigmoid with AVX2
    (docs/performance/activations.json) and 6.6 times with AVX-512: it is MKL's, which
    keeps its fast one for Intel's, which have the faster tanh with AVX-512. Sums of
    numbers in (0, 1) cancel, for which bfloat16 is too coarse.
    """
    is_exact = all(torch.finfo(kind).eps < 1e-6 for kind in types)
    is_slow = has_avx2() or is_amd()
    return is_exact and is_slow and device.type == "cpu"


def tanh_as_sigmoid(
    weights: Sequence[Tensor], biases: Sequence[Tensor]
) -> tuple[list[Tensor], list[Tensor]]:
    """A network of sigmoid, in float64, that says the same as one of tanh.

    With h = tanh(W x + b) = 2 s - 1 and s = sigmoid(2 W x + 2 b), the next layer is
    V h + c = 2 V s + (c - sum of V).

    Args:
        weights: One (E, in, out) a layer.
        biases: One (E, out) or (E, 1, out) a layer.
    """
    weights = [weight.double() for weight in weights]
    biases = [bias.double().reshape(len(bias), 1, -1) for bias in biases]
    for layer in range(1, len(weights)):
        biases[layer] = biases[layer] - weights[layer].sum(dim=1, keepdim=True)
        weights[layer] = 2 * weights[layer]
    for layer in range(len(weights) - 1):
        weights[layer], biases[layer] = 2 * weights[layer], 2 * biases[layer]
    return weights, biases
