"""How the MuSHR car's surroundings look; imported only when something is drawn."""

from __future__ import annotations

import functools
from typing import Any

import mujoco
import numpy as np

from suite.envs.mushr import GOAL_RADIUS, HALF_WIDTH, Driving, Goal, Track
from suite.envs.mushr_car import car_spec
from suite.envs.mushr_gaps import Gap
from suite.envs.tracks import Centreline

_SPACING = 0.25  # m between the posts of a line
_EDGE, _MIDDLE = (0.25, 0.27, 0.30, 1.0), (0.95, 0.95, 0.90, 1.0)
_GOAL, _HEADING = (0.15, 0.65, 0.25, 1.0), (0.95, 0.95, 0.90, 1.0)
_SLIPPERY, _GRIPPY = (
    np.array([0.55, 0.80, 0.95, 1.0]),
    np.array([0.55, 0.45, 0.35, 1.0]),
)


def scene_model(gap: Gap, task: Driving, patches: tuple[Any, ...]) -> mujoco.MjModel:
    """The car with all that is seen of it, its task and its floor."""
    line = task.centreline if isinstance(task, Track) else None
    return _scene_model(gap, line, isinstance(task, Goal), patches)


@functools.lru_cache(maxsize=8)
def _scene_model(
    gap: Gap, line: Centreline | None, has_goal: bool, patches: tuple[Any, ...]
) -> mujoco.MjModel:
    spec = car_spec(gap)
    if line is not None:
        _draw_track(spec, line)
    if has_goal:
        _draw_goal(spec)
    for x, y, radius, friction in patches:
        colour = _SLIPPERY + (_GRIPPY - _SLIPPERY) * min(friction, 1.0)
        _add(spec.worldbody, "CYLINDER", (radius, 0.001, 0), (x, y, 0.0), colour)
    return spec.compile()


def _add(
    body: Any, kind: str, size: Any, pos: Any, rgba: Any, quat: Any = None
) -> None:
    body.add_geom(
        type=getattr(mujoco.mjtGeom, f"mjGEOM_{kind}"),
        size=size,
        pos=pos,
        quat=(1.0, 0.0, 0.0, 0.0) if quat is None else quat,
        rgba=rgba,
        contype=0,
        conaffinity=0,
    )


def _draw_track(spec: mujoco.MjSpec, line: Centreline) -> None:
    """Both edges, as chains of flat boxes, and a dashed centreline."""
    count = round(line.length / _SPACING)
    s = (np.arange(count) + 0.5) * line.length / count
    x, y, heading = line.pose(s)
    for offset, colour, every in (
        (HALF_WIDTH, _EDGE, 1),
        (-HALF_WIDTH, _EDGE, 1),
        (0.0, _MIDDLE, 2),
    ):
        half = line.length / count / 2 * (1 - offset * line.curvature(s))
        for i in range(0, count, every):
            turn = np.cos(heading[i] / 2), 0.0, 0.0, np.sin(heading[i] / 2)
            left = -np.sin(heading[i]) * offset, np.cos(heading[i]) * offset
            place = x[i] + left[0], y[i] + left[1], 0.001
            _add(spec.worldbody, "BOX", (half[i], 0.015, 0.001), place, colour, turn)


def _draw_goal(spec: mujoco.MjSpec) -> None:
    """A disc as wide as what counts as reached, and a bar that points where to face."""
    goal = spec.worldbody.add_body(name="goal", mocap=True)
    _add(goal, "CYLINDER", (GOAL_RADIUS, 0.001, 0), (0, 0, 0.001), _GOAL)
    _add(
        goal,
        "BOX",
        (GOAL_RADIUS / 2, 0.02, 0.004),
        (GOAL_RADIUS / 2, 0, 0.002),
        _HEADING,
    )
