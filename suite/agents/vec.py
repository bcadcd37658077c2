"""Our vector environments as Stable-Baselines3 ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from stable_baselines3.common.vec_env import VecEnv

from suite.arrays import Snapshot
from suite.wrappers import restorable
from suite.wrappers.stack import require_same_step


class SnapshotVecEnv(VecEnv):
    """A Gymnasium vector environment in same-step autoreset mode as an SB3 ``VecEnv``.

    Use it to train any SB3 agent on a batched environment of this suite. Snapshots pass
    through, so that ``ReRollout`` works on top.

    Args:
        env: A vector environment whose ``metadata["autoreset_mode"]`` is same-step.

    Raises:
        ValueError: If the environment resets in another mode.
    """

    def __init__(self, env: gym.vector.VectorEnv):
        # SB3 resets a finished row within the step.
        require_same_step(env, "SnapshotVecEnv")
        self.env = env
        self.render_mode = env.render_mode
        super().__init__(
            env.num_envs, env.single_observation_space, env.single_action_space
        )
        self._actions: np.ndarray | None = None

    def reset(self) -> np.ndarray:
        """Reset every row, with the seed given to ``seed()`` if any."""
        seeds = [seed for seed in self._seeds if seed is not None]
        obs, _ = self.env.reset(seed=seeds[0] if seeds else None)
        self._reset_seeds()
        self._reset_options()
        return obs

    def step_async(self, actions: np.ndarray) -> None:
        """Remember the actions of the coming step."""
        self._actions = actions

    def step_wait(self) -> Any:
        """Step; a finished row's info has ``terminal_observation`` and ``episode``."""
        assert self._actions is not None
        obs, rewards, terminated, truncated, info = self.env.step(self._actions)
        dones = terminated | truncated
        infos: list[dict[str, Any]] = [{} for _ in range(self.num_envs)]
        if dones.any():
            final, episode = info["final_info"], info["final_info"]["episode"]
            for row in np.flatnonzero(dones).tolist():
                infos[row] = {
                    "terminal_observation": info["final_obs"][row],
                    "TimeLimit.truncated": bool(truncated[row] and not terminated[row]),
                    "is_success": bool(final["is_success"][row]),
                    "episode": {
                        "r": float(episode["r"][row]),
                        "l": int(episode["l"][row]),
                    },
                }
        return obs, rewards.astype(np.float32), dones, infos

    def snapshot(self, ids: np.ndarray | None = None) -> Snapshot:
        """See ``BatchEnv.snapshot``."""
        return restorable(self.env).snapshot(ids)

    def restore(
        self,
        snapshot: Snapshot,
        ids: np.ndarray | None = None,
        *,
        reseed: int | None = None,
    ) -> np.ndarray:
        """See ``BatchEnv.restore``."""
        return restorable(self.env).restore(snapshot, ids, reseed=reseed)

    def halt(self, ids: np.ndarray) -> None:
        """See ``BatchEnv.halt``."""
        restorable(self.env).halt(ids)

    def close(self) -> None:
        """Close the environment."""
        self.env.close()

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        """The attribute, once for each index: rows share one environment object."""
        return [getattr(self.env, attr_name)] * len(list(self._get_indices(indices)))

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        """Set an attribute of the shared environment."""
        setattr(self.env, attr_name, value)

    def env_method(
        self, method_name: str, *args: Any, indices: Any = None, **kwargs: Any
    ) -> list[Any]:
        """Call a method of the shared environment once; its result for each index."""
        result = getattr(self.env, method_name)(*args, **kwargs)
        return [result] * len(list(self._get_indices(indices)))

    def env_is_wrapped(self, wrapper_class: Any, indices: Any = None) -> list[bool]:
        """Whether the shared environment is wrapped by that class."""
        layer: Any = self.env
        wrapped = isinstance(layer, wrapper_class)
        while not wrapped and isinstance(layer, gym.vector.VectorWrapper):
            layer = layer.env
            wrapped = isinstance(layer, wrapper_class)
        return [wrapped] * len(list(self._get_indices(indices)))

    def get_images(self) -> Sequence[np.ndarray | None]:
        """A picture of every row."""
        return list(self.env.render() or [])
