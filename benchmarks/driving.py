"""MuSHR: laps driven by MPPI, whose model is what is compared.

The car has the gap ``"real"``. It shall follow the oval's centreline at 1.5 or 2 m/s: a
lap then takes 11.6 or 8.7 s by a model that is right, and the offset is what the
model's errors leave. Every step, 256 sequences of 20 commands (1 s) are rolled out at
once. Where the simulator is planned with, 64, and models to compare it with do so again
with as few (``paper`` has 256).

    kinematic    a bicycle with the true wheelbase and nominal lags, without trim
    identified   the same with nine numbers that ``mushr-identified`` found
    learned      the mean of the five members that MuSHR-Learned-v0 has packaged
    learned-cvar the same, fitted to the worst fifth of rollouts, packaged as well
    simulator-64 MuJoCo itself, from the car's true state, hidden parts and gap included
    identified-64, learned-64    as above
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from suite.benchmark import Benchmark, Env, Part, Scale, register
from suite.cell import Cell
from suite.results.figures import Bars
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


@dataclass(frozen=True)
class Planned:
    """What laps are planned with.

    Args:
        model: The plan model.
        cost: Work beside that of the cheapest.
        candidates: Sequences of a plan.
        speeds: m/s, at which it drives.
    """

    model: Part
    cost: float = 1.0
    candidates: int = 256
    speeds: Sequence[float] = SPEEDS

    def with_few(self) -> Planned:
        """With 64 sequences, at 2 m/s: what the simulator can be compared at."""
        cost = self.cost / 4
        return Planned(self.model, cost, candidates=64, speeds=SPEEDS[-1:])


IDENTIFIED_CAR = Planned(plan_with(IDENTIFIED))
LEARNED_CAR = Planned(learned(PACKAGED), cost=4.0)
# Ten laps with the simulator take an hour and a half of a core with 256 sequences, so
# it has 64, and models to compare it with have as few again: that alone costs offset.
SIMULATED_CAR = Planned(Part("suite.agents.plan_models:Simulator"), cost=80.0)
PLAN_MODELS: Mapping[str, Planned] = {
    "kinematic": Planned(plan_with(bare(plant("Kinematic")))),
    "identified": IDENTIFIED_CAR,
    "learned": LEARNED_CAR,
    "learned-cvar": Planned(learned(f"{PACKAGED}-cvar"), cost=4.0),
    "identified-64": IDENTIFIED_CAR.with_few(),
    "learned-64": LEARNED_CAR.with_few(),
    "simulator-64": SIMULATED_CAR.with_few(),
}


def driving_spec(model_name: str, speed: float, *, about: str) -> Benchmark:
    """Laps by MPPI with a plan model.

    Args:
        model_name: Of ``PLAN_MODELS``.
        speed: m/s.
        about: What it shows.
    """
    planned = PLAN_MODELS[model_name]
    return Benchmark(
        name="mushr-mppi",
        about=about,
        env=Env(
            "MuSHR-v0", kwargs={"task": "track", "gap": "real", "max_steps": MAX_STEPS}
        ),
        agent=Part(
            "suite.agents.driving:Driver",
            {
                "planner": mppi(planned.candidates),
                "model": planned.model,
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
                {"evaluation.laps": 10, "agent.planner.candidates": 256},
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
                planned.cost,
            )
            for name, planned in PLAN_MODELS.items()
            for speed in planned.speeds
        ),
        tasks="speed",
        baseline="kinematic",
        scales={
            "smoke": SweepScale("seconds, all of it tiny"),
            "quick": SweepScale("10 minutes, a lap with few sequences"),
            "default": SweepScale("an hour of a core, most of it MuJoCo's"),
            "paper": SweepScale("days of a core, ten laps of each seed"),
        },
        figures=(Bars("final"),),
        labels={"cross_track": "distance from the centreline"},
    )
)
