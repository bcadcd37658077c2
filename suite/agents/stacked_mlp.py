"""Multilayer perceptrons as stacked weights, with their gradients written out.

An update of an actor and two critics is many small products. Autograd's bookkeeping and
fresh memory for every intermediate cost as much as the products themselves; here the
products are nearly all there is.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import nn

from suite.checkpoints import require_like

_aten: Any = torch.ops.aten  # its overloads that write into given memory
# The kernel of torch.optim.Adam(fused=True).
_fused_adam_: Any = torch._fused_adam_  # pyright: ignore[reportPrivateImportUsage]


def _relu_backward(grad: torch.Tensor, value: torch.Tensor) -> None:
    _aten.threshold_backward.grad_input(grad, value, 0, grad_input=grad)


def _tanh_backward(grad: torch.Tensor, value: torch.Tensor) -> None:
    _aten.tanh_backward.grad_input(grad, value, grad_input=grad)


@dataclass(frozen=True)
class Activation:
    """A nonlinearity and its derivative, both in place.

    Attributes:
        forward: Overwrites what goes in.
        backward: Overwrites a gradient, given what came out.
    """

    forward: Callable[[torch.Tensor], torch.Tensor]
    backward: Callable[[torch.Tensor, torch.Tensor], None]


ACTIVATIONS = {
    "relu": Activation(torch.relu_, _relu_backward),
    "tanh": Activation(torch.tanh_, _tanh_backward),
}


class StackedMLP(nn.Module):
    """E networks of the same form, evaluated side by side in one product a layer.

    Use it for an actor (E = 1) or a pair of critics. All weights lie in one array,
    ``flat``, all gradients in ``flat.grad``: an optimizer or a soft update of the whole
    network is one operation on it. First weights are those of ``torch.nn.Linear``.

    Attributes:
        weights: One (E, in, out) a layer; they share the memory of ``flat``.
        biases: One (E, 1, out) a layer.
        flat: All of them, (P,).

    Args:
        members: E.
        inputs: Numbers that go in.
        outputs: Numbers that come out.
        hidden: Widths of the hidden layers.
        activation: ``"relu"`` or ``"tanh"``.
        generator: Of the first weights; None is torch's global one.
        device: Where the weights lie.

    Raises:
        ValueError: For an unknown activation or a size below 1.
    """

    def __init__(
        self,
        members: int,
        inputs: int,
        outputs: int,
        *,
        hidden: Sequence[int] = (256, 256),
        activation: str = "relu",
        generator: torch.Generator | None = None,
        device: str = "cpu",
    ):
        super().__init__()
        if activation not in ACTIVATIONS:
            raise ValueError(
                f"activation must be one of {list(ACTIVATIONS)}, got {activation!r}"
            )
        if min(members, inputs, outputs, *hidden) < 1:
            raise ValueError(
                f"networks need sizes of 1 or more, got {members} members, {inputs} "
                f"inputs, {outputs} outputs and hidden widths {list(hidden)}"
            )
        self.members, self.activation = members, activation
        self.widths = (inputs, *hidden, outputs)
        shapes = [
            shape
            for fan_in, fan_out in pairwise(self.widths)
            for shape in ((members, fan_in, fan_out), (members, 1, fan_out))
        ]
        self.flat, parameters = flat_parameters(shapes, device)
        self.weights = nn.ParameterList(parameters[::2])
        self.biases = nn.ParameterList(parameters[1::2])
        self._initialise(generator)

    @torch.no_grad()
    def _initialise(self, generator: torch.Generator | None) -> None:
        for weight, bias in zip(self.weights, self.biases, strict=True):
            bound = 1 / math.sqrt(weight.shape[1])
            for part in (weight, bias):
                drawn = torch.empty(part.shape)
                nn.init.uniform_(drawn, -bound, bound, generator=generator)
                part.copy_(drawn)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(E, B, out) of inputs (E, B, in), or of (B, in) for all members.

        Raises:
            ValueError: If an input has another width.
        """
        if x.shape[-1] != self.widths[0]:
            raise ValueError(
                f"the networks take {self.widths[0]} numbers a row, got "
                f"{tuple(x.shape)}"
            )
        x = x.expand(self.members, *x.shape[-2:])
        activate, last = ACTIVATIONS[self.activation].forward, len(self.weights) - 1
        for layer, (weight, bias) in enumerate(
            zip(self.weights, self.biases, strict=True)
        ):
            x = torch.baddbmm(bias, x, weight)
            if layer < last:
                x = activate(x)
        return x


