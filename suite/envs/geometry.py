"""Lengths of vectors, in NumPy or torch."""

from __future__ import annotations

from typing import Any

from suite.arrays import namespace


def norm(vector: Any) -> Any:
    """Euclidean norm over the last axis.

    Summed component by component: a library's reduction may add in another order for
    another number of rows, and a row must not depend on how many others there are.
    """
    squares = vector * vector
    total = squares[..., 0]
    for i in range(1, vector.shape[-1]):
        total = total + squares[..., i]
    return root(total)


def root(square: Any) -> Any:
    """Square root of what is 0 or more, whose gradient at 0 is 0 and not NaN."""
    xp = namespace(square)
    is_zero = square == 0
    one = xp.ones_like(square)
    return xp.where(is_zero, square, xp.sqrt(xp.where(is_zero, one, square)))
