"""How the time of a planned action grows, and where it goes.

    python benchmarks/performance/planning_laws.py [--rounds 9]

Run it on an idle machine. The agents are those of the sweeps ``cs285-q4`` (the reacher,
four rows at once) and ``cs285-q5`` (the cheetah), with the weights they begin with. One
thread, a call plans one action of every row, all agents take turns.

law: the exponent p of time ~ x^p, least squares on logarithms, for the number x of
networks, of sequences and of steps of the horizon.
split: shares of a plan of the standard agent: rolling the model out, scoring what it
foretells, and the planner's own work.

The last line is one JSON object of seconds, laws and shares.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import numpy as np
from report import finish, rounded
from turns import medians

from suite.agents.planned_policy import CLOCKS
from suite.benchmark import Benchmark
from suite.parts import build
from suite.running.process import prepare_process
from suite.sweep import get

LAWS = {
    "networks": {1: "ensemble1", 3: "standard", 5: "ensemble5"},
    "sequences": {100: "sequences100", 1000: "standard"},
    "horizon": {5: "horizon5", 10: "standard", 15: "horizon15", 30: "horizon30"},
}
STANDARD = "standard"


def planner(spec: Benchmark) -> Callable[[], dict[str, float]]:
    """A call that plans for all rows and tells the seconds by clock."""
    available = {"make_env": spec.make_env, "seed": 0, "device": "cpu", "threads": 1}
    env = spec.make_env(spec.env.num_envs, "same_step")
    policy = build(spec.agent, available, env=env).policy
    # Weights do not matter, acting at random would.
    policy.dynamics.is_fitted.fill_(True)
    obs, _ = env.reset(seed=0)
    plans = policy.begin(env.num_envs)

    def plan() -> dict[str, float]:
        policy.watch.read()
        policy.plan(np.asarray(obs, np.float32), plans)
        return policy.watch.read()

    return plan


def measured(name: str, rounds: int) -> dict[str, dict[str, float]]:
    """Median seconds of each cell of a sweep, in all and by clock."""
    cells = {cell.label: planner(cell.spec) for cell in get(name).cells}
    told: dict[str, list[dict[str, float]]] = {label: [] for label in cells}

    def timed(label: str) -> float:
        found = cells[label]()
        told[label].append(found)
        return sum(found.values())

    contenders = {label: lambda label=label: timed(label) for label in cells}
    medians(contenders, 2)  # not counted
    told.update((label, []) for label in cells)
    totals = medians(contenders, rounds)
    return {
        label: {
            "total": totals[label],
            **{c: float(np.median([each[c] for each in told[label]])) for c in CLOCKS},
        }
        for label in cells
    }


def law(points: dict[int, float]) -> float:
    """The exponent p of y ~ x^p."""
    x, y = (np.log(list(each)) for each in (points.keys(), points.values()))
    return float(np.polyfit(x, y, 1)[0])


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=9)
    rounds = parser.parse_args().rounds
    prepare_process()
    reacher, cheetah = measured("cs285-q4", rounds), measured("cs285-q5", rounds)
    for label, found in {**reacher, **cheetah}.items():
        shares = ", ".join(f"{c} {found[c] / found['total']:.1%}" for c in CLOCKS)
        print(f"{label:14s} {1000 * found['total']:8.1f} ms   {shares}")
    laws = {
        name: law({x: reacher[label]["total"] for x, label in cells.items()})
        for name, cells in LAWS.items()
    }
    standard = reacher[STANDARD]
    finish(
        "planning_laws",
        rounds=rounds,
        seconds={"reacher": reacher, "cheetah": cheetah},
        laws=rounded(laws, 3),
        split={c: round(standard[c] / standard["total"], 4) for c in CLOCKS},
        ratios={
            f"{label}/random": round(each["total"] / cheetah["random"]["total"], 2)
            for label, each in cheetah.items()
        },
    )


if __name__ == "__main__":
    main()
