"""Small networks as stacked weights, for models that are rolled out many steps."""

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

    Use it inside a recurrent model. Hidden layers are tanh. The last layer begins at
    zero, so that what the network corrects begins uncorrected.

    Attributes:
        weights: (E, G, in, out) of each layer.
        biases: (E, G, 1, out) of each layer.

    Args:
        generators: One a member, of its first weights.
        groups: G, networks of a member.
        inputs: Numbers of an input.
        outputs: Numbers of an output.
        hidden: Widths, 1 or more of them.

    Raises:
        ValueError: If there is no hidden layer or a size is below 1.
    """

    def __init__(
        self,
        generators: Sequence[torch.Generator],
        groups: int,
        inputs: int,
        outputs: int,
        hidden: Sequence[int],
    ):
        super().__init__()
        if not hidden or min(*hidden, groups, inputs, outputs) < 1:
            raise ValueError(
                "a network needs hidden layers and sizes of 1 or more, got hidden "
                f"{list(hidden)}, {groups} groups, {inputs} inputs and {outputs} "
                "outputs"
            )
        shapes = list(pairwise((inputs, *hidden, outputs)))
        layers = [_layer(generators, groups, *shape) for shape in shapes]
        self.weights = nn.ParameterList([weight for weight, _ in layers])
        self.biases = nn.ParameterList([bias for _, bias in layers])
        for part in (self.weights[-1], self.biases[-1]):
            nn.init.zeros_(part)

    def run(self, shift: Tensor, scale: Tensor, steps: int, rows: int) -> StackedRun:
        """These networks along H steps, inputs normalised by their first layer.

        Args:
            shift: (E, 1, in), subtracted from inputs.
            scale: (E, 1, in), by which they are divided.
            steps: H.
            rows: B.
        """
        # Once a rollout instead of once a step.
        first = self.weights[0] / scale.transpose(1, 2)[:, None]
        moved = self.biases[0] - shift[:, None] @ first
        weights = [first, *list(self.weights)[1:]]
        biases = [moved, *list(self.biases)[1:]]
        return StackedRun(
            [weight.flatten(0, 1) for weight in weights],
            [bias.flatten(0, 1).expand(-1, rows, -1) for bias in biases],
            steps,
        )


class StackedRun:
    """Networks along the steps of one rollout.

    A step is one node of autograd's graph. The gradients of weights are found when all
    steps are done, as in a recurrent layer, since they need nothing of the order.

    Args:
        weights: (E G, in, out) of each layer.
        biases: (E G, B, out) of each layer, expanded.
        steps: H.
    """

    def __init__(self, weights: Sequence[Tensor], biases: Sequence[Tensor], steps: int):
        self._weights, self._biases = list(weights), list(biases)
        self._graph: list[Any] | None = None
        if torch.is_grad_enabled():
            self._inputs: list[list[Tensor]] = [[] for _ in weights]  # of each step
            self._graph = [
                _Spread.apply(weight, bias, inputs, steps)
                for weight, bias, inputs in zip(
                    weights, biases, self._inputs, strict=True
                )
            ]
            self._weights = [weight.detach() for weight in weights]

    def step(self, h: int, x: Tensor) -> Tensor:
        """Outputs (E G, B, out) of inputs (E G, B, in) at step h; steps in order."""
        if self._graph is None:
            for layer, weight in enumerate(self._weights):
                x = torch.tanh_(x) if layer else x
                x = torch.baddbmm(self._biases[layer], x, weight)
            return x
        biases = [layer[h] for layer in self._graph]
        found: Any = _Step.apply(self._weights, self._inputs, x, *biases)
        return found


class _Spread(torch.autograd.Function):
    """Hands a layer's bias to each step, and gathers the layer's gradient."""

    @staticmethod
    def forward(
        ctx: Any, weight: Tensor, bias: Tensor, inputs: list[Tensor], steps: int
    ) -> tuple[Tensor, ...]:
        ctx.inputs, ctx.weight = inputs, weight.detach()
        ctx.set_materialize_grads(False)
        return tuple(bias.view_as(bias) for _ in range(steps))

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, *changes: Tensor | None
    ) -> tuple[Tensor | None, ...]:
        weight = torch.zeros_like(ctx.weight)
        bias = weight.new_zeros(len(weight), 1, weight.shape[2])
        ones: Tensor | None = None
        for before, change in zip(ctx.inputs, changes, strict=True):
            if change is None:  # a step that nothing depended on
                continue
            weight.baddbmm_(before.transpose(1, 2), change)
            if ones is None:
                ones = change.new_ones(1, 1, change.shape[1]).expand(
                    len(change), -1, -1
                )
            bias.baddbmm_(ones, change)  # the sum over rows, read once
        rows = 1 if ones is None else ones.shape[2]
        return weight, (bias / rows).expand(-1, rows, -1), None, None


class _Step(torch.autograd.Function):
    """All layers at one step; the weights' gradient is left to ``_Spread``."""

    @staticmethod
    def forward(
        ctx: Any,
        weights: list[Tensor],
        inputs: list[list[Tensor]],
        x: Tensor,
        *biases: Tensor,
    ) -> Tensor:
        x, seen = x.detach(), []
        for layer, (weight, bias) in enumerate(zip(weights, biases, strict=True)):
            # In place, here and below: fresh memory costs more than the function.
            x = torch.tanh_(x) if layer else x
            seen.append(x)
            inputs[layer].append(x)
            x = torch.baddbmm(bias, x, weight)
        ctx.weights = weights
        ctx.save_for_backward(*seen)
        return x

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, change: Tensor
    ) -> tuple[Tensor | None, ...]:
        changes: list[Tensor] = []
        first: Tensor | None = None
        seen = ctx.saved_tensors
        for layer in reversed(range(len(seen))):
            changes.insert(0, change)
            if layer == 0 and not ctx.needs_input_grad[2]:
                break
            before = torch.bmm(change, ctx.weights[layer].transpose(1, 2))
            if layer == 0:
                first = before
            else:
                change = torch.ops.aten.tanh_backward.grad_input(
                    before, seen[layer], grad_input=before
                )
        return None, None, first, *changes


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
