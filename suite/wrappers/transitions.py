"""Wrappers of stored data that change the numbers of transitions.

A stream of observations cannot show a transition whose next_obs is another observation
than the one that follows it; stored data can.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from gymnasium import spaces

from suite.transitions import Dataset
from suite.wrappers.corruption import require_not_negative, require_spread, spread
from suite.wrappers.dataset import EpisodeNoise, Plan, StoredCorruption
from suite.wrappers.noise import NORMAL
from suite.wrappers.wrapper import CorruptionWrapper


@dataclass(frozen=True)
class RelativeNoisyReward(StoredCorruption):
    """r + ratio std(r) z with z standard normal; see ``RelativeRewardNoise``."""

    ratio: float

    def __post_init__(self) -> None:
        ratio = require_not_negative("ratio", self.ratio)
        object.__setattr__(self, "ratio", ratio)

    def plan(self, data: Dataset, noise: EpisodeNoise) -> Plan:
        """The standard deviation of all rewards."""
        std = self.ratio * float(np.std(data.rewards, dtype=np.float64))
        return {"std": std, "told": {"std": std}}

    def apply(self, data: Dataset, plan: Plan, noise: EpisodeNoise) -> Dataset:
        """Rewards with noise."""
        added = plan["std"] * noise.draws("noise", data, draw=NORMAL)
        return data.with_arrays(rewards=data.rewards.astype(np.float64) + added)


class RelativeRewardNoise(CorruptionWrapper):
    """Normal noise on every reward, as large as the rewards' own spread.

    Use it to compare tasks whose rewards differ in size: ``r + ratio * std(r) * z``,
    with the standard deviation of all rewards at this layer.

    Args:
        env: A ``Dataset``, a ``ReplayEnv``, or a wrapper of this package around one.
        ratio: Of the noise to the spread, 0 or more.
        seed: Of the noise.

    Raises:
        TypeError: If ``env`` acts; ``RewardNoise`` takes an absolute size.
        ValueError: If the ratio is negative or not finite.
    """

    def __init__(self, env: Any, ratio: float, seed: int = 0):
        super().__init__(env, RelativeNoisyReward(ratio), seed)


@dataclass(frozen=True)
class NoisyDynamics(StoredCorruption):
    """next_obs + std z with z standard normal; see ``DynamicsNoise``."""

    std: float | Sequence[float]

    def __post_init__(self) -> None:
        object.__setattr__(self, "std", spread("std", self.std))

    def check(self, observation: spaces.Space, action: spaces.Space) -> None:
        """Refuse a std for another number of entries."""
        require_spread("DynamicsNoise", self.std, observation)

    def apply(self, data: Dataset, plan: Plan, noise: EpisodeNoise) -> Dataset:
        """Transitions that lead elsewhere."""
        size = data.next_obs.shape[1:]
        added = np.asarray(self.std) * noise.draws("noise", data, size, NORMAL)
        return data.with_arrays(next_obs=data.next_obs.astype(np.float64) + added)


class DynamicsNoise(CorruptionWrapper):
    """Normal noise on where every transition leads, and on nothing else.

    Use it for data whose dynamics are not those of the environment: next_obs becomes
    ``next_obs + std * z`` while the obs that follows stays exact. Nothing is clipped.

    Args:
        env: A ``Dataset``, a ``ReplayEnv``, or a wrapper of this package around one.
        std: Standard deviation in units of the observation, one or one for each entry.
        seed: Of the noise.

    Raises:
        TypeError: If ``env`` acts; ``ObservationNoise`` serves there.
        ValueError: If a std is negative, not finite or their number does not fit.
    """

    def __init__(self, env: Any, std: float | Sequence[float], seed: int = 0):
        super().__init__(env, NoisyDynamics(std), seed)
