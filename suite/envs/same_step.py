"""Environments of others side by side, as the agents of this suite want them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import error
from gymnasium.vector.utils import (
    batch_space,
    concatenate,
    create_empty_array,
    iterate,
)

from suite.envs.batch import AUTORESET_METADATA


class SameStepVectorEnv(gym.vector.VectorEnv):
    """Plain environments, stepped one after another, each reset as its episode ends.

    Use it to give ``MPC``, ``MBPO``, ``SAC`` or ``PWM`` an environment that is not of
    this suite: ``SameStepVectorEnv([lambda: gym.make("Pendulum-v1")] * 4)``. Those that
    are have rows of their own, many times as fast. Wrap an environment before or after.

    What it tells is what a ``BatchEnv`` tells in the mode ``same_step``: observations
    are of the next episode where one ended, ``info["final_obs"]`` (N, ...) has where
    each row came to, and ``info["final_info"]`` its ``is_success``, False where the
    environment says nothing, and ``episode`` (``r`` and ``l``, of whole episodes). Keys
    of an environment's own info are batched with masks, as Gymnasium does.

    It cannot be saved and restored, so that a run of it does not resume.

    Args:
        make_envs: One function a row, each of which makes an environment of its own.

    Raises:
        ValueError: If there is no row, or their spaces differ.
    """

    metadata: dict[str, Any] = {"autoreset_mode": AUTORESET_METADATA["same_step"]}

    def __init__(self, make_envs: Sequence[Callable[[], gym.Env]]):
        self.envs = [make() for make in make_envs]
        _require_alike(self.envs)
        first = self.envs[0]
        self.num_envs, self.render_mode = len(self.envs), first.render_mode
        self.metadata = {**first.metadata, **type(self).metadata}
        self.single_observation_space = first.observation_space
        self.single_action_space = first.action_space
        self.observation_space = batch_space(first.observation_space, self.num_envs)
        self.action_space = batch_space(first.action_space, self.num_envs)
        self._obs: list[Any] = []  # of each row; none before the first reset
        self._returns = np.zeros(self.num_envs)
        self._lengths = np.zeros(self.num_envs, np.int64)

    def reset(
        self,
        *,
        seed: int | Sequence[int | None] | None = None,
        options: dict[str, Any] | None = None,
    ) -> tuple[Any, dict[str, Any]]:
        """Start new episodes.

        Args:
            seed: Row i is seeded ``seed + i``, or ``seed[i]``; None leaves it to them.
            options: Handed on to every row.

        Raises:
            ValueError: If a list of seeds has another length.
        """
        found = [
            env.reset(seed=own, options=options)
            for env, own in zip(self.envs, self._seeds(seed), strict=True)
        ]
        self._obs = [obs for obs, _ in found]
        self._returns[:], self._lengths[:] = 0.0, 0
        infos: dict[str, Any] = {}
        for row, (_, info) in enumerate(found):
            infos = self._add_info(infos, info, row)
        return self._batched(self._obs), infos

    def _seeds(self, seed: Any) -> list[int | None]:
        if seed is None:
            return [None] * self.num_envs
        if isinstance(seed, int | np.integer):
            return [int(seed) + row for row in range(self.num_envs)]
        if len(seed) != self.num_envs:
            raise ValueError(
                f"seed must be a number or one for each of the {self.num_envs} rows, "
                f"got {len(seed)}"
            )
        return list(seed)

    def step(
        self, actions: Any
    ) -> tuple[Any, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """Step every row; those whose episode ends are reset.

        Args:
            actions: (N, ...).

        Returns:
            Observations, rewards (N,), terminated (N,), truncated (N,) and info.

        Raises:
            gymnasium.error.ResetNeeded: Before the first reset.
        """
        if not self._obs:
            raise error.ResetNeeded(
                "step was called before reset; call env.reset() first"
            )
        rewards = np.zeros(self.num_envs)
        terminated, truncated = np.zeros((2, self.num_envs), bool)
        solved, infos = np.zeros(self.num_envs, bool), {}
        each = zip(self.envs, iterate(self.action_space, actions), strict=True)
        for row, (env, action) in enumerate(each):
            told = env.step(action)
            self._obs[row], rewards[row], terminated[row], truncated[row], info = told
            solved[row] = bool(info.get("is_success", False))
            infos = self._add_info(infos, info, row)
        self._returns += rewards
        self._lengths += 1
        done = terminated | truncated
        if done.any():
            infos |= self._ended(done, solved)
        return self._batched(self._obs), rewards, terminated, truncated, infos

    def _ended(self, done: np.ndarray, solved: np.ndarray) -> dict[str, Any]:
        """What is told of the rows that ended; starts their next episodes."""
        told = {
            "final_obs": self._batched(self._obs),
            "_final_obs": done,
            "final_info": {
                "is_success": solved,
                "episode": {"r": self._returns.copy(), "l": self._lengths.copy()},
            },
            "_final_info": done,
        }
        for row in np.flatnonzero(done).tolist():
            self._obs[row], _ = self.envs[row].reset()
        self._returns[done], self._lengths[done] = 0.0, 0
        return told

    def _batched(self, observations: list[Any]) -> Any:
        space = self.single_observation_space
        out = create_empty_array(space, n=self.num_envs, fn=np.zeros)
        return concatenate(space, observations, out)

    def render(self) -> tuple[Any, ...]:
        """What each row renders."""
        return tuple(env.render() for env in self.envs)

    def close_extras(self, **kwargs: Any) -> None:
        """Close the rows."""
        for env in self.envs:
            env.close()


def _require_alike(envs: list[gym.Env]) -> None:
    if not envs:
        raise ValueError("there must be one function that makes an environment or more")
    for row, env in enumerate(envs):
        if any(env is other for other in envs[:row]):
            raise ValueError(
                f"row {row} is the environment of another row; let each function make "
                "a new one"
            )
        for name in ("observation_space", "action_space"):
            own, first = getattr(env, name), getattr(envs[0], name)
            if own != first:
                raise ValueError(
                    f"all rows must have one {name}, got {first} in row 0 and {own} in "
                    f"row {row}"
                )
