"""Offline agents on our own locomotion data, clean or corrupted.

``cell_spec`` writes the specification of one cell of a grid; the benchmarks below are
cells on clean data. Hyperparameters are those of d3rlpy's reproduction scripts for
MuJoCo, except, at every scale:

- CQL has two hidden layers as IQL, not three.
- CQL's multiplier alpha stays 1, as in the scripts, so alpha_threshold has no gradient;
  it is 0 instead of 10, which would only add a constant -100 to the critic's loss.
- Sizes: ``default`` is 20,000 updates of 2x64 networks, ``paper`` the scripts' 500,000
  of 2x256. So few updates at the scripts' learning rates leave the policy far behind
  the one that made the data (IQL on HalfCheetah: 9 points, behaviour cloning 40), and
  corruption could not be seen; below ``paper`` CQL and IQL have rates of 1e-3 and
  standardised observations, as CORL's implementations of both have. IQL's weights are
  exp(0.5 A), not exp(3 A): so early its advantages are mostly error, and on clean
  Hopper it fell from 51 points to 14 by trusting them (97 at 0.5; one seed each).
- Behaviour cloning has batches of 256 as the others, not of 100.

The environments and the data are of version 5, collected by policies of our own
(``suite-bench data make suite/hopper-medium-v0``). Points are by D4RL's references,
which are of older versions: a convention to compare arms by, not D4RL's benchmark.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from suite.benchmark import Benchmark, Env, Part, Scale, register
from suite.data.cards import LOCAL

ENVS = {
    "halfcheetah": "BatchedHalfCheetah-v5",
    "hopper": "BatchedHopper-v5",
    "walker2d": "BatchedWalker2d-v5",
}
UPDATES = {"default": 20_000, "quick": 4_000, "paper": 500_000}
TIMES = {  # quick, default, paper
    "cql": ("80 seconds", "6 minutes", "14 hours"),
    "iql": ("15 seconds", "75 seconds", "2 hours"),
    "td3bc": ("15 seconds", "a minute", "2 hours"),
    "bc": ("10 seconds", "half a minute", "half an hour"),
}
_NAMES = {
    "cql": "Conservative Q-learning",
    "iql": "Implicit Q-learning",
    "td3bc": "TD3+BC",
    "bc": "Behaviour cloning",
}
_COMMON: dict[str, Any] = {"net_arch": [64, 64], "batch_size": 256, "gamma": 0.99}
_TARGETS: dict[str, Any] = {"tau": 0.005, "n_critics": 2}
AGENTS: Mapping[str, Part] = {
    "cql": Part(
        "suite.agents.offline:CQL",
        {
            **_COMMON,
            **_TARGETS,
            "conservative_weight": 5.0,
            "alpha_learning_rate": 0.0,
            "alpha_threshold": 0.0,
            "n_action_samples": 10,
            "actor_learning_rate": 1e-3,
            "critic_learning_rate": 1e-3,
            "temp_learning_rate": 1e-3,
            "normalize_obs": True,
        },
    ),
    "iql": Part(
        "suite.agents.offline:IQL",
        {
            **_COMMON,
            **_TARGETS,
            "expectile": 0.7,
            "weight_temp": 0.5,
            "max_weight": 100.0,
            "actor_learning_rate": 1e-3,
            "actor_decay": UPDATES["default"],
            "critic_learning_rate": 1e-3,
            "return_span": 1000.0,
            "normalize_obs": True,
        },
    ),
    "td3bc": Part(
        "suite.agents.offline:TD3BC",
        {
            **_COMMON,
            **_TARGETS,
            "alpha": 2.5,
            "actor_learning_rate": 3e-4,
            "critic_learning_rate": 3e-4,
            "normalize_obs": True,
        },
    ),
    "bc": Part("suite.agents.offline:BC", {**_COMMON, "learning_rate": 1e-3}),
}

# What the scripts have, and ``paper`` with them.
_PATIENT: Mapping[str, Mapping[str, Any]] = {
    "cql": {
        "agent.actor_learning_rate": 1e-4,
        "agent.critic_learning_rate": 3e-4,
        "agent.temp_learning_rate": 1e-4,
        "agent.normalize_obs": False,
    },
    "iql": {
        "agent.actor_learning_rate": 3e-4,
        "agent.critic_learning_rate": 3e-4,
        "agent.weight_temp": 3.0,
        "agent.normalize_obs": False,
    },
}


def cell_spec(
    algo: str,
    env: str,
    corruptions: Sequence[Part] = (),
    *,
    quality: str = "medium",
    seeds: Sequence[int] = (0,),
    name: str | None = None,
    about: str | None = None,
) -> Benchmark:
    """One cell of a grid: an algorithm on one robot's data, corrupted or not.

    Critics are probed on the clean data, whatever the agent trains on. A corruption
    that takes a seed and is given none has the run's, so that it differs between seeds.

    Args:
        algo: One of ``AGENTS``.
        env: One of ``ENVS``.
        corruptions: What is done to the data, the first one first, such as
            ``Part("suite.wrappers:DropBestEpisodes", {"percent": 30})``.
        quality: Of the data: "medium", "strong" or "mixed".
        seeds: To run.
        name: Of the benchmark.
        about: What it shows.
    """
    source = {"source": f"suite/{env}-{quality}-v0"}
    clean = Part("suite.datasets:load_dataset", source)
    probe = Part("suite.agents.probe:Probe", {"data": clean, "pairs": 1024, "seed": 0})
    agent = AGENTS[algo]
    if algo != "bc":  # it has no critics
        agent = Part(agent.call, {**agent.kwargs, "probe": probe})
    return Benchmark(
        name=name or f"offline-{algo}-{env}",
        about=about or _about(algo, env, quality),
        env=Env(ENVS[env]),
        agent=agent,
        total_timesteps=UPDATES["default"],
        data=Part(clean.call, {**source, "corruptions": tuple(corruptions)}),
        evaluation=Part(
            "suite.scores:NormalizedReturn",
            {"reference": env, "local": LOCAL.get(env), "episodes": 10, "steps": 1000},
        ),
        metric="normalized_return",
        seeds=tuple(seeds),
        every=2,  # of 1,000 updates each
        scales=_scales(algo, env, tuple(corruptions)),
    )


def _about(algo: str, env: str, quality: str) -> str:
    return (
        f"{_NAMES[algo]} on the clean data of our {env} policies of quality {quality}. "
        f"Needs the data: suite-bench data make suite/{env}-{quality}-v0."
    )


def _scales(algo: str, env: str, corruptions: tuple[Part, ...]) -> dict[str, Scale]:
    quick, default, paper = TIMES[algo]
    smoke = _smoke(algo, env, corruptions)
    theirs = {"agent.net_arch": [256, 256], "every": 5, **_PATIENT.get(algo, {})}
    return {
        "smoke": Scale("seconds, on data of random actions", smoke),
        "quick": Scale(quick, {**_updates(algo, "quick"), "evaluation.episodes": 5}),
        "default": Scale(default),
        "paper": Scale(f"{paper} a seed", {**_updates(algo, "paper"), **theirs}),
    }


def _updates(algo: str, scale: str) -> dict[str, Any]:
    updates = UPDATES[scale]
    decay = {"agent.actor_decay": updates} if algo == "iql" else {}
    return {"total_timesteps": updates, **decay}


def _smoke(algo: str, env: str, corruptions: tuple[Part, ...]) -> dict[str, Any]:
    """Of everything a little, so that all cells of a grid take minutes together."""
    random = {"env_id": ENVS[env], "steps": 10_000 if env == "halfcheetah" else 1_000}
    call = "suite.recipes:random_dataset"
    data = {"data": Part(call, {**random, "corruptions": corruptions})}
    if algo != "bc":
        data["agent.probe.data"] = Part(call, random)
    return {
        **data,
        "total_timesteps": 60,
        "agent.net_arch": [16, 16],
        "agent.batch_size": 32,
        "agent.updates_per_iteration": 20,
        "evaluation.episodes": 2,
        "every": 3,
    }


for _algo, _env in (
    *((_algo, _env) for _algo in ("cql", "iql") for _env in ("halfcheetah", "hopper")),
    ("td3bc", "hopper"),
    ("bc", "hopper"),
):
    register(cell_spec(_algo, _env))
