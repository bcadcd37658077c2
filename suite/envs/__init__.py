"""Environments. Importing this module registers their ids; entry points are strings."""

from __future__ import annotations

import gymnasium as gym

gym.register(
    id="PickCube-v0",
    entry_point="suite.envs.pickcube:PickCubeEnv",
    vector_entry_point="suite.envs.pickcube:PickCubeVectorEnv",
)
