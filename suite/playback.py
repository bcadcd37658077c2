"""Stored episodes as Gymnasium streams them; below every layer, as ``transitions``."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import numpy as np
from gymnasium import error

from suite.arrays import Snapshot
from suite.transitions import Dataset

Step = tuple[np.ndarray, float, bool, bool, dict[str, Any]]


class EpisodeSource(ABC):
    """An environment that streams stored episodes: a replay, or a wrapper around one.

    Attributes:
        episode_ids: Of the episodes it streams, in their order.
        corruptions: The names of the noise of all corruptions inside, innermost first.
    """

    episode_ids: list[int]
    corruptions: list[str]

    @property
    @abstractmethod
    def dataset(self) -> Dataset:
        """All that it streams, as stored data."""

    @property
    @abstractmethod
    def card(self) -> dict[str, Any]:
        """What is known of the data and of what is done to them on the way."""

    @property
    @abstractmethod
    def episode(self) -> Dataset:
        """What it streams now: a dataset of one episode."""


class EpisodeOrder:
    """Which episode comes next: in the stored order, round and round.

    Args:
        ids: Of the episodes.
    """

    def __init__(self, ids: list[int]):
        self.ids = ids
        self.position = 0  # of the next one
        self._places = {episode_id: place for place, episode_id in enumerate(ids)}

    def choose(self, seed: int | None, options: Mapping[str, Any] | None) -> int:
        """The id of the next episode.

        Args:
            seed: Any seed goes back to the first one: a replay has no chance.
            options: ``{"episode_id": i}`` goes to that one.

        Raises:
            ValueError: If there is no such episode.
        """
        asked = (options or {}).get("episode_id")
        if seed is not None:
            self.position = 0
        if asked is not None:
            self.position = self.place(asked)
        chosen = self.ids[self.position]
        self.position = (self.position + 1) % len(self.ids)
        return chosen

    def place(self, episode_id: int) -> int:
        """Where an episode is in the order.

        Raises:
            ValueError: If there is no such episode.
        """
        if episode_id not in self._places:
            raise ValueError(
                f"there is no episode {episode_id!r} among the {len(self.ids)} of this "
                f"replay, {self.ids[0]} to {self.ids[-1]}; it may have been removed"
            )
        return self._places[episode_id]


class Playback:
    """One episode, transition by transition; what is done to it changes nothing."""

    def __init__(self) -> None:
        self._episode: Dataset | None = None
        self._t = self._end = 0  # the end is not known before the first step
        self._halted = False

    @property
    def episode(self) -> Dataset:
        """What is being streamed: a dataset of one episode.

        Raises:
            gymnasium.error.ResetNeeded: If nothing is.
        """
        if self._episode is None:
            raise error.ResetNeeded("nothing is replayed yet; call env.reset() first")
        return self._episode

    def start(self, episode: Dataset, t: int = 0) -> None:
        """Go to step t of an episode."""
        self._episode, self._t, self._halted = episode, t, False
        self._id, self._length = int(episode.episode_ids[0]), len(episode)
        self._end = 0

    def _prepare(self, episode: Dataset) -> None:
        """Lists of Python numbers are several times faster to read one by one."""
        self._rewards = episode.rewards.tolist()
        self._terminated = episode.terminated.tolist()
        self._truncated = episode.truncated.tolist()
        self._end = self._length

    def obs(self) -> np.ndarray:
        """The observation (O,) at which the episode stands."""
        t, episode = self._t, self.episode
        return (episode.next_obs[t - 1] if t else episode.obs[0]).copy()

    def info(self) -> dict[str, Any]:
        """What is known of the episode as such."""
        return {"episode_id": self._id, "episode_length": self._length}

    def step(self) -> Step:
        """The next transition.

        Raises:
            gymnasium.error.ResetNeeded: Before the first episode and after its end.
        """
        t = self._t
        if t >= self._end and not self._goes_on():
            return self._stand_still()
        episode = self._episode
        assert episode is not None
        self._t = t + 1
        next_obs, action = episode.next_obs[t], episode.actions[t]
        reward = self._rewards[t]
        terminated, truncated = self._terminated[t], self._truncated[t]
        transition = {
            "obs": episode.obs[t],
            "action": action,
            "reward": reward,
            "next_obs": next_obs,
            "terminated": terminated,
            "truncated": truncated,
        }
        info = {
            "episode_id": self._id,
            "episode_length": self._length,
            "step": t,
            "action": action,
            "transition": transition,
        }
        return next_obs.copy(), reward, terminated, truncated, info

    def _goes_on(self) -> bool:
        if self._halted or self._t >= len(self.episode):
            return False
        self._prepare(self.episode)
        return True

    def _stand_still(self) -> Step:
        obs = self.obs()
        if not self._halted:
            raise error.ResetNeeded(
                f"episode {self._id} has ended after {self._length} steps; call "
                "env.reset() for the next one"
            )
        return obs, 0.0, False, True, self.info()

    # --------------------------------------------------------------- snapshots
    def halt(self) -> None:
        """Stand still until ``start``: reward 0, truncated."""
        self._halted, self._end = True, 0

    def snapshot(self, order: EpisodeOrder, inner: Snapshot | None = None) -> Snapshot:
        """Where it stands, and which episode comes next; one row."""
        episode_id = int(self.episode.episode_ids[0])
        state = {"episode": episode_id, "step": self._t, "next": order.position}
        return Snapshot(
            {name: np.array([value]) for name, value in state.items()}, inner
        )

    def restore(
        self, snapshot: Snapshot, order: EpisodeOrder, episode: Dataset
    ) -> None:
        """Go back; the episode is the one that the snapshot names."""
        self.start(episode, int(snapshot.state["step"][0]))
        order.position = int(snapshot.state["next"][0])


def require_replay(snapshot: Snapshot) -> int:
    """The id of the episode of a replay's snapshot.

    Raises:
        ValueError: If it is another environment's, or of several rows.
    """
    if set(snapshot.state) != {"episode", "step", "next"} or len(snapshot) != 1:
        raise ValueError(
            f"the snapshot holds {', '.join(snapshot.state)} of {len(snapshot)} rows, "
            "a replay's episode, step and next of one: restore it into the same stack "
            "of wrappers"
        )
    return int(snapshot.state["episode"][0])
