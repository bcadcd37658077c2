"""CS285's sixth question: what a model adds to SAC on the cheetah.

``cs285-q6`` asks what it adds in 50,000 real steps: nothing (``rlen`` 0), single steps
(1, Dyna), or rollouts of ten (10). Sizes are the experiment log's. What differs:

- ``default`` is a fast preset: the model's hidden layers are SiLU's, and rollouts are
  made 50 at a time before every 50th update, by a policy that is at most 49 updates
  older. ``paper`` is the log's: tanh, one rollout before each update.
- Ten episodes run side by side. The policy does not change while they are collected.
- A time limit is no end: the log stored it as one.
- Without a model (``rlen`` 0) none is fitted; the log fits one and does not use it.
- One more cell has as many updates as the others and no model.
"""

from __future__ import annotations

from typing import Any

from suite.benchmark import Benchmark, Env, Part, Scale
from suite.cell import Cell
from suite.parts import Ref
from suite.results.figures import Bars, Curves
from suite.sweep import Sweep, SweepScale, register
from suite_bench.benchmarks.mbpo import SEEDS, soft
from suite_bench.benchmarks.off_policy import ONE_SEED, pace, returns

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
