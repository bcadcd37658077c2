"""What fitting a car's model costs: several seeds at once, and a step over its floor.

A part of ``mushr.py``, in seconds of one thread. A step is a whole gradient step,
sampling to Adam, on 256 snippets of 10 steps a seed with one-step, rollout, pose and
CVaR losses (facts of the reference configuration: adapters of two networks of 64-64,
residual of 32-32).

stacked: all seeds in one ``CarFit``. alone: the same seeds, each in a ``CarFit`` of its
    own, one after the other. The ratio is what stacking saves per seed.
floor: the matrix products and activations of the networks alone, forward and backward,
    of one seed, on arrays that are there; weights' gradients in one product a layer.
pacejka, direct: one seed with the tyre model as its plant; a network of 128-128 alone.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from turns import turns

from suite.transitions import Dataset
from suite.worldmodels.car import Car, Residual
from suite.worldmodels.car_fit import CarFit
from suite.worldmodels.car_optimisation import Optimisation
from suite.worldmodels.car_plants import Hold, Pacejka
from suite.worldmodels.cvar import CVaR
from suite.worldmodels.rollout_losses import Losses, Pose, Rollout

TARGETS = {"training: alone/stacked": 2.0}
BATCH, HORIZON, DRIVES, STEPS = 256, 10, 40, 200
DIRECT = Car(Hold(), adapter=None, residual=Residual((128, 128)))
Work = Callable[[], Any]


def drives() -> Dataset:
    """Drives of no car: what they are does not change what a step costs."""
    rng = np.random.default_rng(0)
    shape = (DRIVES, STEPS)
    ends = np.zeros(shape, bool)
    ends[:, -1] = True
    obs = rng.normal(size=(*shape, 6)) * [1, 1, 1, 0.5, 0.1, 1]
    return Dataset(
        obs=obs.reshape(-1, 6),
        actions=rng.uniform(-1, 1, (DRIVES * STEPS, 2)),
        rewards=np.zeros(DRIVES * STEPS),
        next_obs=obs.reshape(-1, 6),
        terminated=np.zeros(DRIVES * STEPS, bool),
        truncated=ends.ravel(),
        lengths=np.full(DRIVES, STEPS),
        episode_ids=np.arange(DRIVES),
    )


def training_step(data: Dataset, car: Car, seeds: tuple[int, ...]) -> Work:
    """A gradient step of a fit, on the next snippets."""
    losses = Losses(rollout=Rollout(HORIZON), pose=Pose(), cvar=CVaR())
    fit = CarFit(data, car, losses, optimisation=Optimisation(BATCH), seeds=seeds)
    starts = fit._order(1)[0]
    return lambda: fit._step(starts)


def networks_alone(groups: int, widths: tuple[int, ...]) -> Work:
    """Products and activations of networks along a rollout, forward and backward."""
    weights = [torch.randn(groups, a, b) for a, b in pairwise(widths)]
    values = [torch.randn(groups, BATCH, width) for width in widths]
    whole = [torch.randn(groups, HORIZON * BATCH, width) for width in widths]
    last = len(weights) - 1

    def work() -> None:
        for _ in range(HORIZON):
            for layer, weight in enumerate(weights):
                found = torch.bmm(values[layer], weight)
                if layer < last:
                    torch.tanh(found)
            for layer in reversed(range(len(weights))):
                torch.bmm(values[layer + 1], weights[layer].transpose(1, 2))
                if layer:
                    torch.ops.aten.tanh_backward(values[layer], values[layer])
        for layer in range(len(weights)):
            torch.bmm(whole[layer].transpose(1, 2), whole[layer + 1])

    return work


def floor(car: Car) -> Work:
    """Of all networks of a car's model."""
    known = 2 * (car.history + 1)
    works: list[Work] = []
    if car.adapter is not None:
        works.append(networks_alone(2, (5 + known, *car.adapter.hidden, 1)))
    if car.residual is not None:
        felt = 7 if car.adapter is not None else 5
        works.append(networks_alone(1, (felt + known, *car.residual.hidden, 3)))

    def work() -> None:
        with torch.no_grad():
            for each in works:
                each()

    return work


def measured(rounds: int, seeds: int) -> dict[str, float]:
    """Seconds of each contender."""
    data, car, all_seeds = drives(), Car(), tuple(range(seeds))
    alone = [training_step(data, car, (seed,)) for seed in all_seeds]
    contenders: dict[str, Work] = {
        "stacked": training_step(data, car, all_seeds),
        "alone": lambda: [step() for step in alone],
        "one": alone[0],
        "floor": floor(car),
        "pacejka": training_step(data, Car(Pacejka()), (0,)),
        "direct": training_step(data, DIRECT, (0,)),
        "direct_floor": floor(DIRECT),
    }
    return turns(contenders, rounds, repeats=5)


def ratios_of(seconds: dict[str, float]) -> dict[str, float]:
    """What stacking saves, and steps over their floors."""
    return {
        "training: alone/stacked": seconds["alone"] / seconds["stacked"],
        "training: floor/one": seconds["floor"] / seconds["one"],
        "training: floor/direct": seconds["direct_floor"] / seconds["direct"],
    }
