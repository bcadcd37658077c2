"""PETS: planning in a probabilistic ensemble, on HalfCheetah.

``paper`` has the published planner and sizes. What differs in every scale:

- The observation is Gymnasium's, without the mean speed that is paid: the reward is one
  more output of the networks. PETS puts that speed first and computes the reward.
- The torso's pitch is an angle as it is. PETS gives the networks its sine and cosine.
- Targets are normalised, as inputs are. PETS normalises inputs alone.
"""

from __future__ import annotations

from suite.benchmark import Benchmark, Env, Part, Scale, register
from suite_bench.benchmarks.off_policy import returns
from suite_bench.benchmarks.planning import TINY_FIT

_DECAY = [2.5e-5, 5e-5, 7.5e-5, 7.5e-5, 1e-4]  # one rate a layer
ICEM = Part(
    "suite.agents.planners:ICEM",
    {
        "horizon": 30,
        "candidates": 40,
        "elites": 10,
        "iterations": 3,
        "proposal": Part(
            "suite.agents.proposals:ClippedNormal", {"std": 0.5, "colour": 0.25}
        ),
    },
)
CEM = Part(
    "suite.agents.planners:CEM",
    {
        "horizon": 30,
        "candidates": 500,
        "elites": 50,
        "iterations": 5,
        "alpha": 0.1,
        "proposal": Part("suite.agents.proposals:TruncatedNormal", {"std": 0.5}),
    },
)

register(
    Benchmark(
        name="pets-halfcheetah",
        about=(
            "HalfCheetah by planning in five probabilistic networks: PETS, with iCEM "
            "in the place of its CEM. The reward is learned as one more output, since "
            "the observation does not tell the mean speed that is paid."
        ),
        env=Env("BatchedHalfCheetah-v5", num_envs=2),
        agent=Part(
            "suite.agents.mpc:MPC",
            {
                "planner": ICEM,
                "fit": Part(
                    "suite.worldmodels.fit:Fit",
                    {
                        "dynamics": Part(
                            "suite.worldmodels.learned:LearnedDynamics",
                            {
                                "ensemble": Part(
                                    "suite.worldmodels.ensemble:GaussianEnsemble",
                                    {
                                        "members": 5,
                                        "inputs": 17 + 6,
                                        "outputs": 17 + 1,
                                        "hidden": [200, 200, 200, 200],
                                        "activation": "silu",
                                    },
                                )
                            },
                        ),
                        "batches": Part(
                            "suite.worldmodels.batches:Bootstrap", {"batch_size": 32}
                        ),
                        "weight_decay": _DECAY,
                    },
                ),
                "imagination": Part(
                    "suite.agents.planned_policy:Imagination", {"particles": 5}
                ),
                "initial_steps": 2000,
                "batch_size": 2000,
                "fit_epochs": 5,
            },
        ),
        total_timesteps=12_000,
        evaluation=returns(None, 4, 1000),
        metric="return_mean",
        seeds=(0, 1, 2),
        every=6,
        scales={
            "smoke": Scale(
                "seconds",
                {
                    **TINY_FIT,
                    "agent.fit_epochs": 1,
                    "agent.fit.weight_decay": [],
                    "agent.planner.horizon": 3,
                    "agent.planner.candidates": 8,
                    "agent.planner.elites": 2,
                    "agent.initial_steps": 200,
                    "agent.batch_size": 10,
                    "total_timesteps": 220,
                    "evaluation.episodes": 1,
                    "every": 3,
                    "seeds": [0],
                },
            ),
            "quick": Scale(
                "3 minutes; two iterations of few draws",
                {
                    "agent.planner.iterations": 1,
                    "agent.planner.horizon": 10,
                    "agent.fit_epochs": 2,
                    "total_timesteps": 4000,
                    "evaluation.episodes": 1,
                    "seeds": [0],
                },
            ),
            "default": Scale("half an hour"),
            "paper": Scale(
                "months; the published sizes",
                {
                    "env.num_envs": 1,
                    "agent.planner": CEM,
                    "agent.imagination.particles": 20,
                    "agent.initial_steps": 1000,
                    "agent.batch_size": 1000,
                    "total_timesteps": 300_000,
                },
            ),
        },
    )
)
