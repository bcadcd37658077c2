"""MuSHR: models of a car, learned from its trajectories.

``car_spec`` writes one configuration of an experiment whose plan these repeat on a car
of our own: which losses, which networks, with CVaR or without. Two of them, small and
of five members, are what ``MuSHR-Learned-v0`` has packaged.

``paper`` has the plan's sizes: batches of 256 snippets, up to 1000 passes over the
data, patience of 50. ``default`` makes 4000 steps. What differs at every scale: physics
in SI units, a step of 0.05 s instead of 0.1, three earlier commands beside the current
one, and weights chosen by rollouts on trajectories held out (the plan's choice, by
single steps, is ``agent.selection.select_on=one_step``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from suite.benchmark import Benchmark, Env, Part, Scale, register
from suite_bench.benchmarks.mushr_cars import (
    IDENTIFIED_DELAY,
    IDENTIFIED_PLANT,
    MODELS,
    plant,
)

STEPS, EPOCH = 4000, 100  # gradient steps of ``default``, and of an epoch of it
# Of the adapter's corrections, rad and m/s. A command that comes a step late must be
# undone whole when it jumps; the plan has 0.6 rad, and an acceleration for the speed.
BOUNDS = {"steer": 0.6, "speed": 4.0}
PAPER_EPOCHS, PAPER_PATIENCE = 1000, 50
SMOKE_DATA = "suite/mushr-real-1k-v0"  # five trajectories


@dataclass(frozen=True)
class Config:
    """What one configuration of the plan has of its own; the rest is in ``car_spec``.

    Args:
        horizon: Steps of a rollout.
        teacher_forcing: Probability of the truth before each of them.
        pose_weight: Of the loss of poses.
        heading: Whether that has the heading, too.
        residual_l2: Weight of the residual's mean square, 0 for none.
        is_direct: Whether a network says the whole change, without physics.
        has_adapter: Whether networks correct the commands.
        seed: Of the plan's run.
    """

    horizon: int = 10
    teacher_forcing: float = 0.2
    pose_weight: float = 0.05
    heading: bool = False
    residual_l2: float = 0.0
    is_direct: bool = False
    has_adapter: bool = True
    seed: int = 42


# By the plan's names. Each of them is run with the mean and with CVaR.
CONFIGS: Mapping[str, Config] = {
    **{f"exp2_seed{seed}": Config(seed=seed) for seed in range(5)},
    "exp2_h20": Config(horizon=20),
    "exp2_tf0": Config(teacher_forcing=0.0),
    "exp2_tf0p5": Config(teacher_forcing=0.5),
    "exp2_xytheta": Config(heading=True, pose_weight=0.02),
    "exp2_resl2_0p01": Config(residual_l2=0.01),
    "exp6_direct_rollout_pose": Config(is_direct=True),
    "exp7_direct_no_adapter_rollout_pose": Config(is_direct=True, has_adapter=False),
}
# Not in the plan, where nothing else has the seed that all variations have.
CONTROL = "exp2_seed42"
TAILS: Mapping[str, Mapping[str, Any] | None] = {
    "base": None,
    "cvar0p2": {"alpha": 0.2, "apply_to": "rollout_plus_pose", "min_k": 1},
}


@dataclass(frozen=True)
class Widths:
    """Of the networks."""

    adapter: Sequence[int] = (64, 64)
    residual: Sequence[int] = (32, 32)
    direct: Sequence[int] = (128, 128)


@dataclass(frozen=True)
class Physics:
    """What networks correct: a plant, and how late commands reach it (s)."""

    plant: Part
    delay: float = 0.0


WIDTHS = Widths()  # the plan's
NOMINAL = Physics(plant("Kinematic"))
FOUND = Physics(IDENTIFIED_PLANT, IDENTIFIED_DELAY)
# Of ``default``; see ``_scales`` for the plan's.
OPTIMISATION = Part(
    f"{MODELS}.car_optimisation:Optimisation",
    {
        "batch_size": 256,
        "learning_rate": 1e-3,
        "final_rate": 1e-6,
        "decay_epochs": STEPS // EPOCH,
        "clip": 1.0,
        "steps_per_epoch": EPOCH,
    },
)
SELECTION = Part(
    f"{MODELS}.car_selection:Selection",
    {"share": 0.1, "horizon": 20, "patience": STEPS, "improvement": 1e-6},
)


def car_spec(
    config: Config,
    tail: str,
    *,
    name: str,
    about: str,
    seeds: Sequence[int] = (),
    data_seed: int = 0,
    widths: Widths = WIDTHS,
    physics: Physics = NOMINAL,
) -> Benchmark:
    """One configuration, fitted to trajectories of the car with the gap ``"real"``.

    Args:
        config: What it has of its own.
        tail: One of ``TAILS``.
        name: Of the benchmark.
        about: What it shows.
        seeds: Of members that are fitted at once in stacked weights; one by one with
            the run's seed if there are none.
        data_seed: Of the trajectories to learn from; those held out stay the same.
        widths: Of the networks.
        physics: What they correct, unless the model is direct.
    """
    source = f"suite/mushr-real{f'-seed{data_seed}' if data_seed else ''}-v0"
    agent = {
        "car": _car(config, widths, physics),
        "losses": _losses(config, tail),
        "optimisation": OPTIMISATION,
        "selection": SELECTION,
        **({"seeds": seeds} if seeds else {}),
    }
    return Benchmark(
        name=name,
        about=about,
        env=Env("MuSHR-v0", kwargs={"gap": "real"}),  # where the trajectories are from
        agent=Part(f"{MODELS}.car_fit:CarFit", agent),
        total_timesteps=STEPS,
        data=_stored(source),
        evaluation=Part(
            f"{MODELS}.open_loop:OpenLoop",
            {
                "drives": _stored("suite/mushr-real-test-v0"),
                "ood": _stored("suite/mushr-real-ood-v0"),
            },
        ),
        metric="ade",
        seeds=(0,) if seeds else (config.seed,),
        every=20,
        scales=_scales(len(seeds) or 1, config.horizon),
    )


def _stored(source: str) -> Part:
    return Part("suite.datasets:load_dataset", {"source": source})


def _car(config: Config, widths: Widths, physics: Physics) -> Part:
    adapter = Part(f"{MODELS}.car:Adapter", {"hidden": widths.adapter, **BOUNDS})
    residual = widths.direct if config.is_direct else widths.residual
    if config.is_direct:
        physics = Physics(plant("Hold"))
    return Part(
        f"{MODELS}.car:Car",
        {
            "plant": physics.plant,
            "adapter": adapter if config.has_adapter else None,
            "residual": Part(f"{MODELS}.car:Residual", {"hidden": residual}),
            "friction": None,
            "history": 3,
            **({"delay": physics.delay} if physics.delay else {}),
        },
    )


def _losses(config: Config, tail: str) -> Part:
    rollout = {
        "horizon": config.horizon,
        "weight": 0.5,
        "teacher_forcing": config.teacher_forcing,
        "detach": False,
    }
    pose = {"weight": config.pose_weight, "heading": config.heading}
    cvar, losses = TAILS[tail], f"{MODELS}.rollout_losses"
    penalties = {"residual": config.residual_l2} if config.residual_l2 else {}
    return Part(
        f"{losses}:Losses",
        {
            "one_step": Part(
                f"{losses}:OneStep", {"weight": 1.0, "columns": [1.0, 1.0, 2.0]}
            ),
            "rollout": Part(f"{losses}:Rollout", rollout),
            "pose": Part(f"{losses}:Pose", pose),
            "cvar": None if cvar is None else Part(f"{MODELS}.cvar:CVaR", cvar),
            "penalties": penalties,
        },
    )


def _scales(members: int, horizon: int) -> dict[str, Scale]:
    quick = {
        "total_timesteps": 1000,
        "agent.optimisation.decay_epochs": 10,
        "every": 10,
    }
    paper = {
        "total_timesteps": PAPER_EPOCHS * _one_pass(horizon),
        "agent.optimisation.steps_per_epoch": None,
        "agent.optimisation.decay_epochs": PAPER_EPOCHS,
        "agent.selection.patience": PAPER_PATIENCE,
        "every": 5,
    }
    one, more = ("half a minute", "a minute"), ("3 minutes", "4 minutes")
    times = [pair[members > 1] for pair in (one, more)]
    return {
        "smoke": Scale("seconds, on five trajectories", _smoke()),
        "quick": Scale(f"{times[0]}, a quarter of the steps", quick),
        "default": Scale(times[1]),
        "paper": Scale("6 hours, up to 1000 passes over the data", paper),
    }


def _one_pass(horizon: int) -> int:
    """Gradient steps of a pass over 900 trajectories of 200 steps."""
    return 900 * (200 - horizon + 1) // 256


def _smoke() -> dict[str, Any]:
    few = Part("suite.trajectories:driven", {"dataset_id": SMOKE_DATA})
    return {
        "data": few,
        "evaluation.drives": few,
        "evaluation.ood": few,
        "total_timesteps": 4,
        "agent.optimisation.batch_size": 16,
        "agent.optimisation.steps_per_epoch": 2,
        "agent.selection.share": 0.2,
        "every": 2,
    }


_SMALL = Widths(adapter=(32, 32))
_NEEDS = (
    "Needs the data: suite-bench data make suite/mushr-real-v0, -test-v0 and -ood-v0."
)
for _name, _tail, _how in (
    ("mushr-learned", "base", "by the mean of rollouts"),
    ("mushr-learned-cvar", "cvar0p2", "by the worst fifth of rollouts"),
):
    register(
        car_spec(
            Config(teacher_forcing=0.0),
            _tail,
            name=_name,
            about=f"The model that MuSHR-Learned-v0 has packaged, fitted {_how}: five "
            f"members of small networks around an identified car. {_NEEDS}",
            seeds=tuple(range(5)),
            widths=_SMALL,
            physics=FOUND,
        )
    )