class Pass:
    """A forward pass of B rows that can be walked back, in memory of its own.

    Use one for each of a network's calls whose gradients are wanted; a second forward
    forgets the first. Nothing here is seen by autograd.

    Args:
        network: Whose.
        rows: B.
    """

    def __init__(self, network: StackedMLP, rows: int):
        self._network, self._activation = network, ACTIVATIONS[network.activation]
        self._weights = [weight.detach() for weight in network.weights]
        self._biases = [bias.detach() for bias in network.biases]
        shapes = [(network.members, rows, width) for width in network.widths[1:]]
        like = network.flat
        self._values = [like.new_empty(shape) for shape in shapes]
        self._grads = [like.new_empty(shape) for shape in shapes[:-1]]
        self._input = like.new_empty(0)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(E, B, out) of (B, in); it is overwritten by the next forward."""
        x = self._input = x.expand(self._network.members, *x.shape)
        layers = zip(self._weights, self._biases, self._values, strict=True)
        for layer, (weight, bias, value) in enumerate(layers):
            torch.baddbmm(bias, x, weight, out=value)
            if layer < len(self._grads):
                self._activation.forward(value)
            x = value
        return x

    def weight_gradients(self, grad: torch.Tensor) -> None:
        """Write the gradients of all weights into ``flat.grad``.

        Args:
            grad: Of the loss by the output, (E, b, out), for the first b rows; what
                comes after them has no gradient.
        """
        network, rows = self._network, grad.shape[1]
        for layer in reversed(range(len(self._weights))):
            below = self._values[layer - 1] if layer else self._input
            below = below[:, :rows]
            weight, bias = network.weights[layer].grad, network.biases[layer].grad
            torch.bmm(below.transpose(1, 2), grad, out=weight)
            torch.sum(grad, dim=1, keepdim=True, out=bias)
            if layer:
                grad = self._back(layer, grad)

    def input_gradient(self, grad: torch.Tensor, first: int = 0) -> torch.Tensor:
        """The gradient (E, B, in - first) by the inputs from ``first`` on.

        Args:
            grad: Of the loss by the output, (E, B, out).
            first: Inputs before it are not asked for.
        """
        for layer in reversed(range(1, len(self._weights))):
            grad = self._back(layer, grad)
        return torch.bmm(grad, self._weights[0][:, first:].transpose(1, 2))

    def _back(self, layer: int, grad: torch.Tensor) -> torch.Tensor:
        """The gradient by what goes into the layer before, through its activation."""
        rows = grad.shape[1]
        below = self._grads[layer - 1][:, :rows]
        torch.bmm(grad, self._weights[layer].transpose(1, 2), out=below)
        self._activation.backward(below, self._values[layer - 1][:, :rows])
        return below


class FlatAdam:
    """Adam on one array, in one kernel and without an optimizer's bookkeeping.

    Use it on a ``StackedMLP``'s ``flat``; ``torch.optim.Adam`` takes as long for its
    own affairs as for these numbers.

    Args:
        flat: What to step; its ``grad`` is read.
        learning_rate: Of the next step; may be set between two.
        betas: How much of the old moments stays.

    Source: Kingma and Ba 2015, algorithm 1, arXiv:1412.6980.
    """

    def __init__(
        self,
        flat: torch.Tensor,
        learning_rate: float,
        betas: tuple[float, float] = (0.9, 0.999),
    ):
        self._flat, self.learning_rate, self._betas = flat, learning_rate, betas
        self._mean, self._square = torch.zeros_like(flat), torch.zeros_like(flat)
        self._steps = torch.zeros((), device=flat.device)

    @torch.no_grad()
    def step(self) -> None:
        """One step along ``flat.grad``."""
        _fused_adam_(
            [self._flat],
            [self._flat.grad],
            [self._mean],
            [self._square],
            [],
            [self._steps.add_(1)],
            lr=self.learning_rate,
            beta1=self._betas[0],
            beta2=self._betas[1],
            weight_decay=0.0,
            eps=1e-8,
            amsgrad=False,
            maximize=False,
        )

    def state(self) -> dict[str, torch.Tensor]:
        """What it remembers; live tensors."""
        return {"mean": self._mean, "square": self._square, "steps": self._steps}

    @torch.no_grad()
    def load_state(self, tree: dict[str, Any], where: str) -> None:
        """Take over a ``state()``.

        Raises:
            IntegrityError: If it is of another array, naming ``where``.
        """
        own = self.state()
        require_like(tree, {n: t.cpu() for n, t in own.items()}, where)
        for name, tensor in own.items():
            tensor.copy_(tree[name])


def flat_parameters(
    shapes: Sequence[tuple[int, ...]], device: str = "cpu"
) -> tuple[torch.Tensor, list[nn.Parameter]]:
    """Parameters of so many shapes that lie in one array (P,), gradients too.

    Their numbers are not set yet.
    """
    sizes = [math.prod(shape) for shape in shapes]
    flat = torch.empty(sum(sizes), device=device)
    flat.grad = torch.zeros_like(flat)
    parameters = [nn.Parameter(view) for view in _views(flat, sizes, shapes)]
    grads = _views(flat.grad, sizes, shapes)
    for parameter, grad in zip(parameters, grads, strict=True):
        parameter.grad = grad
    return flat, parameters


def _views(
    flat: torch.Tensor, sizes: Sequence[int], shapes: Sequence[tuple[int, ...]]
) -> list[torch.Tensor]:
    parts = zip(flat.split(list(sizes)), shapes, strict=True)
    return [part.view(shape) for part, shape in parts]
