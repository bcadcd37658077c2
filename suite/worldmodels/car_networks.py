"""Small networks as stacked weights, whose first layer is told in two parts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable


class Stacked(nn.Module):
    """E times G networks of the same form; those of a member share nothing with others.

    Use it inside a recurrent model. What is known of all steps before the first one,
    the commands, goes through the first layer once (``run``), for all steps in one
    product; only what the model says itself goes through it at each step. Hidden
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

    def run(self, known: Tensor, shift: Tensor, scale: Tensor) -> StackedRun:
        """These networks along H steps whose known inputs are all there.

        Args:
            known: (H, E, B, known).
            shift: (E, 1, felt), subtracted from all that is felt.
            scale: (E, 1, felt), by which that is divided.
        """
        first = (self.felt / scale.transpose(1, 2)[:, None]).flatten(0, 1)
        later = [weight.flatten(0, 1) for weight in self.weights]
        biases = [bias.flatten(0, 1) for bias in list(self.biases)[1:]]
        offsets = [self._prepared(known, shift / scale), *biases]
        return StackedRun([first, *later], offsets)

    def _prepared(self, known: Tensor, shift: Tensor) -> Tensor:
        """What the known inputs give to the first layer, (H, E G, B, width)."""
        steps, members, rows, size = known.shape
        bias = self.biases[0] - shift[:, None] @ self.felt
        together = known.transpose(0, 1).reshape(members, 1, steps * rows, size)
        found = (together @ self.known).view(members, -1, steps, rows, bias.shape[-1])
        return (found + bias[:, :, None]).flatten(0, 1).transpose(0, 1)


class StackedRun:
    """Networks along the steps of one rollout.

    A step is one node of autograd's graph. The gradients of weights are found when all
    steps are done, as in a recurrent layer, since they need nothing of the order.

    Args:
        weights: (E G, in, out) of each layer.
        offsets: (H, E G, B, width) of the first, (E G, 1, out) of the others.
    """

    def __init__(self, weights: Sequence[Tensor], offsets: Sequence[Tensor]):
        steps, _, rows, _ = offsets[0].shape
        self._has_graph = torch.is_grad_enabled()
        self._weights = [weight.detach() for weight in weights]
        self._inputs: list[list[Tensor]] = [[] for _ in weights]  # of layers, by step
        if not self._has_graph:
            self._offsets: list[Any] = [offsets[0], *([b] * steps for b in offsets[1:])]
            return
        self._offsets = [
            _Spread.apply(weight, offset, inputs, steps, rows)
            for weight, offset, inputs in zip(
                weights, offsets, self._inputs, strict=True
            )
        ]

    def step(self, h: int, felt: Tensor) -> Tensor:
        """Outputs (E G, B, out) of what is felt (E G, B, felt) at step h, in order."""
        offsets = [offset[h] for offset in self._offsets]
        if not self._has_graph:
            for layer, (weight, offset) in enumerate(
                zip(self._weights, offsets, strict=True)
            ):
                felt = torch.tanh(felt) if layer else felt
                felt = torch.baddbmm(offset, felt, weight)
            return felt
        return _Step.apply(self._weights, self._inputs, felt, *offsets)  # pyright: ignore[reportReturnType]


class _Spread(torch.autograd.Function):
    """Hands a layer's offset to each step, and gathers its weights' gradient."""

    @staticmethod
    def forward(
        ctx: Any,
        weight: Tensor,
        offset: Tensor,
        inputs: list[Tensor],
        steps: int,
        rows: int,
    ) -> tuple[Tensor, ...]:
        ctx.inputs, ctx.like, ctx.is_bias = inputs, weight.detach(), offset.dim() == 3
        ctx.set_materialize_grads(False)
        if ctx.is_bias:
            return tuple(offset.expand(-1, rows, -1) for _ in range(steps))
        return offset.unbind(0)

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, *changes: Tensor | None
    ) -> tuple[Tensor | None, ...]:
        weight, total = torch.zeros_like(ctx.like), None
        for before, change in zip(ctx.inputs, changes, strict=True):
            if change is None:  # a step that nothing depended on
                continue
            weight.baddbmm_(before.transpose(1, 2), change)
            if ctx.is_bias:
                total = change.clone() if total is None else total.add_(change)
        if ctx.is_bias:
            offset = None if total is None else total.sum(dim=1, keepdim=True)
            return weight, offset, None, None, None
        like = next(change for change in changes if change is not None)
        full = [torch.zeros_like(like) if c is None else c for c in changes]
        return weight, torch.stack(full), None, None, None


class _Step(torch.autograd.Function):
    """All layers at one step; the weights' gradient is left to ``_Spread``."""

    @staticmethod
    def forward(
        ctx: Any,
        weights: list[Tensor],
        inputs: list[list[Tensor]],
        felt: Tensor,
        *offsets: Tensor,
    ) -> Tensor:
        x, seen = felt.detach(), []
        for layer, (weight, offset) in enumerate(zip(weights, offsets, strict=True)):
            x = torch.tanh(x) if layer else x
            seen.append(x)
            inputs[layer].append(x)
            x = torch.baddbmm(offset, x, weight)
        ctx.weights = weights
        ctx.save_for_backward(*seen)
        return x

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, change: Tensor
    ) -> tuple[Tensor | None, ...]:
        changes: list[Tensor] = []
        felt: Tensor | None = None
        seen = ctx.saved_tensors
        for layer in reversed(range(len(seen))):
            changes.insert(0, change)
            if layer == 0 and not ctx.needs_input_grad[2]:
                break
            before = torch.bmm(change, ctx.weights[layer].transpose(1, 2))
            if layer == 0:
                felt = before
            else:
                change = torch.ops.aten.tanh_backward(before, seen[layer])
        return None, None, felt, *changes


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
