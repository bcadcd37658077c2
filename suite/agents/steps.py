"""What an agent that plans met, step by step, and what is told of it."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from suite.worldmodels.experience import Experience


class Steps(NamedTuple):
    """What T steps of K rows were.

    Attributes:
        obs: (T, K, S).
        actions: (T, K, A) as the model takes them, choices one-hot.
        rewards: (T, K).
        next_obs: (T, K, S), never those of the next episode.
        terminated: (T, K) bool.
        done: (T, K) bool, terminated or truncated.
        values: (T, K), what each plan promised; NaN where none was made.
        returns: (T, K), of the episodes that ended with the step; NaN elsewhere.
    """

    obs: np.ndarray
    actions: np.ndarray
    rewards: np.ndarray
    next_obs: np.ndarray
    terminated: np.ndarray
    done: np.ndarray
    values: np.ndarray
    returns: np.ndarray


def experience(steps: Steps) -> Experience:
    """The same steps as transitions, (T * K) of them."""
    columns = (steps.obs, steps.actions, steps.rewards, steps.next_obs)
    flat = [each.reshape(-1, *each.shape[2:]) for each in columns]
    ends = steps.terminated.reshape(-1)
    return Experience.of(flat[0], flat[1], flat[2], flat[3], ends)


def came_to(obs: np.ndarray, done: np.ndarray, info: dict[str, Any]) -> np.ndarray:
    """Where each row came to (K, S), before those that ended were reset."""
    if not done.any():
        return obs
    came_to = obs.copy()
    for row in np.flatnonzero(done).tolist():
        came_to[row] = info["final_obs"][row]
    return came_to


def returned(steps: Steps) -> dict[str, float]:
    """Of the episodes that ended."""
    returns = steps.returns[steps.done]
    told = {"train/episodes": float(len(returns))}
    if len(returns):
        told["train/return_mean"] = float(returns.mean())
        told["train/return_std"] = float(returns.std())
    return told


def promised(steps: Steps, horizon: int) -> dict[str, float]:
    """Values of plans beside the rewards that followed within their horizon."""
    count = len(steps.rewards) - horizon + 1
    if count < 1:
        return {}
    real, runs = np.zeros((count, steps.rewards.shape[1])), 1.0
    for h in range(horizon):
        moment = slice(h, h + count)
        real = real + runs * steps.rewards[moment]
        # After a termination nothing more is paid; after a cut nothing is known.
        unknown = steps.done[moment] & ~steps.terminated[moment] & (runs > 0)
        runs = np.where(unknown, np.nan, runs * ~steps.terminated[moment])
    known = np.isfinite(real)
    if not known.any():
        return {}
    return {
        "plan/predicted": float(steps.values[:count][known].mean()),
        "plan/real": float(real[known].mean()),
    }
