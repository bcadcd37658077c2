"""Distributions over action sequences, which planners draw from and refit.

Shapes: B environments planned for at once, K candidates, H steps, A numbers an action.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from suite.agents.action_sets import Actions, Bounds, Choices, Generators, drawn
from suite.envs.arguments import require_above_zero, require_not_negative

TRUNCATION = 2.0  # standard deviations


class Belief(NamedTuple):
    """A distribution over action sequences.

    Attributes:
        centre: (B, H, A): means, or probabilities of choices.
        spread: Standard deviations (B, H, A); None where there are none, and for a
            normal proposal whose first draw is uniform.
    """

    centre: Tensor
    spread: Tensor | None


class Proposal(Protocol):
    """A family of distributions that a planner draws from and fits to what scored best.

    It owns no bounds, so that it can stand in a specification.
    """

    def start(self, actions: Actions, centre: Tensor) -> Belief:
        """The first belief about a centre (B, H, A).

        Raises:
            ValueError: If the family cannot draw such actions.
        """
        ...

    def sample(
        self, actions: Actions, belief: Belief, count: int, generator: Generators
    ) -> Tensor:
        """``count`` sequences for each row, (B, count, H, A)."""
        ...

    def refit(
        self, actions: Actions, belief: Belief, elites: Tensor, alpha: float
    ) -> Belief:
        """``alpha`` of the old statistics and the rest of the elites' (B, k, H, A)."""
        ...

    def decided(self, centre: Tensor) -> Tensor:
        """The sequence (B, H, A) that stands for a centre."""
        ...


class _Normal:
    """What the two normal families share; each number is independent of the others."""

    std: float | None

    def __post_init__(self) -> None:
        if self.std is not None:
            require_above_zero("std", self.std)

    def start(self, actions: Actions, centre: Tensor) -> Belief:
        """The first belief about a centre (B, H, A)."""
        half_range = (
            _continuous(actions, self).high - _continuous(actions, self).low
        ) / 2
        if self.std is None:
            return Belief(centre, None)
        return Belief(centre, (self.std * half_range).expand_as(centre))

    def refit(
        self, actions: Actions, belief: Belief, elites: Tensor, alpha: float
    ) -> Belief:
        """Mean and variance, each mixed with the old one."""
        variance = elites.var(dim=1, correction=0)
        mean = torch.lerp(elites.mean(dim=1), belief.centre, alpha)
        variance = torch.lerp(variance, self._variance(actions, belief), alpha)
        return Belief(mean, variance.sqrt())

    def _variance(self, actions: Actions, belief: Belief) -> Tensor:
        if belief.spread is not None:
            return belief.spread.square()
        bounds = _continuous(actions, self)
        return ((bounds.high - bounds.low).square() / 12).expand_as(belief.centre)

    def decided(self, centre: Tensor) -> Tensor:
        """The mean."""
        return centre


@dataclass(frozen=True)
class ClippedNormal(_Normal):
    """Normal sequences, clipped to the bounds.

    Use it for CEM as in CS285 (``std=None``), for iCEM (with a colour) and for MPPI.

    Args:
        std: Of the first draw, in units of half the range; None draws that one uniform
            over the bounds.
        colour: Exponent beta of the noise's power spectrum f^-beta along a sequence: 0
            is white, 2 a random walk. Pinneri et al. 2020 (arXiv:2008.06389) take 0.25
            for a running cheetah and 2 to 3.5 for reaching and manipulation.

    Raises:
        ValueError: If the deviation is not positive, or the colour is negative.
    """

    std: float | None = 0.5
    colour: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        require_not_negative("colour", self.colour)

    def sample(
        self, actions: Actions, belief: Belief, count: int, generator: Generators
    ) -> Tensor:
        """``count`` sequences for each row, (B, count, H, A)."""
        batch, horizon, size = belief.centre.shape
        bounds = _continuous(actions, self)
        if belief.spread is None:
            return bounds.uniform((batch, count, horizon), generator)
        if self.colour:
            shape = (batch, count, size, horizon)
            noise = coloured_noise(shape, self.colour, generator).transpose(2, 3)
        else:
            noise = drawn(torch.randn, (batch, count, horizon, size), generator)
        noise = noise.mul_(belief.spread[:, None]).add_(belief.centre[:, None])
        return noise.clamp_(bounds.low, bounds.high)


