"""Adapters: a corruption over an Env and over a VectorEnv.

They and ``suite.wrappers.stored`` drive the same ``CorruptedRows``, so they agree bit
for bit: an ``Env`` is one row, stored episodes are as many rows as there are episodes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from gymnasium.utils import RecordConstructorArgs

from suite.arrays import Snapshot
from suite.wrappers.dataset import Change
from suite.wrappers.noise import NoiseStream
from suite.wrappers.replaying import require_live
from suite.wrappers.rows import CorruptedRows, row_indices
from suite.wrappers.stack import autoreset_mode, layers, restorable

_ALL, _NONE = None, np.arange(0)  # of the rows


class _Adapter(RecordConstructorArgs):
    """What both adapters share: N rows, and saving and restoring them."""

    env: Any
    _rows: CorruptedRows
    _spaces: dict[str, spaces.Space]  # of one row
    _num_rows: int
    _was_reset: bool

    def _install(self, change: Change) -> None:
        """Set up the rows; the noise counts the wrappers of this kind inside."""
        corruption = require_live(change.kind, change.corruption, self.env)
        space = None if corruption.field == "reward" else self._spaces[corruption.field]
        stream = NoiseStream(
            change.seed or 0, change.stream, _of_a_kind(corruption, self.env)
        )
        self._rows = CorruptedRows(corruption, space, self._num_rows, stream)
        self._was_reset = False

    def snapshot(self, ids: np.ndarray | None = None) -> Snapshot:
        """The exact state of rows ``ids``, all by default, for ``restore``.

        Raises:
            TypeError: If a wrapper further inside cannot be restored, naming it.
        """
        inner = restorable(self.env).snapshot(ids)
        return self._rows.snapshot(row_indices(ids, self._num_rows), inner)

    def restore(
        self,
        snapshot: Snapshot,
        ids: np.ndarray | None = None,
        *,
        reseed: int | None = None,
    ) -> np.ndarray:
        """Put a snapshot's rows into rows ``ids``; delays and noise go on from there.

        Args:
            snapshot: Of the same stack of wrappers; n rows.
            ids: The n rows to overwrite; all by default.
            reseed: Gives the restored rows independent noise, and the environment
                inside independent streams. What was already observed stays.

        Returns:
            Observations of the restored rows, (n, O); (O,) over an ``Env``.

        Raises:
            ValueError: If the number of rows does not match or the snapshot is of
                another stack.
            TypeError: If a wrapper further inside cannot be restored, naming it.
        """
        rows, ids = self._rows, row_indices(ids, self._num_rows)
        inside = restorable(self.env)
        inner = rows.require_fitting(snapshot, len(ids))
        if not self._was_reset:  # a fresh stack: give every row something valid
            self._reset(0)
        obs = inside.restore(inner, ids, reseed=reseed)
        rows.restore(snapshot, ids, reseed)
        if rows.obs is None:
            return obs
        return rows.obs[ids].reshape(np.shape(obs))

    def halt(self, ids: np.ndarray) -> None:
        """Let rows stand still until ``restore`` or a reset; see ``BatchEnv.halt``."""
        restorable(self.env).halt(ids)
        self._rows.ended[row_indices(ids, self._num_rows)] = True

    def _reset(self, seed: int) -> None:
        raise NotImplementedError


class EnvAdapter(_Adapter, gym.Wrapper):
    """A corruption over a ``gymnasium.Env``: one row.

    Info: ``clean_reward``, ``clean_obs`` or ``executed_action``, what it was before the
    innermost wrapper of that field, or what the environment itself was told to do.
    """

    _num_rows = 1

    def _wrap(self, env: gym.Env) -> None:
        gym.Wrapper.__init__(self, env)
        self._spaces = {"obs": env.observation_space, "action": env.action_space}

    def _reset(self, seed: int) -> None:
        self.reset(seed=seed)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Start a new episode; with a seed, the noise of that seed's first one."""
        obs, info = self.env.reset(seed=seed, options=options)
        rows, info = self._rows, dict(info)
        episode = info.get("episode_id")
        rows.start(
            np.arange(1), [seed], None if episode is None else np.array([episode])
        )
        self._was_reset = True
        return self._seen(obs, info), info

    def step(
        self, action: Any
    ) -> tuple[Any, float, bool, bool, dict[str, Any]]:  # gymnasium's SupportsFloat
        """Step; an episode that has ended is left as it stands."""
        rows = self._rows
        running = _NONE if rows.ended[0] else _ALL
        if rows.touches("action"):
            action = rows.apply(running, np.asarray(action)[None])[0]
        obs, reward, terminated, truncated, info = self.env.step(action)
        info, reward = dict(info), float(reward)
        last = np.array([terminated or truncated])
        if rows.touches("action"):
            info.setdefault("executed_action", action)
        if rows.touches("reward"):
            info.setdefault("clean_reward", reward)
            reward = float(rows.apply(running, np.array([reward]), last)[0])
        obs = self._seen(obs, info)
        rows.ended |= last
        return obs, reward, terminated, truncated, info

    def _seen(self, obs: Any, info: dict[str, Any]) -> Any:
        rows = self._rows
        if not rows.touches("obs"):
            return obs
        assert rows.obs is not None
        info.setdefault("clean_obs", obs)
        if not rows.ended[0]:
            rows.obs[:] = rows.apply(_ALL, np.asarray(obs)[None])
        return rows.obs[0].copy()


