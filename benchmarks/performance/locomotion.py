r"""How fast rows of Gymnasium's robots step, beside the physics alone and Gymnasium.

    python benchmarks/performance/locomotion.py [--robot HalfCheetah] [--rows 256] \
        [--peer build/envpool-peer]

Run it on an idle machine. The environments are equal bit for bit, so every contender
does the same work from the same seeds under the same recorded actions, in turns. A
ratio is of one round's rates; medians over the rounds are told:

limit: ``Batch.step`` alone, on the recorded states and controls.
env: ``LocomotionVectorEnv.step``: with observation, reward, termination, autoreset and
    info.
sync: Gymnasium's SyncVectorEnv of as many environments.
async: Gymnasium's AsyncVectorEnv, a process a core, of as few environments: more
    processes than cores only wait for each other.
envpool: EnvPool with as many environments and threads as ours, in a virtual
    environment of its own, which is made on first use.
single, gymnasium: one environment of ours, and of Gymnasium's.

The last line is one JSON object of rates (control steps a second) and ratios.
"""

from __future__ import annotations

import argparse
import functools
import os
import time
from pathlib import Path
from typing import Any

import envpool_peer
import gymnasium as gym
import numpy as np
from gymnasium.vector import AsyncVectorEnv, SyncVectorEnv
from peers import Peer, environment
from report import finish, rounded, show
from turns import medians_of, told_in

import suite  # noqa: F401  registers the ids
from suite.envs.locomotion_env import ROBOTS, LocomotionVectorEnv
from suite.running.process import prepare_process

TARGETS = {"env/limit": 0.88, "env/envpool": 1.0, "single/gymnasium": 0.6}
ALL_CORES = {"env/async": 7.0}  # which has a process a core


def recorded_actions(robot: str, steps: int, rows: int) -> np.ndarray:
    """What every contender does, (steps, rows, A)."""
    shape = ROBOTS[robot][0]().action_space.shape
    actions = np.random.default_rng(0).uniform(-1, 1, (steps, rows, *shape))
    return actions.astype(np.float32)


def vector_rate(env: Any, actions: np.ndarray) -> tuple[float, np.ndarray]:
    """Control steps a second of a vector environment, and its last observations."""
    obs, _ = env.reset(seed=0)
    started = time.perf_counter()
    for action in actions:
        obs, *_ = env.step(action)
    return actions[..., 0].size / (time.perf_counter() - started), obs


def single_rate(env: Any, actions: np.ndarray) -> float:
    """Control steps a second of one environment."""
    env.reset(seed=0)
    started = time.perf_counter()
    for action in actions:
        _, _, terminated, truncated, _ = env.step(action)
        if terminated or truncated:
            env.reset()
    return len(actions) / (time.perf_counter() - started)


class Rows:
    """Our rows, and the physics that they step.

    Args:
        robot: Which robot.
        actions: What the rows do, (steps, rows, A).
        threads: Threads of the physics.
    """

    def __init__(self, robot: str, actions: np.ndarray, threads: int):
        self.actions = actions
        self.env = LocomotionVectorEnv(
            actions.shape[1], robot=robot, num_threads=threads
        )
        self.states: list[np.ndarray] = []
        simulation: Any = self.env.simulation
        self.env.reset(seed=0)
        for action in actions:
            # A state row holds the controls too: set them as the step is about to.
            simulation.ctrl[:] = action
            self.states.append(simulation.batch.state.copy())
            self.last_obs, *_ = self.env.step(action)

    def limit(self) -> float:
        """Control steps a second of the physics alone."""
        simulation: Any = self.env.simulation
        seconds = 0.0
        for state in self.states:
            simulation.batch.state[:] = state
            started = time.perf_counter()
            simulation.batch.step(nstep=simulation.substeps)
            seconds += time.perf_counter() - started
        return self.actions[..., 0].size / seconds

    def rate(self) -> float:
        """Control steps a second of the environment."""
        return self.checked_rate(self.env)

    def checked_rate(self, env: Any) -> float:
        """Control steps a second of another environment that does the same work."""
        rate, obs = vector_rate(env, self.actions)
        if not np.array_equal(obs, self.last_obs):
            raise RuntimeError("a contender did other work than was recorded")
        return rate


