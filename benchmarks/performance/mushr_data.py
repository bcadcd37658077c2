"""How fast trajectories of the MuSHR car are made, beside the physics alone.

A part of ``mushr.py``. Every contender drives the same trajectories of
``suite/mushr-real-v0``:

limit: ``Batch.step`` alone, on the recorded states and controls.
data: ``make_trajectories``: plans, laps in closed loop, friction by row, noise, arrays.
single: a loop over one environment of ``gymnasium.make``, as anybody would write it.
"""

from __future__ import annotations

import os
import time
from typing import Any

import gymnasium as gym
import numpy as np
from turns import medians

import suite  # noqa: F401  registers the ids
from suite.envs.mushr import Drift
from suite.envs.mushr_car import CarSimulation
from suite.envs.mushr_gaps import GAPS
from suite.trajectories import STEPS, Trajectories, make_trajectories
from suite.transitions import Dataset

GAP = "real"
SINGLE = 5  # trajectories of the loop
TARGETS = {"data/limit": 0.9, "data/single": 1.7}


class Limit:
    """The physics of trajectories that were driven before.

    Args:
        data: What was driven, without noise.
        threads: Threads that simulate.
    """

    def __init__(self, data: Dataset, threads: int):
        rows = data.num_episodes
        self.simulation = CarSimulation(rows, Drift(), GAPS[GAP], (), threads)
        commands = data.actions.reshape(rows, STEPS, 2)
        cars = data.obs[data.offsets[:-1]].astype(float)
        friction = np.array(data.card["trajectories"]["friction"])
        none = np.empty((rows, 0))
        self.simulation.place(np.arange(rows), cars, none, friction)
        self.states: list[np.ndarray] = []
        for step in range(STEPS):
            # A state row holds the controls too: set them as the step is about to.
            controls = self.simulation.control(None, commands[:, step])
            self.simulation.ctrl[:] = controls
            self.states.append(self.simulation.batch.state.copy())
            self.simulation.step(None, commands[:, step])

    def rate(self) -> float:
        """Control steps a second."""
        batch, seconds = self.simulation.batch, 0.0
        for state in self.states:
            batch.state[:] = state
            started = time.perf_counter()
            batch.step(nstep=self.simulation.substeps)
            seconds += time.perf_counter() - started
        return STEPS * self.simulation.num_rows / seconds


def data_rate(made: Trajectories, threads: int, expected: str) -> float:
    """Control steps a second of making a dataset, from nothing to its arrays."""
    started = time.perf_counter()
    data = make_trajectories(made, num_threads=threads)
    seconds = time.perf_counter() - started
    if data.sha256 != expected:
        raise RuntimeError("a contender did other work than was recorded")
    return len(data) / seconds


def single_rate(data: Dataset) -> float:
    """Control steps a second of one environment after the other."""
    env: Any = gym.make("MuSHR-v0", task="drift", gap=GAP).unwrapped
    env.reset(seed=0)
    seconds = 0.0
    for episode in range(SINGLE):
        one = data.episode(episode)
        friction = data.card["trajectories"]["friction"][episode]
        env.reset_to(one.obs[0], friction=friction)
        started = time.perf_counter()
        for action, came_to in zip(one.actions, one.next_obs, strict=True):
            _, _, terminated, truncated, _ = env.step(action)
            if terminated or truncated:  # it would stand still, at no cost
                env.reset_to(came_to, friction=friction)
        seconds += time.perf_counter() - started
    return SINGLE * STEPS / seconds


def measured(rows: int, rounds: int) -> dict[str, float]:
    """Control steps a second of all, ours with one thread and with one a core."""
    cores = os.cpu_count() or 1
    made = Trajectories("", GAP, "", rows)
    clean = make_trajectories(Trajectories("", GAP, "", rows, is_clean=True))
    expected = make_trajectories(made).sha256
    alone, threaded = (Limit(clean, threads) for threads in (1, cores))
    return medians(
        {
            "limit, 1 threads": alone.rate,
            "data, 1 threads": lambda: data_rate(made, 1, expected),
            f"limit, {cores} threads": threaded.rate,
            f"data, {cores} threads": lambda: data_rate(made, cores, expected),
            "single": lambda: single_rate(clean),
        },
        rounds,
    )


def ratios_of(rates: dict[str, float]) -> dict[str, float]:
    """Data against the physics at each thread count, and against the loop."""
    ratios = {}
    for name in [name for name in rates if name.startswith("data,")]:
        limit = rates[name.replace("data", "limit")]
        ratios[name.replace("data", "data/limit")] = rates[name] / limit
        ratios[name.replace("data", "data/single")] = rates[name] / rates["single"]
    return ratios


def targets_of(ratios: dict[str, float]) -> dict[str, float]:
    """What ratios are to reach; against the loop, on all cores."""
    on_all = f"{os.cpu_count() or 1} threads"
    kinds = {name: name.partition(", ")[::2] for name in ratios}
    return {
        name: TARGETS[kind]
        for name, (kind, threads) in kinds.items()
        if kind == "data/limit" or threads == on_all
    }
