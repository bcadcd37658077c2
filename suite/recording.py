"""What a replay streams, recorded again."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np

from suite.cards import bounds
from suite.playback import EpisodeSource
from suite.transitions import BY_TRANSITION, LAYOUT, Dataset
from suite.wrappers.stack import layers

Rows = dict[str, list[Any]]
# What gym.make puts around an environment; it changes nothing that is streamed.
_TRANSPARENT = (gym.wrappers.OrderEnforcing, gym.wrappers.PassiveEnvChecker)


def recorded(env: Any) -> Dataset:
    """All episodes that a replay streams, once around, as a dataset.

    Use it to store what wrappers make of stored data. Through wrappers of this package
    it is bit for bit what wrapping the dataset itself gives at once. Other wrappers,
    outside of those, are believed what they show and pay, as an agent would.

    Args:
        env: A ``ReplayEnv``, wrapped or not.

    Raises:
        ValueError: If there is no replay inside, or nothing is left of its episodes.
    """
    source = next((e for e in layers(env) if isinstance(e, EpisodeSource)), None)
    if source is None:
        raise ValueError(f"there is no ReplayEnv to record in {env!r}")
    is_ours = all(
        isinstance(layer, _TRANSPARENT)
        for layer in list(layers(env))[: list(layers(env)).index(source)]
    )
    episodes: dict[int, dict[str, np.ndarray]] = {}
    obs, info = env.reset(seed=0)
    while info["episode_id"] not in episodes:  # until it goes round
        episodes[info["episode_id"]] = _episode(env, obs, info, is_ours)
        obs, info = env.reset()
    card = source.card
    spaces = {
        "observation": bounds(env.observation_space),
        "action": bounds(env.action_space),
    }
    parts = list(episodes.values())
    return Dataset(
        **{name: np.concatenate([p[name] for p in parts]) for name in BY_TRANSITION},
        lengths=np.array([len(part["rewards"]) for part in parts]),
        episode_ids=np.array(list(episodes)),
        card={**card, "spaces": spaces, "recorded": True},
    )


def _episode(
    env: Any, obs: np.ndarray, info: dict[str, Any], is_ours: bool
) -> dict[str, np.ndarray]:
    """The arrays of one episode, from its reset on."""
    shapes = {"obs": obs.shape, "next_obs": obs.shape}
    shapes["actions"] = env.action_space.shape
    most, t, ended = info["episode_length"], 0, False
    arrays = {
        name: np.empty((most, *shapes.get(name, ())), LAYOUT[name][0])
        for name in BY_TRANSITION
    }
    no_action = np.zeros(env.action_space.shape, np.float32)  # it is ignored
    while not ended:
        next_obs, reward, terminated, truncated, info = env.step(no_action)
        transition, ended = info["transition"], terminated or truncated
        arrays["obs"][t] = transition["obs"] if is_ours else obs
        arrays["actions"][t] = transition["action"]
        arrays["rewards"][t] = reward
        arrays["next_obs"][t] = obs = next_obs
        arrays["terminated"][t], arrays["truncated"][t] = terminated, truncated
        t += 1
    return {name: array[:t] for name, array in arrays.items()}
