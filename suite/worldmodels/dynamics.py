"""What a model of the world is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch

from suite.worldmodels.noise import Noise

ROW_BLOCK = 16  # rows are padded to a multiple: see ``padded``


class Transition(NamedTuple):
    """One imagined step of B rows.

    Attributes:
        next_z: As the model keeps it.
        reward: (B,).
        terminated: (B,) bool.
    """

    next_z: Any
    reward: torch.Tensor
    terminated: torch.Tensor


def require_outcome(found: Any, rows: int) -> None:
    """Refuse what a model's step gave if it is no ``Transition`` of so many rows.

    Use it on the first step of a rollout, where a reward of (B, 1) would otherwise be
    broadcast to (B, B) without a word.

    Raises:
        TypeError: If it is no transition.
        ValueError: If reward or termination have another shape or type.
    """
    if not isinstance(found, Transition):
        raise TypeError(
            "a model's step must give a suite.worldmodels.dynamics.Transition, got "
            f"{type(found).__name__}"
        )
    reward, ends = found.reward, found.terminated
    are_tensors = isinstance(reward, torch.Tensor) and isinstance(ends, torch.Tensor)
    if not are_tensors or reward.shape != (rows,) or not _is_mask(ends, rows):
        raise ValueError(
            f"a model's step on {rows} rows must give torch tensors, reward ({rows},) "
            f"and terminated ({rows},) bool, got {_form(reward)} and {_form(ends)}"
        )


def _is_mask(leaf: Any, rows: int) -> bool:
    is_tensor = isinstance(leaf, torch.Tensor)
    return is_tensor and leaf.dtype == torch.bool and leaf.shape == (rows,)


def _form(leaf: Any) -> str:
    kind = "torch" if isinstance(leaf, torch.Tensor) else type(leaf).__name__
    dtype = str(getattr(leaf, "dtype", "")).removeprefix("torch.")
    return " ".join(filter(None, (kind, dtype, str(tuple(np.shape(leaf))))))


def truncated(model: Any, z: Any, like: torch.Tensor) -> torch.Tensor:
    """Rows (B,) a model does not dare to go on with; none if it has no such notion.

    Raises:
        ValueError: If it says so in another form.
    """
    asked = getattr(model, "truncated", None)
    if asked is None:
        return torch.zeros_like(like)
    found = asked(z)
    if not _is_mask(found, len(like)):
        raise ValueError(
            f"a model's truncated(z) of {len(like)} rows must be a torch tensor "
            f"({len(like)},) of bool, got {_form(found)}"
        )
    return found


class DynamicsModel(Protocol):
    """Something that can be stepped in imagination.

    Use it to bring a new kind of model: ``imagine``, ``ModelEnv`` and the planners work
    on this protocol. All three are pure: z holds all there is to know of a row, as a
    tensor with leading axis B or a NamedTuple of them, which may nest.

    A model may say more of itself: ``needs_state = True`` (its start is the task's
    named state, ``info["state"]``, instead of the observation), ``success(z)``,
    ``truncated(z)`` (rows that it does not dare to go on with), each (B,) bool, and
    ``observation_space`` if it does not show what the environment shows.
    """

    def start(self, state: torch.Tensor) -> Any:
        """The z of states (B, S)."""
        ...

    def step(
        self, z: Any, action: torch.Tensor, *, generator: Noise = None
    ) -> Transition:
        """One step under actions (B, A).

        Draw with ``suite.worldmodels.noise``, so that a ``ModelEnv`` can give each row
        a stream of its own.
        """
        ...

    def observe(self, z: Any) -> torch.Tensor:
        """Observations (B, O)."""
        ...


def map_leaves(function: Callable[..., torch.Tensor], z: Any, *others: Any) -> Any:
    """The same z with a function applied to each of its tensors.

    Use it to pick, repeat or mix rows of any model's z:
    ``map_leaves(lambda leaf: leaf[rows], z)``.

    Args:
        function: Of one tensor of z and the same one of each of ``others``.
        z: A tensor or a NamedTuple of them, which may nest.
        *others: Of the same form.

    Raises:
        TypeError: If z is something else, such as a dict or a plain tuple.
    """
    if isinstance(z, torch.Tensor):
        return function(z, *others)
    if not hasattr(z, "_fields"):
        raise TypeError(
            "a model's z must be a tensor or a NamedTuple of them, which may nest, got "
            f"{type(z).__name__}"
        )
    parts = zip(z, *others, strict=True)
    return type(z)(*(map_leaves(function, *part) for part in parts))


def padded(rows: int) -> int:
    """The next multiple of 16.

    A product's bits depend on its number of rows, but not where this is such a multiple
    (measured: MKL, 16 to 1024 rows). Work whose rows must not depend on how many others
    there are is padded to one.
    """
    return -(-rows // ROW_BLOCK) * ROW_BLOCK
