"""MuSHR: numbers of a car that explain its trajectories, found by cross-entropy.

``mushr-identified`` and ``-pacejka`` find those of a plant in closed form, from pieces
of a second in the midst of 200 trajectories; ``-simulator`` those of the simulator's
gap, from the beginnings of 20, where nothing is hidden.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from suite.benchmark import Benchmark, Env, Part, Scale, register
from suite_bench.benchmarks.mushr_cars import MODELS, bare, plant, servo

HELD_OUT = "suite/mushr-real-test-v0"
SMOKE_DATA = "suite/mushr-real-1k-v0"  # five trajectories
SERVO_BOUNDS: Mapping[str, Sequence[float]] = {
    "delay": (0.0, 0.15),
    "plant.trim": (-0.1, 0.1),
    "plant.gain": (0.6, 1.3),
    "plant.speed_gain": (0.8, 1.1),
    "plant.low": (-0.38, -0.15),
    "plant.high": (0.15, 0.38),
}
PLANT_BOUNDS: Mapping[str, Mapping[str, Sequence[float]]] = {
    "Kinematic": {"speed_lag": (0.01, 0.5), "steer_lag": (0.01, 0.5)},
    "Pacejka": {
        "speed_lag": (0.01, 0.5),
        "friction": (0.2, 1.2),
        "gyration": (0.05, 0.4),
        "stiffness": (2.0, 20.0),
        "shape": (1.0, 1.8),
    },
}


GAP_BOUNDS: Mapping[str, Sequence[float]] = {
    "trim": (-0.1, 0.1),
    "gain": (0.6, 1.3),
    "steer_lag": (0.0, 0.3),
    "speed_lag": (0.0, 0.3),
    "delay": (0.0, 0.1),
    "friction": (0.2, 1.2),
}
FEW = Part("suite.trajectories:driven", {"dataset_id": SMOKE_DATA})
SMOKE: dict[str, Any] = {
    "data": FEW,
    "evaluation.drives": FEW,
    "total_timesteps": 2,
    "agent.candidates": 4,
    "agent.elites": 2,
    "seeds": [0],
}


def stored(source: str) -> Part:
    """A dataset that was made before."""
    return Part("suite.datasets:load_dataset", {"source": source})


def identified_spec(kind: str, *, name: str, about: str, time: str) -> Benchmark:
    """A plant's numbers, found by the cross-entropy method.

    Args:
        kind: Of the plant.
        name: Of the benchmark.
        about: What it shows.
        time: Of ``default``.
    """
    plants = {f"plant.plant.{n}": ends for n, ends in PLANT_BOUNDS[kind].items()}
    rear = {"plant.plant.rear": (0.05, 0.25)} if kind == "Kinematic" else {}
    return Benchmark(
        name=name,
        about=about,
        env=Env("MuSHR-v0", kwargs={"gap": "real"}),  # where the trajectories are from
        agent=Part(
            f"{MODELS}.car_identification:Identification",
            {
                "car": bare(servo(plant(kind))),
                "bounds": {**SERVO_BOUNDS, **plants, **rear},
                "horizon": 20,
                "snippets": 400,
                "candidates": 40,
                "elites": 8,
            },
        ),
        total_timesteps=60,
        data=stored("suite/mushr-real-40k-v0"),
        evaluation=Part(f"{MODELS}.open_loop:OpenLoop", {"drives": stored(HELD_OUT)}),
        metric="error_1s",
        seeds=(0, 1, 2),
        every=20,
        scales={
            "smoke": Scale(
                "seconds, on five trajectories", {**SMOKE, "agent.snippets": 8}
            ),
            "quick": Scale("seconds", {"agent.snippets": 100, "seeds": [0]}),
            "default": Scale(time),
            "paper": Scale(f"ten times {time}", {"agent.snippets": 4000}),
        },
    )


_NEEDS = "Needs the data: suite-bench data make suite/mushr-real-40k-v0 and -test-v0."


def simulator_spec() -> Benchmark:
    """The gap of the simulated car, found by simulating candidates."""
    identification = f"{MODELS}.simulator_identification"
    smoke = {**SMOKE, "agent.trajectories": 2, "agent.horizon": 3}
    return Benchmark(
        name="mushr-identified-simulator",
        about=(
            "Six numbers of the gap in MuJoCo itself, from the first second of 20 "
            f"trajectories, on 50 others. {_NEEDS}"
        ),
        env=Env("MuSHR-v0", kwargs={"gap": "real"}),
        agent=Part(
            f"{identification}:GapIdentification",
            {
                "bounds": GAP_BOUNDS,
                "trajectories": 20,
                "horizon": 20,
                "candidates": 14,
                "elites": 4,
            },
        ),
        total_timesteps=20,
        data=stored("suite/mushr-real-40k-v0"),
        evaluation=Part(f"{identification}:GapOpenLoop", {"drives": stored(HELD_OUT)}),
        metric="error_1s",
        seeds=(0, 1, 2),
        every=10,
        scales={
            "smoke": Scale("seconds, on five trajectories", smoke),
            "quick": Scale(
                "a minute", {"agent.trajectories": 5, "seeds": [0], "every": 20}
            ),
            "default": Scale("a minute and a half"),
            "paper": Scale(
                "an hour of a core",
                {"agent.candidates": 40, "agent.elites": 8, "total_timesteps": 60},
            ),
        },
    )


register(
    identified_spec(
        "Kinematic",
        name="mushr-identified",
        about=(
            "A kinematic car whose trim, gains, limits, delay and lags are found from "
            f"200 trajectories, on 50 others. {_NEEDS}"
        ),
        time="half a minute",
    )
)
register(
    identified_spec(
        "Pacejka",
        name="mushr-identified-pacejka",
        about=f"The same with tyres that slide. {_NEEDS}",
        time="4 minutes",
    )
)
register(simulator_spec())