class VectorAdapter(_Adapter, gym.vector.VectorWrapper):
    """A corruption over a ``gymnasium.vector.VectorEnv``, whatever its autoreset mode.

    Row i is bit for bit the ``Env`` of the same seed plus i.

    Info: As ``EnvAdapter``, each (N, ...), with Gymnasium's masks. ``final_obs`` is
    corrupted like any observation. ``final_info`` stays the environment's own: its
    ``episode["r"]`` is the clean return.
    """

    def _wrap(self, env: gym.vector.VectorEnv) -> None:
        gym.vector.VectorWrapper.__init__(self, env)
        self._num_rows = env.num_envs
        self._spaces = {
            "obs": env.single_observation_space,
            "action": env.single_action_space,
        }
        self._mode = autoreset_mode(env)

    def _reset(self, seed: int) -> None:
        self.reset(seed=seed)

    def reset(
        self,
        *,
        seed: int | Sequence[int | None] | None = None,
        options: dict[str, Any] | None = None,
    ) -> tuple[Any, dict[str, Any]]:
        """Start new episodes; with a seed, row i has the noise of seed + i.

        Args:
            seed: Row i's is ``seed + i``, or ``seed[i]``; None counts on.
            options: ``{"reset_mask": (N,) bool}`` resets only those rows.
        """
        mask = (options or {}).get("reset_mask")  # Gymnasium takes it out
        obs, info = self.env.reset(seed=seed, options=options)
        info = dict(info)
        ids = row_indices(mask, self._num_rows)
        if seed is None or isinstance(seed, int | np.integer):
            seeds = [
                None if seed is None else int(seed) + i for i in range(self._num_rows)
            ]
        else:
            seeds = list(seed)
        self._rows.start(ids, seeds, info.get("episode_id"))
        self._was_reset = True
        if self._rows.touches("obs"):
            self._note(info, "clean_obs", obs, np.ones(self._num_rows, bool))
            obs = self._shown(ids, obs)
        return obs, info

    def step(
        self, actions: Any
    ) -> tuple[Any, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """Step; a row that waits for its reset is left as it stands."""
        rows = self._rows
        waiting, running = rows.ended.copy(), rows.running()
        if rows.touches("action"):
            actions = rows.apply(running, np.asarray(actions))
        obs, rewards, terminated, truncated, info = self.env.step(actions)
        info = dict(info)
        done = (terminated | truncated) & ~waiting
        if rows.touches("action"):
            self._note(info, "executed_action", actions, ~waiting)
        if rows.touches("reward"):
            self._note(info, "clean_reward", rewards, ~waiting)
            rewards = rows.apply(running, rewards, done)
        if rows.touches("obs"):
            self._note(info, "clean_obs", obs, np.ones_like(waiting))
            obs = self._seen(running, waiting, done, obs, info)
        else:
            self._start(waiting, done, info)
        return obs, rewards, terminated, truncated, info

    def _start(
        self, waiting: np.ndarray, done: np.ndarray, info: dict[str, Any]
    ) -> np.ndarray:
        """Begin what the environment inside has begun; returns those rows."""
        rows = self._rows
        rows.ended |= done
        begun = {"next_step": waiting, "same_step": done}.get(self._mode)
        ids = _NONE if begun is None else np.flatnonzero(begun)
        if ids.size:
            rows.start(ids, episode_ids=info.get("episode_id"))
        return ids

    def _seen(
        self,
        running: np.ndarray | None,
        waiting: np.ndarray,
        done: np.ndarray,
        obs: np.ndarray,
        info: dict[str, Any],
    ) -> np.ndarray:
        """What running rows came to, then what new episodes begin with."""
        came_to = obs
        if self._mode == "same_step" and done.any():
            shape = (-1, *[1] * (obs.ndim - 1))
            came_to = np.where(done.reshape(shape), info["final_obs"], obs)
        ids = np.flatnonzero(~waiting) if running is None else running
        shown = self._shown(ids, came_to)
        if came_to is not obs:
            info["final_obs"] = shown
        begun = self._start(waiting, done, info)
        return self._shown(begun, obs) if begun.size else shown

    def _shown(self, ids: np.ndarray, obs: np.ndarray) -> np.ndarray:
        """The corrupted observations of rows ``ids``, the other rows' last ones."""
        rows = self._rows
        assert rows.obs is not None
        everyone = _ALL if len(ids) == self._num_rows else ids
        rows.obs[ids] = rows.apply(everyone, obs)[ids]
        return rows.obs.copy()

    def _note(
        self, info: dict[str, Any], name: str, value: Any, mask: np.ndarray
    ) -> None:
        if name not in info:  # the innermost wrapper knows best
            info[name], info[f"_{name}"] = np.array(value), mask


def _of_a_kind(corruption: Any, env: Any) -> int:
    """How many wrappers with a corruption of this kind lie inside."""
    inside = list(layers(env))
    if isinstance(inside[-1], gym.vector.SyncVectorEnv):
        inside += layers(inside[-1].envs[0])  # each row has its own
    return sum(
        isinstance(layer, _Adapter) and type(layer._rows.corruption) is type(corruption)
        for layer in inside
    )
