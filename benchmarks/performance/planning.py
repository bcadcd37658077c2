"""What planning with an ensemble costs, against its products alone and mbrl-lib.

    python benchmarks/performance/planning.py [--rounds 9] [--peer build/mbrl-peer]

Run it on an idle machine. Everything runs on one thread and is measured in processor
seconds; contenders take turns, and medians over the rounds are compared.

The setting is that of CS285's cheetah: states of 21 and actions of 6 numbers, 3
networks with two hidden layers of 250 units, 999 sequences of 15 steps, 4 iterations.

floor: the products and activations of the networks, layer by layer as batched products
of all members, without anything around them; four times, as in the plan.
plan: the whole ``CEM.plan``: four draws, scores and refits.
mbrl-lib: ``ModelEnv.evaluate_action_sequences`` of a ``GaussianMLP`` (deterministic=
False), four times; its scores are checked to be ours. It says how long an evaluation
takes, without any planner around it.
batched: 16 plans at once against 16 single ones.
training, model_env: a step of the ensemble's training against a loop over its networks,
and of an environment of it; both over their products, by wall clock, see world_models.

The last line is one JSON object of seconds and ratios; larger ratios are better.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import mbrl_peer
import numpy as np
import torch
import world_models
from peers import Peer, environment
from report import finish, rounded, show
from torch import Tensor
from turns import medians

from suite.agents.action_sets import Bounds
from suite.agents.planners import CEM, ICEM, Planner
from suite.agents.proposals import ClippedNormal
from suite.envs import cheetah
from suite.running.process import prepare_process
from suite.worldmodels.constant_units import ACTIVATIONS
from suite.worldmodels.processor import has_fast_bfloat16
from suite.worldmodels.scoring import EnsembleScore

MEMBERS, HIDDEN, SIZE, NUM_ACTIONS = 3, 250, 21, 6
CANDIDATES, HORIZON, ITERATIONS = 999, 15, 4
ENVS = 16
BOUNDS = Bounds(-torch.ones(NUM_ACTIONS), torch.ones(NUM_ACTIONS))
CEM4 = CEM(
    HORIZON,
    CANDIDATES,
    elites=5,
    iterations=ITERATIONS,
    alpha=0.0,
    proposal=ClippedNormal(std=None),
    warm_start=False,
)
TARGETS = {
    "plan/floor, tanh": 0.8,
    "plan/floor, silu": 0.8,
    "plan/mbrl-lib, tanh": 1.6,
    "plan in bfloat16/mbrl-lib, silu": 8.0,
}
Contenders = dict[str, Callable[[], float]]


def seconds(work: Callable[[], Any]) -> float:
    """Processor seconds of this thread."""
    started = time.thread_time()
    work()
    return time.thread_time() - started


def warm_medians(contenders: Contenders, rounds: int) -> dict[str, float]:
    """Median seconds of each, in turns, after a call of each that is not counted."""
    for contender in contenders.values():
        contender()
    return medians(contenders, rounds)


# ------------------------------------------------------------------------- the networks
class Networks:
    """An ensemble, normalised inputs, and what it is asked.

    All members have the same weights: speed does not depend on them, and mbrl-lib gives
    each sequence's particles to networks at random, so that only then its scores must
    be ours.
    """

    def __init__(self) -> None:
        rng = torch.Generator().manual_seed(0)
        sizes = (SIZE + NUM_ACTIONS, HIDDEN, HIDDEN, SIZE)
        self.weights, self.biases = [], []
        for a, b in pairwise(sizes):
            weight = torch.randn(1, a, b, generator=rng) / a**0.5
            self.weights.append(weight.repeat(MEMBERS, 1, 1))
            bias = torch.randn(1, 1, b, generator=rng) / 10
            self.biases.append(bias.repeat(MEMBERS, 1, 1))
        self.weights[-1] *= 0.05
        self.mean = torch.randn(sizes[0], generator=rng) / 10
        self.std = 0.5 + torch.rand(sizes[0], generator=rng)
        self.state = torch.randn(1, SIZE, generator=rng) / 10
        shape = (1, CANDIDATES, HORIZON)
        self.actions = BOUNDS.uniform(shape, rng)

    def score(self, activation: str, **options: Any) -> EnsembleScore:
        """Our score, the normalisation folded into the first layer."""
        first = self.weights[0] / self.std[:, None]
        shift = self.biases[0] - (self.mean @ first)[:, None]
        return EnsembleScore(
            [first, *self.weights[1:]],
            [shift, *self.biases[1:]],
            horizon=HORIZON,
            reward=cheetah.reward,
            activation=activation,
            **options,
        )

    def floor(
        self, activation: str, hidden_dtype: torch.dtype = torch.float32
    ) -> Callable[[], None]:
        """The products and activations of one evaluation, without conversions."""
        shape = (MEMBERS, CANDIDATES)
        one, two, three = self.weights
        two = two.to(hidden_dtype)
        x, result = torch.randn(*shape, SIZE + NUM_ACTIONS), torch.empty(*shape, SIZE)
        hidden = [
            torch.randn(*shape, HIDDEN, dtype=kind) for kind in (one.dtype, two.dtype)
        ]
        # What comes out of a layer goes into the next, as in a plan, unless it would
        # have to be converted: then the next one sees what it was converted from here.
        seen = [hidden[0].to(two.dtype), hidden[1].to(three.dtype)]
        # The one that the score takes for it: sigmoid may stand in for tanh.
        activate = self.score(activation).activate

        @torch.inference_mode()
        def run() -> None:
            for _ in range(HORIZON):
                activate(torch.bmm(x, one, out=hidden[0]))
                activate(torch.bmm(seen[0], two, out=hidden[1]))
                torch.bmm(seen[1], three, out=result)

        return run

    def save(self, path: Path) -> None:
        """The work for mbrl-lib."""
        arrays: dict[str, Any] = {"mean": self.mean, "std": self.std}
        arrays |= {"state": self.state[0], "actions": self.actions[0]}
        arrays |= {f"weight{i}": weight for i, weight in enumerate(self.weights)}
        arrays |= {f"bias{i}": bias for i, bias in enumerate(self.biases)}
        arrays = {name: array.numpy() for name, array in arrays.items()}
        np.savez(path, **arrays)


def planning(planner: Planner, score: EnsembleScore, states: Tensor) -> Contenders:
    """Plans for all states at once, and one after the other."""

    def plan(rows: Tensor) -> None:
        generator = torch.Generator().manual_seed(0)
        memory = planner.start(BOUNDS, len(rows))
        planner.plan(score.at(rows), BOUNDS, memory, generator=generator)

    def one_by_one() -> None:
        for row in range(len(states)):
            plan(states[row : row + 1])

    return {
        "at once": lambda: seconds(lambda: plan(states)),
        "one by one": lambda: seconds(one_by_one),
    }


# ----------------------------------------------------------------------------- sections
def against_floor_and_peer(rounds: int, folder: Path) -> tuple[Any, Any]:
    """Seconds of a CEM-4 plan, of its floor and of mbrl-lib, and their ratios."""
    networks = Networks()
    with tempfile.TemporaryDirectory() as temporary:
        networks.save(Path(temporary) / "work.npz")
        # The same torch, NumPy and Gymnasium, so that the code alone differs.
        python = environment(folder, mbrl_peer.REQUIREMENTS, shared=(np, torch))
        script = Path(mbrl_peer.__file__)
        peer = Peer(python, script, Path(temporary) / "work.npz")
        try:
            contenders = _contenders(networks, peer)
            found = warm_medians(contenders, rounds)
        finally:
            peer.close()
    ratios = {}
    for name in ACTIVATIONS:
        ratios[f"plan/floor, {name}"] = found[f"floor, {name}"] / found[f"plan, {name}"]
        ours = found[f"plan, {name}"]
        ratios[f"plan/mbrl-lib, {name}"] = found[f"mbrl-lib, {name}"] / ours
    fast = found.get("plan, silu in bfloat16")
    if fast:
        ratios["plan in bfloat16/mbrl-lib, silu"] = found["mbrl-lib, silu"] / fast
        ratios["plan in bfloat16/floor"] = found["floor, silu in bfloat16"] / fast
    return found, ratios


def _contenders(networks: Networks, peer: Peer) -> Contenders:
    contenders: Contenders = {}
    for name in ACTIVATIONS:
        score, floor = networks.score(name), networks.floor(name)
        theirs = np.array(peer.ask(name)["scores"])
        _require_same(score(networks.state, networks.actions)[0], theirs)
        contenders[f"floor, {name}"] = lambda floor=floor: ITERATIONS * seconds(floor)
        plan = planning(CEM4, score, networks.state)["at once"]
        contenders[f"plan, {name}"] = plan
        contenders[f"mbrl-lib, {name}"] = lambda name=name: sum(
            peer.ask(name)["seconds"] for _ in range(ITERATIONS)
        )
    if has_fast_bfloat16():
        score = networks.score("silu", hidden_dtype=torch.bfloat16)
        plan = planning(CEM4, score, networks.state)["at once"]
        contenders["plan, silu in bfloat16"] = plan
        floor = networks.floor("silu", torch.bfloat16)
        contenders["floor, silu in bfloat16"] = lambda: ITERATIONS * seconds(floor)
    return contenders


def _require_same(ours: Tensor, theirs: np.ndarray) -> None:
    # A joint within rounding of its limit costs a tenth of 10 or nothing.
    differ = np.abs(ours.numpy() - theirs) > 1e-3
    if differ.mean() > 0.02:
        raise RuntimeError(
            f"mbrl-lib scores {differ.sum()} of {len(theirs)} sequences otherwise"
        )


def batching(rounds: int) -> tuple[Any, Any]:
    """16 plans at once against 16 single ones, by CEM and by iCEM."""
    score = Networks().score("silu")
    states = torch.randn(ENVS, SIZE, generator=torch.Generator().manual_seed(1)) / 10
    found, ratios = {}, {}
    planners: dict[str, Planner] = {"CEM-4": CEM4, "iCEM": ICEM(HORIZON)}
    for name, planner in planners.items():
        of = warm_medians(planning(planner, score, states), rounds)
        found |= {f"{name}, {ENVS} {how}": value for how, value in of.items()}
        ratios[f"{ENVS} at once/one by one, {name}"] = of["one by one"] / of["at once"]
    return found, ratios


def main() -> None:
    """Measure, print the ratios beside their targets, and the JSON line."""
    parser = argparse.ArgumentParser(description="What planning costs.")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--peer", type=Path, default=Path("build/mbrl-peer"))
    args = parser.parse_args()
    prepare_process()
    taken, ratios = against_floor_and_peer(args.rounds, args.peer.absolute())
    more_taken, more_ratios = batching(max(args.rounds // 3, 1))
    at_once = more_taken[f"CEM-4, {ENVS} at once"]
    more_ratios[f"{ENVS} at once/floor, CEM-4"] = ENVS * taken["floor, silu"] / at_once
    taken, ratios = taken | more_taken, ratios | more_ratios
    models, more_ratios = world_models.measured(args.rounds)
    ratios |= more_ratios
    show(ratios, TARGETS)
    for name in TARGETS.keys() - ratios.keys():
        print(f"{name}: not measured, this processor has no fast bfloat16")
    finish(
        "planning",
        rounds=args.rounds,
        seconds=rounded(taken, 4) | models,
        ratios=rounded(ratios, 3),
        has_fast_bfloat16=has_fast_bfloat16(),
    )


if __name__ == "__main__":
    main()
