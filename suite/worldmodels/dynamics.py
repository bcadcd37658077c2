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
    reward, terminated = _form(found.reward), _form(found.terminated)
    if reward[1] != (rows,) or terminated != ("torch.bool", (rows,)):
        raise ValueError(
            f"a model's step on {rows} rows must give reward ({rows},) and "
            f"terminated ({rows},) bool, got {reward} and {terminated}"
        )


def _form(leaf: Any) -> tuple[str, tuple[int, ...]]:
    return str(getattr(leaf, "dtype", type(leaf).__name__)), tuple(np.shape(leaf))


class DynamicsModel(Protocol):
    """Something that can be stepped in imagination.

    Use it to bring a new kind of model: ``imagine``, ``ModelEnv`` and the planners work
    on this protocol. All three are pure: z holds all there is to know of a row, as a
    NamedTuple of tensors with leading axis B, which may nest.

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
