"""What an agent met in a vector environment, and what is told of it."""

from __future__ import annotations

from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np

from suite.worldmodels.experience import Experience


class Stepped(NamedTuple):
    """What one step of K rows came to.

    Attributes:
        obs: (K, S) float32, to act on next; of the next episode where one ended.
        next_obs: (K, S) float32, never those of the next episode.
        rewards: (K,).
        terminated: (K,) bool.
        done: (K,) bool, terminated or truncated.
        unstable: (K,) bool, where simulator or model gave the step up. Its reward is 0
            and its row where it was: that is of the episode, not of the dynamics.
        info: The environment's.
    """

    obs: np.ndarray
    next_obs: np.ndarray
    rewards: np.ndarray
    terminated: np.ndarray
    done: np.ndarray
    unstable: np.ndarray
    info: dict[str, Any]


def stepped(env: gym.vector.VectorEnv, actions: Any) -> Stepped:
    """Step every row of an environment in same-step autoreset mode."""
    obs, rewards, terminated, truncated, info = env.step(actions)
    obs, done = np.asarray(obs, np.float32), terminated | truncated
    unstable = np.asarray(info.get("sim_unstable", np.zeros_like(done)), bool)
    next_obs = _came_to(obs, done, info)
    return Stepped(obs, next_obs, rewards, terminated, done, unstable, info)


class Steps(NamedTuple):
    """What T steps of K rows were.

    Attributes:
        obs: (T, K, S).
        actions: (T, K, A) as the model takes them, choices one-hot.
        rewards: (T, K).
        next_obs: (T, K, S), never those of the next episode.
        terminated: (T, K) bool.
        done: (T, K) bool, terminated or truncated.
        unstable: (T, K) bool, given up, as in ``Stepped``.
        values: (T, K), what each plan promised; NaN where none was made.
        returns: (T, K), of the episodes that ended with the step; NaN elsewhere.
    """

    obs: np.ndarray
    actions: np.ndarray
    rewards: np.ndarray
    next_obs: np.ndarray
    terminated: np.ndarray
    done: np.ndarray
    unstable: np.ndarray
    values: np.ndarray
    returns: np.ndarray


def experience(steps: Steps) -> Experience:
    """The same steps as transitions, (T * K) of them less those given up."""
    known = ~steps.unstable
    columns = (steps.obs, steps.actions, steps.rewards, steps.next_obs)
    return Experience.of(*(each[known] for each in (*columns, steps.terminated)))


def _came_to(obs: np.ndarray, done: np.ndarray, info: dict[str, Any]) -> np.ndarray:
    """Where each row came to (K, S), before those that ended were reset."""
    if not done.any():
        return obs
    next_obs = obs.copy()
    for row in np.flatnonzero(done).tolist():
        next_obs[row] = info["final_obs"][row]
    return next_obs


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
        runs = np.where(steps.unstable[moment] & (runs > 0), np.nan, runs)
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