def measured(
    robot: str, rows: int, steps: int, rounds: int, folder: Path
) -> tuple[dict[str, float], dict[str, float]]:
    """Median rates of all, ours with one thread and one a core, and median ratios."""
    cores = os.cpu_count() or 1
    actions = recorded_actions(robot, steps, rows)
    alone, threaded = (Rows(robot, actions, threads) for threads in (1, cores))
    make = functools.partial(gym.make, f"{robot}-v5", disable_env_checker=True)
    sync = SyncVectorEnv([make] * rows)
    # Spawned: a fork would copy the locks of our thread pools.
    workers = AsyncVectorEnv([make] * cores, context="spawn")
    few = recorded_actions(robot, 1000, cores)
    single, reference = gym.make(f"Batched{robot}-v5"), make()
    peer = envpool(robot, actions, folder)
    try:
        found = told_in(
            {
                "limit, 1 threads": alone.limit,
                "env, 1 threads": alone.rate,
                "envpool, 1 threads": lambda: peer.ask("1")["rate"],
                f"limit, {cores} threads": threaded.limit,
                f"env, {cores} threads": threaded.rate,
                f"envpool, {cores} threads": lambda: peer.ask(str(cores))["rate"],
                "sync": lambda: alone.checked_rate(sync),
                "async": lambda: vector_rate(workers, few)[0],
                "single": lambda: single_rate(single.unwrapped, few[:, 0]),
                "gymnasium": lambda: single_rate(reference.unwrapped, few[:, 0]),
            },
            rounds,
        )
    finally:
        workers.close()
        peer.close()
    return medians_of(found), medians_of([ratios_of(each) for each in found])


def envpool(robot: str, actions: np.ndarray, folder: Path) -> Peer:
    """EnvPool, about to step as many rows by the same actions."""
    folder = folder.absolute()
    python = environment(folder, envpool_peer.REQUIREMENTS)
    recorded = folder / "actions.npy"
    np.save(recorded, actions)
    return Peer(python, Path(envpool_peer.__file__), robot, recorded)


def ratios_of(rates: dict[str, float]) -> dict[str, float]:
    """How ours compares: each thread count with its limit, and with Gymnasium."""
    ratios = {}
    for name in [name for name in rates if name.startswith("env,")]:
        for other in ("limit", "envpool"):
            theirs = rates[name.replace("env", other)]
            ratios[name.replace("env", f"env/{other}")] = rates[name] / theirs
        for other in ("sync", "async"):
            ratios[name.replace("env", f"env/{other}")] = rates[name] / rates[other]
    return {**ratios, "single/gymnasium": rates["single"] / rates["gymnasium"]}


def targets_of(ratios: dict[str, float]) -> dict[str, float]:
    """What ratios are to reach, by their names."""
    targets = {}
    for name in ratios:
        kind, _, threads = name.partition(", ")
        on_all = threads == f"{os.cpu_count()} threads"
        known = TARGETS | ALL_CORES if on_all else TARGETS
        if kind in known:
            targets[name] = known[kind]
    return targets


def main() -> None:
    """Measure, print the ratios beside their targets, and the JSON line."""
    parser = argparse.ArgumentParser(description="Speed of Gymnasium's robots in rows.")
    parser.add_argument("--robot", choices=ROBOTS, default="HalfCheetah")
    parser.add_argument("--rows", type=int, default=256)
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--peer", type=Path, default=Path("build/envpool-peer"))
    args = parser.parse_args()
    prepare_process()
    sizes = {name: value for name, value in vars(args).items() if name != "peer"}
    rates, ratios = measured(**sizes, folder=args.peer)
    show(ratios, targets_of(ratios))
    finish("locomotion", **sizes, rates=rounded(rates), ratios=rounded(ratios, 3))


if __name__ == "__main__":
    main()
