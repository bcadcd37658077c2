"""MBPO on Hopper in 15,000 steps, with SAC beside it.

``mbpo-hopper`` is the published algorithm with Hopper's settings of its authors: 20
updates a step, 5 % real data, 7 networks of 4x200 units. ``paper`` has their schedules,
too: 5,000 random steps, then 125,000 in which rollouts grow from 1 to 12 steps. In the
first 15,000 of them a third is random and no rollout has two steps, so ``default``
shrinks both: 1,000 random steps, as SAC has, and in the next 14,000 rollouts that grow
from 1 to 10, about nine times as fast as theirs. What differs at every scale:

- Each network has its own soft bounds of the variance, as in all models here.
- What the networks predict is normalised, too, so that errors on the rows held out and
  the bounds of the variance are in units of its deviation.
- A fit ends by patience alone; the authors' code also stops at a number of seconds.
- Fits fall on the 1st, 251st ... step after the exploration, before its updates.

``sac-hopper`` is SAC for the same real steps, one update each. The sweep
``mbpo-against-sac`` puts them beside each other, the first 15,000 steps of the
published schedules, and SAC that differs from either by nothing but the model: as much
exploration, as many updates, the same target entropy. So what the model adds is told
from what updates add.
"""

from __future__ import annotations

from typing import Any

from suite.benchmark import Benchmark, Env, Part, Scale
from suite.benchmark import register as register_benchmark
from suite.cell import Cell
from suite.parts import Ref
from suite.results.figures import Bars, Curves
from suite.sweep import Sweep, SweepScale, register
from suite_bench.benchmarks.off_policy import ONE_SEED, pace, returns

SEEDS = (0, 1, 2)


def soft(**changed: Any) -> Part:
    """SAC's numbers, which log and publication have in common."""
    common = {
        "net_arch": [256, 256],
        "learning_rate": 3e-4,
        "gamma": 0.99,
        "tau": 0.005,
        "batch_size": 256,
    }
    return Part("suite.agents.soft_update:Soft", {**common, **changed})


# ----------------------------------------------------------------------------- Hopper
EPOCH = 1000


# Published: random steps, and the epochs between which rollouts grow.
EXPLORATION, GROWTH = 5000, (20, 150)
LONG = {"total_timesteps": EXPLORATION + 125 * EPOCH}
PUBLISHED_PACE = {"agent.pace.exploration": EXPLORATION}
PUBLISHED = {
    **PUBLISHED_PACE,
    "agent.branched.length.first_epoch": GROWTH[0],
    "agent.branched.length.last_epoch": GROWTH[1],
}


def _published_model() -> Part:
    """Seven networks of 4x200 units, five of them believed, the reward learned."""
    ensemble = Part(
        "suite.worldmodels.ensemble:GaussianEnsemble",
        {
            "members": 7,
            "inputs": 11 + 3,
            "outputs": 11 + 1,
            "hidden": [200, 200, 200, 200],
            "activation": "silu",
        },
    )
    hopper = Part("suite.envs.locomotion:Hopper")
    end = Part("suite.envs.seen_end:SeenEnd", {"task": hopper})
    # Theirs stops when more than 5 epochs brought nothing, so after the 6th.
    holdout = {"share": 0.2, "largest": 5000, "elites": 5, "patience": 6}
    fit = Part(
        "suite.worldmodels.fit:Fit",
        {
            "dynamics": Part(
                "suite.worldmodels.learned:LearnedDynamics",
                {"ensemble": ensemble, "reward": None, "terminated": end},
            ),
            "batches": Part("suite.worldmodels.batches:Bootstrap", {"batch_size": 256}),
            "holdout": Part(
                "suite.worldmodels.batches:Holdout", {**holdout, "improvement": 0.01}
            ),
            "learning_rate": 1e-3,
            "weight_decay": [2.5e-5, 5e-5, 7.5e-5, 7.5e-5, 1e-4],
        },
    )
    propagation = Ref("suite.worldmodels.propagation:TS1")
    return Part(
        "suite.agents.believed:Fitted", {"fit": fit, "propagation": propagation}
    )


def _growing(first_epoch: int, last_epoch: int) -> Part:
    return Part(
        "suite.agents.branching:Growing",
        {
            "first_epoch": first_epoch,
            "last_epoch": last_epoch,
            "shortest": 1,
            "longest": 15,
        },
    )


TINY = {
    **ONE_SEED,
    "agent.soft.net_arch": [16, 16],
    "agent.soft.batch_size": 40,
    "agent.pace.exploration": 100,
    "agent.pace.updates": 1,
    "agent.pace.epoch": 50,
    "total_timesteps": 200,
    "evaluation.episodes": 2,
    "every": 2,
}
QUICK = {
    **ONE_SEED,
    "agent.pace.exploration": 1000,
    "total_timesteps": 3000,
}


