"""What an epoch of PWM costs, over its products and beside a plain one.

    python benchmarks/performance/pwm.py [--rounds 7] [--device cuda] [--variants]

Run it on an idle machine. An epoch is that of ``pwm-ant-5m`` without the simulator and
the termination head: 8 updates of the model called 5m on 256 pieces of 16 steps, one
step of the actor through 16 imagined steps of 128 rows, 32 steps of three critics.
Parts take turns on one thread, whose processor time is measured (on an accelerator the
time until it is done); the medians are printed, and one JSON line of all numbers:

ours: ``LatentFit.update`` and ``FirstOrderUpdate``, with the draws from a memory.
floor: the matrix products, forward and backward, and the activations alone, in memory
    that is there.
plain: the same maths by nn.Sequential, torch's own layers, autograd and Adam. Before
    anything is timed it must tell the same losses over three updates in a row.
compiled, mixed (with ``--variants``): the plain one with networks by torch.compile, and
    under autocast to bfloat16. Their losses are not compared.
flow: an update of the model on 256 pieces of 4 steps, its transition a flow, against
    the evaluations of its solver; a line is fitted.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from pwm_floor import ACT, BATCHES, HORIZON, OBS, PASSES, PIECES, ROWS, Floor
from pwm_plain import Plain
from report import finish
from turns import turns

from suite.agents.first_order import FirstOrder, FirstOrderUpdate
from suite.agents.learned_units import LearnedUnits
from suite.agents.mish_mlp import MishMLP
from suite.agents.sequence_memory import SequenceMemory
from suite.running.process import prepare_process, resolve_device
from suite.worldmodels.experience import Experience
from suite.worldmodels.flow import Flow
from suite.worldmodels.latent import LatentModel
from suite.worldmodels.latent_fit import LatentFit, LatentLoss
from suite.worldmodels.ode import Euler, Heun

UPDATES = 8  # of the model in an epoch
TARGETS = {"floor": 0.7, "plain": 1.2}
EQUAL, TOLERANCE = 3, 1e-4  # updates in a row, and how far losses may be apart
PARTS = {"model": UPDATES, "actor": 1, "critics": 1}  # how often in an epoch
SOLVERS = {"Heun 1": Heun(1), "Heun 2": Heun(2), "Heun 4": Heun(4), "Euler 8": Euler(8)}
FLOW_STEPS = 4
Work = Callable[[], Any]


def filled_memory(device: str) -> SequenceMemory:
    """64 moments of 128 rows, without an end."""
    count = 64 * ROWS
    states, actions = torch.randn(count, OBS), torch.rand(count, ACT) * 2 - 1
    after = states + 0.1 * torch.randn(count, OBS)
    columns = (states, actions, torch.randn(count), after, torch.zeros(count))
    memory = SequenceMemory()
    never = torch.zeros(64, ROWS, dtype=torch.bool, device=device)
    memory.add(Experience.of(*columns, device=device), never)
    return memory


class Ours:
    """The agent's own parts.

    Args:
        memory: To draw from.
        device: Where.
    """

    def __init__(self, memory: SequenceMemory, device: str):
        self.memory, self.draws = memory, torch.Generator().manual_seed(0)
        self.fit = fit_of(LatentModel(OBS, ACT, size="5m"), device)
        model = self.fit.model
        settings = FirstOrder(
            horizon=HORIZON,
            batch_size=ROWS,
            critic_iterations=PASSES,
            critic_batches=BATCHES,
        )
        box = spaces.Box(-1, 1, (ACT,), np.float32)
        self.update = FirstOrderUpdate(
            settings, model.encoder, model.sizes.latent, box, device=device
        )
        self.imagined, self.found = LearnedUnits(model), None

    def model_step(self) -> torch.Tensor:
        pieces = self.memory.pieces(PIECES, HORIZON, self.draws)
        return self.fit.update(pieces)["model/loss"]

    def actor_step(self) -> torch.Tensor:
        with torch.no_grad():
            z = self.imagined.start(self.memory.states(ROWS, self.draws))
        self.found, told = self.update._step_actor(self.imagined, z)
        return told[0]

    def critic_steps(self) -> torch.Tensor:
        assert self.found is not None
        return self.update._step_critics(self.found)[0]


class Beside:
    """The plain one, with the weights of ours, on batches that are there.

    Args:
        ours: Whose weights and next draws it takes over.
    """

    def __init__(self, ours: Ours, device: str):
        rng, state = torch.Generator(), ours.update.state()["draws"]
        self.net = Plain(rng.set_state(state)).to(device)
        self.net.decays = self.net.decays.to(device)
        self.memory, self.draws = ours.memory, torch.Generator().manual_seed(0)
        model, net = ours.fit.model, self.net
        for name in ("encoder", "dynamics", "reward"):
            copy(getattr(net, name).parameters(), getattr(model, name).parameters())
        copy((net.actor.log_std,), (ours.update.actor.log_std,))
        copy(weights_of(net.actor), member(ours.update.actor.network, 0))
        for which, critic in enumerate(net.critics):
            copy(critic.parameters(), member(ours.update.critics, which))
        self.found: tuple[torch.Tensor, ...] = ()
        self.draw()

    def compiled(self) -> Beside:
        """It, its networks compiled at the next call."""
        for name in ("encoder", "dynamics", "reward"):
            setattr(self.net, name, torch.compile(getattr(self.net, name)))
        return self

    def mixed(self, device: str) -> Beside:
        """It, its products in bfloat16."""
        for name in ("model_step", "actor_step", "critic_steps"):
            setattr(
                self, name, torch.autocast(device, torch.bfloat16)(getattr(self, name))
            )
        return self

    def draw(self) -> None:
        """What ours would draw next."""
        self.pieces = self.memory.pieces(PIECES, HORIZON, self.draws)
        self.states = self.memory.states(ROWS, self.draws)

    def model_step(self) -> None:
        pieces = self.pieces
        self.net.model_step(pieces.obs, pieces.actions, pieces.rewards)

    def actor_step(self) -> None:
        with torch.no_grad():
            z = self.net.encoder(self.states)
        self.found = self.net.actor_step(z)

    def critic_steps(self) -> None:
        self.net.critic_steps(*self.found)

    def told(self) -> list[float]:
        """The losses since it was asked, those of the critics as their mean."""
        losses = torch.stack(self.net.told).tolist()
        self.net.told.clear()
        return [*losses[:2], sum(losses[2:]) / (PASSES * BATCHES)]


def fit_of(model: LatentModel, device: str) -> LatentFit:
    return LatentFit(model, loss=LatentLoss(1.0, 1 / HORIZON), device=device)


@torch.no_grad()
def copy(into: Any, values: Any) -> None:
    for target, value in zip(into, values, strict=True):
        target.copy_(value)


def weights_of(actor: torch.nn.Module) -> Iterator[torch.Tensor]:
    """Without its deviation."""
    named = actor.named_parameters()
    return (weights for name, weights in named if name != "log_std")


def member(stack: MishMLP, which: int) -> Iterator[torch.Tensor]:
    """One network of a stack, in the order of nn.Sequential's parameters."""
    for layer, weight in enumerate(stack.weights):
        yield weight[which].T
        yield stack.biases[layer][which, 0]
        if layer < len(stack.scales):
            yield stack.scales[layer][which, 0]
            yield stack.shifts[layer][which, 0]


