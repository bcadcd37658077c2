"""Small stored data: episodes of many lengths, and rows that say where they are."""

from __future__ import annotations

from typing import Any

import numpy as np

from suite.transitions import Dataset

# One step, a few, a chunk of noise exactly, several, and the same twice.
LENGTHS = (3, 1, 64, 7, 130, 7, 20, 65)
SPACES = {
    "observation": {"low": [-6.0, None, None], "high": [6.0, None, None]},
    "action": {"low": [-1.0, -2.0], "high": [1.0, 2.0]},
}


def dataset(
    lengths: Any = LENGTHS, ids: Any = None, seed: int = 0, **card: Any
) -> Dataset:
    """Random walks; every other episode terminates, the others are truncated."""
    rng, lengths = np.random.default_rng(seed), np.asarray(lengths)
    ids = np.arange(len(lengths)) if ids is None else np.asarray(ids)
    obs, next_obs = [], []
    for length in lengths:
        readings = rng.normal(size=(length + 1, 3)).cumsum(axis=0)
        obs.append(np.clip(readings[:-1], -6, 6))
        next_obs.append(np.clip(readings[1:], -6, 6))
    total, last = lengths.sum(), np.cumsum(lengths) - 1
    terminated, truncated = np.zeros((2, total), bool)
    terminated[last[::2]] = truncated[last[1::2]] = True
    actions = rng.uniform(-1, 1, (total, 2)) * [1, 2]
    arrays = (np.concatenate(obs), actions, rng.normal(1, 2, total))
    ends = (terminated, truncated, lengths, ids)
    return Dataset(*arrays, np.concatenate(next_obs), *ends, {"spaces": SPACES, **card})


def numbered(lengths: Any = LENGTHS) -> Dataset:
    """Rows that encode (episode, step); the observation after the last step too."""
    lengths = np.asarray(lengths)
    episode = np.repeat(np.arange(len(lengths)), lengths)
    step = np.concatenate([np.arange(each) for each in lengths])
    last = np.cumsum(lengths) - 1
    terminated, truncated = np.zeros((2, len(step)), bool)
    terminated[last[::2]] = truncated[last[1::2]] = True
    return Dataset(
        obs=np.stack([episode, step], 1),
        actions=np.stack([episode, step], 1) / 1000,
        rewards=1000 * episode + step,
        next_obs=np.stack([episode, step + 1], 1),
        terminated=terminated,
        truncated=truncated,
        lengths=lengths,
        episode_ids=np.arange(len(lengths)),
        card={},
    )
