"""What identifications share: how far a car is off, and the search for its numbers."""

from __future__ import annotations

import math
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from suite.envs.arguments import require_positive
from suite.storage import IntegrityError
from suite.transitions import Dataset
from suite.worldmodels.car import POSE
from suite.worldmodels.car_motion import wrapped

# What counts as much as 0.1 m of place: m, m, rad, m/s, m/s, rad/s.
SCALE = (0.1, 0.1, 0.2, 0.5, 0.5, 1.0)
FLOOR = 1e-6  # the least deviation that is searched, in widths of the bounds
Bounds = Mapping[str, Sequence[float]]


def residuals(predicted: Tensor, truth: Tensor) -> Tensor:
    """Scaled differences (..., 6) of cars (..., 6), headings wrapped."""
    miss = predicted - truth
    heading = wrapped(miss[..., POSE - 1 : POSE])
    miss = torch.cat([miss[..., : POSE - 1], heading, miss[..., POSE:]], dim=-1)
    return miss / miss.new_tensor(SCALE)


def misfit(residual: Tensor) -> float:
    """One number of residuals (H, B, 6): the mean over samples of their length.

    Not of its square: few trajectories on ice must not decide about the others.
    """
    each = residual.square().sum(dim=-1).mean(dim=0).sqrt()
    # A rollout that ran away counts as far off, and leaves the others a say.
    return float(torch.nan_to_num(each, nan=1e6, posinf=1e6).clamp(max=1e6).mean())


class CrossEntropy:
    """The cross-entropy method for a few bounded numbers; ask and tell.

    Args:
        bounds: Lowest and highest value of each number, by name.
        candidates: Of a generation.
        elites: What the next one is drawn about.
        seed: Of the draws.

    Raises:
        ValueError: If bounds or counts are empty or the wrong way round.

    Source: Rubinstein 1999, "The cross-entropy method for combinatorial and continuous
    optimization", with the best candidate kept. Numbers are drawn together: recordings
    often tell a combination of two (trim and gain) well before each of them, and with a
    spread for each alone the search stops somewhere along that valley.
    """

    ARRAYS = ("mean", "covariance", "best")

    def __init__(
        self, bounds: Bounds, *, candidates: int = 40, elites: int = 8, seed: int = 0
    ):
        require_positive("elites", elites)
        self.names = list(bounds)
        self.low, self.high = np.array([bounds[n] for n in self.names], float).T
        if not self.names or not (self.low < self.high).all() or elites > candidates:
            raise ValueError(
                "identification needs numbers with a low below their high, and no more "
                f"elites than candidates, got {dict(bounds)}, {elites} of {candidates}"
            )
        self.candidates, self.elites = candidates, elites
        self.mean = (self.low + self.high) / 2
        self.covariance = np.diag((self.high - self.low) ** 2 / 9)
        self.best, self.best_cost = self.mean.copy(), math.inf
        self.rng = np.random.default_rng(seed)

    def ask(self) -> np.ndarray:
        """The next generation (candidates, D), the best so far among them."""
        noise = self.rng.standard_normal((self.candidates, len(self.names)))
        # Elites that agree to the last bit leave a spread of no rank.
        floor = np.diag(FLOOR * (self.high - self.low)) ** 2
        spread = np.linalg.cholesky(self.covariance + floor)
        drawn = np.clip(self.mean + noise @ spread.T, self.low, self.high)
        if math.isfinite(self.best_cost):
            drawn[0] = self.best
        return drawn

    def tell(self, drawn: np.ndarray, costs: np.ndarray) -> None:
        """What they cost (candidates,)."""
        order = np.argsort(costs, kind="stable")
        best = drawn[order[: self.elites]]
        # Smoothed, or the spread is gone before a valley is followed to its end.
        self.mean = (self.mean + best.mean(axis=0)) / 2
        self.covariance = (self.covariance + _covariance(best)) / 2
        if costs[order[0]] < self.best_cost:
            self.best, self.best_cost = best[0].copy(), float(costs[order[0]])

    def named(self, values: np.ndarray) -> dict[str, float]:
        """Values (D,) by name."""
        return dict(zip(self.names, values.tolist(), strict=True))

    def state(self) -> dict[str, Any]:
        """All that the next generation depends on."""
        arrays = {name: getattr(self, name) for name in self.ARRAYS}
        rng = self.rng.bit_generator.state
        return {**arrays, "best_cost": self.best_cost, "rng": _words(rng)}

    def load_state(self, tree: Mapping[str, Any]) -> None:
        """Take over a ``state()``."""
        for name in self.ARRAYS:
            setattr(self, name, np.array(tree[name]))
        self.best_cost = tree["best_cost"]
        self.rng.bit_generator.state = _unworded(tree["rng"])


