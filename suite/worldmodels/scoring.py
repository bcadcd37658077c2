"""How good action sequences are by an ensemble, as fast as the products allow.

Every member rolls out every sequence on a trajectory of its own, without noise (CS285's
planner; TS-infinity of a deterministic ensemble), and the sum of rewards is averaged
over the members. Against a straightforward loop over steps this

- takes weights that contain the normalisation, so that a step is nothing but products
  and activations;
- pads hidden layers to whole cache lines, with one unit that is constant and whose
  outgoing weights are the next layer's biases, so that no bias is added;
- sends state and action through one product. (To multiply the actions of all steps in
  advance costs more than it saves: measured 8 ms against 1 ms for 15 steps, 3 members
  and 1000 candidates, since writing and adding the partial sums is what takes time.)
- takes sigmoid for tanh where that is faster, with the difference in the weights;
- works on blocks of candidates whose activations stay in the processor's cache;
- asks for the rewards of all steps of a block at once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, NamedTuple, Self

import torch
from torch import Tensor

from suite.envs.arguments import require_kind, require_positive
from suite.worldmodels.constant_units import (
    ACTIVATIONS,
    SIGMOID,
    sigmoid_is_cheaper,
    tanh_as_sigmoid,
    with_constant_units,
)
from suite.worldmodels.learned import LearnedDynamics
from suite.worldmodels.normaliser import Folded
from suite.worldmodels.processor import has_fast_bfloat16

BLOCK = 128  # candidates: 3 members' activations of 256 units are 400 kB
LARGE_BLOCK = 1024  # where products are faster than memory: bfloat16, and GPUs

Reward = Callable[[Tensor, Tensor, Tensor], Tensor]
Terminated = Callable[[Tensor], Tensor]


class EnsembleScore:
    """Scores of action sequences by stacked deterministic networks.

    Use it as a planner's score wherever model and reward allow it:

        score = EnsembleScore.of(dynamics.frozen(), horizon=15)
        plan = planner.plan(score.at(states), actions, memory, generator=generator)

    A network takes the state and the action and returns the change of the state, all in
    the units of the environment: ``s' = s + f(s, a)``. Normalisation is in the weights
    already. It keeps its own copy of them: make a new one after each fit.

    Attributes:
        activate: What hidden layers go through, in place.

    Args:
        weights: One (E, in, out) a layer.
        biases: One (E, out) or (E, 1, out) a layer.
        horizon: Steps of a sequence.
        reward: ``reward(state, action, next_state)`` of (..., S), (..., A), (..., S).
        terminated: ``terminated(state)`` of (..., S); nothing is paid after it. None
            knows no end, as in CS285.
        features: ``features(state)`` of (..., S) is what the network sees of a state;
            None is the state itself.
        activation: ``"tanh"``, or ``"silu"``.
        hidden_dtype: Of the layers between the first and the last: ``torch.bfloat16``
            is faster where the processor multiplies it natively, and rounds to three
            digits. None keeps the weights' own.
        block: Candidates that are rolled out at once; None chooses.

    Raises:
        ValueError: For a horizon or block below 1, an unknown activation, layers that
            do not follow each other, or bfloat16 where it is slow.
    """

    def __init__(
        self,
        weights: Sequence[Tensor],
        biases: Sequence[Tensor],
        *,
        horizon: int,
        reward: Reward,
        terminated: Terminated | None = None,
        features: Callable[[Tensor], Tensor] | None = None,
        activation: str = "tanh",
        hidden_dtype: torch.dtype | None = None,
        block: int | None = None,
    ):
        _require_layers(weights, biases, activation)
        require_positive("horizon", horizon)
        self.members, inputs, _ = weights[0].shape
        self.state_size, self.features = weights[-1].shape[2], features
        self.action_size = inputs - self._features_size(weights[0])
        if self.action_size < 1:
            raise ValueError(
                f"a network from {inputs} numbers, {inputs - self.action_size} of them "
                "of the state, leaves none for an action"
            )
        self.horizon, self.reward, self.terminated = horizon, reward, terminated
        self.device = weights[0].device
        types = [weight.dtype for weight in weights]
        if hidden_dtype is not None:
            types[1:-1] = [hidden_dtype] * len(types[1:-1])
        _require_fast(types, self.device)
        is_light = torch.bfloat16 in types or self.device.type != "cpu"
        if block is None:
            block = LARGE_BLOCK if is_light else BLOCK
        require_positive("block", block)
        self.block = block
        found = ACTIVATIONS[activation]
        if activation == "tanh" and sigmoid_is_cheaper(types, self.device):
            weights, biases = tanh_as_sigmoid(weights, biases)
            found = SIGMOID
        self.activate = found.apply
        self._layers = with_constant_units(weights, biases, types, found)
        self._buffers: dict[int, _Buffers] = {}

    @classmethod
    def of(cls, dynamics: LearnedDynamics, *, horizon: int, **options: Any) -> Self:
        """The score by a frozen ``LearnedDynamics``, with its task's reward.

        Args:
            dynamics: ``LearnedDynamics(...).frozen()``; of a Gaussian ensemble the
                means are taken. A ``hidden_dtype`` it was frozen with is kept.
            horizon: Steps of a sequence.
            **options: As of the constructor.

        Raises:
            ValueError: If the model learns its reward or termination, or is not frozen.
        """
        ensemble, functions = dynamics.ensemble, dynamics.functions
        if not isinstance(dynamics.input_scale, Folded):
            raise ValueError(
                "the model must be frozen first; give EnsembleScore.of(model.frozen())"
            )
        if None in (functions["reward"], functions["terminated"]):
            raise ValueError(
                "EnsembleScore needs a model with a given reward and termination; use "
                "ImaginedScore for one that learns them"
            )
        means = slice(0, dynamics.state_size)
        weights, biases = list(ensemble.weights), list(ensemble.biases)
        weights[-1], biases[-1] = weights[-1][..., means], biases[-1][..., means]
        named = {name: functions[name] for name in ("reward", "terminated", "features")}
        options = {**named, "activation": ensemble.activation, **options}
        return cls(weights, biases, horizon=horizon, **options)

    def _features_size(self, like: Tensor) -> int:
        if self.features is None:
            return self.state_size
        return self.features(like.new_zeros(1, self.state_size)).shape[-1]

    def at(self, states: Tensor) -> Callable[[Tensor], Tensor]:
        """The score of sequences that begin in states (B, S), for a planner.

        Raises:
            TypeError: If they are no tensor.
            ValueError: If one is NaN or infinite.
        """
        require_states(states)
        return lambda actions: self(states, actions)

    @torch.inference_mode()
    def __call__(self, states: Tensor, actions: Tensor) -> Tensor:
        """Mean over the members of the summed rewards.

        Args:
            states: (B, S), where each environment is.
            actions: (B, K, H, A).

        Returns:
            (B, K); NaN or infinite where a member's state or reward became so before
            its end.

        Raises:
            ValueError: If a shape is another.
        """
        self._require_shapes(states, actions)
        batch, count = actions.shape[:2]
        states, actions = states.to(self.device), actions.to(self.device)
        rows = actions.flatten(0, 1).permute(1, 0, 2)  # (H, B * K, A)
        environment = torch.arange(batch, device=self.device).repeat_interleave(count)
        scores = torch.empty(batch * count, device=self.device)
        for first in range(0, batch * count, self.block):
            block = slice(first, min(first + self.block, batch * count))
            scores[block] = self._returns(states[environment[block]], rows[:, block])
        return scores.view(batch, count)

    def _returns(self, states: Tensor, actions: Tensor) -> Tensor:
        """Returns (R,) of sequences (H, R, A) from states (R, S)."""
        size, buffers = self.state_size, self._buffers_of(len(states))
        trajectory = buffers.trajectory
        trajectory[0, :, :, :size] = states
        trajectory[:-1, :, :, size : size + self.action_size] = actions[:, None]
        for step in range(self.horizon):
            x = self._seen(trajectory[step])
            for weight, hidden in zip(self._layers[:-1], buffers.hidden, strict=True):
                if x.dtype != weight.dtype:
                    x = x.to(weight.dtype)
                x = torch.bmm(x, weight, out=hidden)
                self.activate(x)
            # Rounding this product too saves an eighth of the time and costs four to
            # seven times the error: that of the units before it averages out.
            x = x.to(self._layers[-1].dtype)
            change = torch.bmm(x, self._layers[-1], out=buffers.change)[..., :size]
            before, after = trajectory[step : step + 2, :, :, :size]
            torch.add(before, change, out=after)
        visited, did = trajectory[..., :size], trajectory[:-1, :, :, size:-1]
        return self._paid(visited, did).sum(dim=0).mean(dim=0)

    def _seen(self, rows: Tensor) -> Tensor:
        """What the network sees of rows (E, R, S + A + 1)."""
        if self.features is None:
            return rows
        seen = self.features(rows[..., : self.state_size])
        return torch.cat([seen, rows[..., self.state_size :]], dim=-1)

    def _paid(self, visited: Tensor, actions: Tensor) -> Tensor:
        """Rewards (H, E, R) along states (H + 1, E, R, S), none after an end."""
        rewards = self.reward(visited[:-1], actions, visited[1:])
        if rewards.shape != actions.shape[:-1]:
            raise ValueError(
                f"reward must give one number a row, {tuple(actions.shape[:-1])} of "
                f"states {tuple(visited[1:].shape)}, got {tuple(rewards.shape)}; index "
                "the last axis, as in state[..., 0]"
            )
        # A reward need not look at all of a state. A sum is finite where all terms are,
        # and a tenth of the price of asking each.
        is_known = visited[1:].sum(dim=-1).isfinite()
        rewards = torch.where(is_known, rewards, torch.nan)
        if self.terminated is None:
            return rewards
        ended = self.terminated(visited[1:-1])
        was_over = torch.zeros_like(rewards, dtype=torch.bool)
        was_over[1:] = ended.cumsum(dim=0) > 0
        # Not a product with 0: what a model says after the end may be infinite.
        return rewards.masked_fill(was_over, 0.0)

    def _buffers_of(self, rows: int) -> _Buffers:
        if rows not in self._buffers:
            width, kind = self.state_size + self.action_size + 1, self._layers[0].dtype
            shape = (self.horizon + 1, self.members, rows, width)
            trajectory = torch.zeros(shape, dtype=kind, device=self.device)
            trajectory[..., -1] = 1.0  # what the first layer's biases are multiplied by
            *hidden, change = [
                torch.empty(
                    self.members, rows, w.shape[2], dtype=w.dtype, device=self.device
                )
                for w in self._layers
            ]
            self._buffers[rows] = _Buffers(trajectory, hidden, change)
        return self._buffers[rows]

    def _require_shapes(self, states: Tensor, actions: Tensor) -> None:
        batch = actions.shape[0]
        fits = actions.dim() == 4 and states.shape == (batch, self.state_size)
        if not fits or actions.shape[2:] != (self.horizon, self.action_size):
            raise ValueError(
                f"the model scores states (B, {self.state_size}) and actions (B, K, "
                f"{self.horizon}, {self.action_size}), got {tuple(states.shape)} and "
                f"{tuple(actions.shape)}"
            )


def require_states(states: Any) -> None:
    """Refuse states (B, S) that no sequence can begin in.

    Raises:
        TypeError: If they are no tensor.
        ValueError: If one is NaN or infinite, naming its row.
    """
    require_kind("states", states, Tensor, "give torch.tensor(obs)")
    strange = ~states.isfinite().flatten(1).all(dim=1)
    if bool(strange.any()):
        row = int(strange.nonzero()[0])
        raise ValueError(
            f"states must be finite, got {states[row].tolist()} in row {row}; check "
            "what the environment shows"
        )


class _Buffers(NamedTuple):
    """Memory of one block size, used again and again."""

    trajectory: Tensor  # (H + 1, E, R, S + A + 1): state, action, 1
    hidden: list[Tensor]  # each (E, R, units)
    change: Tensor  # (E, R, S and padding)


def _require_layers(
    weights: Sequence[Tensor], biases: Sequence[Tensor], activation: str
) -> None:
    if activation not in ACTIVATIONS:
        raise ValueError(
            f"activation must be one of {list(ACTIVATIONS)}, got {activation!r}"
        )
    shapes = [tuple(weight.shape) for weight in weights]
    follow = all(a[0] == b[0] and a[2] == b[1] for a, b in pairwise(shapes))
    widths = [bias.reshape(len(bias), -1).shape[1] for bias in biases]
    if not follow or widths != [shape[2] for shape in shapes]:
        raise ValueError(
            f"layers must be (E, in, out) and follow each other, got {shapes} with "
            f"biases of {widths}"
        )


def _require_fast(types: Sequence[torch.dtype], device: torch.device) -> None:
    if torch.bfloat16 in types and not has_fast_bfloat16(device):
        raise ValueError(
            "bfloat16 layers need a processor with amx_bf16, or AMD's with "
            "avx512_bf16, and on this one they would be slower; use torch.float32"
        )
