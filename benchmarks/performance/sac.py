"""What an update of SAC costs, over its matrix products and beside SB3's.

    python benchmarks/performance/sac.py [--rounds 15]

Run it on an idle machine. All contenders take turns on one thread, whose processor
time is measured, with networks of 2x256 and batches of 256, on Hopper's 11 and 3
numbers; the median over the rounds is printed, with the last line one JSON object of
all numbers:

ours: ``SoftUpdate.update`` and the draw of its batch from a buffer.
sb3: ``stable_baselines3.SAC.train`` of one gradient step, from its own buffer.
floor: the matrix products of an update alone, forward and backward, on arrays that are
    there: actor on s and s', targets, critics twice, both backward passes.
branch: a rollout step of the published MBPO, 10,000 rows of policy and model (``TS1``
    of five networks 4x200).
fit: an epoch of 20 gradient steps of its model's fit, 7 networks on 256 rows each.

From these follow core-hours a seed, which are printed too.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import gymnasium as gym
import numpy as np
import stable_baselines3 as sb3
import torch
from gymnasium import spaces
from report import finish
from stable_baselines3.common.logger import Logger
from turns import turns

from suite.agents.replay import Mixture
from suite.agents.soft_update import Soft, SoftUpdate
from suite.parts import build
from suite.running.process import prepare_process
from suite.worldmodels.batches import Bootstrap
from suite.worldmodels.branches import branches
from suite.worldmodels.ensemble import GaussianEnsemble
from suite.worldmodels.experience import Experience
from suite.worldmodels.fit import Fit
from suite.worldmodels.learned import LearnedDynamics
from suite.worldmodels.propagation import TS1
from suite_bench.benchmarks.mbpo import MBPO_HOPPER

OBS, ACTIONS, WIDTH, ROWS = 11, 3, 256, 256
Work = Callable[[], Any]


class _Spaces(gym.Env):
    observation_space = spaces.Box(-np.inf, np.inf, (OBS,), np.float32)
    action_space = spaces.Box(-1, 1, (ACTIONS,), np.float32)


def transitions(count: int) -> Experience:
    states, actions = torch.randn(count, OBS), torch.rand(count, ACTIONS) * 2 - 1
    after = states + 0.1 * torch.randn(count, OBS)
    return Experience(states, actions, torch.randn(count), after, torch.zeros(count))


def ours(data: Experience) -> Work:
    update = SoftUpdate(Soft(), OBS, _Spaces.action_space)
    memory, draws = Mixture(), torch.Generator().manual_seed(0)
    memory.expect(400_000)
    memory.add(data[:15_000])
    memory.imagine(data)
    return lambda: update.update(memory.sample(ROWS, draws))


def theirs(data: Experience) -> Work:
    agent = sb3.SAC("MlpPolicy", _Spaces(), buffer_size=len(data), device="cpu")
    agent.set_logger(Logger(None, []))
    agent._current_progress_remaining = 1.0
    columns = [each.numpy() for each in data.to_tree().values()]
    for obs, action, reward, after, end in zip(*columns, strict=True):
        agent.replay_buffer.add(obs, after, action, reward, end, [{}])  # pyright: ignore
    return lambda: agent.train(1, ROWS)


class _Products:
    """The products of a stack's pass, forward and backward."""

    def __init__(self, members: int, rows: int, inputs: int, outputs: int):
        widths = (inputs, WIDTH, WIDTH, outputs)
        self.weights = [torch.randn(members, a, b) for a, b in pairwise(widths)]
        self.values = [torch.randn(members, rows, width) for width in widths]
        self.into = [torch.empty_like(value) for value in self.values]
        self.grads = [torch.empty_like(weight) for weight in self.weights]

    def forward(self) -> None:
        for layer, weight in enumerate(self.weights):
            torch.bmm(self.values[layer], weight, out=self.into[layer + 1])

    def back(self, rows: int, *, to_weights: bool, to_input: bool) -> None:
        for layer in reversed(range(len(self.weights))):
            above = self.values[layer + 1][:, :rows]
            below = self.values[layer][:, :rows]
            if to_weights:
                torch.bmm(below.transpose(1, 2), above, out=self.grads[layer])
            if layer or to_input:
                weight = self.weights[layer].transpose(1, 2)
                torch.bmm(above, weight, out=self.into[layer][:, :rows])


def floor() -> Work:
    actor = _Products(1, 2 * ROWS, OBS, 2 * ACTIONS)
    critics, targets = (_Products(2, ROWS, OBS + ACTIONS, 1) for _ in range(2))

    def work() -> None:
        actor.forward()
        targets.forward()
        critics.forward()
        critics.back(ROWS, to_weights=True, to_input=False)
        critics.forward()
        critics.back(ROWS, to_weights=False, to_input=True)
        actor.back(ROWS, to_weights=True, to_input=False)

    return work


def _always(state: Any) -> torch.Tensor:
    return torch.zeros_like(state[..., 0], dtype=torch.bool)


def model_work(data: Experience) -> dict[str, Work]:
    """A rollout step and a fit step of the published model."""
    ensemble = GaussianEnsemble(
        7, OBS + ACTIONS, OBS + 1, hidden=(200,) * 4, activation="silu"
    )
    dynamics = LearnedDynamics(ensemble, reward=None, terminated=_always)
    dynamics.is_elite[5:] = False
    fit = Fit(dynamics, data[: 20 * 256], batches=Bootstrap(256))
    policy = SoftUpdate(Soft(), OBS, _Spaces.action_space).policy
    model, starts = TS1(dynamics), data.states[:10_000]
    return {
        "branch": lambda: branches(model, starts, policy.act, 1),
        "fit": lambda: next(fit.iterate(fit.steps + 20)),
    }


def hours(seconds: dict[str, float]) -> dict[str, float]:
    """Core-hours a seed of the benchmarks, without environment and evaluation.

    A fit of Hopper's model is counted with 12 epochs of 8,000 rows on average.
    """
    steps, fits = 14_000 - 1, 14 * 4
    length = build(MBPO_HOPPER.agent.kwargs["branched"], {}).length
    rollouts = 10 * 4 * sum(map(length, range(14)))  # steps of 10,000 each
    hopper = steps * 20 * seconds["ours"] + rollouts * seconds["branch"]
    hopper += fits * 12 * (8_000 // 256) * seconds["fit"] / 20
    return {
        "mbpo-hopper": hopper / 3600,
        "sac-hopper": 14_000 * seconds["ours"] / 3600,
        "cs285-q6 rlen0, updates alone": 10_000 * seconds["ours"] / 3600,
        "cs285-q6 rlen10, updates alone": 50_000 * seconds["ours"] / 3600,
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="What an update of SAC costs.")
    parser.add_argument("--rounds", type=int, default=15)
    rounds = parser.parse_args().rounds
    prepare_process()
    torch.manual_seed(0)
    data = transitions(50_000)
    update = {"ours": ours(data), "sb3": theirs(data[:5_000]), "floor": floor()}
    seconds = turns(update, rounds, 10, time.process_time)
    seconds |= turns(model_work(data), max(rounds // 5, 1), 1, time.process_time)
    for name, found in seconds.items():
        print(f"{name}: {1e3 * found:.2f} ms")
    print(f"over the floor: {seconds['ours'] / seconds['floor']:.2f}")
    print(f"SB3 / ours: {seconds['sb3'] / seconds['ours']:.2f}")
    for name, found in hours(seconds).items():
        print(f"{name}: {found:.2f} core-hours a seed")
    finish("sac", rounds=rounds, seconds=seconds)


if __name__ == "__main__":
    main()
