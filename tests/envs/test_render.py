"""Pictures on a machine without a display, and the window."""

from __future__ import annotations

import os
import subprocess
import sys
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

import gymnasium as gym
import mujoco
import numpy as np
import pytest

from suite.envs import render
from suite.envs.pickcube import PickCubeVectorEnv

SETTINGS = ("MUJOCO_GL", "DISPLAY", "WAYLAND_DISPLAY", "PYOPENGL_PLATFORM")


def has_opengl() -> bool:
    """Whether MuJoCo itself, in a process of its own, can open a context here."""
    code = "import mujoco.egl as egl; egl.GLContext(8, 8).make_current()"
    return (
        subprocess.run([sys.executable, "-c", code], capture_output=True).returncode
        == 0
    )


needs_opengl = pytest.mark.skipif(not has_opengl(), reason="no EGL on this machine")


@pytest.fixture
def headless(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in SETTINGS:
        monkeypatch.delenv(name, raising=False)


def share(picture: np.ndarray, *, channel: int) -> float:
    """Share of pixels in which one colour clearly leads."""
    rest = np.delete(picture.astype(int), channel, axis=-1).max(axis=-1)
    return float((picture[..., channel] > rest + 60).mean())


@needs_opengl
@pytest.mark.usefixtures("headless")
def test_picture_shows_the_scene_of_its_row_and_moment():
    env = PickCubeVectorEnv(2, render_mode="rgb_array", autoreset_mode="disabled")
    env.reset(seed=0)
    first, second = env.render()
    assert first.shape == (480, 640, 3) and first.dtype == np.uint8
    assert share(first, channel=0) > 5e-4  # the cube
    assert share(first, channel=1) > 5e-4  # the goal
    assert not np.array_equal(first, second)
    np.testing.assert_array_equal(env.render()[0], first)
    single = gym.make("PickCube-v0", render_mode="rgb_array")
    single.reset(seed=1)
    np.testing.assert_array_equal(single.render(), second)
    single.close()
    np.testing.assert_array_equal(env.render()[1], second)  # its context is its own
    env.step(np.ones((2, 8)))
    assert not np.array_equal(env.render()[0], first)
    env.close()


@needs_opengl
@pytest.mark.usefixtures("headless")
def test_goal_in_the_picture_is_the_episodes():
    env = PickCubeVectorEnv(1, render_mode="rgb_array")
    env.reset(seed=0)
    rows = []
    for height in (0.05, 0.30):
        env.simulation.extra[0, :3] = [0, 0, height]
        green = env.render()[0].astype(int)
        rows.append(np.argwhere(green[..., 1] > green[..., 0] + 60)[:, 0].min())
    assert rows[1] < rows[0] - 40  # the higher goal is higher in the picture
    env.close()


@needs_opengl
@pytest.mark.usefixtures("headless")
@pytest.mark.parametrize("robot", ["HalfCheetah", "Hopper", "Walker2d", "Ant"])
def test_picture_follows_a_robot_of_gymnasium(robot):
    env = gym.make(f"Batched{robot}-v5", render_mode="rgb_array").unwrapped
    env.reset(seed=0)
    simulation, shares = env.batch.simulation, []
    for distance in (0.0, 8.0):
        simulation.qpos[0, 0] = distance
        picture: Any = env.render()
        assert picture.shape == (480, 640, 3)
        is_robot = picture[..., 0] > picture[..., 2].astype(int) + 40  # brown, no floor
        shares.append(is_robot.mean())
    assert min(shares) > 5e-3 and max(shares) < 1.3 * min(shares)
    env.close()


@needs_opengl
@pytest.mark.usefixtures("headless")
def test_drawing_does_not_touch_the_physics():
    drawn = PickCubeVectorEnv(1, render_mode="rgb_array")
    plain = PickCubeVectorEnv(1)
    drawn.reset(seed=0)
    plain.reset(seed=0)
    for _ in range(3):
        drawn.render()
        action = np.full((1, 8), 0.7)
        np.testing.assert_array_equal(drawn.step(action)[0], plain.step(action)[0])
    drawn.close()


@needs_opengl
@pytest.mark.parametrize("ending", ["", "env.close()"])
@pytest.mark.parametrize("first", ["mujoco", "suite"])
def test_pictures_need_no_setting_and_leave_no_message_at_exit(first, ending):
    code = (
        f"import {first}, suite\n"
        "import gymnasium as gym\n"
        "env = gym.make('PickCube-v0', render_mode='rgb_array')\n"
        "env.reset(seed=0)\n"
        f"assert env.render().std() > 10\n{ending}"
    )
    environment = {k: v for k, v in os.environ.items() if k not in SETTINGS}
    process = subprocess.run(
        [sys.executable, "-W", "error", "-X", "dev", "-c", code],
        capture_output=True,
        text=True,
        env=environment,
    )
    assert (process.returncode, process.stdout, process.stderr) == (0, "", "")


@needs_opengl
@pytest.mark.usefixtures("headless")
def test_close_frees_the_context_and_may_be_called_again():
    pictures = render.PictureRenderer()
    env = PickCubeVectorEnv(1)
    env.reset(seed=0)
    first = pictures.draw(*env.scene(0))
    pictures.close()
    pictures.close()
    np.testing.assert_array_equal(pictures.draw(*env.scene(0)), first)
    assert pictures in render._open_renderers
    pictures.close()
    assert pictures not in render._open_renderers


@pytest.mark.parametrize(
    ("settings", "module"),
    [
        ({}, "mujoco.egl"),
        ({"DISPLAY": ":0"}, "mujoco.gl_context"),
        ({"WAYLAND_DISPLAY": "wayland-0"}, "mujoco.gl_context"),
        ({"MUJOCO_GL": "OSMesa"}, "mujoco.osmesa"),
        ({"MUJOCO_GL": "glfw", "DISPLAY": ":0"}, "mujoco.glfw"),
    ],
)
@pytest.mark.skipif(sys.platform != "linux", reason="other systems have one backend")
@pytest.mark.usefixtures("headless")
def test_backend_is_egl_without_a_display_and_the_users_where_one_is_set(
    settings, module, monkeypatch
):
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    assert render.opengl_module() == module


@pytest.mark.parametrize(
    "failure", [ImportError, OSError, RuntimeError, AttributeError]
)
def test_missing_opengl_is_explained(failure, monkeypatch):
    env = PickCubeVectorEnv(1, render_mode="rgb_array")
    env.reset(seed=0)
    broken = SimpleNamespace(GLContext=MagicMock(side_effect=failure("no libEGL")))
    monkeypatch.setattr(render.importlib, "import_module", lambda name: broken)
    with pytest.raises(
        RuntimeError, match=r"no libEGL.*; install libegl1 and set MUJOCO"
    ):
        env.render()
    env.close()


def test_render_without_a_mode_warns_and_gives_nothing():
    env = gym.make("PickCube-v0", disable_env_checker=True).unwrapped
    env.reset(seed=0)
    with pytest.warns(UserWarning, match="without a render_mode"):
        assert env.render() is None


# ------------------------------------------------------------------------------ window
@pytest.fixture
def viewer(monkeypatch: pytest.MonkeyPatch) -> MagicMock:
    """MuJoCo's viewer module, replaced by a recorder."""
    module = MagicMock()
    monkeypatch.setenv("DISPLAY", ":0")
    monkeypatch.setitem(sys.modules, "mujoco.viewer", module)
    monkeypatch.setattr(mujoco, "viewer", module, raising=False)
    return module


def test_window_opens_at_the_first_reset_and_follows_every_step(viewer):
    env = gym.make("PickCube-v0", render_mode="human")
    assert not viewer.launch_passive.called
    env.reset(seed=0)
    viewer.launch_passive.assert_called_once()
    window, (_, data) = (
        viewer.launch_passive.return_value,
        viewer.launch_passive.call_args[0],
    )
    assert window.sync.call_count == 1
    simulation = env.unwrapped.batch.simulation
    for count in (2, 3):
        env.step(np.ones(8, np.float32))
        assert window.sync.call_count == count
        np.testing.assert_array_equal(data.qpos, simulation.qpos[0])
        np.testing.assert_array_equal(data.mocap_pos[0], simulation.extra[0, :3])
    env.reset(seed=5)
    np.testing.assert_array_equal(data.mocap_pos[0], simulation.extra[0, :3])
    viewer.launch_passive.assert_called_once()
    window.close.assert_not_called()
    env.close()
    window.close.assert_called_once()


def test_window_of_a_batch_shows_its_first_row(viewer):
    env = PickCubeVectorEnv(3, render_mode="human")
    env.reset(seed=0)
    assert env.render() is None
    window, (_, data) = (
        viewer.launch_passive.return_value,
        viewer.launch_passive.call_args[0],
    )
    assert window.sync.call_count == 2
    np.testing.assert_array_equal(data.qpos, env.simulation.qpos[0])
    env.close()


def test_a_window_without_a_display_is_refused_before_the_viewer_ends_the_process(
    monkeypatch,
):
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.setattr("sys.platform", "linux")
    env = gym.make("PickCube-v0", render_mode="human")
    with pytest.raises(RuntimeError, match="needs a display"):
        env.reset(seed=0)
