"""What users pass to an environment, checked once and in one wording."""

from __future__ import annotations

from numbers import Integral, Real
from typing import Any

import numpy as np


def require_known(name: str, value: Any, known: tuple[Any, ...]) -> None:
    """Refuse an argument that is none of the known values.

    Raises:
        ValueError: Naming the argument and the values it takes.
    """
    if value not in known:
        raise ValueError(f"{name} must be one of {list(known)}, got {value!r}")


def require_whole(name: str, value: int) -> None:
    """Refuse what is no whole number.

    Raises:
        ValueError: Naming the argument.
    """
    if not isinstance(value, Integral) or isinstance(value, bool):
        raise ValueError(f"{name} must be a whole number, got {value!r}")


def require_positive(name: str, value: int) -> None:
    """Refuse a count below 1, and what is no whole number.

    Raises:
        ValueError: Naming the argument.
    """
    require_whole(name, value)
    if value < 1:
        raise ValueError(f"{name} must be at least 1, got {value}")


def require_above_zero(name: str, value: float) -> None:
    """Refuse a number that is 0, negative or NaN, and what is none.

    Raises:
        ValueError: Naming the argument.
    """
    require_number(name, value)
    if not value > 0:
        raise ValueError(f"{name} must be above 0, got {value}")


def require_not_negative(name: str, *values: float) -> None:
    """Refuse numbers that are negative or NaN, and what is none.

    Raises:
        ValueError: Naming the argument.
    """
    for value in values:
        require_number(name, value)
        if not value >= 0:
            raise ValueError(f"{name} must be 0 or more, got {value}")


def require_number(name: str, value: float) -> None:
    """Refuse what is no number.

    Raises:
        ValueError: Naming the argument.
    """
    if not isinstance(value, Real) or isinstance(value, bool):
        raise ValueError(f"{name} must be a number, got {value!r}")


def require_kind(name: str, value: Any, kind: type, advice: str = "") -> None:
    """Refuse an object of another type.

    Args:
        name: Of the argument.
        value: What was given.
        kind: What it must be.
        advice: What to do instead.

    Raises:
        TypeError: Naming the argument and both types.
    """
    if not isinstance(value, kind):
        asked = f"{name} must be of type {kind.__name__}, got {type(value).__name__}"
        raise TypeError(f"{asked}; {advice}" if advice else asked)


def require_members(name: str, value: Any, members: tuple[str, ...], such: str) -> None:
    """Refuse an object that lacks members of its protocol, and the class of one.

    Args:
        name: Of the argument.
        value: What was given.
        members: What it must have.
        such: An example of what to give.

    Raises:
        TypeError: Naming the argument and what it must have.
    """
    if isinstance(value, type) or not all(hasattr(value, one) for one in members):
        asked = f"{', '.join(members[:-1])} and {members[-1]}"
        raise TypeError(f"{name} must have {asked}, such as {such}, got {value!r}")


def checked_actions(actions: Any, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Actions (N, A) clipped to their bounds (N, A).

    Raises:
        ValueError: If one is NaN, infinite or of another shape, naming its row.
    """
    actions = np.asarray(actions)
    if actions.shape != low.shape:
        raise ValueError(f"actions must have shape {low.shape}, got {actions.shape}")
    finite = np.isfinite(actions)
    if np.count_nonzero(finite) != finite.size:
        row = int(np.flatnonzero(~finite.all(axis=1))[0])
        raise ValueError(
            f"actions must be finite, got {actions[row]} in row {row}; check the "
            "policy for NaN weights"
        )
    return np.minimum(np.maximum(actions, low), high)


def rows_to_reset(options: dict[str, Any] | None, num_envs: int) -> np.ndarray:
    """The rows that ``reset(options={"reset_mask": ...})`` means, all without a mask.

    Raises:
        ValueError: If the mask is not a bool array (N,).
    """
    mask = None if options is None else options.get("reset_mask")
    if mask is None:
        return np.arange(num_envs)
    mask = np.asarray(mask)
    if mask.shape != (num_envs,) or mask.dtype != bool:
        raise ValueError(
            f"reset_mask must be a bool array of shape ({num_envs},), got "
            f"{mask.dtype} {mask.shape}"
        )
    return np.flatnonzero(mask)


def row_indices(ids: Any, num_envs: int) -> np.ndarray:
    """Row indices from indices, a bool mask, or None for every row.

    Raises:
        ValueError: If a row does not exist.
    """
    if ids is None:
        return np.arange(num_envs)
    ids = np.asarray(ids)
    ids = np.flatnonzero(ids) if ids.dtype == bool else ids.astype(np.int64)
    if ids.size and not 0 <= ids.min() <= ids.max() < num_envs:
        raise ValueError(f"rows must be 0 to {num_envs - 1}, got {ids.tolist()}")
    return ids
