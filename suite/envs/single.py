"""One row of a batch as a plain Gymnasium environment."""

from __future__ import annotations

import inspect
from typing import Any

import gymnasium as gym
import numpy as np

from suite.arrays import Snapshot
from suite.envs.batch import RENDER_MODES, BatchEnv


class SingleEnv(gym.Env):
    """One row of a ``BatchEnv`` as a plain Gymnasium environment.

    Use it through ``gym.make(id)``; the same seed gives the same episode as row 0. A
    subclass whose constructor takes a ``render_mode`` says in its ``metadata`` that it
    can be drawn.

    Args:
        batch: A ``BatchEnv`` of one row in ``"disabled"`` autoreset mode.
    """

    metadata: dict[str, Any] = {"render_modes": [], "render_fps": 20}

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        # Gymnasium asks the class, before there is a batch that would know.
        is_drawn = "render_mode" in inspect.signature(cls.__init__).parameters
        cls.metadata = {
            **cls.metadata,
            "render_modes": list(RENDER_MODES) if is_drawn else [],
        }

    def __init__(self, batch: BatchEnv):
        self.batch = batch
        self.render_mode = batch.render_mode
        self.observation_space = batch.single_observation_space
        self.action_space = batch.single_action_space

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Start a new episode; see the environment's page for what is random."""
        super().reset(seed=seed)
        obs, info = self.batch.reset(seed=seed)
        return obs[0], _row(info)

    def step(
        self, action: np.ndarray
    ) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Advance by one control step.

        Raises:
            ValueError: If the action is NaN, infinite or of another shape.
        """
        action = np.asarray(action)
        if action.shape != self.action_space.shape:
            raise ValueError(
                f"action must have shape {self.action_space.shape}, got {action.shape}"
            )
        obs, reward, terminated, truncated, info = self.batch.step(action[None])
        return (
            obs[0],
            float(reward[0]),
            bool(terminated[0]),
            bool(truncated[0]),
            _row(info),
        )

    def snapshot(self, ids: np.ndarray | None = None) -> Snapshot:
        """The exact state of this environment, one row."""
        return self.batch.snapshot(ids)

    def restore(
        self,
        snapshot: Snapshot,
        ids: np.ndarray | None = None,
        *,
        reseed: int | None = None,
    ) -> np.ndarray:
        """Put a one-row snapshot back; returns the observation (O,)."""
        return self.batch.restore(snapshot, ids, reseed=reseed)[0]

    def halt(self, ids: np.ndarray) -> None:
        """Stand still until ``restore`` or ``reset``; see ``BatchEnv.halt``."""
        self.batch.halt(ids)

    def render(self) -> Any:
        """A picture (H, W, 3) uint8, or None in human mode."""
        return self.batch.render_row(0)

    def close(self) -> None:
        """Release the renderer."""
        self.batch.close()


def _row(info: dict[str, Any]) -> dict[str, Any]:
    row = {key: value[0] for key, value in info.items() if key[0] != "_"}  # no masks
    for key in ("is_success", "sim_unstable"):
        row[key] = bool(row[key])
    return row
