"""Closed tracks of straights and arcs, and where a point lies along them."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from suite.arrays import namespace

# (length in m, curvature in 1/m) of each piece, from the origin; positive turns left.
_HALF_TURN, _THREE_QUARTERS = np.pi, 1.5 * np.pi
_FIGURE_8 = 1.5  # m, radius of both loops
LAYOUTS: dict[str, tuple[float, Sequence[tuple[float, float]]]] = {
    # name -> (heading at the start in rad, pieces)
    "oval": (
        0.0,
        [
            (2.0, 0.0),
            (1.5 * _HALF_TURN, 1 / 1.5),
            (4.0, 0.0),
            (1.5 * _HALF_TURN, 1 / 1.5),
            (2.0, 0.0),
        ],
    ),
    "rounded_rectangle": (
        0.0,
        [
            (2.0, 0.0),
            *[
                piece
                for straight in (2.0, 4.0, 2.0)
                for piece in ((1.2 * np.pi / 2, 1 / 1.2), (straight, 0.0))
            ],
            (1.2 * np.pi / 2, 1 / 1.2),
            (2.0, 0.0),
        ],
    ),
    # Two loops and the diagonals that cross between them at a right angle.
    "figure_8": (
        -np.pi / 4,
        [
            (_FIGURE_8, 0.0),
            (_FIGURE_8 * _THREE_QUARTERS, 1 / _FIGURE_8),
            (2 * _FIGURE_8, 0.0),
            (_FIGURE_8 * _THREE_QUARTERS, -1 / _FIGURE_8),
            (_FIGURE_8, 0.0),
        ],
    ),
}
_WINDOW = 1.0  # m along the track within which a point is looked for around `near`
_FAR = 1e3  # m of distance squared for each m beyond the window: more than any track


@dataclass(frozen=True)
class Projection:
    """Where points (...) lie beside a track.

    Attributes:
        s: Arc length of the nearest point of the centreline, in [0, length), m.
        offset: Distance to it, positive to its left, m.
        heading: Of the centreline there, rad.
    """

    s: Any
    offset: Any
    heading: Any


@dataclass(frozen=True, eq=False)
class Centreline:
    """A closed curve of K pieces of constant curvature.

    Every method takes NumPy arrays or torch tensors with any leading axes.

    Args:
        pieces: (K, 6): x and y (m) and heading (rad) where a piece begins, its length
            (m), its curvature (1/m) and the arc length before it (m).
    """

    pieces: np.ndarray

    @property
    def length(self) -> float:
        """Of one lap, m."""
        return float(self.pieces[-1, 3] + self.pieces[-1, 5])

    def curvature(self, s: Any) -> Any:
        """Curvature (...) at arc lengths (...), 1/m, positive to the left."""
        return self._constants(s)[4][self._piece(s)]

    def pose(self, s: Any) -> tuple[Any, Any, Any]:
        """x, y (m) and heading (rad) of the centreline at arc lengths (...)."""
        index = self._piece(s)
        x, y, heading, _, curvature, start = (
            constant[index] for constant in self._constants(s)
        )
        return _along(x, y, heading, curvature, s % self.length - start)

    def project(self, x: Any, y: Any, near: Any = None) -> Projection:
        """The nearest point of the centreline.

        Args:
            x: (...), m.
            y: (...), m.
            near: Arc length (...), of any lap, around which to look, for tracks that
                cross themselves; everywhere if None.
        """
        xp = namespace(x)
        x0, y0, heading0, length, curvature, start = self._constants(x)
        x, y = x[..., None], y[..., None]
        u = _nearest(xp, x - x0, y - y0, heading0, length, curvature)
        px, py, heading = _along(x0, y0, heading0, curvature, u)
        ex, ey = x - px, y - py
        cost = ex * ex + ey * ey
        if near is not None:
            away = xp.abs(self.difference(start + u, near[..., None]))
            cost = cost + _FAR * xp.clip(away - _WINDOW, 0.0, None)
        best = xp.argmin(cost, axis=-1)
        offset = xp.cos(heading) * ey - xp.sin(heading) * ex
        s = _picked(start + u, best) % self.length
        return Projection(s, _picked(offset, best), _picked(heading, best))

    def difference(self, s: Any, other: Any) -> Any:
        """The short way from ``other`` to ``s`` along the track, m (...)."""
        half = self.length / 2
        return (s - other + half) % self.length - half

    def _piece(self, s: Any) -> Any:
        """Index of the piece at arc lengths (...)."""
        starts = self._constants(s)[5][1:]
        return namespace(s).sum((s % self.length)[..., None] >= starts, axis=-1)

    def _constants(self, like: Any) -> Any:
        """The columns of ``pieces``, (6, K), in the library, type and place of like."""
        if isinstance(like, np.ndarray):
            return self.pieces.T
        return like.new_tensor(self.pieces.T)


@functools.cache
def centreline(name: str) -> Centreline:
    """The track of that name in ``LAYOUTS``."""
    heading, layout = LAYOUTS[name]
    x, y, before, pieces = 0.0, 0.0, 0.0, []
    for length, curvature in layout:
        pieces.append((x, y, heading, length, curvature, before))
        x, y, heading = (
            float(each)
            for each in _along(*np.array([x, y, heading, curvature, length]))
        )
        before += length
    return Centreline(np.array(pieces))


def _along(x: Any, y: Any, heading: Any, curvature: Any, u: Any) -> tuple[Any, ...]:
    """Pose after u metres from a pose on a piece of constant curvature."""
    xp = namespace(u)
    half = curvature * u / 2
    # The chord: u sinc(half), in the direction half way; exact for straights too.
    safe = xp.where(half == 0, 1.0, half)
    chord = u * xp.where(half == 0, 1.0, xp.sin(safe) / safe)
    return (
        x + chord * xp.cos(heading + half),
        y + chord * xp.sin(heading + half),
        heading + 2 * half,
    )


def _nearest(
    xp: Any, dx: Any, dy: Any, heading: Any, length: Any, curvature: Any
) -> Any:
    """Arc length u in [0, length] of the point of each piece that is nearest.

    Args:
        xp: The library.
        dx: From the piece's beginning to the point (..., K), m.
        dy: The same along y.
        heading: Of the piece's beginning (K,), rad.
        length: (K,), m.
        curvature: (K,), 1/m.
    """
    ahead = xp.cos(heading) * dx + xp.sin(heading) * dy
    left = xp.cos(heading) * dy - xp.sin(heading) * dx
    is_arc = curvature != 0
    safe = xp.where(is_arc, curvature, 1.0)
    # Seen from the arc's centre; turned so that the middle of the arc lies at angle 0.
    turned = xp.atan2(safe * ahead, 1 - safe * left)
    half = safe * length / 2
    around = (turned - half + np.pi) % (2 * np.pi) - np.pi
    u = xp.where(is_arc, length / 2 + around / safe, ahead)
    return xp.minimum(xp.clip(u, 0.0, None), length)


def _picked(values: Any, index: Any) -> Any:
    """Of values (..., K) the one at index (...)."""
    if isinstance(values, np.ndarray):
        return np.take_along_axis(values, index[..., None], -1)[..., 0]
    return values.gather(-1, index[..., None])[..., 0]
