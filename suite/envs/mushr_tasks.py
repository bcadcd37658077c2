"""Tasks of the MuSHR car by their names, and where its cars are put; without MuJoCo."""

from __future__ import annotations

from typing import Any

import numpy as np

from suite.envs import mushr
from suite.envs.arguments import require_known
from suite.envs.mushr import Drift, Driving, Goal, Track
from suite.envs.tracks import LAYOUTS, centreline

TASKS = ("track", "goal", "drift")


def make_task(task: str, track: str) -> Driving:
    """The task of a name.

    Raises:
        ValueError: If there is none, or no such track.
    """
    require_known("task", task, TASKS)
    require_known("track", track, tuple(LAYOUTS))
    if task == "track":
        return Track(centreline=centreline(track))
    return Goal() if task == "goal" else Drift()


def checked_cars(cars: Any, rows: int) -> np.ndarray:
    """A copy of cars (rows, 6), the heading in [-pi, pi).

    Raises:
        ValueError: If the numbers are not finite or of another shape.
    """
    cars = np.array(cars, float)
    if cars.shape != (rows, 6) or not np.isfinite(cars).all():
        raise ValueError(
            f"cars must be finite numbers of shape {(rows, 6)}, got shape "
            f"{cars.shape} and {np.count_nonzero(~np.isfinite(cars))} not finite"
        )
    cars[:, mushr.THETA] = mushr.wrap(cars[:, mushr.THETA])
    return cars


def goals_at(driving: Driving, cars: np.ndarray, state: np.ndarray) -> np.ndarray:
    """What the task needs to begin at cars (n, 6), as ``start`` draws it: (n, G).

    A track begins at the nearest point of its centreline; goals stay as they are.

    Args:
        driving: The task.
        cars: (n, 6).
        state: (n, S), before.
    """
    if isinstance(driving, Track):
        line = driving.centreline
        return line.project(cars[:, mushr.X], cars[:, mushr.Y]).s[:, None]
    return state[:, mushr.MEMORY :]
