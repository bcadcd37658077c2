"""Parametric identification: a few numbers of a car's physics, from recordings."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import torch
from torch import Tensor

from suite.envs.arguments import require_positive
from suite.transitions import Dataset
from suite.worldmodels.car import CAR, POSE, Car
from suite.worldmodels.car_dynamics import CarDynamics
from suite.worldmodels.identification import Bounds, NumberSearch, residuals
from suite.worldmodels.recordings import Recordings
from suite.worldmodels.unrolled import Snippets, begun


class Identification(NumberSearch):
    """Finds the numbers of a car's physics that explain recordings; a ``Learner``.

    Use it where a plant is trusted and its numbers are not, and beside a learned model
    to see what learning adds. An update is a generation. Every candidate is rolled out
    from the same snippets, chosen once.

    Args:
        data: Trajectories of a car.
        car: What is fitted, without networks.
        bounds: Of each number that is looked for, by its dotted place in the car, such
            as ``{"delay": (0, 0.1), "plant.trim": (-0.1, 0.1)}``.
        horizon: Steps of a rollout.
        snippets: How many.
        candidates: Of a generation.
        elites: Of them.
        seed: Of snippets and candidates.

    Raises:
        ValueError: If the car has networks, or has no such number.
    """

    def __init__(
        self,
        data: Dataset,
        car: Car,
        *,
        bounds: Bounds,
        horizon: int = 20,
        snippets: int = 400,
        candidates: int = 40,
        elites: int = 8,
        seed: int = 0,
    ):
        if (car.adapter, car.residual, car.friction) != (None, None, None):
            raise ValueError(
                "identification is of physics alone; give a Car with adapter=None, "
                "residual=None and friction=None"
            )
        require_positive("snippets", snippets)
        super().__init__(data, bounds, candidates=candidates, elites=elites, seed=seed)
        self.car = car
        self._made(self.search.mean)  # refuses numbers that there are not
        recordings = Recordings.of(data, car.history, states=CAR, actions=2)
        starts = recordings.starts(torch.arange(len(recordings)), horizon)
        draw = torch.Generator().manual_seed(seed)
        chosen = torch.randperm(len(starts), generator=draw)[:snippets]
        self._snippets = recordings.snippets(starts[chosen], horizon)
        self._twists = [
            torch.as_tensor(each[:, POSE:CAR].copy())
            for each in (data.obs, data.next_obs)
        ]

    def _made(self, values: np.ndarray) -> Car:
        car = self.car
        for name, value in self.search.named(values).items():
            car = _replaced(car, name.split("."), value)
        return car

    @property
    def model(self) -> CarDynamics:
        """The best so far, which knows how fast the recorded cars were."""
        dynamics = CarDynamics(self._made(self.search.best))
        dynamics.refresh(0, *self._twists)
        return dynamics

    def residuals(self, values: np.ndarray) -> Tensor:
        """Of some numbers (D,): (H, B, 6) on the snippets."""
        dynamics = CarDynamics(self._made(values))
        return rollout_residuals(dynamics, self._snippets)


@torch.inference_mode()
def rollout_residuals(dynamics: CarDynamics, snippets: Snippets) -> Tensor:
    """Residuals (H, B, 6) of rollouts along snippets."""
    found = dynamics.unroll(begun(dynamics, snippets), snippets.actions)
    return residuals(found.states, snippets.states[1:])


def _replaced(part: Any, path: list[str], value: float) -> Any:
    """A dataclass with another number at a place inside it."""
    name, *rest = path
    names = [f.name for f in dataclasses.fields(part)]
    if name not in names:
        raise ValueError(
            f"{type(part).__name__} has no number {name!r}; it has {', '.join(names)}"
        )
    found = _replaced(getattr(part, name), rest, value) if rest else value
    return dataclasses.replace(part, **{name: found})
