"""Pictures and windows of a MuJoCo scene; imported only when something is drawn."""

from __future__ import annotations

from typing import Any, Protocol

import mujoco
import numpy as np

WIDTH, HEIGHT = 640, 480
CAMERA = "front"


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


class PictureRenderer:
    """Draws off screen, with EGL on a machine without a display."""

    def __init__(self) -> None:
        self._renderer: mujoco.Renderer | None = None

    def draw(self, model: Any, data: Any) -> np.ndarray:
        """The picture (480, 640, 3) uint8.

        Raises:
            RuntimeError: If no OpenGL context can be made, saying what to set.
        """
        if self._renderer is None:
            try:
                self._renderer = mujoco.Renderer(model, HEIGHT, WIDTH)
            except Exception as error:  # MuJoCo raises a type of its own per GL backend
                raise RuntimeError(
                    f"MuJoCo could not open an OpenGL context ({error}); set MUJOCO_GL=egl "
                    "(or osmesa) before Python starts, or import suite before mujoco"
                ) from error
        self._renderer.update_scene(data, camera=CAMERA)
        return self._renderer.render()

    def close(self) -> None:
        """Free the OpenGL context."""
        if self._renderer is not None:
            self._renderer.close()
            self._renderer = None


class WindowRenderer:
    """Keeps MuJoCo's interactive viewer in step with the environment."""

    def __init__(self) -> None:
        self._viewer: Any = None
        self._data: Any = None

    def draw(self, model: Any, data: Any) -> None:
        """Update the window, opening it at the first call."""
        if self._viewer is None:
            import mujoco.viewer

            self._data = data
            self._viewer = mujoco.viewer.launch_passive(model, data)
        with self._viewer.lock():
            self._data.qpos[:] = data.qpos
            mujoco.mj_forward(model, self._data)
        self._viewer.sync()

    def close(self) -> None:
        """Close the window."""
        if self._viewer is not None:
            self._viewer.close()
            self._viewer = None