def largest_difference(ours: Ours, plain: Beside) -> float:
    """Between losses of both over updates in a row, relative.

    Raises:
        AssertionError: If it is not the same maths.
    """
    worst = 0.0
    for _ in range(EQUAL):
        expected = [ours.model_step(), ours.actor_step(), ours.critic_steps()]
        plain.model_step()
        plain.actor_step()
        plain.critic_steps()
        for one, other in zip(expected, plain.told(), strict=True):
            worst = max(worst, abs(float(one) - other) / abs(other))
        plain.draw()
    assert worst < TOLERANCE, f"losses differ by {worst}"
    return worst


def epoch(seconds: dict[str, float], who: str) -> float:
    return sum(count * seconds[f"{who} {part}"] for part, count in PARTS.items())


def parts(work: Any) -> dict[str, Work]:
    steps = (work.model_step, work.actor_step, work.critic_steps)
    return dict(zip(PARTS, steps, strict=True))


def flow_contenders(memory: SequenceMemory, device: str) -> dict[str, Work]:
    pieces = memory.pieces(PIECES, FLOW_STEPS, torch.Generator().manual_seed(0))

    def work(solver: Any) -> Work:
        model = LatentModel(OBS, ACT, size="5m", dynamics=Flow(solver))
        fit = fit_of(model, device)
        return lambda: fit.update(pieces)

    return {name: work(solver) for name, solver in SOLVERS.items()}


