"""Corruptions of stored data: all of it at once, or one episode after the other.

A wrapper of this package serves three things by one name. Over an environment that acts
it is an adapter of ``suite.wrappers.adapters``. Over a ``Dataset`` it returns the
corrupted ``Dataset``, over a ``ReplayEnv`` it corrupts each episode when it is reset.
The latter two make the same ``Change``, so that they agree bit for bit.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Self

import numpy as np
from gymnasium import spaces

from suite.transitions import BY_TRANSITION, QUANTILES, Dataset, descended
from suite.wrappers.corruption import Corruption, require_frozen
from suite.wrappers.noise import UNIFORM, NoiseStream
from suite.wrappers.stored import corrupted_by

Plan = Mapping[str, Any]


class EpisodeNoise:
    """The draws of one corruption of stored data, addressed by episode and step.

    Args:
        seed: The wrapper's.
        kind: Name of the corruption.
        layer: How many corruptions of that kind were applied before.
    """

    def __init__(self, seed: int, kind: str, layer: int):
        self._address = (seed, kind, layer)
        self._streams: dict[str, NoiseStream] = {}

    def draws(
        self,
        part: str,
        data: Dataset,
        shape: tuple[int, ...] = (),
        draw: Callable[..., np.ndarray] = UNIFORM,
    ) -> np.ndarray:
        """One draw for each transition, (M, *shape).

        Args:
            part: What it is for: each has a stream of its own, so that whether a row
                is touched and by how much are independent.
            data: The transitions.
            shape: Of one draw.
            draw: The distribution.
        """
        stream = self._stream(part)
        return stream.episodes(keys(data), data.lengths, draw, shape)

    def by_episode(self, part: str, data: Dataset) -> np.ndarray:
        """One uniform draw for each episode, (E,)."""
        once = np.ones(data.num_episodes, np.int64)
        return self._stream(part).episodes(keys(data), once, UNIFORM, ())

    def _stream(self, part: str) -> NoiseStream:
        return self.stream(f".{part}")

    def stream(self, part: str = "") -> NoiseStream:
        """The stream of a part; that of no part is the one of a ``Corruption``."""
        if part not in self._streams:
            seed, kind, layer = self._address
            self._streams[part] = NoiseStream(seed, f"{kind}{part}", layer)
        return self._streams[part]


def keys(data: Dataset) -> np.ndarray:
    """Where the noise of each episode is, (E, 2) uint64."""
    keys = np.zeros((data.num_episodes, 2), np.uint64)
    keys[:, 0] = data.episode_ids
    return keys


class StoredCorruption(ABC):
    """A change of stored data that no acting environment could undergo.

    Use it where a corruption needs to know all the data, changes the number of
    transitions or tells next_obs from the following obs: subclass it as a frozen
    dataclass of JSON-able fields. What one field of an episode can undergo by itself is
    a ``Corruption``, which serves acting environments as well.
    """

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        """Refuse a class that is not written as one."""
        require_frozen(cls)
        return super().__new__(cls)

    def check(self, observation: spaces.Space, action: spaces.Space) -> None:  # noqa: B027
        """Refuse data whose spaces this corruption does not fit.

        Raises:
            ValueError: With what was got and what to do.
        """

    def plan(self, data: Dataset, noise: EpisodeNoise) -> Plan:
        """What must be known of all the data before one episode can be changed.

        Returns:
            Anything by name; ``"told"`` is JSON for the card, ``"removed"`` a set of
            the ids of the episodes of which nothing is left.

        Raises:
            ValueError: If nothing is left of any.
        """
        return {}

    @abstractmethod
    def apply(self, data: Dataset, plan: Plan, noise: EpisodeNoise) -> Dataset:
        """The changed episodes, each as if it were alone.

        Args:
            data: All episodes that ``plan`` has seen, or one that it has not removed.
            plan: What ``plan`` returned.
            noise: The draws.
        """


@dataclass(frozen=True)
class Change:
    """A corruption of one dataset: of the whole, or of one episode of it.

    Args:
        name: ``"module:Class"`` of the wrapper.
        params: Its arguments, JSON.
        corruption: What it does.
        seed: Of the noise, or None.
        layer: How many corruptions of the kind were applied before.
        plan: What it found out about all the data.
    """

    name: str
    params: Mapping[str, Any]
    corruption: Corruption | StoredCorruption
    seed: int | None
    layer: int
    plan: Plan = field(default_factory=dict)

    @property
    def stream(self) -> str:
        """The name its noise goes by."""
        return type(self.corruption).__name__

    def planned(self, data: Callable[[], Dataset]) -> Change:
        """It, knowing all the data, which are only asked for where they are needed."""
        corruption = self.corruption
        if isinstance(corruption, Corruption):
            return self
        if type(corruption).plan is StoredCorruption.plan:
            return self
        plan = corruption.plan(data(), self.noise)
        return Change(self.name, self.params, corruption, self.seed, self.layer, plan)

    @cached_property
    def noise(self) -> EpisodeNoise:
        """Its draws."""
        return EpisodeNoise(self.seed or 0, self.stream, self.layer)

    @property
    def removed(self) -> frozenset[int]:
        """Ids of the episodes of which it leaves nothing."""
        return frozenset(self.plan.get("removed", ()))

    def check(self, observation: spaces.Space, action: spaces.Space) -> None:
        """Refuse data whose spaces the corruption does not fit."""
        corruption = self.corruption
        if isinstance(corruption, StoredCorruption):
            corruption.check(observation, action)
        else:
            by_field = {"obs": observation, "action": action}
            corruption.check(by_field.get(corruption.field))

    def of(self, data: Dataset) -> Dataset:
        """Some episodes after the change."""
        if isinstance(self.corruption, StoredCorruption):
            return self.corruption.apply(data, self.plan, self.noise)
        return _FIELDS[self.corruption.field](self, self.corruption, data)

    def of_all(self, data: Dataset) -> Dataset:
        """A whole dataset after the change; its card tells what was done."""
        changed = self.of(data)
        done = [*data.card.get("corruptions", ()), self._entry(data, changed)]
        return changed.with_card({**descended(data.card, data), "corruptions": done})

    @property
    def kind(self) -> str:
        """The wrapper's name."""
        return self.name.rpartition(":")[2]

    def told(self) -> dict[str, Any]:
        """What a card says of the change itself."""
        return {
            "kind": self.kind,
            "call": self.name,
            "params": dict(self.params),
            "seed": self.seed,
            "layer": self.layer,
            "stream": self.stream,
            "found": dict(self.plan.get("told", {})),
        }

    def _entry(self, before: Dataset, after: Dataset) -> dict[str, Any]:
        """What a card says of the change and of what it did."""
        kept = np.isin(before.episode_ids, after.episode_ids)
        old, new = before.returns, after.returns
        return {
            **self.told(),
            "removed_episodes": np.sort(before.episode_ids[~kept]).tolist(),
            "removed_transitions": len(before) - len(after),
            "other_returns": int(np.count_nonzero(old[kept] != new)),
            "affected": _affected(before, after, kept),
            "return_quantiles": {
                "before": np.quantile(old, QUANTILES).tolist(),
                "after": np.quantile(new, QUANTILES).tolist(),
            },
        }


