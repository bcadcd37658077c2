"""What a wrapper costs on batched PickCube.

    python benchmarks/performance/wrappers.py [--rows 512] [--steps 100] [--rounds 9]

Run it on an idle machine. Every contender executes the same recorded actions from the
same states. They take turns at every single step, so that a machine whose clock drifts
by more than a wrapper costs hits all alike; a round's ratio is of its total times, and
the median over the rounds is printed:

reward_noise, observation_noise, reward_delay, stack: ``RewardNoise``,
``ObservationNoise``, ``RewardDelay``, and the three on top of each other. (Wrappers of
the action make the simulation do other work, so their rates say nothing.)
single: ``RewardNoise`` on one ``gym.make`` environment against the bare one.

The last line is one JSON object of rates (control steps a second) and ratios.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from report import finish, rounded, show

from suite.envs.pickcube import PickCubeEnv, PickCubeVectorEnv
from suite.running.process import prepare_process
from suite.wrappers import ObservationNoise, RewardDelay, RewardNoise

Wrap = Callable[[Any], Any]
STACKS: dict[str, Wrap] = {
    "bare": lambda env: env,
    "reward_noise": lambda env: RewardNoise(env, 0.1),
    "observation_noise": lambda env: ObservationNoise(env, 0.01),
    "reward_delay": lambda env: RewardDelay(env, 5),
    "stack": lambda env: RewardDelay(ObservationNoise(RewardNoise(env, 0.1), 0.01), 5),
}
TARGETS = {"reward_noise": 0.97}


class Contender:
    """A wrapped environment that repeats the same steps.

    Args:
        wrap: Puts the wrappers on.
        rows: Number of rows.
        steps: Control steps in a round.
        threads: Threads of the physics.
    """

    def __init__(self, wrap: Wrap, rows: int, steps: int, threads: int):
        self.env = wrap(
            PickCubeVectorEnv(rows, autoreset_mode="same_step", num_threads=threads)
        )
        self.env.reset(seed=0)
        self.start = self.env.snapshot()
        rng = np.random.default_rng(0)
        self.actions = rng.uniform(-1, 1, (steps, rows, 8)).astype(np.float32)

    def restart(self) -> None:
        """Back to the first state."""
        self.env.restore(self.start)

    def step(self, number: int) -> None:
        """One control step of every row."""
        self.env.step(self.actions[number])


class SingleContender:
    """One environment under recorded actions.

    Args:
        wrap: Puts the wrappers on.
        steps: Control steps in a round.
    """

    def __init__(self, wrap: Wrap, steps: int):
        self.env = wrap(PickCubeEnv())
        self.actions = np.random.default_rng(0).uniform(-1, 1, (steps, 8))

    def restart(self) -> None:
        """A new episode."""
        self.env.reset(seed=0)

    def step(self, number: int) -> None:
        """One control step, and a reset where it ended an episode."""
        _, _, terminated, truncated, _ = self.env.step(self.actions[number])
        if terminated or truncated:
            self.env.reset()


def round_seconds(contenders: dict[str, Any], steps: int) -> dict[str, float]:
    """Seconds of each contender for all steps, in turns at every step."""
    seconds = dict.fromkeys(contenders, 0.0)
    names = list(contenders)
    for contender in contenders.values():
        contender.restart()
    for number in range(steps):
        first = number % len(names)
        for name in names[first:] + names[:first]:
            started = time.perf_counter()
            contenders[name].step(number)
            seconds[name] += time.perf_counter() - started
    return seconds


def compared(
    contenders: dict[str, Any], steps: int, rows: int, rounds: int
) -> tuple[dict[str, float], dict[str, float]]:
    """Median control steps a second, and median ratio to the bare environment."""
    found = [round_seconds(contenders, steps) for _ in range(rounds)]
    rates, ratios = {}, {}
    for name in contenders:
        rates[name] = statistics.median(steps * rows / round_[name] for round_ in found)
        ratios[name] = statistics.median(
            round_["bare"] / round_[name] for round_ in found
        )
    del ratios["bare"]
    return rates, ratios


def measured(rows: int, steps: int, rounds: int, threads: int) -> dict[str, Any]:
    """All rates, and each wrapper's ratio to the bare environment."""
    contenders = {n: Contender(w, rows, steps, threads) for n, w in STACKS.items()}
    rates, ratios = compared(contenders, steps, rows, rounds)
    names = ("bare", "reward_noise")
    singles = {n: SingleContender(STACKS[n], 1000) for n in names}
    single, ratio = compared(singles, 1000, 1, rounds)
    ratios["single"] = ratio["reward_noise"]
    return {"rates": {"rows": rates, "single": single}, "ratios": ratios}


def main() -> None:
    """Measure, print the ratios beside their targets, and the JSON line."""
    parser = argparse.ArgumentParser(description="What a wrapper costs on PickCube.")
    parser.add_argument("--rows", type=int, default=512)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    prepare_process()
    found = measured(args.rows, args.steps, args.rounds, args.threads)
    rates, ratios = found["rates"], found["ratios"]
    show(ratios, TARGETS)
    finish("wrappers", **vars(args), rates=rounded(rates), ratios=rounded(ratios, 3))


if __name__ == "__main__":
    main()
