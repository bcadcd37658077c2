"""How close batched PickCube stepping comes to the physics alone, and to other ways.

    python benchmarks/performance/rerollout.py [--rows 1024] [--steps 50] [--rounds 5]

Run it on an idle machine. One trajectory of all rows is recorded once; every contender
then repeats exactly that work, in turns, and the medians of the rounds are compared:

limit: ``Batch.step(nstep=5)`` alone, on the recorded states and controls.
env: ``PickCubeVectorEnv.step``: with observation, reward, termination and autoreset.
policy: the same with the expert policy choosing the actions, as a re-rollout does.
subproc: the policy over SB3's SubprocVecEnv of ``PickCubeEnv``, one worker a core.
single: BatchedHalfCheetah-v5, a ``SingleEnv``, against Gymnasium's HalfCheetah-v5.

The last line is one JSON object of rates (control steps a second) and ratios.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from report import finish, rounded, show
from stable_baselines3.common.vec_env import SubprocVecEnv
from turns import medians

import suite
from suite.agents.policies import sample_actions
from suite.envs.pickcube import SUBSTEPS, PickCubeEnv, PickCubeVectorEnv
from suite.running.process import prepare_process

RATIOS = ("env/limit", "policy/limit", "policy/subproc")
TARGETS = {
    "env/limit, 1 threads": 0.9,
    "env/limit, 2 threads": 0.9,
    "policy/limit, 1 threads": 0.8,
    "policy/limit, 2 threads": 0.7,
    "policy/subproc, 2 threads": 5.0,
    "single/gymnasium": 0.6,
}


class Recorded:
    """One trajectory of every row: what each contender must repeat.

    Args:
        rows: Number of rows.
        steps: Control steps.
        threads: Threads of the physics.
    """

    def __init__(self, rows: int, steps: int, threads: int):
        self.rows, self.steps = rows, steps
        self.policy = suite.load_policy("pickcube-expert")
        self.env = PickCubeVectorEnv(
            rows, reward_mode="sparse", autoreset_mode="same_step", num_threads=threads
        )
        self.first_obs, _ = self.env.reset(seed=0)
        self.start = self.env.snapshot()
        self.actions: list[np.ndarray] = []
        self.states: list[np.ndarray] = []
        generator, obs = torch.Generator().manual_seed(0), self.first_obs
        simulation: Any = self.env.simulation
        for _ in range(steps):
            self.actions.append(sample_actions(self.policy, obs, generator))
            # A state row holds the controls too: set them as the step is about to.
            row_state = simulation.batch.state.copy()
            simulation.ctrl[:] = simulation.control(None, self.actions[-1])
            self.states.append(simulation.batch.state.copy())
            simulation.batch.state[:] = row_state
            obs, *_ = self.env.step(self.actions[-1])
        self.last_obs = obs

    def limit(self) -> float:
        """Seconds of physics alone."""
        batch: Any = self.env.simulation.batch  # pyright: ignore[reportAttributeAccessIssue]
        seconds = 0.0
        for state in self.states:
            batch.state[:] = state
            started = time.perf_counter()
            batch.step(nstep=SUBSTEPS)
            seconds += time.perf_counter() - started
        return seconds

    def stepping(self) -> float:
        """Seconds of full environment steps."""
        self.env.restore(self.start)
        obs = self.first_obs
        started = time.perf_counter()
        for actions in self.actions:
            obs, *_ = self.env.step(actions)
        seconds = time.perf_counter() - started
        self._check(obs)
        return seconds

    def with_policy(self) -> float:
        """Seconds of full environment steps and the policy's choices."""
        self.env.restore(self.start)
        generator, obs = torch.Generator().manual_seed(0), self.first_obs
        started = time.perf_counter()
        for _ in range(self.steps):
            obs, *_ = self.env.step(sample_actions(self.policy, obs, generator))
        seconds = time.perf_counter() - started
        self._check(obs)
        return seconds

    def _check(self, obs: np.ndarray) -> None:
        if not np.array_equal(obs, self.last_obs):
            raise RuntimeError("a contender did other work than was recorded")


def _sparse_pickcube() -> gym.Env:
    return PickCubeEnv(reward_mode="sparse")


class Subproc:
    """The policy over SB3's worker processes, one a core.

    Args:
        workers: Number of processes, each with one environment.
        steps: Control steps of each.
    """

    def __init__(self, workers: int, steps: int):
        self.env = SubprocVecEnv([_sparse_pickcube] * workers, start_method="spawn")
        self.workers, self.steps = workers, steps
        self.policy = suite.load_policy("pickcube-expert")

    def rate(self) -> float:
        """Control steps a second, of all workers together."""
        generator = torch.Generator().manual_seed(0)
        self.env.seed(0)
        obs: Any = self.env.reset()
        started = time.perf_counter()
        for _ in range(self.steps):
            obs, *_ = self.env.step(sample_actions(self.policy, obs, generator))
        return self.workers * self.steps / (time.perf_counter() - started)


def single_rate(env: gym.Env, steps: int) -> float:
    """Control steps a second of one environment under recorded random actions."""
    size = env.action_space.shape or ()
    actions = np.random.default_rng(0).uniform(-1, 1, (steps, *size))
    env.reset(seed=0)
    started = time.perf_counter()
    for action in actions:
        _, _, terminated, truncated, _ = env.step(action)
        if terminated or truncated:
            env.reset()
    return steps / (time.perf_counter() - started)


def batched(rows: int, steps: int, rounds: int, threads: int) -> dict[str, float]:
    """Rates of limit, env and policy, and of workers as many as threads."""
    recorded = Recorded(rows, steps, threads)
    subproc = Subproc(threads, 400)
    work = rows * steps
    try:
        return medians(
            {
                "limit": lambda: work / recorded.limit(),
                "env": lambda: work / recorded.stepping(),
                "policy": lambda: work / recorded.with_policy(),
                "subproc": subproc.rate,
            },
            rounds,
        )
    finally:
        subproc.env.close()


def single(rounds: int) -> dict[str, float]:
    """Rates of HalfCheetah as a single row and as Gymnasium's own."""
    ours = gym.make("BatchedHalfCheetah-v5").unwrapped
    theirs = gym.make("HalfCheetah-v5").unwrapped
    return medians(
        {
            "ours": lambda: single_rate(ours, 3000),
            "gymnasium": lambda: single_rate(theirs, 3000),
        },
        rounds,
    )


def measured(rows: int, steps: int, rounds: int) -> dict[str, Any]:
    """All rates, and the ratios that have a target."""
    rates = {f"{n} threads": batched(rows, steps, rounds, n) for n in (1, 2)}
    ratios = {}
    for name in RATIOS:
        above, below = name.split("/")
        for threads, found in rates.items():
            ratios[f"{name}, {threads}"] = found[above] / found[below]
    rates["HalfCheetah"] = single(rounds)
    found = rates["HalfCheetah"]
    ratios["single/gymnasium"] = found["ours"] / found["gymnasium"]
    return {"rates": rates, "ratios": ratios}


def main() -> None:
    """Measure, print the ratios beside their targets, and the JSON line."""
    parser = argparse.ArgumentParser(description="Speed of batched PickCube stepping.")
    parser.add_argument("--rows", type=int, default=1024)
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    prepare_process()
    found = measured(args.rows, args.steps, args.rounds)
    rates, ratios = found["rates"], found["ratios"]
    show(ratios, TARGETS)
    finish("rerollout", **vars(args), rates=rounded(rates), ratios=rounded(ratios, 3))


if __name__ == "__main__":
    main()
