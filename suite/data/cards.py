"""Cards: what a dataset says of itself, as plain JSON."""

from __future__ import annotations

import importlib.metadata
from typing import Any

import gymnasium as gym
import numpy as np

from suite._version import __version__
from suite.transitions import QUANTILES, Dataset

BINS = 20  # of the histogram of returns
# Lowest and highest return of D4RL's scale (random and expert policies in its v2 tasks,
# the same for all its versions). On v5 tasks they are a convention and nothing more.
D4RL = {
    "halfcheetah": (-280.178953, 12135.0),
    "hopper": (-20.272305, 3234.3),
    "walker2d": (1.629008, 4592.3),
    "ant": (-325.6, 3879.7),
}

# Mean returns over 200 episodes, measured in the v5 tasks: of uniform actions, and of
# our strong behaviour without noise (its card has the number).
LOCAL = {
    "halfcheetah": (-269.97, 8315.10),
    "hopper": (17.73, 3058.61),
    "walker2d": (1.60, 3819.21),
}


def robot_of(env_id: str | None) -> str | None:
    """Whose D4RL scale an environment's id goes by, or None."""
    name = (env_id or "").removeprefix("Batched").partition("-")[0].lower()
    return name if name in D4RL else None


def bounds(space: gym.Space) -> dict[str, list[float | None]]:
    """A flat box as JSON, None where it is unbounded."""
    assert isinstance(space, gym.spaces.Box)

    def plain(values: np.ndarray) -> list[float | None]:
        return [float(v) if np.isfinite(v) else None for v in values.ravel()]

    return {"low": plain(space.low), "high": plain(space.high)}


def versions() -> dict[str, str]:
    """Of what decides the numbers, as far as it is installed."""
    found = {"suite": __version__}
    for name in ("numpy", "gymnasium", "mujoco", "torch"):
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def stored_card(dataset: Dataset, dataset_id: str) -> dict[str, Any]:
    """The card that is stored with a dataset: its own, and what it is now."""
    return {
        **dataset.card,
        "id": dataset_id,
        "sha256": dataset.sha256,
        "returns": histogram(dataset.returns),
    }


def histogram(returns: np.ndarray) -> dict[str, Any]:
    """Mean, spread and histogram of returns (E,)."""
    counts, edges = np.histogram(returns, BINS)
    return {
        "mean": float(returns.mean()),
        "std": float(returns.std()),
        "quantiles": np.quantile(returns, QUANTILES).tolist(),
        "counts": counts.tolist(),
        "edges": edges.tolist(),
    }


def statistics(dataset: Dataset) -> dict[str, Any]:
    """What is in a dataset, in numbers.

    Returns:
        ``transitions``, ``episodes``, ``lengths`` and ``returns``, ``rewards``,
        ``terminated`` and ``truncated`` (episodes), ``observations`` and ``actions``
        (entries), ``consistent`` (whether each next_obs is the obs that follows) and,
        where the task has one, ``d4rl_scale``: the mean return on D4RL's scale, 0 to
        100.
    """
    rewards = dataset.rewards.astype(np.float64)
    found = {
        "transitions": len(dataset),
        "episodes": dataset.num_episodes,
        "lengths": np.quantile(dataset.lengths, QUANTILES).tolist(),
        "returns": histogram(dataset.returns),
        "rewards": {
            "mean": float(rewards.mean()),
            "std": float(rewards.std()),
            "quantiles": np.quantile(rewards, QUANTILES).tolist(),
        },
        "terminated": int(dataset.terminated.sum()),
        "truncated": int(dataset.truncated.sum()),
        "observations": dataset.obs.shape[1],
        "actions": dataset.actions.shape[1],
        "consistent": dataset.is_consistent,
        "sha256": dataset.sha256,
    }
    robot = robot_of(dataset.card.get("env_id"))
    if robot is not None:
        low, high = D4RL[robot]
        mean = found["returns"]["mean"]
        found["d4rl_scale"] = 100 * (mean - low) / (high - low)
    return found


def described(dataset: Dataset, env_id: str) -> Dataset:
    """A dataset that knows its task: the id and the bounds of the task's spaces.

    Args:
        dataset: Of that task.
        env_id: Registered with Gymnasium.

    Raises:
        ValueError: If there is no such task, or its spaces have other sizes.
    """
    try:
        env = gym.make(env_id)
    except (gym.error.Error, ImportError) as reason:
        raise ValueError(f"there is no environment {env_id!r}: {reason}") from None
    shapes = (env.observation_space.shape, env.action_space.shape)
    env.close()
    if shapes != (dataset.obs.shape[1:], dataset.actions.shape[1:]):
        raise ValueError(
            f"{env_id} observes {shapes[0]} and acts {shapes[1]}, the data "
            f"{dataset.obs.shape[1:]} and {dataset.actions.shape[1:]}: another task"
        )
    spaces = {
        "observation": bounds(env.observation_space),
        "action": bounds(env.action_space),
    }
    return dataset.with_card({**dataset.card, "env_id": env_id, "spaces": spaces})
