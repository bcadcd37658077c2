"""Gymnasium's RecordVideo around our wrappers and inside them.

It needs moviepy, which the side environment of ``tests/test_elsewhere.py`` installs.
"""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.wrappers import RecordVideo

from suite.wrappers import ActionDelay, RewardNoise

pytest.importorskip("moviepy")


class Dot(gym.Env):
    """A dot that walks right for five steps, drawn."""

    metadata = {"render_modes": ["rgb_array"], "render_fps": 10}
    render_mode = "rgb_array"
    observation_space = gym.spaces.Box(0.0, 10.0, (1,), np.float64)
    action_space = gym.spaces.Box(0.0, 1.0, (1,), np.float64)
    x = 0.0

    def reset(self, *, seed: int | None = None, options: Any = None):
        super().reset(seed=seed)
        self.x = 0.0
        return np.array([self.x]), {}

    def step(self, action):
        self.x += float(action[0])
        return np.array([self.x]), self.x, self.x >= 5, False, {}

    def render(self):
        frame = np.zeros((64, 64, 3), np.uint8)
        frame[:, int(6 * self.x)] = 255
        return frame


def rewards(env: gym.Env) -> list[float]:
    env.reset(seed=0)
    found, is_over = [], False
    while not is_over:
        _, reward, is_over, _, _ = env.step(np.ones(1))
        found.append(float(reward))
    env.close()
    return found


@pytest.mark.parametrize("is_outside", [True, False], ids=["around", "inside"])
def test_a_video_is_recorded_and_changes_no_reward(is_outside, tmp_path):
    def recorded(env: gym.Env) -> gym.Env:
        return RecordVideo(env, str(tmp_path / "videos"), disable_logger=True)

    def ours(env: gym.Env) -> gym.Env:
        return RewardNoise(ActionDelay(env, steps=1), std=0.1, seed=3)

    env = recorded(ours(Dot())) if is_outside else ours(recorded(Dot()))
    assert rewards(env) == rewards(ours(Dot()))
    (video,) = (tmp_path / "videos").glob("*.mp4")
    assert video.stat().st_size > 0
