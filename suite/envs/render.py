"""Pictures and windows of a MuJoCo scene; imported only when something is drawn."""

from __future__ import annotations

import atexit
import importlib
import os
import sys
import weakref
from typing import Any, Protocol

import mujoco
import numpy as np

WIDTH, HEIGHT = 640, 480
MAX_GEOMS = 1000
_open_renderers: weakref.WeakSet[PictureRenderer] = weakref.WeakSet()


class SceneRenderer(Protocol):
    """Shows a scene."""

    def draw(self, model: Any, data: Any) -> np.ndarray | None:
        """Show one scene; returns the picture if there is one."""
        ...

    def close(self) -> None:
        """Release what it holds."""
        ...


def renderer(render_mode: str) -> SceneRenderer:
    """The renderer of a Gymnasium render mode."""
    return {"rgb_array": PictureRenderer, "human": WindowRenderer}[render_mode]()


def opengl_module() -> str:
    """The module of MuJoCo that opens an off-screen OpenGL context here.

    ``mujoco.Renderer`` decides by MUJOCO_GL when mujoco is first imported, and else
    wants a display; deciding at the first picture works whoever imported it first.
    """
    chosen = os.environ.get("MUJOCO_GL", "").lower()
    if chosen in ("egl", "osmesa", "glfw", "cgl"):
        return f"mujoco.{chosen}"
    if sys.platform.startswith("linux") and not _has_display():
        return "mujoco.egl"
    return "mujoco.gl_context"


def _has_display() -> bool:
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


class PictureRenderer:
    """Draws off screen, with EGL on a machine without a display."""

    def __init__(self) -> None:
        self._gl: Any = None
        self._context: Any = None
        self._scene: Any = None

    def draw(self, model: Any, data: Any) -> np.ndarray:
        """The picture (480, 640, 3) uint8.

        Raises:
            RuntimeError: If no OpenGL context can be made, saying what to set.
        """
        if self._context is None:
            self._open(model)
        mujoco.mjv_updateScene(
            model,
            data,
            mujoco.MjvOption(),
            None,
            _first_camera(),
            mujoco.mjtCatBit.mjCAT_ALL.value,
            self._scene,
        )
        rectangle = mujoco.MjrRect(0, 0, WIDTH, HEIGHT)
        pixels = np.empty((HEIGHT, WIDTH, 3), np.uint8)
        self._gl.make_current()
        mujoco.mjr_render(rectangle, self._scene, self._context)
        mujoco.mjr_readPixels(pixels, None, rectangle, self._context)
        return np.ascontiguousarray(pixels[::-1])  # OpenGL's first row is the lowest

    def _open(self, model: Any) -> None:
        name = opengl_module()
        try:
            self._gl = importlib.import_module(name).GLContext(WIDTH, HEIGHT)
            self._gl.make_current()
            self._context = mujoco.MjrContext(
                model, mujoco.mjtFontScale.mjFONTSCALE_100.value
            )
        # A missing library shows as one of these, depending on the backend.
        except (AttributeError, ImportError, OSError, RuntimeError) as error:
            self.close()
            raise _no_opengl(name, error) from error
        except mujoco.FatalError as error:
            self.close()
            raise _no_opengl(name, error) from error
        mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN.value, self._context)
        self._scene = mujoco.MjvScene(model, MAX_GEOMS)
        if not _open_renderers:
            # Registered after MuJoCo's own handler, so that it runs before that one
            # shuts EGL down: freeing a context later prints an error at exit.
            atexit.unregister(_close_all)
            atexit.register(_close_all)
        _open_renderers.add(self)

    def close(self) -> None:
        """Free the OpenGL context."""
        _open_renderers.discard(self)
        if self._context is not None:
            self._gl.make_current()
            self._context.free()
        if self._gl is not None:
            self._gl.free()
        self._gl = self._context = self._scene = None


def _close_all() -> None:
    for picture_renderer in list(_open_renderers):
        picture_renderer.close()


def _no_opengl(name: str, error: Exception) -> RuntimeError:
    return RuntimeError(
        f"no OpenGL context could be opened by {name} ({error}); install libegl1 and "
        "set MUJOCO_GL=egl, or libosmesa6 and MUJOCO_GL=osmesa"
    )


def _first_camera() -> Any:
    """The first camera of the scene's model; it may follow the robot."""
    camera = mujoco.MjvCamera()
    camera.type = mujoco.mjtCamera.mjCAMERA_FIXED.value
    camera.fixedcamid = 0
    return camera


class WindowRenderer:
    """Keeps MuJoCo's interactive viewer in step with the environment."""

    def __init__(self) -> None:
        self._viewer: Any = None
        self._data: Any = None

    def draw(self, model: Any, data: Any) -> None:
        """Update the window, opening it at the first call.

        Raises:
            RuntimeError: If there is no display.
        """
        if self._viewer is None:
            if sys.platform.startswith("linux") and not _has_display():
                # The viewer would end the whole process.
                raise RuntimeError(
                    "render_mode='human' needs a display, and DISPLAY is not set; use "
                    "'rgb_array'"
                )
            from mujoco import viewer

            self._data = data
            self._viewer = viewer.launch_passive(model, data)
        with self._viewer.lock():
            self._data.qpos[:] = data.qpos
            self._data.mocap_pos[:] = data.mocap_pos
            mujoco.mj_forward(model, self._data)
        self._viewer.sync()

    def close(self) -> None:
        """Close the window."""
        if self._viewer is not None:
            self._viewer.close()
            self._viewer = None
