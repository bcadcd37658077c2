"""PWM on the pendulum and on Hopper: policies by gradients through a latent model.

Sizes are those of a two-core machine; the published ones are the defaults of
``FirstOrder``, ``Fitting`` and the model. What differs from the publication everywhere:

- Behaviour and imagination are decoupled: the policy acts on every observation encoded
  anew, and rollouts begin in observations of the memory, not where the rows stand. So
  that more than one update of the policy can follow a block of steps.
- A consistency of 20 / H beside the reward's 1 / H, for 1 and 1 / H^2.
- On Hopper a head predicts terminations, and rewards are scaled without a shift.

``paper`` is the publication's ratio: 16 steps in the model, one update of the policy
and eight of the model for every 16 steps of each row, its learning rates and their
fall.

``pwm-pendulum-ablation`` turns one dial at a time at equal real steps and updates:
the horizon, and how the model says the next latent. ``pwm-pendulum-heads`` compares the
flow's velocity with one that ends in SimNorm, as the seed's code has it.
"""

from __future__ import annotations

from typing import Any

from suite.benchmark import Benchmark, Env, Part, Scale
from suite.benchmark import register as register_benchmark
from suite.cell import Cell
from suite.figures import Bars, Curves
from suite.sweep import Sweep, SweepScale, register

SEEDS = (0, 1, 2, 3, 4)
ONE_SEED = {"seeds": [0]}
ROWS = 32  # pendulums that step together
PENDULUM_STEPS = 16_640  # 13 epochs, the first one nearly all random


def flow(solver: str, steps: int, **kwargs: Any) -> Part:
    """The next latent as a flow, with so many steps of a solver."""
    call = Part(f"suite.worldmodels.ode:{solver}", {"steps": steps})
    return Part("suite.worldmodels.flow:Flow", {"solver": call, **kwargs})


def latent_fit(
    sizes: tuple[int, int],
    size: str,
    rate: float,
    *,
    dynamics: Part | None = None,
    has_end: bool = False,
) -> Part:
    """A latent model and its fit.

    Args:
        sizes: Of observation and action.
        size: Widths, by name.
        rate: The fit's learning rate.
        dynamics: Of the latent; None is a network that says the next one.
        has_end: Whether terminations are learned.
    """
    model = {"obs_size": sizes[0], "action_size": sizes[1], "size": size}
    if dynamics is not None:
        model["dynamics"] = dynamics
    if has_end:
        model["has_end"] = True
    return Part(
        "suite.worldmodels.latent_fit:LatentFit",
        {
            "model": Part("suite.worldmodels.latent:LatentModel", model),
            "learning_rate": rate,
        },
    )


def first_order(horizon: int, rate: float, **changed: Any) -> Part:
    """The policy's update, small."""
    settings = {
        "horizon": horizon,
        "actor_arch": [64, 64],
        "critic_arch": [64, 64],
        "actor_learning_rate": rate,
        "critic_learning_rate": rate,
        "critic_iterations": 2,
    }
    return Part("suite.agents.first_order:FirstOrder", {**settings, **changed})


def pace(exploration: int, collect: int, updates: int, epoch: int) -> Part:
    """How often the agent acts and learns."""
    settings = {"exploration": exploration, "collect": collect}
    settings |= {"updates": updates, "epoch": epoch}
    return Part("suite.agents.pace:Pace", settings)


def fitting(first: int, updates: int, batch_size: int, final_rate: float) -> Part:
    """How much the model is fitted."""
    settings = {"first": first, "updates": updates, "batch_size": batch_size}
    settings |= {"final_learning_rate": final_rate}
    return Part("suite.agents.pwm:Fitting", settings)


def returns(reference: str | None, episodes: int, steps: int) -> Part:
    """Episodes played at once, without noise."""
    settings = {"reference": reference, "episodes": episodes, "steps": steps}
    return Part("suite.scores:NormalizedReturn", settings)


TINY = {
    **ONE_SEED,
    "env.num_envs": 4,
    "agent.first_order.batch_size": 8,
    "agent.first_order.actor_arch": [8],
    "agent.first_order.critic_arch": [8],
    "agent.fitting.first": 2,
    "agent.fitting.updates": 1,
    "agent.fitting.batch_size": 8,
    "agent.pace.exploration": 64,
    "agent.pace.collect": 32,
    "agent.pace.epoch": 64,
    "agent.pace.updates": 1,
    "agent.fit.model.size": "pendulum",
    "total_timesteps": 192,
    "evaluation.episodes": 2,
    "every": 3,
}


