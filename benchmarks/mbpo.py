"""MBPO: CS285's sixth question, and Hopper in 15,000 steps with SAC beside it.

``cs285-q6`` asks what a model adds to SAC in 50,000 real steps: nothing (``rlen`` 0),
single steps (1, Dyna), or rollouts of ten (10). Sizes are the experiment log's. What
differs:

- ``default`` is a fast preset: the model's hidden layers are SiLU's, and rollouts are
  made 50 at a time before every 50th update, by a policy that is at most 49 updates
  older. ``paper`` is the log's: tanh, one rollout before each update.
- Ten episodes run side by side. The policy does not change while they are collected.
- A time limit is no end: the log stored it as one.
- Without a model (``rlen`` 0) none is fitted; the log fits one and does not use it.

``mbpo-hopper`` is the published algorithm with Hopper's settings of its authors: 20
updates a step, 5 % real data, 7 networks of 4x200 units. What differs at every scale:

- Each network has its own soft bounds of the variance, as in all models here.
- What the networks predict is normalised, too, so that errors on the rows held out and
  the bounds of the variance are in units of its deviation.
- A fit ends by patience alone; the authors' code also stops at a number of seconds.
- Fits fall on the 1st, 251st ... step after the exploration, before its updates.

``default`` ends after 15,000 real steps, while rollouts still have one step; ``paper``
after the published 125,000. ``sac-hopper`` is SAC for the same real steps, one update
each. The sweep ``mbpo-against-sac`` puts them beside each other, and SAC with as many
updates as MBPO, so that what the model adds is told from what updates add.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from suite.benchmark import Benchmark, Env, Part, Scale
from suite.benchmark import register as register_benchmark
from suite.cell import Cell
from suite.figures import Bars, Curves
from suite.parts import Ref
from suite.sweep import Sweep, SweepScale, register

SEEDS = (0, 1, 2)
ONE_SEED = {"seeds": [0]}


def pace(exploration: int, collect: int, updates: int, epoch: int) -> Part:
    """How often the agent acts and learns."""
    settings = {"exploration": exploration, "collect": collect}
    settings |= {"updates": updates, "epoch": epoch}
    return Part("suite.agents.pace:Pace", settings)


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


def returns(reference: str | None, episodes: int, steps: int) -> Part:
    """Episodes played at once, without noise."""
    settings = {"reference": reference, "episodes": episodes, "steps": steps}
    return Part("suite.scores:NormalizedReturn", settings)


# --------------------------------------------------------------------------- CS285, 6
STEPS, ITERATIONS = 5000, 10  # real ones of an iteration, and how many of these
MOST = 5000
COURSE_UPDATES = {0: 1000, 1: MOST, 10: MOST}
AT_A_TIME = 50
COURSE_TIMES = {  # quick, default, paper
    0: ("10 seconds", "3 minutes", "3 minutes"),
    1: ("half a minute", "10 minutes", "12 minutes"),
    10: ("half a minute", "12 minutes", "20 minutes"),
}


def _course_model() -> Part:
    """The log's three networks and what it does with them."""
    ensemble = Part(
        "suite.worldmodels.ensemble:Ensemble",
        {
            "members": 3,
            "inputs": 21 + 6,
            "outputs": 21,
            "hidden": [250, 250],
            "activation": "silu",
        },
    )
    dynamics = Part(
        "suite.worldmodels.learned:LearnedDynamics",
        {"ensemble": ensemble, "reward": Ref("suite.envs.cheetah:reward")},
    )
    batches = Part("suite.worldmodels.batches:Disjoint", {"batch_size": 512})
    fit = Part(
        "suite.worldmodels.fit:Fit",
        {"dynamics": dynamics, "batches": batches, "learning_rate": 1e-3},
    )
    return Part(
        "suite.agents.believed:Fitted",
        {
            "fit": fit,
            "propagation": Ref("suite.worldmodels.propagation:Mean"),
            "steps": 1500,
            "data_noise": 0.01,
        },
    )


