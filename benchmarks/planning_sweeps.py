"""Sweeps of planning.py: three fits of a model, its dials, and three planners."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from suite.benchmark import Benchmark, Env, Part, Scale
from suite.cell import Cell
from suite.results.figures import Bars, Curves
from suite.sweep import Sweep, SweepScale, register
from suite_bench.benchmarks.off_policy import ONE_SEED
from suite_bench.benchmarks.planning import (
    CHEETAH,
    MEMBERS,
    REACHER,
    SEEDS,
    TANH,
    WITH_BFLOAT16,
    cem,
    fit,
    model,
    mpc_spec,
    shooting,
)

LABELS = {
    "return_mean": "return",
    "train/return_mean": "return while collecting",
    "model/train_loss": "loss",
    "prediction_error": "mean prediction error",
}


def _supervised(hidden: list[int], steps: int) -> Benchmark:
    """A model of the cheetah, fitted to 20,000 random steps."""
    # The run's data are no Experience: without this they would be given to the fit.
    fitted = fit(model(CHEETAH, hidden=hidden), data=None)
    each = 10 if steps > 10 else 1
    tiny = {
        "data.steps": 1000,
        "agent.fit.batches.batch_size": 64,
        "agent.fit.dynamics.ensemble.hidden": [8] * len(hidden),
        "agent.updates_per_iteration": 1,
        "total_timesteps": 4,
        "evaluation.episodes": 2,
        "evaluation.steps": 20,
        "every": 4,
    }
    return Benchmark(
        name="cs285-q1",
        about=f"A model of {len(hidden)}x{hidden[0]} units, {steps} gradient steps.",
        env=Env(CHEETAH.env),
        agent=Part(
            "suite.agents.model_fit:ModelFit",
            {"fit": fitted, "updates_per_iteration": each, "data_noise": 0.01},
        ),
        total_timesteps=steps,
        data=Part(
            "suite.recipes:random_dataset", {"env_id": CHEETAH.env, "steps": 20_000}
        ),
        evaluation=Part("suite.worldmodels.prediction_error:PredictionError"),
        metric="prediction_error",
        seeds=SEEDS,
        every=5,
        scales={
            "smoke": Scale("seconds", {**tiny, **ONE_SEED}),
            "quick": Scale("seconds", {"data.steps": 5000, **ONE_SEED}),
            "default": Scale("half a minute"),
            "paper": Scale("half a minute; the log's tanh", TANH),
        },
    )


register(
    Sweep(
        name="cs285-q1",
        about=(
            "Three models of the cheetah, fitted to the same 20,000 random steps: "
            "which predicts ten steps best?"
        ),
        cells=(
            Cell({"net": "1x32", "steps": 500}, _supervised([32], 500)),
            Cell({"net": "2x250", "steps": 5}, _supervised([250, 250], 5)),
            Cell({"net": "2x250", "steps": 500}, _supervised([250, 250], 500), 5),
        ),
        scales={
            "smoke": SweepScale("seconds, all of it tiny"),
            "quick": SweepScale("a minute, a quarter of the data, one seed"),
            "default": SweepScale("3 minutes"),
            "paper": SweepScale("3 minutes, the log's tanh"),
        },
        figures=(
            Curves("loss", "model/train_loss"),
            Curves("prediction-error", "prediction_error", is_log=True),
            Bars("final"),
        ),
        labels={
            **LABELS,
            "1x32-steps500": "1x32, 500 steps",
            "2x250-steps5": "2x250, 5 steps",
            "2x250-steps500": "2x250, 500 steps",
        },
    )
)

# The log's fourth question: fewer planned steps of more random ones, 4 episodes each.
DIALS = replace(REACHER, rows=4, initial_steps=20_000, batch_size=800)
HORIZON = REACHER.horizon
_TIMES = {"quick": "a minute", "default": "20 minutes", "paper": "20 minutes"}


def _dial(**kwargs: Any) -> Benchmark:
    return mpc_spec(
        DIALS,
        name="cs285-q4",
        about="The reacher's agent with one dial turned.",
        iterations=15,
        episodes=4,
        every=15,  # the end alone: orders are judged by the return while collecting
        times=_TIMES,
        **kwargs,
    )


STANDARD = "standard"  # 3 networks, 1000 sequences, horizon 10
register(
    Sweep(
        name="cs285-q4",
        about=(
            "What the return of planning depends on: the number of networks, of "
            "sequences, and the horizon. The standard, 3, 1000 and 10, is part of each."
        ),
        cells=(
            Cell({"setting": STANDARD}, _dial()),
            *(
                Cell({"ensemble": members}, _dial(members=members), members / MEMBERS)
                for members in (1, 5)
            ),
            Cell({"sequences": 100}, _dial(planner=shooting(HORIZON, 100)), 0.1),
            *(
                Cell({"horizon": h}, _dial(planner=shooting(h)), h / HORIZON)
                for h in (5, 15, 30)
            ),
        ),
        baseline=STANDARD,
        scales={
            "smoke": SweepScale("half a minute, all of it tiny"),
            "quick": SweepScale("5 minutes, two iterations of few sequences, one seed"),
            "default": SweepScale("7 hours of a core"),
            "bf16": SweepScale(WITH_BFLOAT16),
            "paper": SweepScale("2 hours of a core, the log's tanh, one seed"),
        },
        figures=(
            *(
                Curves(name, "train/return_mean", conditions=conditions)
                for name, conditions in {
                    "ensemble": ("ensemble1", STANDARD, "ensemble5"),
                    "sequences": ("sequences100", STANDARD),
                    "horizon": ("horizon5", STANDARD, "horizon15", "horizon30"),
                }.items()
            ),
            Bars("final"),
        ),
        labels={
            **LABELS,
            STANDARD: "3 networks, 1000 sequences, horizon 10",
            **{f"ensemble{n}": f"{n} network{'s' * (n > 1)}" for n in (1, 5)},
            "sequences100": "100 sequences",
            **{f"horizon{n}": f"horizon {n}" for n in (5, 15, 30)},
        },
    )
)


def _planned(planner: Part | None) -> Benchmark:
    return mpc_spec(
        CHEETAH,
        name="cs285-q5",
        about="The cheetah's agent for five iterations, with another planner.",
        iterations=5,
        planner=planner,
        times={"quick": "3 minutes", "default": "2 hours", "paper": "2 hours"},
    )


register(
    Sweep(
        name="cs285-q5",
        about="Is the cross-entropy method worth its time beside random shooting?",
        cells=(
            Cell({"planner": "random"}, _planned(None)),
            Cell({"planner": "cem2"}, _planned(cem(CHEETAH.horizon, 2)), 2),
            Cell({"planner": "cem4"}, _planned(cem(CHEETAH.horizon, 4)), 4),
        ),
        baseline="random",
        scales={
            "smoke": SweepScale("seconds, all of it tiny"),
            "quick": SweepScale("10 minutes, two iterations of few sequences"),
            "default": SweepScale("11 hours of a core"),
            "bf16": SweepScale(WITH_BFLOAT16),
            "paper": SweepScale("4 hours of a core, the log's tanh, one seed"),
        },
        figures=(Curves("learning-curves", "train/return_mean"), Bars("final")),
        labels={
            **LABELS,
            "random": "random shooting",
            "cem2": "CEM, 2 iterations",
            "cem4": "CEM, 4 iterations",
        },
    )
)
