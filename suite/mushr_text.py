"""Trajectories in the text formats of mushr_mujoco_sysid, read as datasets.

Two formats, told apart by the names of the files in a folder:

- first: ``plan_<id>.txt`` (steering, velocity: one command for the whole trajectory)
  beside ``traj_vels_<id>.txt`` (dt, x, y, theta, xdot, ydot, thetadot by row);
- third: ``*traj_<id>.txt`` with x, y, theta, xdot, ydot, thetadot, steering, velocity
  by row.

Columns are separated by blanks, ``#`` begins a comment. Written from a description of
the formats, without the original's code; its data are not public.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np

from suite.transitions import Dataset

FIRST = ("dt", "x", "y", "theta", "xdot", "ydot", "thetadot")
PLAN = ("steering", "velocity")
THIRD = (*FIRST[1:], *PLAN)
_NUMBER = re.compile(r"(\d+)\.txt$")


def read_mushr_text(
    folder: str | Path,
    *,
    steer_scale: float = 1.0,
    speed_scale: float = 1.0,
    dt: float | None = None,
) -> Dataset:
    """All trajectories of a folder, in either format.

    Args:
        folder: Where the files are.
        steer_scale: What a steering of 1 action is in the files' unit: 1 if they hold
            [-1, 1], 0.38 if they hold radians for ``MuSHR-v0``.
        speed_scale: The same for the velocity; 3 if they hold m/s.
        dt: Seconds between rows of the third format, which does not say; for the card.

    Returns:
        Observations x, y, theta, vx, vy, omega as they are in the files; actions
        [steer, speed]; rewards 0. A trajectory of n rows has n - 1 transitions. The
        card has each one's id in the files and its dt.

    Raises:
        ValueError: If there is nothing to read, or a file lacks a column, a row or its
            plan, or holds what is no finite number; names file and line.
    """
    folder = Path(folder)
    plans = _numbered(folder, "plan_*.txt")
    paths = _numbered(folder, "traj_vels_*.txt" if plans else "*traj_*.txt")
    paths = {n: path for n, path in paths.items() if plans or "vels" not in path.name}
    if not paths:
        raise ValueError(
            f"{folder} has neither plan_<id>.txt with traj_vels_<id>.txt nor "
            "traj_<id>.txt with eight columns"
        )
    parts: list[Dataset] = []
    steps: list[float | None] = []
    for number, path in paths.items():
        if plans:
            times, readings, commands = _first(path, plans.get(number))
            steps.append(_step(times))
        else:
            rows = _table(path, THIRD, at_least=2)
            readings, commands = rows[:, :6], rows[:, 6:]
            steps.append(dt)
        actions = commands / (steer_scale, speed_scale)
        parts.append(_trajectory(readings, actions))
    card = {
        "source": folder.name,
        "about": "Trajectories of a MuSHR car, read from text.",
        "observations": ["x", "y", "theta", "vx", "vy", "omega"],
        "trajectories": {"id": list(paths), "dt": steps},
    }
    return Dataset.concatenated(parts, card)


def _numbered(folder: Path, pattern: str) -> dict[int, Path]:
    """Files by the number in their name, in its order."""
    found = {}
    for path in folder.glob(pattern):
        number = _NUMBER.search(path.name)
        if number:
            found[int(number[1])] = path
    return dict(sorted(found.items()))


def _first(path: Path, plan: Path | None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    if plan is None:
        raise ValueError(f"{path} has no plan_{_NUMBER.findall(path.name)[0]}.txt")
    rows = _table(path, FIRST, at_least=2)
    command = _table(plan, PLAN, at_least=1)[0]
    return rows[:, 0], rows[:, 1:], np.tile(command, (len(rows), 1))


def _step(times: np.ndarray) -> float:
    """Seconds between rows, the median; the column holds them, or the time itself."""
    differences = np.diff(times)
    return float(np.median(differences if (differences > 0).all() else times))


def _trajectory(readings: np.ndarray, actions: np.ndarray) -> Dataset:
    count = len(readings) - 1
    return Dataset(
        obs=readings[:-1],
        actions=actions[:-1],
        rewards=np.zeros(count),
        next_obs=readings[1:],
        terminated=np.zeros(count),
        truncated=np.arange(count) == count - 1,
        lengths=np.array([count]),
        episode_ids=np.zeros(1),
    )


def _table(path: Path, columns: tuple[str, ...], at_least: int) -> np.ndarray:
    """Numbers (rows, columns) of a file; further columns are left out."""
    rows: list[list[float]] = []
    for line, text in enumerate(path.read_text().splitlines(), start=1):
        words = text.split("#")[0].split()
        if words:
            rows.append(_row(words, columns, f"line {line} of {path}"))
    if len(rows) < at_least:
        raise ValueError(f"{path} has {len(rows)} rows; it needs at least {at_least}")
    return np.array(rows)


def _row(words: list[str], columns: tuple[str, ...], place: str) -> list[float]:
    if len(words) < len(columns):
        missing: Any = columns[len(words) :]
        raise ValueError(
            f"{place} lacks the column {missing[0]} of {', '.join(columns)}"
        )
    try:
        numbers = [float(word) for word in words[: len(columns)]]
    except ValueError:
        raise ValueError(f"{place} is no row of numbers: {' '.join(words)}") from None
    for name, number in zip(columns, numbers, strict=True):
        if not np.isfinite(number):
            raise ValueError(f"{place} has {name} {number}; it must be finite")
    return numbers
