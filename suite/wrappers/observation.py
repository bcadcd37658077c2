"""Wrappers that change what is observed; the simulation itself goes on undisturbed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from suite.wrappers.corruption import (
    Corruption,
    Memory,
    Moment,
    require_float_box,
    require_not_negative,
    require_share,
    require_spread,
    spread,
    spread_noise,
    within,
)
from suite.wrappers.wrapper import CorruptionWrapper


@dataclass(frozen=True)
class NoisyObservation(Corruption):
    """clip(o + std z) with z standard normal; see ``ObservationNoise``."""

    std: float | Sequence[float]
    field = "obs"

    def __post_init__(self) -> None:
        object.__setattr__(self, "std", spread("std", self.std))

    def check(self, space: Any) -> None:
        """Refuse all but boxes of floats, and a std for another number of entries."""
        require_spread("ObservationNoise", self.std, space)

    def noise_shape(self, space: Any) -> tuple[int, ...]:
        """One number for each entry."""
        return space.shape

    def apply(self, value: np.ndarray, moment: Moment) -> tuple[np.ndarray, Memory]:
        """Observations (n, O) with noise."""
        return spread_noise(value, self.std, moment), {}


class ObservationNoise(CorruptionWrapper):
    """Normal noise on every observation, the reset's and the final one included.

    Use it for sensors that are not exact. The observation becomes
    ``clip(o + std * z, low, high)`` with the bounds of the observation space.
    ``info["state"]`` and ``info["is_success"]`` stay exact.

    Args:
        env: An ``Env`` or a ``VectorEnv`` that observes a ``Box`` of floats.
        std: Standard deviation, in units of the observation: one for all entries, or
            one for each entry of a one-dimensional observation (O,).
        seed: Of the noise; the same seed gives the same noise to the same episodes.

    Raises:
        ValueError: If a std is negative or not finite, if their number is not that of
            the entries, or if the observation is no box of floats.
    """

    def __init__(self, env: Any, std: float | Sequence[float], seed: int = 0):
        super().__init__(env, NoisyObservation(std), seed)


@dataclass(frozen=True)
class OutlyingObservation(Corruption):
    """clip(o + size) or clip(o - size), each entry; see ``ObservationOutliers``."""

    rate: float
    size: float
    field = "obs"

    def __post_init__(self) -> None:
        object.__setattr__(self, "rate", require_share("rate", self.rate))
        size = require_not_negative("size", self.size)
        object.__setattr__(self, "size", size)

    def check(self, space: Any) -> None:
        """Refuse all but boxes of floats."""
        require_float_box("ObservationOutliers", space)

    def noise_shape(self, space: Any) -> tuple[int, ...]:
        """Whether, and to which side, for each entry."""
        return (2, *space.shape)

    def draw(
        self, generator: np.random.Generator, shape: tuple[int, ...]
    ) -> np.ndarray:
        """Uniform in [0, 1)."""
        return generator.random(shape)

    def apply(self, value: np.ndarray, moment: Moment) -> tuple[np.ndarray, Memory]:
        """Observations (n, O), some entries far off."""
        whether, side = moment.noise[:, 0] < self.rate, moment.noise[:, 1] < 0.5
        spiked = value + np.where(side, self.size, -self.size)
        return np.where(whether, within(spiked, moment.space), value), {}


class ObservationOutliers(CorruptionWrapper):
    """With some probability an entry of an observation is far off, up or down alike.

    Use it for sensors that drop out or spike, each by itself.

    Args:
        env: An ``Env``, a ``VectorEnv`` or a ``Dataset`` with a ``Box`` of floats.
        rate: Probability of each entry of each observation, 0 to 1.
        size: How far off, in units of the observation, 0 or more; clipped to the
            bounds of the space.
        seed: Of choice and side.

    Raises:
        ValueError: If an argument is out of range or the observation is no box of
            floats.
    """

    def __init__(self, env: Any, rate: float, size: float, seed: int = 0):
        super().__init__(env, OutlyingObservation(rate, size), seed)
