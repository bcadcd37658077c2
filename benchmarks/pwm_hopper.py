"""PWM on Hopper, whose model learns terminations; see ``pwm_parts``.

``pwm-hopper-ablation`` turns one dial at a time at equal real steps and updates: the
horizon, and how the model says the next latent.

Hopper earns 1 a step for not falling: look at the velocity beside the return. Starts
hardly differ, so that the episodes of an evaluation without noise are often alike, and
its mean jumps from one policy to the next. Hence ``default`` evaluates after every
epoch: compare by the mean of the last ten.
"""

from __future__ import annotations

from typing import Any

from suite.benchmark import Benchmark, Env, Part, Scale
from suite.benchmark import register as register_benchmark
from suite.cell import Cell
from suite.results.figures import Bars, Curves
from suite.sweep import Sweep, SweepScale, register
from suite_bench.benchmarks.off_policy import ONE_SEED, pace, returns
from suite_bench.benchmarks.pwm_parts import (
    BASE,
    LABELS,
    TINY,
    first_order,
    fitting,
    flow,
    latent_fit,
    published,
)

SEEDS = (0, 1, 2, 3, 4)
ROWS = 8  # that step together
STEPS = 50_000
BASELINES = {
    "upright, not moving": 1000.0,  # 1 for each of 1000 steps
    "random actions": 16.9,  # 200 episodes, +- 1.2
}


def hopper_spec(
    name: str,
    about: str,
    *,
    horizon: int = 4,
    paper_horizon: int = 16,
    dynamics: Part | None = None,
    times: tuple[str, str] = ("2 minutes", "10 minutes"),
) -> Benchmark:
    """PWM on Hopper; its model learns terminations.

    Args:
        name: Of the benchmark.
        about: What it shows.
        horizon: Steps in the model.
        paper_horizon: The same of ``paper``.
        dynamics: Of the latent; None is a network that says the next one.
        times: Of ``quick`` and ``default``.
    """
    fit = latent_fit((11, 3), "hopper", 1e-3, dynamics=dynamics, has_end=True)
    return Benchmark(
        name=name,
        about=about,
        env=Env("BatchedHopper-v5", num_envs=ROWS),
        agent=Part(
            "suite.agents.pwm:PWM",
            {
                "fit": fit,
                "first_order": first_order(horizon, 5e-4),
                "pace": pace(5000, 8 * ROWS, 4, 1600),
                "fitting": fitting(1000, 8, 128),
            },
        ),
        total_timesteps=STEPS,
        evaluation=returns("hopper", 10, 1000, told=("x_velocity",)),
        metric="return_mean",
        seeds=SEEDS,
        checkpoint_at=tuple(range(22, 32)),
        baselines=BASELINES,
        scales=_scales(times, paper_horizon),
    )


def _scales(times: tuple[str, str], paper_horizon: int) -> dict[str, Scale]:
    quick = {
        **ONE_SEED,
        "agent.pace.exploration": 1600,
        "agent.fitting.first": 300,
        "total_timesteps": 8000,
        "checkpoint_at": [2, 4],
    }
    paper = {
        **published(ROWS),
        "agent.first_order.horizon": paper_horizon,
        "total_timesteps": 1_000_000,
        "every": 26,
        "checkpoint_at": list(range(78, 780, 78)),
    }
    return {
        "smoke": Scale("seconds", TINY),
        "quick": Scale(f"{times[0]}; it has hardly begun", quick),
        "default": Scale(times[1]),
        "paper": Scale("a day; the published ratio and a million steps", paper),
    }


register_benchmark(
    hopper_spec(
        "pwm-hopper",
        "PWM on Hopper in 50,000 real steps, with a learned termination.",
    )
)

DIALS: tuple[tuple[dict[str, Any], Part | None, float], ...] = (
    (BASE, None, 1),
    ({**BASE, "horizon": 16}, None, 2.5),
    ({**BASE, "model": "heun2"}, flow("Heun", 2), 1.7),
)
register(
    Sweep(
        name="pwm-hopper-ablation",
        about="4 or 16 steps in the model on Hopper, and a flow with 4 evaluations.",
        cells=tuple(
            Cell(
                axes,
                hopper_spec(
                    "pwm-hopper-ablation",
                    "PWM on Hopper with one dial turned.",
                    horizon=axes["horizon"],
                    paper_horizon=axes["horizon"],
                    dynamics=dynamics,
                    times=("2 to 5 minutes", "10 to 30 minutes"),
                ),
                cost,
            )
            for axes, dynamics, cost in DIALS
        ),
        baseline="mlp-horizon4",
        scales={
            "smoke": SweepScale("seconds, all of it tiny"),
            "quick": SweepScale("10 minutes, they have hardly begun, one seed"),
            "default": SweepScale("5 hours of a core"),
            "paper": SweepScale("days of a core"),
        },
        figures=(
            Curves("return", "return_mean"),
            Curves("velocity", "x_velocity"),
            Curves("latent-error", "model/latent_error", is_log=True),
            Bars("final"),
        ),
        labels=LABELS,
    )
)
