"""PWM on the heavy ant: the seed's eight variants, two sizes by four models.

``default`` is what two cores can do: a million steps with 256 pieces an update at the
size called 5m, ten blocks at 48m, to see what a block costs. At 5m the policy is
updated after 2 steps of each row instead of 16, and the model once each time instead of
8 times, the critics pass twice over what was imagined instead of 8 times: the model's
updates are as many, the critics' passes twice as many and the policy's updates 3800
instead of 474, of which the critics need some before they value life at all.

``paper`` has the seed's numbers: 1024 pieces, 15,000 blocks of 16 steps of 128 rows,
20,000 with a flow. Its flows are not the seed's to the last: the velocity's head is
linear, latents are projected and the error of the rollout counts, see ``Flow`` and
``pwm-pendulum-heads``. A head that predicts ends, which the seed's lacks, makes the
models a third and a quarter larger than its (``suite-bench models --end``); names of
sizes are no numbers of weights. What differs from the publication: ``pwm_parts``.
"""

from __future__ import annotations

from typing import Any

from suite.benchmark import Benchmark, Env, Part, Scale, register
from suite_bench.benchmarks.off_policy import pace, returns
from suite_bench.benchmarks.pwm_parts import (
    TINY,
    fitting,
    flow,
    latent_fit,
    published_block,
)

ROWS, HORIZON = 128, 16
BLOCK = ROWS * HORIZON  # real steps between two updates of the policy
SEEDS = (0, 1, 2)
EPOCHS = {"mlp": 15_000, "flow": 20_000}  # blocks; the seed's
# Blocks before the first update: a first fit needs more than the starts of episodes.
# The publication waits for an episode's end, after 1000 steps of every row.
EXPLORED = {"5m": 16, "48m": 1, "paper": 63}
BASELINES = {"standing still": 1142.0, "random actions": 1179.0}  # docs/envs
FLOWS = {"v1": ("Heun", 2), "v2": ("Heun", 4), "v3": ("Euler", 8)}


def ant_spec(size: str, variant: str | None = None) -> Benchmark:
    """A variant of the seed.

    Args:
        size: ``"5m"`` or ``"48m"``, the seed's widths.
        variant: Of the flow, or None for a network that says the next latent.
    """
    dynamics = None if variant is None else flow(*FLOWS[variant])
    kind = "a network" if variant is None else "a flow, {} {}".format(*FLOWS[variant])
    epochs = EPOCHS["mlp" if variant is None else "flow"]
    return Benchmark(
        name=f"pwm-ant-{size}" + (f"-flow-{variant}" if variant else ""),
        about=(
            f"PWM on the heavy ant with the widths called {size}: {kind} says the next "
            "latent. Standing still earns 1200: look at the velocity."
        ),
        env=Env("DFlexAnt-v0", num_envs=ROWS),
        agent=_agent(size, dynamics),
        total_timesteps={"5m": 489, "48m": 11}[size] * BLOCK,
        evaluation=returns(None, 10, 1000, told=("x_velocity",)),
        metric="return_mean",
        seeds=SEEDS,
        checkpoint_at=tuple(range(39, 49) if size == "5m" else range(1, 11)),
        baselines=BASELINES,
        scales=_scales(size, epochs),
    )


def _agent(size: str, dynamics: Part | None) -> Part:
    """At 5m the policy is updated eight times as often as published, see above."""
    fit = latent_fit((37, 8), size, 3e-4, dynamics=dynamics, has_end=True)
    losses = {"consistency": 1.0, "reward": 1 / HORIZON, "end": 1 / HORIZON}
    loss = Part("suite.worldmodels.latent_fit:LatentLoss", losses)
    explored = EXPLORED[size] * BLOCK
    paces = {
        "5m": (pace(explored, 2 * ROWS, 1, 10 * BLOCK), fitting(1000, 1, 256), 2),
        "48m": (pace(explored, BLOCK, 1, BLOCK), fitting(10, 8, 256), 8),
    }
    in_turn, fitted, iterations = paces[size]
    update = {"horizon": HORIZON, "critic_iterations": iterations}
    return Part(
        "suite.agents.pwm:PWM",
        {
            "fit": Part(fit.call, {**fit.kwargs, "loss": loss}),
            "first_order": Part("suite.agents.first_order:FirstOrder", update),
            "pace": in_turn,
            "fitting": fitted,
        },
    )


def _scales(size: str, epochs: int) -> dict[str, Scale]:
    smoke = {**TINY, "agent.first_order.horizon": 4}
    quick: dict[str, Any] = {
        "seeds": [0],
        "agent.fitting.first": 10,
        "agent.fitting.batch_size": 64,
        "agent.pace.exploration": BLOCK,
        "agent.pace.epoch": BLOCK,
        **published_block(ROWS),
        "total_timesteps": 3 * BLOCK,
        "checkpoint_at": [1, 2],
        "evaluation.episodes": 2,
    }
    times = {"5m": ("2 minutes", "hours"), "48m": ("10 minutes", "an hour")}[size]
    paper = {
        "every": 5,
        **published_block(ROWS),
        "agent.fitting.first": 1000,
        "agent.fitting.batch_size": 1024,
        "agent.pace.exploration": EXPLORED["paper"] * BLOCK,
        "agent.pace.epoch": 10 * BLOCK,
        "total_timesteps": epochs * BLOCK,
        "checkpoint_at": list(range(epochs // 100, epochs // 10, epochs // 100)),
    }
    return {
        "smoke": Scale("seconds", smoke),
        "quick": Scale(f"{times[0]}; two blocks, to see that it runs", quick),
        "default": Scale(times[1]),
        "paper": Scale("weeks of a core, hours of an accelerator; the seed's", paper),
    }


for _size in ("5m", "48m"):
    for _variant in (None, *FLOWS):
        register(ant_spec(_size, _variant))