def course_spec(rlen: int, updates: int) -> Benchmark:
    """A cell of the sixth question.

    Args:
        rlen: Steps of a rollout; 0 is SAC without a model.
        updates: Of every iteration.
    """
    agent: dict[str, Any] = {
        "soft": soft(actor_activation="tanh", temperature=0.1),
        "pace": pace(0, STEPS, updates, STEPS),
        "memory": Part("suite.agents.replay:Replay", {"capacity": 100_000}),
    }
    if rlen:
        length = Part("suite.agents.branching:Fixed", {"steps": rlen})
        many = {"starts": AT_A_TIME, "every": AT_A_TIME, "length": length}
        agent["branched"] = Part("suite.agents.branching:Branched", many)
        agent["believed"], agent["fit_every"] = _course_model(), STEPS
    return Benchmark(
        name="cs285-q6",
        about=f"SAC on the cheetah with rollouts of {rlen} steps in a learned model.",
        env=Env("CS285-Cheetah-v0", num_envs=10),
        agent=Part(f"suite.agents.{'mbpo:MBPO' if rlen else 'sac:SAC'}", agent),
        total_timesteps=ITERATIONS * STEPS,
        evaluation=returns(None, 10, 500),
        metric="return_mean",
        seeds=SEEDS,
        scales=_course_scales(rlen, updates),
    )


def _course_scales(rlen: int, updates: int) -> dict[str, Scale]:
    quick: dict[str, Any] = {
        "agent.pace.updates": updates // 10,
        "total_timesteps": 3 * STEPS,
        **ONE_SEED,
    }
    smoke: dict[str, Any] = {
        **ONE_SEED,
        "env.num_envs": 2,
        "agent.soft.net_arch": [16, 16],
        "agent.soft.batch_size": 16,
        "agent.pace.collect": 200,
        "agent.pace.epoch": 200,
        "agent.pace.updates": 10,
        "total_timesteps": 400,
        "evaluation.episodes": 2,
        "every": 2,
    }
    paper: dict[str, Any] = {}
    if rlen:
        quick |= {"agent.believed.steps": 150}
        smoke |= {
            "agent.fit_every": 200,
            "agent.branched.starts": 5,
            "agent.branched.every": 5,
            "agent.believed.steps": 4,
            "agent.believed.fit.batches.batch_size": 32,
            "agent.believed.fit.dynamics.ensemble.hidden": [16, 16],
        }
        paper = {
            "agent.branched.starts": 1,
            "agent.branched.every": 1,
            "agent.believed.fit.dynamics.ensemble.activation": "tanh",
        }
    times = COURSE_TIMES[rlen]
    return {
        "smoke": Scale("seconds", smoke),
        "quick": Scale(times[0], quick),
        "default": Scale(times[1]),
        "paper": Scale(f"{times[2]}; the log's", {**paper, **ONE_SEED}),
    }


register(
    Sweep(
        name="cs285-q6",
        about=(
            "What rollouts in a learned model add to SAC on the cheetah, in 50,000 "
            "real steps: none, single steps (Dyna), or ten (MBPO); and what as many "
            "updates add alone."
        ),
        cells=(
            *(
                Cell({"rlen": rlen}, course_spec(rlen, updates), updates / 1000)
                for rlen, updates in COURSE_UPDATES.items()
            ),
            # Not in the log: as many updates as the others, still without a model.
            Cell({"rlen": 0, "updates": MOST}, course_spec(0, MOST), MOST / 1000),
        ),
        baseline="rlen0",
        scales={
            "smoke": SweepScale("seconds, all of it tiny"),
            "quick": SweepScale("2 minutes, 15,000 steps, a tenth of the updates"),
            "default": SweepScale("75 minutes"),
            "paper": SweepScale("40 minutes, the log's model and order, one seed"),
        },
        figures=(
            Curves("return", "return_mean"),
            Curves("return-while-collecting", "rollout/return_mean"),
            Bars("final"),
        ),
        labels={
            "return_mean": "return",
            "rollout/return_mean": "return while collecting",
            "rlen0": "SAC alone",
            "rlen0-updates5000": "SAC alone, as many updates",
            "rlen1": "single steps (Dyna)",
            "rlen10": "ten steps (MBPO)",
        },
    )
)


