"""Identification of the simulator itself: the numbers of a car's gap, in MuJoCo.

By the cross-entropy method (``GapIdentification``), or by ``mujoco.sysid`` on the same
residuals (``least_squares``). The latter's gradients are finite differences through
contacts, which are mostly noise: use it for what acts before the wheels, such as trim
and gain, and the former for friction.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import mujoco
import numpy as np
import torch

from suite.envs.mushr import Drift
from suite.envs.mushr_car import CarSimulation
from suite.envs.mushr_gaps import Gap
from suite.storage import write_directory
from suite.transitions import Dataset
from suite.worldmodels.car import CAR
from suite.worldmodels.identification import Bounds, NumberSearch, residuals


def driven(
    gap: Gap, cars: np.ndarray, commands: np.ndarray, threads: int = 1
) -> np.ndarray:
    """Cars (T, N, 6) of a gap after each of T commands.

    Args:
        gap: Which car.
        cars: (N, 6), where they begin, with their servos in balance.
        commands: (T, N, 2).
        threads: Threads that simulate.
    """
    simulation = CarSimulation(len(cars), Drift(), gap, (), threads)
    simulation.place(np.arange(len(cars)), cars, np.empty((len(cars), 0)))
    found, is_lost = [], np.zeros(len(cars), bool)
    for command in commands:
        is_lost |= simulation.step(None, command.astype(np.float32))
        seen = simulation.named_state(None)[:, :CAR]
        found.append(np.where(is_lost[:, None], np.nan, seen))
    return np.stack(found)


class Beginnings:
    """The first steps of trajectories, where nothing is hidden yet.

    Args:
        data: Trajectories of a car, whose servos were in balance at first.
        count: How many of them.
        horizon: Steps of each.

    Raises:
        ValueError: If one is shorter.
    """

    def __init__(self, data: Dataset, count: int, horizon: int):
        if len(data.lengths) < count or data.lengths[:count].min() < horizon:
            raise ValueError(
                f"{count} trajectories of {horizon} steps are needed, got "
                f"{len(data.lengths)}, the shortest of {data.lengths.min()}"
            )
        rows = data.offsets[:count] + np.arange(horizon)[:, None]
        self.cars = data.obs[rows[0], :CAR].astype(float)
        self.commands = data.actions[rows]
        self.truth = data.next_obs[rows, :CAR].astype(float)

    def residuals(self, gap: Gap, threads: int = 1) -> torch.Tensor:
        """Of a gap's rollouts, (T, N, 6)."""
        found = driven(gap, self.cars, self.commands, threads)
        return residuals(torch.as_tensor(found), torch.as_tensor(self.truth))


class GapIdentification(NumberSearch):
    """Finds numbers of a gap by the cross-entropy method; a ``Learner``.

    An update is a generation; each candidate is a simulator of its own.

    Args:
        data: Trajectories of the car.
        bounds: Of each number of ``Gap`` that is looked for, by its name; the others
            are the nominal car's.
        trajectories: How many are used.
        horizon: Steps of each, from its beginning.
        candidates: Of a generation.
        elites: Of them.
        seed: Of the candidates.
        threads: Threads that simulate; results do not depend on it.

    Raises:
        ValueError: If a gap has no such number, or the data are too few.
    """

    def __init__(
        self,
        data: Dataset,
        *,
        bounds: Bounds,
        trajectories: int = 40,
        horizon: int = 40,
        candidates: int = 16,
        elites: int = 4,
        seed: int = 0,
        threads: int = 1,
    ):
        names = [f.name for f in dataclasses.fields(Gap)]
        unknown = sorted(set(bounds) - set(names))
        if unknown:
            raise ValueError(
                f"a gap has the numbers {', '.join(names)}, got {', '.join(unknown)}"
            )
        super().__init__(data, bounds, candidates=candidates, elites=elites, seed=seed)
        self.beginnings = Beginnings(data, trajectories, horizon)
        self.threads = threads

    def gap(self, values: np.ndarray) -> Gap:
        """The car with some numbers (D,)."""
        return dataclasses.replace(Gap(), **self.search.named(values))

    def residuals(self, values: np.ndarray) -> torch.Tensor:
        """Of some numbers (D,): (T, N, 6)."""
        self.sim_steps += self.beginnings.commands.shape[0] * len(self.beginnings.cars)
        return self.beginnings.residuals(self.gap(values), self.threads)

    @property
    def model(self) -> IdentifiedGap:
        """The best so far."""
        return IdentifiedGap(self.gap(self.search.best))


