"""Wrappers of stored data in which transitions are missing or stored twice."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from suite.transitions import Dataset
from suite.wrappers.corruption import require_share, require_steps
from suite.wrappers.dataset import EpisodeNoise, Plan, StoredCorruption
from suite.wrappers.wrapper import CorruptionWrapper


@dataclass(frozen=True)
class TruncatedEpisodes(StoredCorruption):
    """The first steps of every episode; see ``TruncateEpisodes``."""

    steps: int

    def __post_init__(self) -> None:
        steps = require_steps("steps", self.steps)
        if steps == 0:
            raise ValueError("steps must be 1 or more, got 0: nothing would be left")
        object.__setattr__(self, "steps", steps)

    def apply(self, data: Dataset, plan: Plan, noise: EpisodeNoise) -> Dataset:
        """Nothing after step ``steps - 1``."""
        return data.repeated((data.steps < self.steps).astype(np.int64))


class TruncateEpisodes(CorruptionWrapper):
    """Every episode is cut off after some steps.

    Use it for logs that only hold beginnings. What is cut counts as truncated: its last
    transition keeps its true next_obs.

    Args:
        env: A ``Dataset``, a ``ReplayEnv``, or a wrapper of this package around one.
        steps: How many are kept, 1 or more.

    Raises:
        TypeError: If ``env`` acts; ``gymnasium.wrappers.TimeLimit`` does it there.
        ValueError: If ``steps`` is no whole number of 1 or more.
    """

    def __init__(self, env: Any, steps: int):
        super().__init__(env, TruncatedEpisodes(steps))


@dataclass(frozen=True)
class DroppedTransitions(StoredCorruption):
    """Each transition left out with a probability; see ``DropTransitions``."""

    rate: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "rate", require_share("rate", self.rate))

    def apply(self, data: Dataset, plan: Plan, noise: EpisodeNoise) -> Dataset:
        """The others."""
        return data.repeated(self._counts(data, noise))

    def _counts(self, data: Dataset, noise: EpisodeNoise) -> np.ndarray:
        return (noise.draws("rows", data) >= self.rate).astype(np.int64)

    def plan(self, data: Dataset, noise: EpisodeNoise) -> Plan:
        """Which episodes lose everything.

        Raises:
            ValueError: If all do.
        """
        left = np.add.reduceat(self._counts(data, noise), data.offsets[:-1])
        if not left.any():
            raise ValueError(
                f"a rate of {self.rate:g} leaves nothing of {data.num_episodes} "
                "episodes; a dataset needs at least one transition"
            )
        return {"removed": frozenset(data.episode_ids[left == 0].tolist())}


class DropTransitions(CorruptionWrapper):
    """Transitions are missing here and there.

    Use it for logs with gaps. What is left stays as it was: a transition's next_obs is
    the true one, and never that of the next transition that happens to be left. An
    episode that loses its last transition is truncated where it now ends.

    Args:
        env: A ``Dataset``, a ``ReplayEnv``, or a wrapper of this package around one.
        rate: Probability of each transition to go, 0 to 1.
        seed: Of the choice.

    Raises:
        TypeError: If ``env`` acts.
        ValueError: If the rate is out of range, or nothing is left.
    """

    def __init__(self, env: Any, rate: float, seed: int = 0):
        super().__init__(env, DroppedTransitions(rate), seed)


@dataclass(frozen=True)
class DuplicatedTransitions(StoredCorruption):
    """Each transition twice with a probability; see ``DuplicateTransitions``."""

    rate: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "rate", require_share("rate", self.rate))

    def apply(self, data: Dataset, plan: Plan, noise: EpisodeNoise) -> Dataset:
        """All of them, some twice."""
        twice = noise.draws("rows", data) < self.rate
        twice[data.offsets[1:] - 1] = False
        return data.repeated(1 + twice.astype(np.int64))


class DuplicateTransitions(CorruptionWrapper):
    """Transitions are stored twice here and there.

    Use it for logs of a stuttering recorder. The copy follows its original. The last
    transition of an episode is never doubled, since an episode ends only once.

    Args:
        env: A ``Dataset``, a ``ReplayEnv``, or a wrapper of this package around one.
        rate: Probability of each transition to be doubled, 0 to 1.
        seed: Of the choice.

    Raises:
        TypeError: If ``env`` acts.
        ValueError: If the rate is out of range.
    """

    def __init__(self, env: Any, rate: float, seed: int = 0):
        super().__init__(env, DuplicatedTransitions(rate), seed)
