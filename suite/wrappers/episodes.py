"""Wrappers of stored data that leave out whole episodes."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, ClassVar

import numpy as np

from suite.transitions import Dataset
from suite.wrappers.corruption import require_share
from suite.wrappers.dataset import EpisodeNoise, Plan, StoredCorruption
from suite.wrappers.wrapper import CorruptionWrapper


@dataclass(frozen=True)
class DroppedEpisodes(StoredCorruption):
    """Some percent of the episodes left out, in an order that a subclass says."""

    percent: float
    wrapper: ClassVar[str]  # its public name

    def __post_init__(self) -> None:
        share = require_share("percent", self.percent, 100)
        object.__setattr__(self, "percent", share)

    @abstractmethod
    def order(self, data: Dataset, noise: EpisodeNoise) -> np.ndarray:
        """(E,) indices of the episodes, the first to go first."""

    def count(self, data: Dataset, order: np.ndarray) -> int:
        """How many go: the whole part of ``percent`` of them."""
        # Of the decimal that was written: 32.3 % of 1000 are 323, in floats 322.99...
        return int(Fraction(repr(self.percent)) * data.num_episodes // 100)

    def told(self, data: Dataset) -> dict[str, Any]:
        """What the card says beside which they were."""
        return {}

    def plan(self, data: Dataset, noise: EpisodeNoise) -> Plan:
        """Who goes.

        Raises:
            ValueError: If all would, or none though some percent should.
        """
        order = self.order(data, noise)
        gone = order[: self.count(data, order)]
        if len(gone) == data.num_episodes:
            raise ValueError(
                f"{self.wrapper} of {self.percent:g} percent would remove all "
                f"{data.num_episodes} episodes; leave at least one"
            )
        if self.percent > 0 and len(gone) == 0:
            raise ValueError(
                f"{self.wrapper}: {self.percent:g} percent of {data.num_episodes} "
                "episodes are less than one: nothing would be left out; take more "
                "episodes or percent"
            )
        removed = frozenset(data.episode_ids[gone].tolist())
        return {"removed": removed, "told": self.told(data)}

    def apply(self, data: Dataset, plan: Plan, noise: EpisodeNoise) -> Dataset:
        """The others."""
        kept = [each not in plan["removed"] for each in data.episode_ids.tolist()]
        return data.select(np.array(kept))


class DroppedByReturn(DroppedEpisodes):
    """The order by return, which the card tells the source of."""

    def told(self, data: Dataset) -> dict[str, Any]:
        """Whether the returns are those that were stored first."""
        done = data.card.get("corruptions", ())
        if any("rewards" in each.get("affected", ()) for each in done):
            return {"rank_on": "corrupted rewards"}
        if any(each.get("other_returns") for each in done):
            return {"rank_on": "rewards of other transitions"}
        return {"rank_on": "clean rewards"}


class DroppedBest(DroppedByReturn):
    """By (-return, id); see ``DropBestEpisodes``."""

    wrapper = "DropBestEpisodes"

    def order(self, data: Dataset, noise: EpisodeNoise) -> np.ndarray:
        """The highest returns first."""
        return np.lexsort((data.episode_ids, -data.returns))


class DroppedWorst(DroppedByReturn):
    """By (return, id); see ``DropWorstEpisodes``."""

    wrapper = "DropWorstEpisodes"

    def order(self, data: Dataset, noise: EpisodeNoise) -> np.ndarray:
        """The lowest returns first."""
        return np.lexsort((data.episode_ids, data.returns))


class DroppedRandom(DroppedEpisodes):
    """By a draw of each episode; see ``DropRandomEpisodes``."""

    wrapper = "DropRandomEpisodes"

    def order(self, data: Dataset, noise: EpisodeNoise) -> np.ndarray:
        """By a draw that goes by the episode's id, whoever else is there."""
        return np.lexsort((data.episode_ids, noise.by_episode("order", data)))


class DroppedMatched(DroppedRandom, DroppedByReturn):
    """As many transitions as the best hold; see ``DropSizeMatchedEpisodes``."""

    wrapper = "DropSizeMatchedEpisodes"

    def _target(self, data: Dataset) -> int:
        best = np.lexsort((data.episode_ids, -data.returns))
        return int(data.lengths[best[: super().count(data, best)]].sum())

    def count(self, data: Dataset, order: np.ndarray) -> int:
        """The fewest that hold as many transitions as the best ones do."""
        gone = np.cumsum(data.lengths[order])
        target = self._target(data)
        return int(np.searchsorted(gone, target)) + 1 if target else 0

    def told(self, data: Dataset) -> dict[str, Any]:
        """How many transitions it had to reach."""
        return {**super().told(data), "target_transitions": self._target(data)}


class DropBestEpisodes(CorruptionWrapper):
    """The episodes of the highest returns are left out.

    Use it to see what offline learning makes of worse data. Of E episodes the first
    ``floor(percent E / 100)`` in the order of (-return, id) go. Returns are sums of the
    rewards as they are at this layer: put it inside noise to rank by clean ones; the
    card tells ``rank_on``. Where returns grow with length, as in Hopper, a larger share
    of the transitions goes: compare with ``DropSizeMatchedEpisodes``.

    Args:
        env: A ``Dataset``, a ``ReplayEnv``, or a wrapper of this package around one.
        percent: Of the episodes, 0 to 100.

    Raises:
        TypeError: If ``env`` acts.
        ValueError: If percent is out of range, or leaves no episode, or removes none
            without being 0.
    """

    def __init__(self, env: Any, percent: float):
        super().__init__(env, DroppedBest(percent))


class DropWorstEpisodes(CorruptionWrapper):
    """The episodes of the lowest returns are left out.

    Use it as the opposite of ``DropBestEpisodes``, which see for the order.

    Args:
        env: A ``Dataset``, a ``ReplayEnv``, or a wrapper of this package around one.
        percent: Of the episodes, 0 to 100.

    Raises:
        TypeError: If ``env`` acts.
        ValueError: As ``DropBestEpisodes``.
    """

    def __init__(self, env: Any, percent: float):
        super().__init__(env, DroppedWorst(percent))


class DropRandomEpisodes(CorruptionWrapper):
    """Episodes are left out at random.

    Use it as the control of ``DropBestEpisodes``: as many episodes go, whatever their
    returns. Each episode draws a number by its id, and the lowest go, so that a larger
    ``percent`` removes the same episodes and more.

    Args:
        env: A ``Dataset``, a ``ReplayEnv``, or a wrapper of this package around one.
        percent: Of the episodes, 0 to 100.
        seed: Of the choice.

    Raises:
        TypeError: If ``env`` acts.
        ValueError: As ``DropBestEpisodes``.
    """

    def __init__(self, env: Any, percent: float, seed: int = 0):
        super().__init__(env, DroppedRandom(percent), seed)


class DropSizeMatchedEpisodes(CorruptionWrapper):
    """Random episodes are left out, until as many transitions are gone as of the best.

    Use it as the control of ``DropBestEpisodes(percent)`` that leaves as much data:
    episodes go in a random order until at least as many transitions are gone as that
    would remove. The card tells both numbers.

    Args:
        env: A ``Dataset``, a ``ReplayEnv``, or a wrapper of this package around one.
        percent: What ``DropBestEpisodes`` would get, 0 to 100.
        seed: Of the order.

    Raises:
        TypeError: If ``env`` acts.
        ValueError: As ``DropBestEpisodes``.
    """

    def __init__(self, env: Any, percent: float, seed: int = 0):
        super().__init__(env, DroppedMatched(percent), seed)
