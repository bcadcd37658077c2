"""What the benchmarks of PWM are put together from.

What differs from the publication everywhere:

- Behaviour and imagination are decoupled: the policy acts on every observation encoded
  anew, and rollouts begin in observations of the memory, not where the rows stand. So
  that more than one update of the policy can follow a block of steps.
- The first steps are uniformly random. Theirs are the first policy's, until the first
  episode ends; so many are ``paper``'s, too.
- The pendulum's and Hopper's models weigh consistency by 20 / H beside the reward's
  1 / H; the publication by 1 / H beside 1 / H^2, as the ant's here.
- Where episodes end, a head predicts it, its loss weighing as much as the reward's,
  and rewards are scaled without a shift.

``paper`` is the publication's ratio: 16 steps in the model, one update of the policy
and eight of the model for every 16 steps of each row, its learning rates and their
fall.
"""

from __future__ import annotations

from typing import Any

from suite.benchmark import Part
from suite_bench.benchmarks.off_policy import ONE_SEED

LABELS = {
    "return_mean": "return",
    "rollout/return_mean": "return while collecting",
    "model/consistency": "loss of the transition",
    "model/latent_error": "squared error of latents rolled out",
    "x_velocity": "velocity (m/s)",
    "mlp-horizon4": "network, 4 steps",
    "mlp-horizon16": "network, 16 steps",
    "mlp-horizon4-constant": "network, 4 steps, constant rates",
    "heun2-horizon4": "flow, Heun 2, 4 steps",
    "heun4-horizon4": "flow, Heun 4, 4 steps",
    "euler8-horizon4": "flow, Euler 8, 4 steps",
}
BASE = {"model": "mlp", "horizon": 4}  # what dials are turned from


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


def fitting(
    first: int, updates: int, batch_size: int, final_rate: float | None = None
) -> Part:
    """How much the model is fitted; learning rates fall as published if not told."""
    settings: dict[str, Any] = {"first": first, "updates": updates}
    settings["batch_size"] = batch_size
    if final_rate is not None:
        settings["final_learning_rate"] = final_rate
    return Part("suite.agents.pwm:Fitting", settings)


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
    "checkpoint_at": [1, 2],
}


def published_block(rows: int) -> dict[str, Any]:
    """How often model and critics learn as published, to one update of the policy."""
    return {
        "agent.pace.collect": 16 * rows,
        "agent.fitting.updates": 8,
        "agent.first_order.critic_iterations": 8,
    }


def published(rows: int) -> dict[str, Any]:
    """The publication's ratio of steps and updates, its rates and their fall."""
    return {
        "agent.first_order.actor_learning_rate": 5e-4,
        "agent.first_order.critic_learning_rate": 5e-4,
        "agent.fit.learning_rate": 3e-4,
        "agent.fitting.first": 1000,
        "agent.fitting.batch_size": 256,
        "agent.fitting.final_learning_rate": 1e-5,
        **published_block(rows),
        "agent.pace.epoch": 160 * rows,
        "agent.pace.updates": 1,
        **ONE_SEED,
    }
