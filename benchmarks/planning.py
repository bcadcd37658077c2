"""Planning with learned dynamics: the five MPC experiments of CS285's homework 4.

``mpc_spec`` writes the agent of a task. Sizes are those of the experiment log that
these reproduce: 3 networks of 2x250 units fitted to noisy data by Adam, 1000 sequences
at every step, the best one's first action. What differs:

- ``default`` is a fast preset: hidden layers are SiLU's. ``bf16`` is the same with the
  hidden layers in bfloat16 while planning, for processors that multiply it natively;
  others refuse it. ``paper`` is the log's, tanh.
- Episodes run side by side, as many as fit into an iteration's steps, all planned for
  at once: the model does not change meanwhile, so they are as independent as the log's
  one after another. Rows go on with their episodes in the next iteration.
- Evaluations play several episodes, where the log's cheetah played one, and less often;
  ``train/return_mean`` is what the same policy earns as it collects.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from suite.benchmark import Benchmark, Env, Part, Reference, Scale, register
from suite.parts import Ref
from suite_bench.benchmarks.off_policy import returns

SEEDS = (0, 1, 2)
CANDIDATES, MEMBERS = 1000, 3
WITH_BFLOAT16 = "default on a processor with bfloat16 products"
TANH = {"agent.fit.dynamics.ensemble.activation": "tanh"}
BFLOAT16 = {
    "agent.imagination": Part(
        "suite.agents.planned_policy:Imagination",
        {"hidden_dtype": Ref("torch:bfloat16")},
    )
}
# A few plans of few sequences, so that a smoke run takes seconds.
TINY_PLANNER = {"agent.planner.horizon": 3, "agent.planner.candidates": 20}
TINY_FIT = {
    "agent.fit_epochs": 4,
    "agent.fit.batches.batch_size": 32,
    "agent.fit.dynamics.ensemble.hidden": [16, 16],
}


@dataclass(frozen=True)
class Course:
    """What the log says of a task.

    Args:
        module: Of ``suite.envs``, which has the reward.
        env: The environment's id.
        obs_size: Numbers of an observation.
        action_size: Numbers of an action.
        steps: Of an episode.
        horizon: Of a plan.
        fit_steps: Gradient steps after each collection.
        rows: Episodes side by side.
        initial_steps: Random steps at first.
        batch_size: Steps of each later iteration.
        ends: Whether the module's ``success`` ends an episode.
        paper_seeds: Of the log's own tanh; where that takes hours one, which shows that
            the fast preset does not change the result.
    """

    module: str
    env: str
    obs_size: int
    action_size: int
    steps: int
    horizon: int
    fit_steps: int
    rows: int
    initial_steps: int
    batch_size: int
    ends: bool = False
    paper_seeds: tuple[int, ...] = (0,)

    def total(self, iterations: int) -> int:
        """Environment steps of so many iterations, the random one among them."""
        return self.initial_steps + (iterations - 1) * self.batch_size


OBSTACLES = Course(
    *("obstacles", "CS285-Obstacles-v0", 4, 2, 100, 10, 20, 10, 5000, 1000),
    ends=True,
    paper_seeds=SEEDS,
)
REACHER = Course("reacher", "CS285-Reacher-v0", 20, 7, 200, 10, 1000, 25, 5000, 5000)
CHEETAH = Course("cheetah", "CS285-Cheetah-v0", 21, 6, 500, 15, 1500, 10, 5000, 5000)


def model(course: Course, *, members: int = MEMBERS, hidden: Any = (250, 250)) -> Part:
    """The log's model of a task, with the task's reward and end."""
    functions = {"reward": Ref(f"suite.envs.{course.module}:reward")}
    if course.ends:
        functions["terminated"] = Ref(f"suite.envs.{course.module}:success")
    ensemble = Part(
        "suite.worldmodels.ensemble:Ensemble",
        {
            "members": members,
            "inputs": course.obs_size + course.action_size,
            "outputs": course.obs_size,
            "hidden": hidden,
            "activation": "silu",
        },
    )
    return Part(
        "suite.worldmodels.learned:LearnedDynamics",
        {"ensemble": ensemble, **functions},
    )


def fit(dynamics: Part, **kwargs: Any) -> Part:
    """The log's fit: 512 rows of its own for each network, Adam at 1e-3."""
    # An epoch of a single step, so that every step's loss is kept.
    batches = Part(
        "suite.worldmodels.batches:Disjoint", {"batch_size": 512, "steps_per_epoch": 1}
    )
    return Part(
        "suite.worldmodels.fit:Fit",
        {"dynamics": dynamics, "batches": batches, "learning_rate": 1e-3, **kwargs},
    )


def shooting(horizon: int, candidates: int = CANDIDATES) -> Part:
    """The log's planner."""
    return Part(
        "suite.agents.planners:RandomShooting",
        {"horizon": horizon, "candidates": candidates},
    )


