"""How fast MuSHR-Learned-v0 steps, over its networks and beside the simulated car.

A part of ``mushr.py``, on one thread, for 1, 64 and 1024 cars side by side:

learned: a step of the packaged model's environment, the mean of five members.
floor: the matrix products and activations of all members' networks alone.
simulated: a step of ``MuSHR-v0`` with the gap ``"real"``.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import gymnasium as gym
import numpy as np
import torch

import suite  # noqa: F401  registers the ids
from suite.worldmodels.car import Car
from suite.worldmodels.mushr_learned import load_mushr

ROWS = (1, 64, 1024)
FELT, COMMAND = 5, 2  # what networks see beside the commands; the corrected command
Work = Callable[[], Any]


def stepping(name: str, rows: int, **kwargs: Any) -> Work:
    """A step of all rows, each with an action of its own."""
    envs = gym.make_vec(name, rows, vectorization_mode="vector_entry_point", **kwargs)
    envs.reset(seed=0)
    rng = np.random.default_rng(0)
    low, high = [-0.3, 0.1], [0.3, 0.5]  # slow bends: hardly an episode ends
    actions = rng.uniform(low, high, (rows, COMMAND)).astype(np.float32)
    return lambda: envs.step(actions)


def forward(groups: int, rows: int, widths: tuple[int, ...]) -> Work:
    """Products and activations of a stack of networks, on arrays that are there."""
    weights = [torch.randn(groups, a, b) for a, b in pairwise(widths)]
    values = [torch.randn(groups, rows, width) for width in widths[:-1]]

    def work() -> None:
        with torch.inference_mode():
            for layer, weight in enumerate(weights):
                found = torch.bmm(values[layer], weight)
                if layer < len(weights) - 1:
                    torch.tanh(found)

    return work


def floor(car: Car, members: int, rows: int) -> Work:
    """Of the networks of a car's model, adapters and residual."""
    assert car.adapter is not None and car.residual is not None
    seen = FELT + COMMAND * (car.history + 1)
    adapters = forward(2 * members, rows, (seen, *car.adapter.hidden, 1))
    residual = forward(members, rows, (seen + COMMAND, *car.residual.hidden, 3))
    return lambda: (adapters(), residual())


def contenders() -> dict[str, Work]:
    """All of them, by name and rows."""
    model = load_mushr()
    found: dict[str, Work] = {}
    for rows in ROWS:
        found[f"learned {rows}"] = stepping("MuSHR-Learned-v0", rows)
        found[f"floor {rows}"] = floor(model.car, model.members, rows)
        found[f"simulated {rows}"] = stepping("MuSHR-v0", rows, gap="real")
    return found


def rates_of(seconds: dict[str, float]) -> dict[str, float]:
    """Control steps of cars a second."""
    return {name: int(name.split()[1]) / each for name, each in seconds.items()}


def ratios_of(seconds: dict[str, float]) -> dict[str, float]:
    """Of the learned environment, over its floor and to the simulated one."""
    return {
        f"{other}/learned {rows}": seconds[f"{other} {rows}"]
        / seconds[f"learned {rows}"]
        for rows in ROWS
        for other in ("floor", "simulated")
    }
