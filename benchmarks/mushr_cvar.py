"""The sweep: does the tail of rollouts (CVaR) make learned cars safer to foresee?

The 24 configurations of the plan: 12, each by the mean of rollouts and by the worst
fifth of them. ``paper`` has them one by one, as the plan does. ``default`` fits the
plan's five seeds at once in stacked weights, on three draws of the data (``exp2_seeds``
is ``exp2_seed0`` to ``exp2_seed4``), so that the pair on which most rests has fifteen
fits a side; the others are single points, and there is the control that the plan lacks,
``exp2_seed42``: what varies is always varied at seed 42.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from suite.cell import Cell
from suite.results.drive_figures import Distribution, Growth, Paths, SeedBoxes, Tails
from suite.sweep import Sweep, SweepScale, register
from suite_bench.benchmarks.mushr import CONFIGS, CONTROL, TAILS, Config, car_spec

STACKED, SEEDS, DATA_SEEDS = "exp2_seeds", (0, 1, 2, 3, 4), (0, 1, 2)
SINGLE = tuple(name for name in CONFIGS if "_seed" not in name)
# Core seconds of a cell beside each other's: measured, see docs/mushr_cvar.md.
COSTS = {STACKED: 2.6, "exp2_h20": 2.0, "exp7_direct_no_adapter_rollout_pose": 0.6}


def _cell(name: str, tail: str, data_seed: int, seeds: Sequence[int] = ()) -> Cell:
    spec = car_spec(
        CONFIGS.get(name, Config()),
        tail,
        name="mushr-cvar",
        about=f"A cell of the sweep: {name}, {tail}, data of seed {data_seed}.",
        seeds=seeds,
        data_seed=data_seed,
    )
    axes = {"config": name, "tail": tail, "data": data_seed}
    return Cell(axes, spec, COSTS.get(name, 1.0))


def _cells() -> Iterator[Cell]:
    for tail in TAILS:
        for data_seed in DATA_SEEDS:
            yield _cell(STACKED, tail, data_seed, SEEDS)
        for name in (CONTROL, *CONFIGS):
            yield _cell(name, tail, 0)


register(
    Sweep(
        name="mushr-cvar",
        about=(
            "Whether CVaR lowers the worst errors of learned models of a car, at what "
            "cost in the mean, and what seed, horizon, teacher forcing and physics do. "
            "Needs the data: suite-bench data make suite/mushr-real-v0, the same with "
            "-seed1 and -seed2, -test and -ood."
        ),
        cells=tuple(_cells()),
        tasks="config",
        rivals="tail",
        scales={
            "smoke": SweepScale(
                "2 minutes, all of it tiny",
                {"config": (STACKED, "exp2_h20", SINGLE[-1]), "data": (0,)},
            ),
            "quick": SweepScale(
                "20 minutes, a quarter of the steps",
                {"config": (STACKED, CONTROL, *SINGLE), "data": (0,)},
            ),
            "default": SweepScale(
                "an hour, 4000 steps", {"config": (STACKED, CONTROL, *SINGLE)}
            ),
            "paper": SweepScale(
                "three days, up to 1000 passes", {"config": tuple(CONFIGS)}
            ),
        },
        figures=(
            Distribution("distribution", "ade"),
            Distribution("distribution-ood", "ood_ade"),
            Growth("growth", "growth", "time"),
            Growth("growth-ood", "ood_growth", "time"),
            SeedBoxes("seeds", "ade"),
            Tails("tails", "ade"),
            Tails("tails-ood", "ood_ade"),
            Paths("paths", "paths", only=(STACKED, "exp2_h20", SINGLE[-1])),
            Paths("paths-ood", "ood_paths", only=(STACKED, "exp2_h20", SINGLE[-1])),
        ),
        labels={
            "base": "mean",
            "cvar0p2": "CVaR 0.2",
            STACKED: "seeds 0 to 4",
            CONTROL: "seed 42",
            "exp2_h20": "horizon 20",
            "exp2_tf0": "no teacher forcing",
            "exp2_tf0p5": "teacher forcing 0.5",
            "exp2_xytheta": "heading in the loss",
            "exp2_resl2_0p01": "residual held down",
            "exp6_direct_rollout_pose": "direct",
            "exp7_direct_no_adapter_rollout_pose": "direct, no adapter",
            "ade": "average distance",
            "ood_ade": "average distance, out of distribution",
            "growth": "distance",
            "ood_growth": "distance, out of distribution",
        },
    )
)
