"""The grid: how far offline agents fall when their data are corrupted.

Two algorithms learn from the data of two robots, from which the episodes of the highest
returns were removed: none, 30 or 60 % of them. Two controls tell what was lost: as many
episodes at random (``random``), and as many transitions at random (``matched``), since
in Hopper good episodes are long. Where all episodes are of one length, as in
HalfCheetah, the two controls are two draws of the same. ``noise`` leaves all episodes
and adds normal noise to their rewards, as wide as the rewards spread.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from suite.benchmark import Benchmark, Part, Scale
from suite.cell import Cell
from suite.results.figures import Bars, Comparison, Curves
from suite.sweep import Sweep, SweepScale, register
from suite_bench.benchmarks.offline import cell_spec

ALGOS = {"cql": 5.0, "iql": 1.0}  # and the work of a seed beside that of the others
ENVS = ("halfcheetah", "hopper")
# By axis: what its number is an argument of. At 0 nothing is done.
CORRUPTIONS: Mapping[str, tuple[str, str, tuple[float, ...]]] = {
    "k": ("DropBestEpisodes", "percent", (0, 30, 60)),
    "random": ("DropRandomEpisodes", "percent", (30, 60)),
    "matched": ("DropSizeMatchedEpisodes", "percent", (30, 60)),
    "noise": ("RelativeRewardNoise", "ratio", (1,)),
}
SEEDS = {
    "smoke": (0, 1, 2),
    "quick": (0,),
    "default": (0, 1, 2, 3, 4),
    "paper": (0, 1, 2),
}
# Without controls and noise, at three seeds, it is the 36 runs of the experiment that
# this reproduces.
ITS_36 = {"k": (0, 30, 60)}


def _cell(algo: str, env: str, axis: str, amount: float) -> Cell:
    wrapper, argument, _ = CORRUPTIONS[axis]
    change = Part(f"suite.wrappers:{wrapper}", {argument: amount})
    spec = cell_spec(
        algo,
        env,
        (change,) if amount else (),
        seeds=SEEDS["default"],
        name="offline-corruption",
        about=f"A cell of the sweep: {algo} on {env}, {axis} {amount:g}.",
    )
    spec = _with_seeds(spec)
    return Cell({"algo": algo, "env": env, axis: amount}, spec, ALGOS[algo])


def _with_seeds(spec: Benchmark) -> Benchmark:
    scales: dict[str, Any] = {
        name: Scale(scale.time, {**scale.settings, "seeds": list(SEEDS[name])})
        for name, scale in spec.scales.items()
    }
    return replace(spec, scales=scales)


_REMOVED = ("k0", "k30", "k60")
_CONTROLS = ("k0", "k30", "random30", "matched30", "k60", "random60", "matched60")

register(
    Sweep(
        name="offline-corruption",
        about=(
            "How far CQL and IQL fall when the best episodes of their data are removed "
            "or rewards are noisy, and whether their losses and values show it. Needs "
            "the data: suite-bench data make suite/hopper-medium-v0, and "
            "suite/halfcheetah-medium-v0."
        ),
        cells=tuple(
            _cell(algo, env, axis, amount)
            for algo in ALGOS
            for env in ENVS
            for axis, (_, _, amounts) in CORRUPTIONS.items()
            for amount in amounts
        ),
        tasks="env",
        rivals="algo",
        baseline="k0",
        scales={
            "smoke": SweepScale("2 minutes, all of it tiny", ITS_36),
            "quick": SweepScale("5 minutes, a fifth of the updates, one seed", ITS_36),
            "default": SweepScale("18 hours of a core, 20,000 updates of 2x64"),
            "paper": SweepScale("two weeks, 500,000 updates", ITS_36),
        },
        figures=(
            Curves(
                "learning-curves",
                "normalized_return",
                conditions=_REMOVED,
                is_shared=True,
            ),
            Curves(
                "control-curves",
                "normalized_return",
                conditions=("k0", "k60", "random60", "matched60", "noise1"),
                is_shared=True,
            ),
            Curves("q-values", "q/mean", spread="q/std", conditions=_REMOVED),
            Curves(
                "critic-loss-variance",
                "train/critic_loss_variance",
                conditions=_REMOVED,
                is_log=True,
            ),
            Curves(
                "td-loss-variance",
                "train/td_loss_variance",
                conditions=_REMOVED,
                is_log=True,
            ),
            Bars("final", _REMOVED),
            Bars("controls", (*_CONTROLS, "noise1")),
            Comparison("comparison"),
        ),
        labels={
            "cql": "CQL",
            "iql": "IQL",
            "halfcheetah": "HalfCheetah",
            "hopper": "Hopper",
            "k0": "clean",
            "k30": "best 30 % gone",
            "k60": "best 60 % gone",
            "random30": "random 30 % gone",
            "random60": "random 60 % gone",
            "matched30": "size of the best 30 %",
            "matched60": "size of the best 60 %",
            "noise1": "noisy rewards",
            "normalized_return": "normalised return",
            "q/mean": "Q of clean pairs",
            "train/critic_loss_variance": "variance of the critic loss",
            "train/td_loss_variance": "variance of the TD loss",
        },
    )
)