def line(seconds: dict[str, float]) -> dict[str, float]:
    """Seconds against evaluations: the line, and its largest residual, relative."""
    evaluations = np.array([SOLVERS[name].evaluations for name in seconds])
    spent = np.array(list(seconds.values()))
    slope, start = np.polyfit(evaluations, spent, 1)
    residual = np.abs(spent - slope * evaluations - start) / spent
    return {
        "per_evaluation": float(slope),
        "at_none": float(start),
        "largest_residual": float(residual.max()),
    }


def clock_of(device: str) -> Callable[[], float]:
    """Processor time, or the time when the accelerator is done."""
    if device == "cpu":
        return time.process_time

    def clock() -> float:
        torch.cuda.synchronize()
        return time.perf_counter()

    return clock


def report(seconds: dict[str, float], ratios: dict[str, dict[str, float]]) -> None:
    for part in (*PARTS, "epoch"):
        found = {
            who: epoch(seconds, who) if part == "epoch" else seconds[f"{who} {part}"]
            for who in ("ours", *ratios)
        }
        told = ", ".join(f"{who} {1e3 * each:.0f}" for who, each in found.items())
        ratio = ", ".join(f"{who} {each[part]:.2f}" for who, each in ratios.items())
        print(f"{part}, ms: {told}; over ours: {ratio}")
    for who, target in TARGETS.items():
        verdict = "met" if ratios[who]["epoch"] >= target else "MISSED"
        print(f"{who}: {ratios[who]['epoch']:.2f}, target {target} {verdict}")


def compared(seconds: dict[str, float], who: str) -> dict[str, float]:
    """How many times ours' time another one takes."""
    found = {part: seconds[f"{who} {part}"] / seconds[f"ours {part}"] for part in PARTS}
    return {**found, "epoch": epoch(seconds, who) / epoch(seconds, "ours")}


def main() -> None:
    """Measure, print the ratios beside their targets, and the JSON line."""
    parser = argparse.ArgumentParser(description="What an epoch of PWM costs.")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--variants", action="store_true")
    args = parser.parse_args()
    prepare_process()
    torch.manual_seed(0)
    device, clock = resolve_device(args.device), clock_of(args.device)
    memory = filled_memory(device)
    ours = Ours(memory, device)
    plain, floor = Beside(ours, device), Floor(device)
    difference = largest_difference(ours, plain)
    print(f"losses of {EQUAL} updates: largest relative difference {difference:.1e}")
    works = {"ours": ours, "floor": floor, "plain": plain}
    if args.variants:
        works["compiled"] = Beside(ours, device).compiled()
        works["mixed"] = Beside(ours, device).mixed(device)
    contenders = {
        f"{who} {part}": work
        for who, each in works.items()
        for part, work in parts(each).items()
    }
    seconds = turns(contenders, args.rounds, 1, clock)
    ratios = {who: compared(seconds, who) for who in works if who != "ours"}
    report(seconds, ratios)
    flows = turns(flow_contenders(memory, device), max(args.rounds // 2, 1), 1, clock)
    fitted = line(flows)
    for name, found in flows.items():
        print(f"flow, {name}: {1e3 * found:.0f} ms")
    print(f"linear in evaluations but for {fitted['largest_residual']:.1%}")
    result = {"seconds": seconds, "ratios": ratios, "difference": difference}
    finish("pwm", **vars(args), **result, flow_seconds=flows, flow_line=fitted)


if __name__ == "__main__":
    main()