def cem(horizon: int, iterations: int) -> Part:
    """The log's other planner: nothing of a plan is left for the next."""
    return Part(
        "suite.agents.planners:CEM",
        {
            "horizon": horizon,
            "candidates": CANDIDATES,
            "elites": 5,
            "iterations": iterations,
            "alpha": 0.0,  # the weight of the old mean; the course counts the new one's
            "proposal": Part("suite.agents.proposals:ClippedNormal", {"std": None}),
            "warm_start": False,
        },
    )


def mpc_spec(
    course: Course,
    *,
    name: str,
    about: str,
    iterations: int,
    times: Mapping[str, str],
    planner: Part | None = None,
    members: int = MEMBERS,
    episodes: int = 5,
    every: int = 5,
    reference: Reference | None = None,
) -> Benchmark:
    """The log's agent on one of its tasks.

    Args:
        course: The task.
        name: Of the benchmark.
        about: What it shows.
        iterations: Collections, the random one among them, each with a fit.
        times: Of ``quick``, ``default`` and ``paper``.
        planner: Random shooting if None.
        members: Networks.
        episodes: Of an evaluation.
        every: Iterations between evaluations.
        reference: Of the log.
    """
    return Benchmark(
        name=name,
        about=about,
        env=Env(course.env, num_envs=course.rows),
        agent=Part(
            "suite.agents.mpc:MPC",
            {
                "planner": planner or shooting(course.horizon),
                "fit": fit(model(course, members=members)),
                "initial_steps": course.initial_steps,
                "batch_size": course.batch_size,
                "fit_epochs": course.fit_steps,
                "data_noise": 0.01,
            },
        ),
        total_timesteps=course.total(iterations),
        evaluation=returns(None, episodes, course.steps),
        metric="return_mean",
        seeds=SEEDS,
        every=every,
        scales=_scales(course, times, course.total(min(iterations, 2))),
        reference=reference,
    )


def _scales(
    course: Course, times: Mapping[str, str], few_steps: int
) -> dict[str, Scale]:
    quick = {
        "agent.planner.candidates": CANDIDATES // 10,
        "agent.fit_epochs": min(course.fit_steps, 300),
        "total_timesteps": few_steps,
        "evaluation.episodes": 2,
        "seeds": [0],
    }
    rows = {"env.num_envs": 2, "evaluation.episodes": 2, "seeds": [0]}
    smoke = {
        **rows,
        **TINY_FIT,
        **TINY_PLANNER,
        "agent.initial_steps": 200,
        "agent.batch_size": 20,
        "total_timesteps": 240,
        "every": 3,
    }
    return {
        "smoke": Scale("seconds", smoke),
        "quick": Scale(times["quick"], quick),
        "default": Scale(times["default"]),
        "bf16": Scale(WITH_BFLOAT16, BFLOAT16),
        "paper": Scale(
            f"{times['paper']}; the log's tanh",
            {**TANH, "seeds": list(course.paper_seeds)},
        ),
    }


register(
    mpc_spec(
        OBSTACLES,
        name="cs285-q2",
        about=(
            "A point among walls: act at random for 5000 steps, fit a model with 20 "
            "gradient steps, plan in it. Its first evaluation is of random actions."
        ),
        iterations=1,
        episodes=50,
        every=1,
        times={"quick": "half a minute", "default": "5 minutes", "paper": "5 minutes"},
        reference=Reference(
            "the experiment log, 2. (one seed): its train return, of random actions, "
            "and its eval return",
            ((1, 0, -164.5), (2, 5000, -29.98)),
        ),
    )
)

register(
    mpc_spec(
        OBSTACLES,
        name="cs285-q3-obstacles",
        about="The same, going on: collect 1000 steps by planning, fit, repeat.",
        iterations=12,
        episodes=10,
        every=1,
        times={"quick": "a minute", "default": "20 minutes", "paper": "20 minutes"},
        reference=Reference(
            "the experiment log, 3. (one seed), at the end", ((13, 16_000, -21.0),)
        ),
    )
)

register(
    mpc_spec(
        REACHER,
        name="cs285-q3-reacher",
        about="An arm reaches for a point by planning in a model that it learns.",
        iterations=15,
        times={"quick": "3 minutes", "default": "80 minutes", "paper": "80 minutes"},
        reference=Reference(
            "the experiment log, 3. (one seed), at the end", ((16, 75_000, -273.0),)
        ),
    )
)

register(
    mpc_spec(
        CHEETAH,
        name="cs285-q3-cheetah",
        about=(
            "A cheetah runs without raising its front leg, by planning in a model that "
            "it learns."
        ),
        iterations=20,
        times={"quick": "3 minutes", "default": "3 hours", "paper": "3 hours"},
        reference=Reference(
            "the experiment log, 3. (one seed, one episode), at the end",
            ((21, 100_000, 297.0),),
        ),
    )
)
