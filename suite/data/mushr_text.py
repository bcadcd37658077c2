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
_VELS = "traj_vels"
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
        ValueError: If there is nothing to read, formats or numbers are mixed up, a file
            lacks a column, a row or its plan, or holds what is no finite number; or a
            command is beyond its scale.
    """
    folder = Path(folder)
    if not (steer_scale > 0 and speed_scale > 0):
        raise ValueError(
            f"scales must be positive, got {steer_scale} of steering and {speed_scale} "
            "of velocity"
        )
    plans, paths = _found(folder)
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
        _require_scaled(actions, path)
        parts.append(_trajectory(readings, actions))
    card = {
        "source": folder.name,
        "about": "Trajectories of a MuSHR car, read from text.",
        "observations": ["x", "y", "theta", "vx", "vy", "omega"],
        "trajectories": {"id": list(paths), "dt": steps},
    }
    return Dataset.concatenated(parts, card)


def _found(folder: Path) -> tuple[dict[int, Path], dict[int, Path]]:
    """Plans, of the first format, and trajectories by number."""
    plans = _numbered(folder, "plan_*.txt")
    first = _numbered(folder, "traj_vels_*.txt")
    others = [p for p in folder.glob("*traj_*.txt") if "traj_vels_" not in p.name]
    if (plans or first) and others:
        raise ValueError(
            f"{folder} has files of two formats, such as {others[0].name} beside "
            f"{next(iter({**plans, **first}.values())).name}; give each a folder"
        )
    third = _numbered(folder, "*traj_*.txt") if others else {}
    if not (plans or first or third):
        raise ValueError(
            f"{folder} has neither plan_<id>.txt with traj_vels_<id>.txt nor "
            "traj_<id>.txt with eight columns"
        )
    lonely = [path for number, path in plans.items() if number not in first]
    if lonely:
        raise ValueError(f"{lonely[0]} has no {lonely[0].name.replace('plan', _VELS)}")
    return plans, first or third


def _numbered(folder: Path, pattern: str) -> dict[int, Path]:
    """Files by the number in their name, in its order."""
    found: dict[int, Path] = {}
    for path in sorted(folder.glob(pattern)):
        number = _NUMBER.search(path.name)
        if number is None:
            continue
        other = found.setdefault(int(number[1]), path)
        if other is not path:
            raise ValueError(
                f"{other} and {path} have the same number; give each trajectory one of "
                "its own, or import them from two folders"
            )
    return dict(sorted(found.items()))


def _require_scaled(actions: np.ndarray, path: Path) -> None:
    largest = np.abs(actions).max(axis=0)
    if (largest > 1 + 1e-6).any():
        raise ValueError(
            f"{path} has steering up to {largest[0]:.3g} and velocity up to "
            f"{largest[1]:.3g}, where 1 is the whole range; give steer_scale and "
            "speed_scale, 0.38 and 3 for radians and m/s"
        )


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
    try:
        lines = path.read_text().splitlines()
    except UnicodeDecodeError:
        raise ValueError(f"{path} is no text") from None
    for line, text in enumerate(lines, start=1):
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