def published(rows: int) -> dict[str, Any]:
    """The publication's ratio of steps and updates, its rates and their fall."""
    return {
        "agent.first_order.actor_learning_rate": 5e-4,
        "agent.first_order.critic_learning_rate": 5e-4,
        "agent.first_order.critic_iterations": 8,
        "agent.fit.learning_rate": 3e-4,
        "agent.fitting.first": 1000,
        "agent.fitting.updates": 8,
        "agent.fitting.batch_size": 256,
        "agent.fitting.final_learning_rate": 1e-5,
        "agent.pace.collect": 16 * rows,
        "agent.pace.epoch": 160 * rows,
        "agent.pace.updates": 1,
        **ONE_SEED,
    }


# --------------------------------------------------------------------------- pendulum
def pendulum_spec(
    name: str,
    about: str,
    *,
    horizon: int = 4,
    paper_horizon: int = 16,
    dynamics: Part | None = None,
    times: tuple[str, str, str] = ("half a minute", "90 seconds", "10 minutes"),
) -> Benchmark:
    """PWM on the pendulum.

    Args:
        name: Of the benchmark.
        about: What it shows.
        horizon: Steps in the model.
        paper_horizon: The same of ``paper``.
        dynamics: Of the latent; None is a network that says the next one.
        times: Of ``quick``, ``default`` and ``paper``.
    """
    return Benchmark(
        name=name,
        about=about,
        env=Env("BatchedPendulum-v1", num_envs=ROWS),
        agent=Part(
            "suite.agents.pwm:PWM",
            {
                "fit": latent_fit((3, 1), "pendulum", 1e-3, dynamics=dynamics),
                "first_order": first_order(horizon, 1e-3),
                "pace": pace(1024, 4 * ROWS, 4, 1280),
                "fitting": fitting(400, 16, 64, 1e-3),
            },
        ),
        total_timesteps=PENDULUM_STEPS,
        evaluation=returns(None, 64, 200),
        metric="return_mean",
        seeds=SEEDS,
        scales={
            "smoke": Scale("seconds", TINY),
            "quick": Scale(times[0], {**ONE_SEED, "total_timesteps": 5120}),
            "default": Scale(times[1]),
            "paper": Scale(
                f"{times[2]}; the published ratio of steps and updates, which does not "
                "solve it in these steps",
                {
                    **published(ROWS),
                    "agent.first_order.horizon": paper_horizon,
                    "total_timesteps": 1024 + 300 * 16 * ROWS,
                },
            ),
        },
    )


FLOW_TIMES = ("a minute", "2 minutes", "20 minutes")
DIAL_TIMES = ("a minute", "2 to 4 minutes", "half an hour")
register_benchmark(
    pendulum_spec(
        "pwm-pendulum",
        "A policy learns to swing a pendulum up by gradients through a latent model, "
        "four steps at a time, in 16,640 real steps.",
    )
)
register_benchmark(
    pendulum_spec(
        "pwm-pendulum-flow",
        "The same through a model whose next latent is a flow: two steps of Heun's "
        "method along a learned velocity.",
        dynamics=flow("Heun", 2),
        times=FLOW_TIMES,
    )
)

_DIAL = "PWM on the pendulum with one dial turned."
BASE = {"model": "mlp", "horizon": 4}
DIALS: tuple[tuple[dict[str, Any], Part | None, float], ...] = (
    (BASE, None, 1),
    ({**BASE, "horizon": 16}, None, 2.5),
    ({**BASE, "model": "heun2"}, flow("Heun", 2), 1.7),
    ({**BASE, "model": "heun4"}, flow("Heun", 4), 2.6),
    ({**BASE, "model": "euler8"}, flow("Euler", 8), 2.8),
)
LABELS = {
    "return_mean": "return",
    "rollout/return_mean": "return while collecting",
    "model/consistency": "squared error of the next latent",
}


def _dial(axes: dict[str, Any], dynamics: Part | None) -> Benchmark:
    return pendulum_spec(
        "pwm-pendulum-ablation",
        _DIAL,
        horizon=axes["horizon"],
        paper_horizon=axes["horizon"],
        dynamics=dynamics,
        times=DIAL_TIMES,
    )


register(
    Sweep(
        name="pwm-pendulum-ablation",
        about=(
            "What PWM on the pendulum depends on: 4 or 16 steps in the model, and "
            "whether a network says the next latent or a flow with 4 or 8 evaluations."
        ),
        cells=tuple(
            Cell(axes, _dial(axes, dynamics), cost) for axes, dynamics, cost in DIALS
        ),
        baseline="mlp-horizon4",
        scales={
            "smoke": SweepScale("seconds, all of it tiny"),
            "quick": SweepScale("5 minutes, a third of the steps, one seed"),
            "default": SweepScale("70 minutes of a core"),
            "paper": SweepScale("2 hours of a core, the published ratio, one seed"),
        },
        figures=(
            Curves("return", "return_mean"),
            Curves("consistency", "model/consistency", is_log=True),
            Bars("final"),
        ),
        labels={
            **LABELS,
            "mlp-horizon4": "network, 4 steps",
            "mlp-horizon16": "network, 16 steps",
            "heun2-horizon4": "flow, Heun 2, 4 steps",
            "heun4-horizon4": "flow, Heun 4, 4 steps",
            "euler8-horizon4": "flow, Euler 8, 4 steps",
        },
    )
)


