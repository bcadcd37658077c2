"""What a replay streams, recorded again."""

from __future__ import annotations

from typing import Any

import numpy as np

from suite.data.cards import bounds
from suite.playback import EpisodeSource
from suite.transitions import BY_TRANSITION, LAYOUT, Dataset, descended
from suite.wrappers.stack import layers


def recorded(env: Any) -> Dataset:
    """All episodes that a replay streams, once around, as a dataset.

    Use it to store what wrappers make of stored data. Through wrappers of this package
    it is bit for bit what wrapping the dataset itself gives at once. Other wrappers,
    outside of those, are believed what they show and pay, as an agent would. Those that
    leave observations alone leave the stored obs alone, too. Those that show others can
    only say what next_obs they make, which is the obs of the next transition.

    Args:
        env: A ``ReplayEnv``, wrapped or not.

    Raises:
        ValueError: If there is no replay inside, nothing is left of its episodes, or
            other wrappers change observations of data in which a next_obs is not the
            obs that follows.
    """
    source = next((e for e in layers(env) if isinstance(e, EpisodeSource)), None)
    if source is None:
        raise ValueError(f"there is no ReplayEnv to record in {env!r}")
    episodes: dict[int, _Episode] = {}
    obs, info = env.reset(seed=0)
    while info["episode_id"] not in episodes:  # until it goes round
        episodes[info["episode_id"]] = _Episode(env, obs, info)
        obs, info = env.reset()
    arrays = [episode.arrays for episode in episodes.values()]
    if not all(episode.is_seen_as_stored for episode in episodes.values()):
        _require_consistent(episodes)
        arrays = [{**e.arrays, "obs": e.seen} for e in episodes.values()]
    return Dataset.of_episodes(arrays, list(episodes), _card(env, source))


def _card(env: Any, source: EpisodeSource) -> dict[str, Any]:
    (*_, replay) = layers(env)
    spaces = {
        "observation": bounds(env.observation_space),
        "action": bounds(env.action_space),
    }
    # That of the data made at once: it counts what each corruption did to them.
    card = descended(source.dataset.card, replay.dataset)
    return {**card, "spaces": spaces, "recorded": True}


def _require_consistent(episodes: dict[int, _Episode]) -> None:
    for episode_id, episode in episodes.items():
        if not episode.is_consistent:
            raise ValueError(
                "wrappers around the replay show other observations, but in episode "
                f"{episode_id} an obs is not the next_obs before it, and nobody knows "
                "what they would make of it; leave them out, or corrupt the data after "
                "they are recorded"
            )


class _Episode:
    """One episode as it is streamed, from its reset on.

    Attributes:
        arrays: By name; ``obs`` are the stored ones.
        seen: (T, O) what the environment showed instead of them.
        is_seen_as_stored: Whether all observations it showed are the stored ones.
        is_consistent: Whether each stored next_obs is the obs that follows.
    """

    def __init__(self, env: Any, obs: np.ndarray, info: dict[str, Any]):
        no_action = np.zeros(env.action_space.shape, np.float32)  # it is ignored
        shown, stored, ended = [obs], [], False
        rows: dict[str, list[Any]] = {name: [] for name in BY_TRANSITION}
        while not ended:
            next_obs, reward, terminated, truncated, info = env.step(no_action)
            stored.append(info["transition"])
            shown.append(next_obs)
            rows["rewards"].append(reward)
            rows["terminated"].append(terminated)
            rows["truncated"].append(truncated)
            ended = terminated or truncated
        rows["obs"] = [each["obs"] for each in stored]
        rows["actions"] = [each["action"] for each in stored]
        rows["next_obs"] = shown[1:]
        self.arrays = {n: np.array(rows[n], LAYOUT[n][0]) for n in BY_TRANSITION}
        self.seen = np.array(shown[:-1], LAYOUT["obs"][0])
        own, led_to = self.arrays["obs"], np.array([s["next_obs"] for s in stored])
        self.is_seen_as_stored = np.array_equal(led_to, self.arrays["next_obs"])
        self.is_seen_as_stored &= np.array_equal(own[0], self.seen[0])
        self.is_consistent = np.array_equal(led_to[:-1], own[1:])