def mbpo_spec(exploration: int, first_epoch: int, last_epoch: int) -> Benchmark:
    """MBPO for 15,000 real steps; its rollouts grow between these two epochs."""
    return Benchmark(
        name="mbpo-hopper",
        about=(
            "Model-based policy optimisation on Hopper in 15,000 real steps: 20 "
            "updates a step, on 95 % imagined transitions."
        ),
        env=Env("BatchedHopper-v5"),
        agent=Part(
            "suite.agents.mbpo:MBPO",
            {
                "believed": _published_model(),
                "branched": Part(
                    "suite.agents.branching:Branched",
                    {"starts": 100_000, "length": _growing(first_epoch, last_epoch)},
                ),
                "fit_every": 250,
                "soft": soft(target_entropy=-1.0),
                "pace": pace(exploration, 1, 20, EPOCH),
                "memory": Part(
                    "suite.agents.replay:Mixture", {"real_share": 0.05, "retained": 1}
                ),
            },
        ),
        total_timesteps=15_000,
        evaluation=returns("hopper", 10, 1000),
        metric="return_mean",
        seeds=SEEDS,
        scales={
            "smoke": Scale(
                "seconds",
                {
                    **TINY,
                    "agent.branched.starts": 50,
                    "agent.fit_every": 50,
                    "agent.believed.steps": 4,
                    "agent.believed.fit.batches.batch_size": 16,
                    "agent.believed.fit.dynamics.ensemble.hidden": [16, 16, 16, 16],
                },
            ),
            "quick": Scale(
                "3 minutes; it has hardly begun",
                {
                    **QUICK,
                    "agent.pace.updates": 4,
                    "agent.branched.starts": 20_000,
                    "agent.believed.steps": 500,
                },
            ),
            "default": Scale("an hour; the published settings, short schedules"),
            "paper": Scale(
                "a day; the published schedules and 125,000 steps",
                {**LONG, **PUBLISHED},
            ),
        },
    )


def sac_spec(
    updates: int, exploration: int, paper: dict[str, int], **changed: Any
) -> Benchmark:
    """SAC for as many real steps, with so many updates a step after the exploration."""
    often = "one update" if updates == 1 else f"{updates} updates"
    return Benchmark(
        name="sac-hopper",
        about=(
            "Soft actor-critic on Hopper for as many real steps as mbpo-hopper, "
            f"without a model and with {often} a step."
        ),
        env=Env("BatchedHopper-v5"),
        agent=Part(
            "suite.agents.sac:SAC",
            {
                "soft": soft(**changed),
                "pace": pace(exploration, 1, updates, EPOCH),
                "memory": Part("suite.agents.replay:Replay", {"capacity": 1_000_000}),
            },
        ),
        total_timesteps=15_000,
        evaluation=returns("hopper", 10, 1000),
        metric="return_mean",
        seeds=SEEDS,
        scales={
            "smoke": Scale("seconds", TINY),
            "quick": Scale(
                "half a minute", {**QUICK, "agent.pace.updates": min(updates, 4)}
            ),
            "default": Scale("4 minutes"),
            "paper": Scale("half an hour", paper),
        },
    )


def without_model(exploration: int) -> Benchmark:
    """MBPO without its model, which is SAC."""
    return sac_spec(20, exploration, {**LONG, **PUBLISHED_PACE}, target_entropy=-1.0)


# The published 125 epochs in 14; a pilot, seed 100, was seen before they were set.
MBPO_HOPPER = register_benchmark(mbpo_spec(1000, 2, 18))
SAC_HOPPER = register_benchmark(sac_spec(1, 1000, LONG))
register(
    Sweep(
        name="mbpo-against-sac",
        about=(
            "Whether a model makes SAC on Hopper need fewer real steps, or the many "
            "updates do: MBPO, SAC, and SAC that is MBPO without its model; and the "
            "first 15,000 steps of the published schedules."
        ),
        cells=(
            Cell({"agent": "mbpo"}, MBPO_HOPPER, 20),
            Cell({"agent": "sac"}, SAC_HOPPER, 1),
            Cell({"agent": "sac", "updates": 20}, without_model(1000), 10),
            Cell({"agent": "mbpo-published"}, mbpo_spec(EXPLORATION, *GROWTH), 16),
            Cell(
                {"agent": "sac-published", "updates": 20}, without_model(EXPLORATION), 8
            ),
        ),
        baseline="mbpo",
        scales={
            "smoke": SweepScale("seconds, all of it tiny"),
            "quick": SweepScale(
                "5 minutes, they have hardly begun, one seed",
                {"agent": ("mbpo", "sac")},
            ),
            "default": SweepScale("11 hours of a core"),
            "paper": SweepScale("days of a core", {"agent": ("mbpo", "sac")}),
        },
        figures=(Curves("return", "return_mean"), Bars("final")),
        labels={
            "return_mean": "return",
            "mbpo": "MBPO",
            "sac": "SAC",
            "sac-updates20": "MBPO without its model: SAC",
            "mbpo-published": "MBPO, published schedules",
            "sac-published-updates20": "that without its model: SAC",
        },
    )
)
