"""What ensemble training and a model's environment cost, over their matrix products.

    python benchmarks/performance/world_models.py [--rounds 9]

Run it on an idle machine; planning.py measures the same in its run. Contenders take
turns and the median over the rounds is printed, with the last line one JSON object of
all numbers, ratios among them, of which larger ones are better:

training: one Adam step of an ensemble of 3 networks 27-250-250-21 on 512 rows each. The
    loop trains the same networks one after the other, each with its own Adam; the floor
    is the matrix products and activations of the stacked pass, forward and backward.
model_env: control steps a second of ``ModelVectorEnv`` over frozen dynamics of the same
    size (tanh, float32, ``TSInf``) against the products and activations of one step.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from gymnasium import spaces
from report import finish, show
from turns import turns

from suite.running.process import prepare_process
from suite.worldmodels.ensemble import Ensemble
from suite.worldmodels.learned import LearnedDynamics
from suite.worldmodels.model_env import ModelVectorEnv
from suite.worldmodels.propagation import TSInf

STATE, ACTION, HIDDEN, MEMBERS, BATCH = 21, 6, (250, 250), 3, 512
ROWS = (1, 16, 256, 1024)  # of an environment
Work = Callable[[], Any]


def stacked_step(x: torch.Tensor, y: torch.Tensor) -> Work:
    """One step of all members together."""
    ensemble = Ensemble(MEMBERS, STATE + ACTION, STATE, hidden=HIDDEN)
    optimizer = torch.optim.Adam(ensemble.parameters(), lr=1e-3)

    def step() -> None:
        optimizer.zero_grad()
        ensemble(x).losses(y).sum().backward()
        optimizer.step()

    return step


def loop_step(x: torch.Tensor, y: torch.Tensor) -> Work:
    """One step of each member, one after the other."""
    widths = (STATE + ACTION, *HIDDEN, STATE)
    networks, optimizers = [], []
    for _ in range(MEMBERS):
        layers: list[torch.nn.Module] = []
        for inputs, outputs in pairwise(widths):
            layers += [torch.nn.Linear(inputs, outputs), torch.nn.Tanh()]
        networks.append(torch.nn.Sequential(*layers[:-1]))
        optimizers.append(torch.optim.Adam(networks[-1].parameters(), lr=1e-3))

    def step() -> None:
        for member, (net, optimizer) in enumerate(
            zip(networks, optimizers, strict=True)
        ):
            optimizer.zero_grad()
            (net(x[member]) - y[member]).square().mean().backward()
            optimizer.step()

    return step


def products(rows: int, members: int, *, backward: bool) -> Work:
    """The matrix products and activations of a pass, on arrays that are there."""
    widths = (STATE + ACTION, *HIDDEN, STATE)
    weights = [torch.randn(members, a, b) for a, b in pairwise(widths)]
    values = [torch.randn(members, rows, width) for width in widths]
    last = len(weights) - 1

    def work() -> None:
        with torch.no_grad():
            for layer, weight in enumerate(weights):
                found = torch.bmm(values[layer], weight)
                if layer < last:
                    torch.tanh(found)
            for layer in reversed(range(len(weights) if backward else 0)):
                torch.bmm(values[layer].transpose(1, 2), values[layer + 1])
                if layer:
                    torch.bmm(values[layer + 1], weights[layer].transpose(1, 2))

    return work


def ensemble_training(rounds: int = 9) -> dict[str, float]:
    """Seconds of a training step: stacked, in a loop, and the floor."""
    x = torch.randn(MEMBERS, BATCH, STATE + ACTION)
    y = torch.randn(MEMBERS, BATCH, STATE)
    contenders = {
        "stacked": stacked_step(x, y),
        "loop": loop_step(x, y),
        "floor": products(BATCH, MEMBERS, backward=True),
    }
    return turns(contenders, rounds, repeats=5)


class _Start(gym.Env):
    """Spaces of the size that is measured; episodes begin at 0."""

    observation_space = spaces.Box(-np.inf, np.inf, (STATE,), np.float32)
    action_space = spaces.Box(-1, 1, (ACTION,), np.float32)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        super().reset(seed=seed)
        return np.zeros(STATE, np.float32), {}


def _no_reward(state: Any, action: Any, next_state: Any) -> torch.Tensor:
    return next_state[..., 0]


def model_env(rows: int, rounds: int = 9) -> dict[str, float]:
    """Seconds of a step of so many rows, and the floor: each row in one member."""
    ensemble = Ensemble(MEMBERS, STATE + ACTION, STATE, hidden=HIDDEN)
    model = TSInf(LearnedDynamics(ensemble, reward=_no_reward).frozen())
    env = ModelVectorEnv(_Start(), model, rows)
    env.reset(seed=0)
    actions = np.zeros((rows, ACTION), np.float32)
    contenders = {
        "env": lambda: env.step(actions),
        "floor": products(-(-rows // MEMBERS), MEMBERS, backward=False),
    }
    return turns(contenders, rounds, repeats=10)


def measured(rounds: int) -> tuple[dict[str, Any], dict[str, float]]:
    """Seconds of training and of environments, printed; and their ratios."""
    torch.manual_seed(0)
    training = ensemble_training(rounds)
    print(f"training, ms a step: {_ms(training)}")
    ratios = {
        "training, stacked/loop": training["loop"] / training["stacked"],
        "training, stacked/floor": training["floor"] / training["stacked"],
    }
    environments = {str(rows): model_env(rows, rounds) for rows in ROWS}
    for rows, found in environments.items():
        rate = int(rows) / found["env"]
        print(f"model_env, {rows} rows, ms a step: {_ms(found)}; {rate:.0f} rows/s")
        ratios[f"model_env, {rows} rows/floor"] = found["floor"] / found["env"]
    return {"training": training, "model_env": environments}, ratios


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="What a world model costs.")
    parser.add_argument("--rounds", type=int, default=9)
    rounds = parser.parse_args().rounds
    prepare_process()
    found, ratios = measured(rounds)
    show(ratios, {})
    finish("world_models", rounds=rounds, seconds=found, ratios=ratios)


def _ms(seconds: dict[str, float]) -> str:
    return ", ".join(f"{name} {1e3 * found:.2f}" for name, found in seconds.items())


if __name__ == "__main__":
    main()