class NumberSearch(ABC):
    """A ``Learner`` whose updates are generations of a car's numbers.

    Subclass it with ``residuals``, and ``model`` for a run to keep; ``search.best`` is
    what was found.

    Args:
        data: What the numbers shall explain; a resumed search must have the same.
        bounds: Of each number, by name.
        candidates: Of a generation.
        elites: Of them.
        seed: Of the candidates.

    Raises:
        ValueError: If bounds or counts are empty or the wrong way round.
    """

    def __init__(
        self, data: Dataset, bounds: Bounds, *, candidates: int, elites: int, seed: int
    ):
        self.search = CrossEntropy(
            bounds, candidates=candidates, elites=elites, seed=seed
        )
        self._sha256 = data.sha256
        self.num_timesteps = self.sim_steps = 0

    @abstractmethod
    def residuals(self, values: np.ndarray) -> Tensor:
        """Scaled differences (T, N, 6) of the car with some numbers (D,)."""

    def planned_updates(self, total_timesteps: int) -> int:
        """As many generations."""
        return total_timesteps

    def iterate(self, total_timesteps: int) -> Iterator[dict[str, float]]:
        """Generations; yields the misfit of the best and the mean, and its numbers."""
        while self.num_timesteps < total_timesteps:
            started = time.perf_counter()
            drawn = self.search.ask()
            costs = np.array([misfit(self.residuals(values)) for values in drawn])
            self.search.tell(drawn, costs)
            self.num_timesteps += 1
            best = self.search.named(self.search.best)
            yield {
                "identification/misfit": self.search.best_cost,
                "identification/misfit_mean": float(costs.mean()),
                **{f"identification/{name}": value for name, value in best.items()},
                "time/rollouts_seconds": time.perf_counter() - started,
            }

    def state(self) -> dict[str, Any]:
        """All that the next generation depends on but the data."""
        counters = {"num_timesteps": self.num_timesteps, "sim_steps": self.sim_steps}
        return {"data": self._sha256, "search": self.search.state(), **counters}

    def load_state(self, tree: dict[str, Any]) -> None:
        """Take over a ``state()``.

        Raises:
            IntegrityError: If it is of other data.
        """
        if tree["data"] != self._sha256:
            raise IntegrityError(
                f"it was fitted to data of sha256 {tree['data']}, not {self._sha256}"
            )
        self.search.load_state(tree["search"])
        self.num_timesteps = tree["num_timesteps"]
        self.sim_steps = tree.get("sim_steps", 0)  # absent where nothing was simulated


def _covariance(values: np.ndarray) -> np.ndarray:
    """Of rows (N, D): (D, D); none of a single row."""
    away = values - values.mean(axis=0)
    return away.T @ away / max(len(values) - 1, 1)


def _words(state: Any) -> Any:
    """A generator's state as JSON: its 128 bit numbers as text."""
    if isinstance(state, dict):
        return {name: _words(item) for name, item in state.items()}
    return hex(state) if isinstance(state, int) else state


def _unworded(state: Any) -> Any:
    if isinstance(state, dict):
        return {name: _unworded(item) for name, item in state.items()}
    is_number = isinstance(state, str) and state.startswith("0x")
    return int(state, 16) if is_number else state
