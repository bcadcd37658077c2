"""Adapters: a corruption over a dataset, and over a replay of one."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.utils import RecordConstructorArgs

from suite.arrays import Snapshot
from suite.playback import (
    EpisodeOrder,
    EpisodeSource,
    Playback,
    Step,
    require_replay,
)
from suite.transitions import Dataset
from suite.wrappers.corruption import Corruption
from suite.wrappers.dataset import Change, StoredCorruption
from suite.wrappers.stack import layers, restorable

# What gym.make puts around an environment; it changes nothing that is streamed.
_TRANSPARENT = (gym.wrappers.OrderEnforcing, gym.wrappers.PassiveEnvChecker)


def replay_inside(env: Any) -> EpisodeSource | None:
    """The replay that an environment is or that our wrappers surround; None if none.

    Raises:
        ValueError: If another wrapper lies in between, naming it.
    """
    between = None
    for layer in layers(env):
        if isinstance(layer, EpisodeSource):
            break
        if not isinstance(layer, _TRANSPARENT):
            between = between or type(layer).__name__
    else:
        return None
    if between:
        raise ValueError(
            f"{between} lies between a replay and a wrapper of stored "
            "data, which cannot see through it; put it outside, or record what it "
            "gives with suite.datasets.recorded(env) and wrap that"
        )
    return layer


class DatasetAdapter(RecordConstructorArgs):
    """A corruption over a ``Dataset``: all episodes at once."""

    result: Dataset

    def _wrap(self, env: Dataset) -> None:
        self._data = env

    def _install(self, change: Change) -> None:
        done = self._data.card.get("corruptions", ())
        change = _at_layer(change, [each["stream"] for each in done])
        change.check(self._data.observation_space, self._data.action_space)
        self.result = change.planned(lambda: self._data).of_all(self._data)


class ReplayAdapter(RecordConstructorArgs, EpisodeSource, gym.Wrapper):
    """A corruption over a ``ReplayEnv``, or over our wrappers around one.

    An episode is corrupted as a whole when it is reset. The environment inside is reset
    to the same episode and not stepped: the number of transitions may differ.
    """

    def _wrap(self, env: gym.Env) -> None:
        gym.Wrapper.__init__(self, env)
        source = replay_inside(env)
        assert source is not None
        self._source, self._dataset = source, None

    def _install(self, change: Change) -> None:
        source = self._source
        change = _at_layer(change, source.corruptions)
        change.check(self.observation_space, self.action_space)
        self._change = change.planned(lambda: source.dataset)
        self.corruptions = [*source.corruptions, change.stream]
        removed = self._change.removed
        self.episode_ids = [each for each in source.episode_ids if each not in removed]
        self._order, self._playback = EpisodeOrder(self.episode_ids), Playback()

    @property
    def dataset(self) -> Dataset:
        """All that is streamed, as stored data; made when first asked for."""
        if self._dataset is None:
            self._dataset = self._change.of_all(self._source.dataset)
        return self._dataset

    @property
    def card(self) -> dict[str, Any]:
        """The card of what is inside, and this corruption."""
        inside = self._source.card
        done = [*inside.get("corruptions", ()), self._change.told()]
        return {**inside, "corruptions": done}

    @property
    def episode(self) -> Dataset:
        """The episode that is being streamed, corrupted."""
        return self._playback.episode

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Start the next episode that is left; see ``ReplayEnv``.

        Raises:
            ValueError: If there is no such episode.
        """
        chosen = self._order.choose(seed, options)
        self.env.reset(seed=seed, options={"episode_id": chosen})
        self._playback.start(self._change.of(self._source.episode))
        return self._playback.obs(), self._playback.info()

    def step(self, action: Any) -> Step:
        """The next transition, whatever the action."""
        return self._playback.step()

    # --------------------------------------------------------------- snapshots
    def snapshot(self, ids: np.ndarray | None = None) -> Snapshot:
        """Where the replay stands, one row."""
        return self._playback.snapshot(self._order, restorable(self.env).snapshot(ids))

    def restore(
        self,
        snapshot: Snapshot,
        ids: np.ndarray | None = None,
        *,
        reseed: int | None = None,
    ) -> np.ndarray:
        """Go back; the noise is that of the stored episode, whatever ``reseed``."""
        require_replay(snapshot)
        if snapshot.inner is None:
            raise ValueError(
                "the snapshot has no layer for the environment inside "
                f"{self._change.kind}: restore it into the same stack of wrappers"
            )
        restorable(self.env).restore(snapshot.inner, ids, reseed=reseed)
        episode = self._change.of(self._source.episode)
        self._playback.restore(snapshot, self._order, episode)
        return self._playback.obs()

    def halt(self, ids: np.ndarray) -> None:
        """Stand still until ``restore`` or ``reset``."""
        self._playback.halt()


def _at_layer(change: Change, before: list[str]) -> Change:
    layer = before.count(change.stream)
    return Change(change.name, change.params, change.corruption, change.seed, layer)


def require_live(name: str, corruption: Any, env: Any) -> Corruption:
    """The corruption, if an acting environment can undergo it.

    Raises:
        TypeError: If it is one of stored data only.
    """
    if isinstance(corruption, StoredCorruption):
        raise TypeError(
            f"{name} changes stored data: give it a suite.datasets.Dataset, or a "
            f"ReplayEnv of one (got {env!r})"
        )
    return corruption
