"""Gymnasium's HalfCheetah-v5 as rows of a BatchEnv: a light model to time it by.

The model file is Gymnasium's own and the physics steps are the same to the bit, so that
what differs in speed is the environment around them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gymnasium as gym
import mujoco
import numpy as np
from gymnasium import spaces

from suite.envs.batch import BatchEnv
from suite.envs.mujoco_simulation import MujocoSimulation
from suite.envs.simulation import Ids
from suite.envs.single import SingleEnv

MODEL = Path(gym.__file__).parent / "envs" / "mujoco" / "assets" / "half_cheetah.xml"
SUBSTEPS = 5  # of 10 ms
DT = 0.05  # s
RESET_NOISE = 0.1
CONTROL_COST = 0.1
MAX_EPISODE_STEPS = 1000


class HalfCheetahSimulation(MujocoSimulation):
    """The named state is qpos (9) and qvel (9)."""

    def __init__(self, num_rows: int, num_threads: int = 1):
        model = mujoco.MjModel.from_xml_path(str(MODEL))
        super().__init__(model, num_rows, substeps=SUBSTEPS, num_threads=num_threads)

    def reset(self, ids: np.ndarray, rngs: Sequence[np.random.Generator]) -> None:
        self._clear(ids)
        self.qpos[ids] += [rng.uniform(-RESET_NOISE, RESET_NOISE, 9) for rng in rngs]
        self.qvel[ids] = [RESET_NOISE * rng.standard_normal(9) for rng in rngs]

    def control(self, ids: Ids, action: np.ndarray) -> np.ndarray:
        return action

    def named_state(self, ids: Ids) -> np.ndarray:
        rows = slice(None) if ids is None else ids
        return np.concatenate([self.qpos[rows], self.qvel[rows]], axis=1)


def observe(state: Any) -> Any:
    return state[..., 1:]


def reward(state: Any, action: Any, next_state: Any) -> Any:
    speed = (next_state[..., 0] - state[..., 0]) / DT
    return speed - CONTROL_COST * np.add.reduce(action * action, axis=-1)


def never(state: Any) -> Any:
    return np.zeros(state.shape[:-1], bool)


@dataclass(frozen=True)
class HalfCheetah:
    """Run forward, with small controls; no end but the time limit, and no goal."""

    observe: Any = observe
    reward: Any = reward
    terminated: Any = never
    success: Any = never
    max_episode_steps: int = MAX_EPISODE_STEPS
    observation_space: spaces.Box = field(
        default_factory=lambda: spaces.Box(-np.inf, np.inf, (17,), np.float64)
    )
    action_space: spaces.Box = field(
        default_factory=lambda: spaces.Box(-1.0, 1.0, (6,), np.float32)
    )


class HalfCheetahVectorEnv(BatchEnv):
    """N HalfCheetah rows."""

    def __init__(
        self, num_envs: int, *, autoreset_mode: str = "same_step", num_threads: int = 1
    ):
        super().__init__(
            HalfCheetahSimulation(num_envs, num_threads),
            HalfCheetah(),
            autoreset_mode=autoreset_mode,
        )


class HalfCheetahEnv(SingleEnv):
    """One row, to race against ``gym.make("HalfCheetah-v5").unwrapped``."""

    def __init__(self) -> None:
        super().__init__(HalfCheetahVectorEnv(1, autoreset_mode="disabled"))
