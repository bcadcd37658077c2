"""Short rollouts that branch off from real states, as transitions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from suite.envs.arguments import require_whole
from suite.worldmodels.dynamics import (
    DynamicsModel,
    map_leaves,
    require_outcome,
    truncated,
)
from suite.worldmodels.experience import Experience
from suite.worldmodels.noise import Noise

BLOCK = 10_000  # rows that go through the model together, to bound its memory


def branches(
    model: DynamicsModel,
    states: torch.Tensor,
    act: Callable[[torch.Tensor], torch.Tensor],
    length: int,
    *,
    generator: Noise = None,
) -> Experience:
    """What a policy meets in a model that starts from real states.

    Use it for Dyna and MBPO. All rows step at once; one that terminates is dropped
    after that step, one that the model gives up (``Bounded``) before it. Nothing here
    carries gradients.

    Args:
        model: Steps and shows observations.
        states: (B, S), where the rollouts start.
        act: Gives actions (b, A) for observations (b, O), with noise of its own.
        length: Steps at most, 1 or more.
        generator: Of the model's noise; None is torch's global one.

    Returns:
        Transitions of observations, at most B * length; those of one step lie together,
        the first step first, in blocks of 10,000 rows.

    Raises:
        ValueError: For a length below 1.
        FloatingPointError: If the model says something that is not finite, naming what,
            and in which step.

    Source: Janner et al. 2019, algorithm 2, arXiv:1906.08253.
    """
    require_length(length)
    parts = [
        part
        for block in states.split(BLOCK)
        for part in _block(model, block, act, length, generator)
    ]
    return Experience.concatenate(parts)


def require_length(steps: int) -> None:
    """Refuse a rollout of no step.

    Raises:
        ValueError: If it has less than one, or no whole number of them.
    """
    require_whole("a rollout's steps", steps)
    if steps < 1:
        raise ValueError(
            f"a rollout must have 1 step or more, got {steps}; to learn from real "
            "steps alone take SAC"
        )


@torch.no_grad()
def _block(
    model: DynamicsModel,
    states: torch.Tensor,
    act: Callable[[torch.Tensor], torch.Tensor],
    length: int,
    generator: Noise,
) -> list[Experience]:
    z = model.start(states)
    obs, parts = model.observe(z).float(), []
    for step in range(length):
        action = act(obs)
        found = model.step(z, action, generator=generator)
        if step == 0:
            require_outcome(found, len(states))
        next_obs = model.observe(found.next_z).float()
        is_known = ~truncated(model, found.next_z, found.terminated)
        reward, ends = found.reward.float(), found.terminated
        told = Experience(obs, action, reward, next_obs, ends.float())[is_known]
        _require_finite(told, step)
        parts.append(told)
        goes_on = is_known & ~ends
        if not goes_on.any():
            break
        z = _picked(found.next_z, goes_on)
        obs = next_obs[goes_on]
    return parts


def _picked(z: Any, rows: torch.Tensor) -> Any:
    return z if rows.all() else map_leaves(lambda leaf: leaf[rows], z)


def _require_finite(told: Experience, step: int) -> None:
    for name, values in (("observation", told.next_states), ("reward", told.rewards)):
        if not torch.isfinite(values).all():
            raise FloatingPointError(
                f"the model's {name} became NaN or infinite in step {step} of a "
                "rollout; shorten the rollouts, or fit the model to more data at a "
                "lower learning rate"
            )
