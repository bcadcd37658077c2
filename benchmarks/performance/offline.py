"""What offline reinforcement learning costs: its updates, its data, the robots' steps.

    python benchmarks/performance/offline.py [--rounds 9] [--peer build/envpool-peer]

Run it on an idle machine; it takes some minutes. The parts are ``offline_updates.py``
(an update beside d3rlpy's ``fit``), ``offline_data.py`` (streaming, corrupting and
collecting) and ``locomotion.py`` (HalfCheetah in rows, beside the physics, EnvPool and
Gymnasium), which say who the contenders are. The last line is one JSON object of rates,
milliseconds and ratios.
"""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

import locomotion
import offline_data
import offline_updates
from report import finish, rounded, show

from suite.running.process import prepare_process

ROBOTS = {"robot": "HalfCheetah", "rows": 256, "steps": 50}


def quieten() -> None:
    """d3rlpy tells of every epoch."""
    import structlog

    quiet = structlog.make_filtering_bound_logger(logging.ERROR)
    structlog.configure(wrapper_class=quiet)


def main() -> None:
    """Measure, print the ratios beside their targets, and the JSON line."""
    parser = argparse.ArgumentParser(description="What offline learning costs.")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--episodes", type=int, default=300, help="of the stored data")
    parser.add_argument("--peer", type=Path, default=Path("build/envpool-peer"))
    args = parser.parse_args()
    prepare_process()
    quieten()
    # Before the learners: what they leave in memory slows no environment.
    robots, robot_ratios = locomotion.measured(
        **ROBOTS, rounds=args.rounds, folder=args.peer
    )
    data, data_ratios = offline_data.measured(args.episodes, args.rounds)
    updates, differences, update_ratios = offline_updates.measured(args.rounds)
    ratios = robot_ratios | data_ratios | update_ratios
    targets = {**offline_data.TARGETS, **offline_updates.TARGETS}
    show(ratios, targets | locomotion.targets_of(robot_ratios))
    finish(
        "offline",
        rounds=args.rounds,
        robots=ROBOTS,
        episodes={"stored": args.episodes, "learned from": offline_updates.EPISODES},
        rates=rounded({"rows": robots, **data}),
        milliseconds=rounded(updates, 2),
        differences=differences,
        ratios=rounded(ratios, 3),
    )


if __name__ == "__main__":
    main()
