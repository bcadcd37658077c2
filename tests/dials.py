"""A sweep of a moment: a learner that follows a formula instead of learning."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from stable_baselines3.common.policies import ActorCriticPolicy
from toys import ToyTask

from suite.benchmark import Benchmark, Env, Part, Scale
from suite.cell import Cell
from suite.results.figures import Bars, Comparison, Curves
from suite.sweep import Sweep, SweepScale

STEPS = 1000  # of an update


class Dial:
    """Turns a number a little at every update.

    Args:
        spread: Of its loss.
        seed: The run's.
        env: Not used.
    """

    sim_steps = 0

    def __init__(self, spread: float, seed: int, env: Any = None):
        self.env = SimpleNamespace(seed=lambda _: None)
        spaces = ToyTask.observation_space, ToyTask.action_space
        self.policy = ActorCriticPolicy(*spaces, lambda _: 1e-3, net_arch=[1])
        self.num_timesteps, self.spread, self.seed = 0, spread, seed

    def planned_updates(self, total_timesteps: int) -> int:
        return total_timesteps // STEPS

    def iterate(self, total_timesteps: int) -> Iterator[dict[str, float]]:
        while self.num_timesteps < total_timesteps:
            self.num_timesteps += STEPS
            noise = np.random.default_rng([self.seed, self.num_timesteps])
            yield {
                "critic_loss_variance": self.spread * noise.lognormal(0, 0.3),
                "td_loss_variance": 0.1 * self.spread * noise.lognormal(0, 0.3),
                "q_mean": self.num_timesteps / 400 + noise.normal(),
                "q_std": 3 + noise.uniform(),
            }

    def state(self) -> dict[str, Any]:
        return {"steps": self.num_timesteps}

    def load_state(self, tree: dict[str, Any]) -> None:
        self.num_timesteps = tree["steps"]


class Reading:
    """What the dial reads: a level that is approached, with noise of the seed.

    Args:
        level: In the end.
        seed: The run's.
        trouble: ``"bug"``, ``"interrupt"`` or ``"wait"`` (for a file "go") after two
            updates of seed 0; once if there is a marker.
        marker: A folder that is made then; while it is there, nothing happens again.
    """

    def __init__(
        self,
        level: float,
        seed: int,
        trouble: str | None = None,
        marker: str | None = None,
    ):
        self.level, self.seed = level, seed
        self.trouble = trouble if seed == 0 else None
        self.marker = Path(marker) if marker else None

    def __call__(self, policy: Any, key: int) -> dict[str, float]:
        is_over = self.marker is not None and self.marker.exists()
        if self.trouble and key == 2 and not is_over:
            if self.marker:
                self.marker.mkdir()
            self._happen()
        noise = np.random.default_rng([self.seed, key, round(self.level)]).normal()
        return {"normalized_return": self.level * (1 - np.exp(-key / 2)) + 2 * noise}

    def _happen(self) -> None:
        if self.trouble == "interrupt":
            raise KeyboardInterrupt
        if self.trouble != "wait":
            raise ZeroDivisionError("of a bug")
        while not Path("go").exists():
            time.sleep(0.02)


def spec(level: float, spread: float = 1.0, **trouble: Any) -> Benchmark:
    """A run of eight updates, two at the scale ``smoke``."""
    return Benchmark(
        name="dial",
        about="A number that is turned. It is for tests.",
        env=Env("toys:Toy-v0"),
        agent=Part("dials:Dial", {"spread": spread}),
        total_timesteps=8 * STEPS,
        evaluation=Part("dials:Reading", {"level": level, **trouble}),
        metric="normalized_return",
        seeds=(0, 1, 2),
        scales={"smoke": Scale("no time", {"total_timesteps": 2 * STEPS})},
    )


LEVELS = {"cql": 60, "iql": 50}
DROPS = {"k": (0, 30, 60), "random": (30, 60), "noise": (0.5,)}
DIALS = Sweep(
    name="dials",
    about="How far dials drop. It is for tests.",
    cells=tuple(
        Cell(
            {"algo": algo, "env": env, kind: amount},
            spec(
                level=level - higher - (0.5 if kind == "k" else 0.1) * amount,
                spread=(amount + 1) * (3 if algo == "cql" else 1),
            ),
            cost=5 if algo == "cql" else 1,
        )
        for algo, level in LEVELS.items()
        for env, higher in (("hopper", 0), ("halfcheetah", 10))
        for kind, amounts in DROPS.items()
        for amount in amounts
    ),
    tasks="env",
    rivals="algo",
    baseline="k0",
    scales={
        "smoke": SweepScale("no time", {"k": (0, 30, 60)}),
        "default": SweepScale("a moment"),
    },
    figures=(
        Curves(
            name="learning-curves",
            y="normalized_return",
            conditions=("k0", "k30", "k60"),
            is_shared=True,
        ),
        Curves(name="all-curves", y="normalized_return"),
        Curves(
            name="q-values",
            y="q_mean",
            spread="q_std",
            conditions=("k0",),
        ),
        Curves(
            name="critic-loss-variance",
            y="critic_loss_variance",
            conditions=("k0", "k30", "k60"),
            is_log=True,
        ),
        Bars(name="final"),
        Comparison(name="comparison"),
    ),
    labels={
        "cql": "CQL",
        "iql": "IQL",
        "hopper": "Hopper",
        "halfcheetah": "HalfCheetah",
        "normalized_return": "normalised return",
        "q_mean": "mean Q",
        "critic_loss_variance": "variance of the critic loss",
        "k0": "clean",
    },
)
