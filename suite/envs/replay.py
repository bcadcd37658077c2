"""A dataset as an environment."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np

from suite.arrays import Snapshot
from suite.playback import EpisodeOrder, EpisodeSource, Playback, Step, require_replay
from suite.transitions import Dataset


class ReplayEnv(EpisodeSource, gym.Env):
    """Stored episodes, streamed as if they happened again.

    Task: None. Whatever action is taken is ignored; the logged ones are in info. Use it
    to see stored data as an agent would, to corrupt them by wrappers on the way, or to
    record them again through a stack of wrappers: ``suite.datasets.recorded(env)``.

    Observation: The stored one; at a reset that of an episode's first transition.

    Action: Of the space of the logged actions; ignored.

    Reward: The stored one.

    Episode end: Where the stored episode ends. Episodes come in the stored order, round
    and round; ``reset(options={"episode_id": i})`` goes to one of them, after which its
    successors follow, and any seed goes back to the first.

    Info: ``episode_id``, ``episode_length``; after a step also ``step``, the
    transition's index in its episode, ``action``, the logged one, and ``transition``,
    all of it: ``obs``, ``action``, ``reward``, ``next_obs``, ``terminated``,
    ``truncated``. In corrupted data ``transition["obs"]`` may be another observation
    than what the step before returned. None of these arrays can be written to.

    Args:
        dataset: The data.
    """

    metadata: dict[str, Any] = {"render_modes": []}

    def __init__(self, dataset: Dataset):
        if not isinstance(dataset, Dataset):
            raise TypeError(
                f"ReplayEnv replays a suite.datasets.Dataset, got {dataset!r}; load "
                "one with suite.datasets.load_dataset"
            )
        self._dataset = dataset
        self.observation_space = dataset.observation_space
        self.action_space = dataset.action_space
        self.episode_ids = dataset.episode_ids.tolist()
        # The names of the noise of what was done to the data already.
        done = dataset.card.get("corruptions", ())
        self.corruptions = [each["stream"] for each in done]
        self._order, self._playback = EpisodeOrder(self.episode_ids), Playback()

    @property
    def dataset(self) -> Dataset:
        """The data."""
        return self._dataset

    @property
    def card(self) -> dict[str, Any]:
        """The data's."""
        return dict(self._dataset.card)

    @property
    def episode(self) -> Dataset:
        """The episode that is being streamed."""
        return self._playback.episode

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Start the next episode, or the one of ``options["episode_id"]``.

        Raises:
            ValueError: If there is no such episode.
        """
        super().reset(seed=seed)
        chosen = self._order.choose(seed, options)
        self._playback.start(self._stored(chosen))
        return self._playback.obs(), self._playback.info()

    def _stored(self, episode_id: int) -> Dataset:
        return self.dataset.episode(self._order.place(episode_id))

    def step(self, action: Any) -> Step:
        """The next stored transition, whatever the action.

        Raises:
            gymnasium.error.ResetNeeded: After an episode's end.
        """
        return self._playback.step()

    # --------------------------------------------------------------- snapshots
    def snapshot(self, ids: np.ndarray | None = None) -> Snapshot:
        """Where the replay stands, one row."""
        return self._playback.snapshot(self._order)

    def restore(
        self,
        snapshot: Snapshot,
        ids: np.ndarray | None = None,
        *,
        reseed: int | None = None,
    ) -> np.ndarray:
        """Go back; there is no chance, so ``reseed`` changes nothing."""
        episode = self._stored(require_replay(snapshot))
        self._playback.restore(snapshot, self._order, episode)
        return self._playback.obs()

    def halt(self, ids: np.ndarray) -> None:
        """Stand still until ``restore`` or ``reset``."""
        self._playback.halt()