@dataclass(frozen=True)
class TruncatedNormal(_Normal):
    """Normal sequences cut off at two standard deviations, and those at the bounds.

    The deviation of each number is at most half its mean's distance to the nearer
    bound, so that nothing is clipped. Use it for CEM as in PETS.

    Args:
        std: Of the first draw, in units of half the range; None draws that one uniform
            over the bounds.

    Raises:
        ValueError: If the deviation is not positive.

    Source: Chua et al. 2018, arXiv:1805.12114, and its published code.
    """

    std: float | None = 0.5

    def sample(
        self, actions: Actions, belief: Belief, count: int, generator: Generators
    ) -> Tensor:
        """``count`` sequences for each row, (B, count, H, A)."""
        batch, horizon, size = belief.centre.shape
        bounds, mean = _continuous(actions, self), belief.centre
        if belief.spread is None:
            return bounds.uniform((batch, count, horizon), generator)
        room = torch.minimum(mean - bounds.low, bounds.high - mean) / TRUNCATION
        spread = torch.minimum(belief.spread, room.clamp_(min=0.0))
        noise = drawn(torch.rand, (batch, count, horizon, size), generator)
        # The inverse of the distribution function, between its values at -2 and 2.
        inside = math.erf(TRUNCATION / math.sqrt(2))
        noise = noise.mul_(2 * inside).sub_(inside).erfinv_().mul_(math.sqrt(2))
        return noise.mul_(spread[:, None]).add_(mean[:, None])


@dataclass(frozen=True)
class Categorical:
    """Independent choices, one for each step of a sequence, as one-hot rows.

    Args:
        fresh: Share of equal probabilities in the first draw of each plan. A normal
            proposal starts with its full deviation about what it remembers; so does
            this one.

    Raises:
        ValueError: If the share is not in (0, 1].
    """

    fresh: float = 0.5

    def __post_init__(self) -> None:
        if not 0 < self.fresh <= 1:
            raise ValueError(f"fresh must be in (0, 1], got {self.fresh}")

    def start(self, actions: Actions, centre: Tensor) -> Belief:
        """The first belief about probabilities (B, H, A)."""
        if not isinstance(actions, Choices):
            raise ValueError(
                "Categorical proposes discrete actions, got continuous ones; use "
                "ClippedNormal or TruncatedNormal"
            )
        return Belief(torch.lerp(centre, actions.middle, self.fresh), None)

    def sample(
        self, actions: Actions, belief: Belief, count: int, generator: Generators
    ) -> Tensor:
        """``count`` one-hot sequences for each row, (B, count, H, A)."""
        batch, horizon, size = belief.centre.shape
        noise = drawn(torch.rand, (batch, count, horizon, 1), generator)
        below = belief.centre.cumsum(dim=-1)[:, None, :, :-1]
        index = (noise >= below).sum(dim=-1)  # how many choices the number passed over
        return torch.nn.functional.one_hot(index, size).to(belief.centre.dtype)

    def refit(
        self, actions: Actions, belief: Belief, elites: Tensor, alpha: float
    ) -> Belief:
        """How often the elites made each choice, mixed with the old probabilities."""
        return Belief(torch.lerp(elites.mean(dim=1), belief.centre, alpha), None)

    def decided(self, centre: Tensor) -> Tensor:
        """The most likely choice at each step, one-hot."""
        index = centre.argmax(dim=-1)
        return torch.nn.functional.one_hot(index, centre.shape[-1]).to(centre.dtype)


def _continuous(actions: Actions, proposal: Any) -> Bounds:
    if not isinstance(actions, Bounds):
        raise ValueError(
            f"{type(proposal).__name__} proposes continuous actions, got "
            f"{actions.size} discrete ones; use Categorical"
        )
    return actions


# ------------------------------------------------------------------------------- noise
def coloured_noise(
    shape: tuple[int, ...], colour: float, generator: Generators
) -> Tensor:
    """Normal numbers whose power falls as f^-colour along the last axis.

    Each number has variance 1, whatever the colour and length. (The published iCEM
    leaves the constant component out of that sum, and so draws larger numbers.)

    Args:
        shape: (B, ..., H).
        colour: 0 is white.
        generator: One, or one for each row.

    Returns:
        (B, ..., H).

    Source: Timmer and Koenig 1995; Pinneri et al. 2020, section 3.2, arXiv:2008.06389.
    """
    *leading, length = shape
    amplitudes = torch.tensor(_amplitudes(length, colour))
    noise = drawn(torch.randn, (*leading, len(amplitudes), 2), generator)
    spectrum = noise * amplitudes.to(noise)
    return torch.fft.irfft(torch.view_as_complex(spectrum), n=length, dim=-1)


@functools.lru_cache
def _amplitudes(length: int, colour: float) -> list[list[float]]:
    """What real and imaginary part of each frequency are multiplied by."""
    index = np.arange(length // 2 + 1)
    power = np.maximum(index, 1.0) ** -colour  # the constant as the lowest frequency
    # A component without a mirror image is real and has all its variance there.
    is_alone = (index == 0) | (2 * index == length)
    parts = np.where(is_alone[:, None], [2.0, 0.0], [1.0, 1.0]) * power[:, None]
    images = np.where(is_alone, 1.0, 2.0)
    variance = (images * parts.sum(axis=1)).sum() / length**2
    return np.sqrt(parts / variance).tolist()
