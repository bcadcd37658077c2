"""Rollouts of any model beside a recording: what is predicted, step by step."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor

from suite.worldmodels.dynamics import DynamicsModel, map_leaves


class Snippets(NamedTuple):
    """Pieces of recordings, B of them, or B for each of E members.

    Attributes:
        states: (H + 1, ..., S).
        actions: (H, ..., A).
        history: (..., k, A), the actions before.
    """

    states: Tensor
    actions: Tensor
    history: Tensor


@dataclass(frozen=True, eq=False)
class Teaching:
    """Where a rollout is set back to the truth, and what is cut there.

    Attributes:
        truth: (H, ..., S), the true state before each step.
        mask: (H, ...) bool, before which steps of which samples the model gets it; the
            first always begins at the truth.
        detach: Whether gradients end at every step.
    """

    truth: Tensor
    mask: Tensor
    detach: bool = False

    def put_in(self, h: int, state: Tensor, columns: slice) -> Tensor:
        """The model's state (..., D) before step h, or the true one."""
        state = state.detach() if self.detach else state
        truth = self.truth[h][..., columns].to(state)
        return torch.where(self.mask[h][..., None], truth, state)

    def with_axis(self, axis: int) -> Teaching:
        """The same with an axis of length 1."""
        return Teaching(
            self.truth.unsqueeze(axis), self.mask.unsqueeze(axis), self.detach
        )


@dataclass(frozen=True, eq=False)
class Unrolled:
    """What a model predicted.

    Attributes:
        states: (H, ..., S), after each step.
        extras: What the model says of itself, by name, each (H, ...): numbers that may
            be held down, such as a residual.
    """

    states: Tensor
    extras: dict[str, Tensor] = field(default_factory=dict)


def unrolled(
    model: DynamicsModel, z: Any, actions: Tensor, teaching: Teaching | None = None
) -> Unrolled:
    """Roll any model out along commands.

    Use it for losses and evaluations against recordings. A model that has ``unroll``
    does it itself, faster; one that has ``taught(z, state)`` says what it keeps when
    its state is set to the truth, others start anew there.

    Args:
        model: What to roll out. What it observes is what is recorded.
        z: Where to begin.
        actions: (H, ..., A).
        teaching: Where to set it back to the truth, or None.
    """
    if hasattr(model, "unroll"):
        return model.unroll(z, actions, teaching)  # pyright: ignore[reportAttributeAccessIssue]
    states = []
    for h, action in enumerate(actions):
        if teaching is not None and h:
            z = _set_back(model, z, teaching, h)
        z = model.step(z, action).next_z
        states.append(model.observe(z))
    return Unrolled(torch.stack(states))


def begun(model: Any, snippets: Snippets) -> Any:
    """The model's z at the first states, with the actions before them if it can."""
    start = snippets.states[0]
    if hasattr(model, "taught") and snippets.history.shape[-2]:
        return model.start(start, snippets.history)
    return model.start(start)


def _set_back(model: Any, z: Any, teaching: Teaching, h: int) -> Any:
    truth = teaching.truth[h]
    true_z = model.taught(z, truth) if hasattr(model, "taught") else model.start(truth)
    mask = teaching.mask[h]

    def mixed(true: Tensor, own: Tensor) -> Tensor:
        own = own.detach() if teaching.detach else own
        return torch.where(
            mask.view(*mask.shape, *[1] * (own.dim() - mask.dim())), true, own
        )

    return map_leaves(mixed, true_z, z)
