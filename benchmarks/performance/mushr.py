"""What the MuSHR car costs: its data, fitting its model, driving inside the model.

    python benchmarks/performance/mushr.py [--rounds 5] [--rows 50] [--seeds 5]

Run it on an idle machine. Contenders take turns, and the medians of the rounds are
compared. The parts are ``mushr_data.py``, ``mushr_training.py`` and
``mushr_learned.py``, which say who the contenders are. The last line is one JSON object
of rates (control steps a second), seconds and ratios.
"""

from __future__ import annotations

import argparse

import mushr_data
import mushr_learned
import mushr_training
import torch
from report import finish, rounded, show
from turns import turns

from suite.running.process import prepare_process


def main() -> None:
    """Measure, print the ratios beside their targets, and the JSON line."""
    parser = argparse.ArgumentParser(description="What the MuSHR car costs.")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--rows", type=int, default=50, help="trajectories made")
    parser.add_argument("--seeds", type=int, default=5, help="fitted at once")
    args = parser.parse_args()
    prepare_process()
    torch.manual_seed(0)
    rates = mushr_data.measured(args.rows, args.rounds)
    training = mushr_training.measured(args.rounds, args.seeds)
    learned = turns(mushr_learned.contenders(), args.rounds, repeats=20)
    rates |= mushr_learned.rates_of(learned)
    data_ratios = mushr_data.ratios_of(rates)
    ratios = data_ratios | mushr_training.ratios_of(training)
    ratios |= mushr_learned.ratios_of(learned)
    show(ratios, mushr_data.targets_of(data_ratios) | mushr_training.TARGETS)
    finish(
        "mushr",
        **vars(args),
        rates=rounded(rates),
        seconds=training,
        ratios=rounded(ratios, 3),
    )


if __name__ == "__main__":
    main()
