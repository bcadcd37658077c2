"""Environments. Importing this module registers their ids; entry points are strings."""

from __future__ import annotations

import gymnasium as gym

gym.register(
    id="PickCube-v0",
    entry_point="suite.envs.pickcube:PickCubeEnv",
    vector_entry_point="suite.envs.pickcube:PickCubeVectorEnv",
)
# The version is Gymnasium's: its task of that version, step for step, in rows.
gym.register(
    id="BatchedHalfCheetah-v5",
    entry_point="suite.envs.locomotion_env:LocomotionEnv",
    vector_entry_point="suite.envs.locomotion_env:LocomotionVectorEnv",
    kwargs={"robot": "HalfCheetah"},
)
gym.register(
    id="BatchedHopper-v5",
    entry_point="suite.envs.locomotion_env:LocomotionEnv",
    vector_entry_point="suite.envs.locomotion_env:LocomotionVectorEnv",
    kwargs={"robot": "Hopper"},
)
gym.register(
    id="BatchedWalker2d-v5",
    entry_point="suite.envs.locomotion_env:LocomotionEnv",
    vector_entry_point="suite.envs.locomotion_env:LocomotionVectorEnv",
    kwargs={"robot": "Walker2d"},
)
gym.register(
    id="BatchedAnt-v5",
    entry_point="suite.envs.locomotion_env:LocomotionEnv",
    vector_entry_point="suite.envs.locomotion_env:LocomotionVectorEnv",
    kwargs={"robot": "Ant"},
)
gym.register(
    id="CS285-Obstacles-v0",
    entry_point="suite.envs.obstacles:ObstaclesEnv",
    vector_entry_point="suite.envs.obstacles:ObstaclesVectorEnv",
)
gym.register(
    id="CS285-Reacher-v0",
    entry_point="suite.envs.reacher:ReacherEnv",
    vector_entry_point="suite.envs.reacher:ReacherVectorEnv",
)
gym.register(
    id="CS285-Cheetah-v0",
    entry_point="suite.envs.cheetah:CheetahEnv",
    vector_entry_point="suite.envs.cheetah:CheetahVectorEnv",
)
gym.register(
    id="MuSHR-v0",
    entry_point="suite.envs.mushr_env:MushrEnv",
    vector_entry_point="suite.envs.mushr_env:MushrVectorEnv",
)
# A layer above steps it, and its entry point says so; registering imports nothing.
gym.register(
    id="MuSHR-Learned-v0",
    entry_point="suite.worldmodels.mushr_learned:MushrLearnedEnv",
    vector_entry_point="suite.worldmodels.mushr_learned:MushrLearnedVectorEnv",
)