def _head(head: str) -> Benchmark:
    return pendulum_spec(
        "pwm-pendulum-heads",
        f"A flow whose velocity has a {head} head, fitted by flow matching alone.",
        dynamics=flow("Heun", 2, head=head, project=False, rollout=0.0),
        times=FLOW_TIMES,
    ).with_settings({"seeds": list(range(10)), "total_timesteps": 8960})


register(
    Sweep(
        name="pwm-pendulum-heads",
        about=(
            "Why a flow's velocity must not end in SimNorm: its groups sum to 1, the "
            "velocity's to 0. Ten short seeds of each, without projection."
        ),
        cells=tuple(
            Cell({"head": head}, _head(head)) for head in ("linear", "simnorm")
        ),
        baseline="linear",
        scales={
            "smoke": SweepScale("seconds, all of it tiny"),
            "quick": SweepScale("2 minutes, 5120 steps, one seed"),
            "default": SweepScale("25 minutes of a core"),
            "paper": SweepScale("an hour of a core, the published ratio, one seed"),
        },
        figures=(
            Curves("return", "return_mean"),
            Curves("consistency", "model/consistency", is_log=True),
            Bars("final"),
        ),
        labels={**LABELS, "linear": "linear head", "simnorm": "SimNorm head"},
    )
)


# ----------------------------------------------------------------------------- Hopper
HOPPERS = 8  # rows that step together
HOPPER_STEPS = 50_000


def hopper_spec(
    name: str,
    about: str,
    *,
    horizon: int = 4,
    paper_horizon: int = 16,
    dynamics: Part | None = None,
    times: tuple[str, str] = ("2 minutes", "10 minutes"),
) -> Benchmark:
    """PWM on Hopper; its model learns terminations.

    Args:
        name: Of the benchmark.
        about: What it shows.
        horizon: Steps in the model.
        paper_horizon: The same of ``paper``.
        dynamics: Of the latent; None is a network that says the next one.
        times: Of ``quick`` and ``default``.
    """
    fit = latent_fit((11, 3), "hopper", 1e-3, dynamics=dynamics, has_end=True)
    return Benchmark(
        name=name,
        about=about,
        env=Env("BatchedHopper-v5", num_envs=HOPPERS),
        agent=Part(
            "suite.agents.pwm:PWM",
            {
                "fit": fit,
                "first_order": first_order(horizon, 5e-4),
                "pace": pace(5000, 8 * HOPPERS, 4, 1600),
                "fitting": fitting(1000, 8, 128, 5e-4),
            },
        ),
        total_timesteps=HOPPER_STEPS,
        evaluation=returns("hopper", 10, 1000),
        metric="return_mean",
        seeds=SEEDS,
        every=3,
        scales={
            "smoke": Scale("seconds", TINY),
            "quick": Scale(
                f"{times[0]}; it has hardly begun",
                {
                    **ONE_SEED,
                    "agent.pace.exploration": 1600,
                    "agent.fitting.first": 300,
                    "total_timesteps": 8000,
                },
            ),
            "default": Scale(times[1]),
            "paper": Scale(
                "a day; the published ratio and a million steps",
                {
                    **published(HOPPERS),
                    "agent.first_order.horizon": paper_horizon,
                    "total_timesteps": 1_000_000,
                },
            ),
        },
    )


register_benchmark(
    hopper_spec(
        "pwm-hopper",
        "PWM on Hopper in 50,000 real steps, with a learned termination.",
    )
)

HOPPER_DIALS = (DIALS[0], DIALS[1], DIALS[2])
register(
    Sweep(
        name="pwm-hopper-ablation",
        about="4 or 16 steps in the model on Hopper, and a flow with 4 evaluations.",
        cells=tuple(
            Cell(
                axes,
                hopper_spec(
                    "pwm-hopper-ablation",
                    "PWM on Hopper with one dial turned.",
                    horizon=axes["horizon"],
                    paper_horizon=axes["horizon"],
                    dynamics=dynamics,
                    times=("2 to 5 minutes", "10 to 30 minutes"),
                ),
                cost,
            )
            for axes, dynamics, cost in HOPPER_DIALS
        ),
        baseline="mlp-horizon4",
        scales={
            "smoke": SweepScale("seconds, all of it tiny"),
            "quick": SweepScale("10 minutes, they have hardly begun, one seed"),
            "default": SweepScale("5 hours of a core"),
            "paper": SweepScale("days of a core"),
        },
        figures=(Curves("return", "return_mean"), Bars("final")),
        labels={
            **LABELS,
            "mlp-horizon4": "network, 4 steps",
            "mlp-horizon16": "network, 16 steps",
            "heun2-horizon4": "flow, Heun 2, 4 steps",
        },
    )
)
