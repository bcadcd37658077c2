"""The products and activations of an epoch of PWM alone: the floor of ``pwm.py``.

No norms, biases, losses, normalisers, optimizers, draws or graphs. What goes in is
whatever lies in memory: products cost the same.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import torch

from suite.worldmodels.activations import has_fast_softmax

OBS, ACT, LATENT, ENCODER, HIDDEN = 37, 8, 512, (256,), (512, 512)
ACTOR, CRITIC, CRITICS = (400, 200, 100), (400, 200), 3
HORIZON, PIECES, ROWS, PASSES, BATCHES = 16, 256, 128, 8, 4
_aten: Any = torch.ops.aten


class Mish:
    """Mish and its gradient, by the arithmetic of ``suite.worldmodels.activations``."""

    def __init__(self, x: torch.Tensor):
        self._gate, self._slope, self._spare = (torch.empty_like(x) for _ in range(3))

    def forward(self, x: torch.Tensor, out: torch.Tensor, *, graph: bool) -> None:
        if x.device.type != "cpu":
            _aten.mish.out(x, out=out)
            return
        gate, spare = self._gate, self._spare
        slope = torch.sigmoid(x, out=self._slope)
        torch.sub(2.0, slope, out=gate).mul_(slope)
        gate.div_(torch.sub(2.0, gate, out=spare))
        if graph:
            torch.mul(gate, gate, out=spare)
            slope.mul_(x).addcmul_(slope, spare, value=-1.0).add_(gate)
        torch.mul(gate, x, out=out)

    def backward(self, x: torch.Tensor, y: torch.Tensor, change: torch.Tensor) -> None:
        if x.device.type != "cpu":
            _aten.mish_backward(change, x)
        else:
            change.mul_(self._slope)


class Shares:
    """Softmax over groups of 8 and its gradient, likewise."""

    def __init__(self, x: torch.Tensor):
        self._sums = x.new_empty(x.numel() // 8)
        self._found, self._ones = torch.empty_like(x), x.new_ones(8)

    def forward(self, x: torch.Tensor, out: torch.Tensor, *, graph: bool) -> None:
        if has_fast_softmax(x.device):
            _aten._softmax.out(x.view(-1, 8), -1, False, out=out.view(-1, 8))
            return
        groups = torch.clamp(x, -80.0, 80.0, out=out).exp_().view(-1, 8)
        torch.mv(groups, self._ones, out=self._sums).reciprocal_()
        groups.mul_(self._sums[:, None])

    def backward(self, x: torch.Tensor, y: torch.Tensor, change: torch.Tensor) -> None:
        groups = y.view(-1, 8)
        if has_fast_softmax(x.device):
            _aten._softmax_backward_data(change.view(-1, 8), groups, -1, x.dtype)
            return
        found = torch.mul(change, y, out=self._found).view(-1, 8)
        torch.mv(found, self._ones, out=self._sums)
        found.addcmul_(groups, self._sums[:, None], value=-1.0)


class Pass:
    """A call of a network, of so many rows: memory of its own for all it remembers.

    Args:
        weights: One (in, out) a layer, or (E, in, out).
        rows: B.
        is_latent: Whether it ends in shares.
    """

    def __init__(self, weights: list[torch.Tensor], rows: int, is_latent: bool = False):
        self._weights, like = weights, weights[0]
        widths = [weights[0].shape[-2], *(each.shape[-1] for each in weights)]
        lead = (*like.shape[:-2], rows)
        made = [torch.randn(*lead, w, device=like.device) for w in widths]
        self._values, self._grads = made, [torch.randn_like(each) for each in made]
        self._raw = [torch.randn_like(each) for each in made[1:]]
        self._into = [torch.empty_like(each) for each in weights]
        self._ends: list[Any] = [Mish(raw) for raw in self._raw[:-1]]
        self._ends += [Shares(self._raw[-1])] if is_latent else []

    def forward(self, *, graph: bool = True) -> None:
        for layer, weight in enumerate(self._weights):
            is_last = layer >= len(self._ends)
            out = self._values[layer + 1] if is_last else self._raw[layer]
            torch.matmul(self._values[layer], weight, out=out)
            if not is_last:
                found = self._values[layer + 1]
                self._ends[layer].forward(self._raw[layer], found, graph=graph)

    def back(self, *, weights: bool, inputs: bool) -> None:
        for layer in reversed(range(len(self._weights))):
            change, below = self._grads[layer + 1], self._values[layer]
            if layer < len(self._ends):
                raw, value = self._raw[layer], self._values[layer + 1]
                self._ends[layer].backward(raw, value, change)
            if weights:
                torch.matmul(below.mT, change, out=self._into[layer])
            if layer or inputs:
                out = self._grads[layer]
                torch.matmul(change, self._weights[layer].mT, out=out)


class Floor:
    """The three parts of an epoch."""

    def __init__(self, device: str):
        def drawn(*widths: int, members: tuple[int, ...] = ()) -> list[torch.Tensor]:
            pairs = pairwise(widths)
            return [0.05 * torch.randn(*members, *w, device=device) for w in pairs]

        encoder, both = drawn(OBS, *ENCODER, LATENT), LATENT + ACT
        dynamics = drawn(both, *HIDDEN, LATENT)
        reward, actor = drawn(both, *HIDDEN, 1), drawn(LATENT, *ACTOR, ACT)
        critics, steps = drawn(LATENT, *CRITIC, 1, members=(CRITICS,)), range(HORIZON)
        self._first = Pass(encoder, PIECES, is_latent=True)
        self._targets = Pass(encoder, HORIZON * PIECES, is_latent=True)
        self._steps = [Pass(dynamics, PIECES, is_latent=True) for _ in steps]
        self._rewards = Pass(reward, HORIZON * PIECES)
        self._starts = Pass(encoder, ROWS, is_latent=True)
        self._imagined = [
            (Pass(actor, ROWS), Pass(reward, ROWS), Pass(dynamics, ROWS, True))
            for _ in steps
        ]
        self._last = Pass(critics, ROWS)
        self._values = Pass(critics, HORIZON * ROWS)
        self._batch = Pass(critics, HORIZON * ROWS // BATCHES)

    def model_step(self) -> None:
        self._targets.forward(graph=False)
        rolled = [self._first, *self._steps, self._rewards]
        for each in rolled:
            each.forward()
        for each in reversed(rolled):
            each.back(weights=True, inputs=each is not self._first)

    def actor_step(self) -> None:
        self._starts.forward(graph=False)
        for actor, reward, dynamics in self._imagined:
            actor.forward()
            dynamics.forward()
            reward.forward()
        self._last.forward()
        self._last.back(weights=False, inputs=True)
        for actor, reward, dynamics in reversed(self._imagined):
            reward.back(weights=False, inputs=True)
            dynamics.back(weights=False, inputs=True)
            actor.back(weights=True, inputs=False)  # it is handed detached latents

    def critic_steps(self) -> None:
        self._values.forward(graph=False)
        for _ in range(PASSES * BATCHES):
            self._batch.forward()
            self._batch.back(weights=True, inputs=False)