# ----------------------------------------------------------------------------- Hopper
EXPLORATION, EPOCH = 5000, 1000


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


def _growing() -> Part:
    epochs = {"first_epoch": 20, "last_epoch": 150, "shortest": 1, "longest": 15}
    return Part("suite.agents.branching:Growing", epochs)


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

MBPO_HOPPER = register_benchmark(
    Benchmark(
        name="mbpo-hopper",
        about=(
            "Model-based policy optimisation on Hopper in 15,000 real steps, 5,000 of "
            "them random: 20 updates a step, on 95 % imagined transitions."
        ),
        env=Env("BatchedHopper-v5"),
        agent=Part(
            "suite.agents.mbpo:MBPO",
            {
                "believed": _published_model(),
                "branched": Part(
                    "suite.agents.branching:Branched",
                    {"starts": 100_000, "length": _growing()},
                ),
                "fit_every": 250,
                "soft": soft(target_entropy=-1.0),
                "pace": pace(EXPLORATION, 1, 20, EPOCH),
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
            "default": Scale("45 minutes; the published settings"),
            "paper": Scale(
                "a day; the published 125,000 steps",
                {"total_timesteps": EXPLORATION + 125 * EPOCH},
            ),
        },
    )
)

SAC_HOPPER = register_benchmark(
    Benchmark(
        name="sac-hopper",
        about=(
            "Soft actor-critic on Hopper for as many real steps as mbpo-hopper, "
            "without a model and with one update a step."
        ),
        env=Env("BatchedHopper-v5"),
        agent=Part(
            "suite.agents.sac:SAC",
            {
                "soft": soft(),
                "pace": pace(1000, 1, 1, EPOCH),
                "memory": Part("suite.agents.replay:Replay", {"capacity": 1_000_000}),
            },
        ),
        total_timesteps=15_000,
        evaluation=returns("hopper", 10, 1000),
        metric="return_mean",
        seeds=SEEDS,
        scales={
            "smoke": Scale("seconds", TINY),
            "quick": Scale("half a minute", QUICK),
            "default": Scale("4 minutes"),
            "paper": Scale(
                "half an hour", {"total_timesteps": EXPLORATION + 125 * EPOCH}
            ),
        },
    )
)


def _sac_with(updates: int) -> Benchmark:
    """SAC with so many updates a step, at every scale."""
    scales = {
        name: Scale(scale.time, {**scale.settings, "agent.pace.updates": updates})
        for name, scale in SAC_HOPPER.scales.items()
    }
    spec = SAC_HOPPER.with_settings({"agent.pace.updates": updates})
    return replace(spec, scales=scales)


register(
    Sweep(
        name="mbpo-against-sac",
        about=(
            "Whether a model makes SAC on Hopper need fewer real steps, or the many "
            "updates do: MBPO, SAC, and SAC with as many updates as MBPO."
        ),
        cells=(
            Cell({"agent": "mbpo"}, MBPO_HOPPER, 20),
            Cell({"agent": "sac"}, SAC_HOPPER, 1),
            Cell({"agent": "sac", "updates": 20}, _sac_with(20), 8),
        ),
        baseline="mbpo",
        scales={
            "smoke": SweepScale("seconds, all of it tiny"),
            "quick": SweepScale("5 minutes, they have hardly begun, one seed"),
            "default": SweepScale("3 hours of a core"),
            "paper": SweepScale("days of a core"),
        },
        figures=(Curves("return", "return_mean"), Bars("final")),
        labels={
            "return_mean": "return",
            "mbpo": "MBPO",
            "sac": "SAC",
            "sac-updates20": "SAC, 20 updates a step",
        },
    )
)
