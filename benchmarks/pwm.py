"""PWM on the pendulum: policies by gradients through a latent model.

Sizes are those of a two-core machine; ``pwm_parts`` says what differs from the
publication. ``pwm-pendulum-ablation`` turns one dial at a time at equal real steps and
updates: the horizon, how the model says the next latent, and whether learning rates
fall. ``pwm-pendulum-heads`` compares the flow's velocity with one that ends in SimNorm,
as the seed's code has it.
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
ROWS = 32  # pendulums that step together
STEPS = 16_640  # 13 epochs, the first one nearly all random
RATE = 1e-3  # of model, actor and critics at first
RANDOM = {"random actions": -1224.0}  # 1000 episodes, +- 9


def pendulum_spec(
    name: str,
    about: str,
    *,
    horizon: int = 4,
    paper_horizon: int = 16,
    dynamics: Part | None = None,
    final_rate: float | None = None,
    times: tuple[str, str, str] = ("half a minute", "90 seconds", "10 minutes"),
) -> Benchmark:
    """PWM on the pendulum.

    Args:
        name: Of the benchmark.
        about: What it shows.
        horizon: Steps in the model.
        paper_horizon: The same of ``paper``.
        dynamics: Of the latent; None is a network that says the next one.
        final_rate: What learning rates fall to; None is the published value.
        times: Of ``quick``, ``default`` and ``paper``.
    """
    return Benchmark(
        name=name,
        about=about,
        env=Env("BatchedPendulum-v1", num_envs=ROWS),
        agent=Part(
            "suite.agents.pwm:PWM",
            {
                "fit": latent_fit((3, 1), "pendulum", RATE, dynamics=dynamics),
                "first_order": first_order(horizon, RATE),
                "pace": pace(1024, 4 * ROWS, 4, 1280),
                "fitting": fitting(400, 16, 64, final_rate),
            },
        ),
        total_timesteps=STEPS,
        evaluation=returns(None, 64, 200),
        metric="return_mean",
        seeds=SEEDS,
        checkpoint_at=tuple(range(1, 13)),
        baselines=RANDOM,
        scales={
            "smoke": Scale("seconds", TINY),
            "quick": Scale(
                times[0],
                {**ONE_SEED, "total_timesteps": 5120, "checkpoint_at": [1, 2, 3]},
            ),
            "default": Scale(times[1]),
            "paper": Scale(
                f"{times[2]}; the published ratio of steps and updates, which does not "
                "solve it in these steps",
                {
                    **published(ROWS),
                    "agent.first_order.horizon": paper_horizon,
                    "total_timesteps": 1024 + 300 * 16 * ROWS,
                    "checkpoint_at": list(range(3, 31, 3)),
                },
            ),
        },
    )


FLOW_TIMES = ("a minute", "2 to 4 minutes", "20 minutes")
DIAL_TIMES = ("a minute", "2 to 4 minutes", "half an hour")
register_benchmark(
    pendulum_spec(
        "pwm-pendulum",
        "A policy learns to swing a pendulum up by gradients through a latent model, "
        "four steps at a time, in 16,640 real steps.",
    )
)
register_benchmark(
    pendulum_spec(
        "pwm-pendulum-flow",
        "The same through a model whose next latent is a flow: two steps of Heun's "
        "method along a learned velocity.",
        dynamics=flow("Heun", 2),
        times=FLOW_TIMES,
    )
)

_DIAL = "PWM on the pendulum with one dial turned."
DIALS: tuple[tuple[dict[str, Any], Part | None, float], ...] = (
    (BASE, None, 1),
    ({**BASE, "rates": "constant"}, None, 1),
    ({**BASE, "horizon": 16}, None, 2.5),
    ({**BASE, "model": "heun2"}, flow("Heun", 2), 1.7),
    ({**BASE, "model": "heun4"}, flow("Heun", 4), 2.6),
    ({**BASE, "model": "euler8"}, flow("Euler", 8), 2.8),
)


def _dial(axes: dict[str, Any], dynamics: Part | None) -> Benchmark:
    return pendulum_spec(
        "pwm-pendulum-ablation",
        _DIAL,
        horizon=axes["horizon"],
        paper_horizon=axes["horizon"],
        dynamics=dynamics,
        final_rate=RATE if axes.get("rates") == "constant" else None,
        times=DIAL_TIMES,
    )


register(
    Sweep(
        name="pwm-pendulum-ablation",
        about=(
            "What PWM on the pendulum depends on: 4 or 16 steps in the model, whether "
            "a network says the next latent or a flow with 4 or 8 evaluations, and "
            "whether learning rates fall."
        ),
        cells=tuple(
            Cell(axes, _dial(axes, dynamics), cost) for axes, dynamics, cost in DIALS
        ),
        baseline="mlp-horizon4",
        scales={
            "smoke": SweepScale("seconds, all of it tiny"),
            "quick": SweepScale("5 minutes, a third of the steps, one seed"),
            "default": SweepScale("70 minutes of a core"),
            "paper": SweepScale("2 hours of a core, the published ratio, one seed"),
        },
        figures=(
            Curves("return", "return_mean"),
            Curves("consistency", "model/consistency", is_log=True),
            Bars("final"),
        ),
        labels=LABELS,
    )
)


def _head(head: str) -> Benchmark:
    return pendulum_spec(
        "pwm-pendulum-heads",
        f"A flow whose velocity has a {head} head, fitted by flow matching alone.",
        dynamics=flow("Heun", 2, head=head, project=False, rollout=0.0),
        times=FLOW_TIMES,
    ).with_settings({"seeds": list(range(10)), "total_timesteps": 8960})


register(
    Sweep(
        name="pwm-pendulum-heads",
        about=(
            "Why a flow's velocity must not end in SimNorm: its groups sum to 1, the "
            "velocity's to 0. Ten short seeds of each, without projection."
        ),
        cells=tuple(
            Cell({"head": head}, _head(head)) for head in ("linear", "simnorm")
        ),
        baseline="linear",
        scales={
            "smoke": SweepScale("seconds, all of it tiny"),
            "quick": SweepScale("2 minutes, 5120 steps, one seed"),
            "default": SweepScale("25 minutes of a core"),
            "paper": SweepScale("an hour of a core, the published ratio, one seed"),
        },
        figures=(
            Curves("return", "return_mean"),
            Curves("consistency", "model/consistency", is_log=True),
            Bars("final"),
        ),
        labels={**LABELS, "linear": "linear head", "simnorm": "SimNorm head"},
    )
)
