"""How a planar body moves: poses from twists, with gradients that are finite at rest.

A pose is [x, y, theta] in m and rad in the world, a twist [vx, vy, omega] in m/s and
rad/s in the body's own frame.
"""

from __future__ import annotations

import torch

SERIES_BELOW = 0.5  # rad: there five terms of the series are exact to rounding


def wrapped(angle: torch.Tensor) -> torch.Tensor:
    """The same angle in [-pi, pi]; its derivative is 1 everywhere."""
    return torch.atan2(torch.sin(angle), torch.cos(angle))


def sinc(x: torch.Tensor) -> torch.Tensor:
    """sin(x) / x, 1 at 0, with every derivative.

    ``torch.sinc`` loses its derivative to rounding near 0, and a division inside
    ``torch.where`` gives NaN at 0, through the branch that is not taken.
    """
    square = x * x
    series = 1 + square * (
        -1 / 6 + square * (1 / 120 + square * (-1 / 5040 + square / 362880))
    )
    is_small = square < SERIES_BELOW**2
    if bool(is_small.all()):  # at 20 Hz that is a turn of less than 20 rad/s
        return series
    safe = torch.where(is_small, torch.ones_like(x), x)
    return torch.where(is_small, series, torch.sin(safe) / safe)


def moved(pose: torch.Tensor, twist: torch.Tensor, dt: float) -> torch.Tensor:
    """The pose after a time under a constant twist: SE(2)'s exponential map.

    The body follows an arc; its chord has the length |v| dt sinc(omega dt / 2) and the
    direction of v turned by half of the arc's angle.

    Args:
        pose: (..., 3).
        twist: (..., 3).
        dt: s.

    Source: Lynch and Park 2017, "Modern Robotics", section 3.3.3, in the plane.
    """
    turn = twist[..., 2] * dt
    chord = _chord(pose[..., 2] + turn / 2, twist, turn, dt)
    return pose + torch.cat([chord, turn[..., None]], dim=-1)


def path(
    start: torch.Tensor,
    twists: torch.Tensor,
    dt: float,
    truth: torch.Tensor | None = None,
    taught: torch.Tensor | None = None,
    *,
    detach: bool = False,
) -> torch.Tensor:
    """Poses along H twists in a row, all at once: as ``moved`` H times.

    Args:
        start: (..., 3).
        twists: (H, ..., 3).
        dt: s.
        truth: (H, ..., 3), true poses before each step; only with ``taught``.
        taught: (H, ...) bool, before which steps the pose is set to the true one.
        detach: Whether gradients end at every step; only with ``taught``.

    Returns:
        (H, ..., 3), the poses after each step.
    """
    turn = twists[..., 2] * dt
    if taught is None or truth is None:
        before = start[None, ..., 2] + torch.cumsum(turn, dim=0) - turn
        chord = _chord(before + turn / 2, twists, turn, dt)
        place = start[None, ..., :2] + torch.cumsum(chord, dim=0)
        return torch.cat([place, (before + turn)[..., None]], dim=-1)
    last = _last_true(taught)
    begin = torch.cat([start[None], truth[1:]])
    before = _from_last(begin[..., 2:], turn[..., None], last)[..., 0]
    before = before.detach() if detach else before
    chord = _chord(before + turn / 2, twists, turn, dt)
    place = _from_last(begin[..., :2], chord, last)
    place = (place.detach() if detach else place) + chord
    return torch.cat([place, (before + turn)[..., None]], dim=-1)


def _chord(
    heading: torch.Tensor, twist: torch.Tensor, turn: torch.Tensor, dt: float
) -> torch.Tensor:
    """Displacements (..., 2) in the world."""
    length = sinc(turn / 2) * dt
    cos, sin = torch.cos(heading) * length, torch.sin(heading) * length
    vx, vy = twist[..., 0], twist[..., 1]
    return torch.stack([cos * vx - sin * vy, sin * vx + cos * vy], dim=-1)


def _last_true(taught: torch.Tensor) -> torch.Tensor:
    """(H, ...) int64: the last step at or before each that began at a true pose."""
    steps = torch.arange(len(taught), device=taught.device)
    steps = steps.view(-1, *[1] * (taught.dim() - 1))
    return torch.cummax(torch.where(taught, steps, 0), dim=0).values


def _from_last(
    begin: torch.Tensor, increments: torch.Tensor, last: torch.Tensor
) -> torch.Tensor:
    """What a sum has reached before each step if it starts anew at ``last``."""
    index = last[..., None].expand_as(increments)
    before = torch.cumsum(increments, dim=0) - increments
    return begin.gather(0, index) + before - before.gather(0, index)
