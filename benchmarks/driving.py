"""MuSHR: laps driven by MPPI, whose model is what is compared.

The car has the gap ``"real"``. It shall follow the oval's centreline at 1.5 or 2 m/s: a
lap then takes 11.6 or 8.7 s by a model that is right, and the offset is what the
model's errors leave. Every step, 256 sequences of 20 commands (1 s) are rolled out at
once; where the simulator is planned with, 64, or ten laps would take half a day
(``paper`` has 256).

    kinematic    a bicycle with the true wheelbase and nominal lags, without trim
    identified   the same with nine numbers that ``mushr-identified`` found
    learned      the mean of the five members that MuSHR-Learned-v0 has packaged
    learned-cvar the same, fitted to the worst fifth of rollouts, packaged as well
    simulator    MuJoCo itself, from the car's true state, hidden parts and gap included
"""

from __future__ import annotations

from collections.abc import Mapping

from suite.benchmark import Benchmark, Env, Part, Scale, register
from suite.cell import Cell
from suite.figures import Bars
from suite.sweep import Sweep, SweepScale
from suite.sweep import register as register_sweep
from suite_bench.benchmarks.mushr_cars import IDENTIFIED, MODELS, bare, plant

SEEDS = (0, 1, 2, 3, 4)  # two laps each
SPEEDS = (1.5, 2.0)  # m/s; tyres hold up to 2.6 in the bends
PACKAGED = "mushr-real"
MAX_STEPS = 1000  # of an episode: 50 s, enough for two laps at half the speed
NOISE = {"std": 0.2, "colour": 1.0}
SMOKE = {
    "agent.planner.candidates": 8,
    "agent.planner.horizon": 3,
    "env.max_steps": 10,
    "seeds": [0],
}


def mppi(candidates: int) -> Part:
    """The planner: sequences of a second."""
    return Part(
        "suite.agents.planners:MPPI",
        {
            "horizon": 20,
            "candidates": candidates,
            "temperature": 0.5,
            "iterations": 1,
            "proposal": Part("suite.agents.proposals:ClippedNormal", NOISE),
        },
    )


def plan_with(dynamics: Part) -> Part:
    """A car's model as what is planned with."""
    return Part("suite.agents.plan_models:CarPlan", {"dynamics": dynamics})


def learned(checkpoint: str) -> Part:
    """The mean of a packaged model's members."""
    members = Part(f"{MODELS}.mushr_learned:load_mushr", {"checkpoint": checkpoint})
    return plan_with(Part(f"{MODELS}.car_ensemble:CarMean", {"dynamics": members}))


# By name: the plan model, how many sequences, and the work beside that of the others.
FULL, FEW = 256, 64
PLAN_MODELS: Mapping[str, tuple[Part, int, float]] = {
    "kinematic": (plan_with(bare(plant("Kinematic"))), FULL, 1.0),
    "identified": (plan_with(IDENTIFIED), FULL, 1.0),
    "learned": (learned(PACKAGED), FULL, 4.0),
    "learned-cvar": (learned(f"{PACKAGED}-cvar"), FULL, 4.0),
    "simulator": (Part("suite.agents.plan_models:Simulator"), FEW, 20.0),
}


def driving_spec(model_name: str, speed: float, *, about: str) -> Benchmark:
    """Laps by MPPI with a plan model.

    Args:
        model_name: Of ``PLAN_MODELS``.
        speed: m/s.
        about: What it shows.
    """
    model, candidates, _ = PLAN_MODELS[model_name]
    return Benchmark(
        name="mushr-mppi",
        about=about,
        env=Env(
            "MuSHR-v0", kwargs={"task": "track", "gap": "real", "max_steps": MAX_STEPS}
        ),
        agent=Part(
            "suite.agents.driving:Driver",
            {
                "planner": mppi(candidates),
                "model": model,
                "objective": Part("suite.agents.driving:Cruise", {"speed": speed}),
            },
        ),
        total_timesteps=0,  # nothing is learned: the run is its evaluation
        evaluation=Part("suite.laps:Laps", {"laps": 2, "cars": 1}),
        metric="cross_track",
        seeds=SEEDS,
        scales={
            "smoke": Scale("seconds, a few steps", SMOKE),
            "quick": Scale(
                "half a minute, a lap with few sequences",
                {"evaluation.laps": 1, "agent.planner.candidates": 64, "seeds": [0]},
            ),
            "default": Scale("a minute of a core; an hour if it plans in MuJoCo"),
            "paper": Scale(
                "5 minutes of a core, ten laps of each seed",
                {"evaluation.laps": 10, "agent.planner.candidates": FULL},
            ),
        },
    )


register(
    driving_spec(
        "identified",
        SPEEDS[0],
        about=(
            "MPPI drives laps in MuSHR-v0 with the gap real: lap time and distance "
            "from the centreline, planning with an identified car."
        ),
    )
)

register_sweep(
    Sweep(
        name="mushr-plan-models",
        about=(
            "What a better model of the car is worth on the track: MPPI drives ten "
            "laps with each at 1.5 and at 2 m/s, in MuSHR-v0 with the gap real."
        ),
        cells=tuple(
            Cell(
                {"model": name, "speed": speed},
                driving_spec(
                    name, speed, about=f"Laps at {speed:g} m/s planned with: {name}."
                ),
                cost,
            )
            for name, (_, _, cost) in PLAN_MODELS.items()
            for speed in SPEEDS
        ),
        tasks="speed",
        baseline="kinematic",
        scales={
            "smoke": SweepScale("seconds, all of it tiny"),
            "quick": SweepScale("10 minutes, a lap with few sequences"),
            "default": SweepScale("2 hours of a core, nearly all of it MuJoCo's"),
            "paper": SweepScale("days of a core, ten laps of each seed"),
        },
        figures=(Bars("final"),),
        labels={"cross_track": "distance from the centreline"},
    )
)