class IdentifiedGap:
    """A simulator with a gap that was found; ``GapOpenLoop`` evaluates it.

    Args:
        gap: Its numbers.
    """

    def __init__(self, gap: Gap):
        self.gap = gap

    def named_parameters(self) -> Iterator[tuple[str, torch.Tensor]]:
        """None: its numbers are bounded."""
        yield from ()

    def save(self, folder: Path, card: Mapping[str, Any]) -> None:
        """A card with its numbers."""
        text = json.dumps(
            {**card, "gap": dataclasses.asdict(self.gap)}, indent=2, sort_keys=True
        )
        write_directory(folder, {"card.json": text.encode() + b"\n"})


class GapOpenLoop:
    """Errors of an identified simulator on drives that it was not fitted to.

    The result has ``error_0.5s``, ``error_1s`` and ``error_2s``: the mean distance of
    the places after that time, from each drive's first state (m).

    Args:
        drives: What was recorded, and held out.
        threads: Threads that simulate.
    """

    STEPS = {"error_0.5s": 10, "error_1s": 20, "error_2s": 40}

    def __init__(self, drives: Dataset, *, threads: int = 1):
        last = max(self.STEPS.values())
        self.beginnings = Beginnings(drives, len(drives.lengths), last)
        self.threads = threads

    def __call__(self, model: IdentifiedGap, key: int) -> dict[str, float]:
        """Evaluate; ``key`` changes nothing: the drives are what they are."""
        some = self.beginnings
        found = driven(model.gap, some.cars, some.commands, self.threads)
        miss = np.linalg.norm((found - some.truth)[..., :2], axis=-1)
        return {name: float(miss[step - 1].mean()) for name, step in self.STEPS.items()}


def least_squares(
    problem: GapIdentification, start: np.ndarray, *, iterations: int = 20
) -> np.ndarray:
    """Numbers (D,) that ``mujoco.sysid`` finds on a problem's residuals, from a start.

    Its Levenberg-Marquardt has gradients by finite differences, one simulation a
    number.

    Args:
        problem: Whose residuals are squared.
        start: (D,), inside the bounds.
        iterations: At most.

    Raises:
        ModuleNotFoundError: If ``mujoco.sysid`` is not installed.
    """
    sysid = _sysid()
    search = problem.search
    parameters = sysid.ParameterDict(
        {
            name: sysid.Parameter(name, value, low, high)
            for name, value, low, high in zip(
                search.names, start, search.low, search.high, strict=True
            )
        }
    )

    def residual(values: np.ndarray, _: Any) -> tuple[list[np.ndarray], None, None]:
        columns = np.asarray(values, float).reshape(len(search.names), -1).T
        found = [problem.residuals(column).numpy().ravel() for column in columns]
        stacked = found[0] if np.ndim(values) == 1 else np.stack(found, axis=1)
        return [np.nan_to_num(stacked, nan=1e3)], None, None

    found, _ = sysid.optimize(
        parameters, residual, "mujoco", verbose=False, max_iters=iterations
    )
    return np.asarray(found.as_vector(), float)


def _sysid() -> Any:
    """``mujoco.sysid``, which is empty where its own needs are not installed."""
    from mujoco import sysid

    if not hasattr(sysid, "optimize"):
        raise ModuleNotFoundError(
            "mujoco.sysid lacks packages that it needs; install them with: pip install "
            f'"suite-bench[sysid]" (mujoco {mujoco.__version__}), or use '
            "GapIdentification"
        )
    return sysid
