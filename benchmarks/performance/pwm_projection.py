"""What a block of each variant of PWM on the heavy ant costs, and so its full run.

    python benchmarks/performance/pwm_projection.py [--share N] [--rounds 3]
        [--device cuda] [--only 48m]

Run it on an idle machine. For each of ``pwm-ant-5m``, ``pwm-ant-48m`` and their flows,
at ``paper``: a block is 2,048 real steps, 8 updates of the model on 1,024 pieces of 16
steps and an update of the policy. Those of the model are timed on one of ``--share``
parts of the batch and multiplied, on a processor one of 16: products of 64 pieces fill
it as 1,024 do (``--check`` times the whole batch of one variant beside it). An
accelerator they would leave idle, so there the whole batch is timed. The median of the
rounds is told, and blocks times their number is the projection. The last line is one
JSON object.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from report import finish

from suite.agents.pwm import PWM
from suite.benchmark import get
from suite.parts import build
from suite.running.process import prepare_process, resolve_device

VARIANTS = [
    f"pwm-ant-{size}{flow}"
    for size in ("5m", "48m")
    for flow in ("", "-flow-v1", "-flow-v2", "-flow-v3")
]
PARTS = ("rollout", "model", "policy")
HOUR = 3600


def agent_of(name: str, share: int, device: str) -> tuple[PWM, int]:
    """The agent at ``paper`` with a part of its batch, and how many blocks it has."""
    spec = get(name).at_scale("paper")
    batch = spec.settings["agent.fitting.batch_size"]
    spec = spec.with_settings({"agent.fitting.batch_size": batch // share})
    available = {"make_env": spec.make_env, "seed": 0, "device": device, "threads": 1}
    env = spec.make_env(spec.env.num_envs, "same_step")
    agent = build(spec.agent, available, env=env)
    return agent, spec.total_timesteps // agent.pace.collect


def timed(work: Callable[[], Any], rounds: int, device: str) -> float:
    """Median seconds of a call, after one that is not timed."""
    found = []
    for _ in range(rounds + 1):
        started = time.perf_counter()
        work()
        if device != "cpu":
            torch.cuda.synchronize()
        found.append(time.perf_counter() - started)
    return statistics.median(found[1:])


def block(name: str, share: int, rounds: int, device: str) -> dict[str, float]:
    """Seconds of a block by part, and hours of all of them."""
    agent, blocks = agent_of(name, share, device)
    agent.num_timesteps = agent.pace.exploration  # the policy acts, not chance
    agent._begin_epoch()
    rollout = timed(agent._collect, rounds, device)
    model = timed(lambda: agent._fit(1), rounds, device)
    parts = {
        "rollout": rollout,
        "model": model * share * agent.fitting.updates,
        "policy": timed(agent._improved, rounds, device),
    }
    whole = sum(parts.values())
    return {**parts, "block": whole, "blocks": blocks, "hours": whole * blocks / HOUR}


def main() -> None:
    """Measure, print a line a variant, and the JSON line."""
    parser = argparse.ArgumentParser(description="What runs of PWM would cost.")
    parser.add_argument("--share", type=int, help="16 on a processor, else 1")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--only", default="", help="a part of the names to measure")
    parser.add_argument("--check", metavar="NAME", help="also measure its whole batch")
    args = parser.parse_args()
    prepare_process()
    device = resolve_device(args.device)
    args.share = args.share or (16 if device == "cpu" else 1)
    wanted = [(name, args.share) for name in VARIANTS if args.only in name]
    wanted += [(args.check, 1)] if args.check else []
    found = {}
    for name, share in wanted:
        told = block(name, share, args.rounds, device)
        label = name if share == args.share else f"{name}, whole batch"
        found[label] = told
        parts = (f"{part} {told[part]:7.1f} s" for part in PARTS)
        whole = f"{told['blocks']:6,} blocks  {told['hours']:8,.0f} h"
        print(f"{label:32s}", *parts, whole, sep="  ", flush=True)
    finish("pwm_projection", **vars(args), found=found)


if __name__ == "__main__":
    main()