def _affected(before: Dataset, after: Dataset, kept: np.ndarray) -> dict[str, int]:
    """How many rows of each array are others, where rows still correspond."""
    if not np.array_equal(before.lengths[kept], after.lengths):
        return {}  # transitions came or went: their number says it
    if not kept.all():
        before = before.select(kept)
    counts = {}
    for name in BY_TRANSITION:
        old, new = getattr(before, name), getattr(after, name)
        differs = np.zeros(1, bool) if old is new else old != new
        rows = differs.any(axis=1) if differs.ndim == 2 else differs
        if rows.any():
            counts[name] = int(rows.sum())
    return counts


# ------------------------------------------------------------------- one field alone
def _corrupted(
    change: Change,
    corruption: Corruption,
    data: Dataset,
    values: np.ndarray,
    lengths: np.ndarray,
    space: spaces.Space | None,
) -> np.ndarray:
    stream = change.noise.stream()
    return corrupted_by(corruption, values, lengths, keys(data), stream, space)


def _rewards(change: Change, corruption: Corruption, data: Dataset) -> Dataset:
    old = data.rewards
    return data.with_arrays(
        rewards=_corrupted(change, corruption, data, old, data.lengths, None)
    )


def _actions(change: Change, corruption: Corruption, data: Dataset) -> Dataset:
    old, space = data.actions, data.action_space
    return data.with_arrays(
        actions=_corrupted(change, corruption, data, old, data.lengths, space)
    )


def _observations(change: Change, corruption: Corruption, data: Dataset) -> Dataset:
    """The reset's observation and every next_obs are one stream of T + 1 readings.

    obs are the same readings, one step behind; where earlier corruptions made others of
    them, they are a stream of their own with the same noise.
    """
    space, lengths = data.observation_space, data.lengths + 1
    starts, episodes = data.offsets[:-1], np.arange(data.num_episodes)
    at = np.arange(len(data)) + np.repeat(episodes, data.lengths)  # obs, among readings
    readings = np.empty((lengths.sum(), data.obs.shape[1]), data.obs.dtype)
    readings[at + 1], readings[starts + episodes] = data.next_obs, data.obs[starts]
    seen = _corrupted(change, corruption, data, readings, lengths, space)
    if data.is_consistent:
        obs = seen.take(at, axis=0)
    else:
        obs = _corrupted(change, corruption, data, data.obs, data.lengths, space)
    return data.with_arrays(obs=obs, next_obs=seen.take(at + 1, axis=0))


_FIELDS = {"reward": _rewards, "action": _actions, "obs": _observations}
