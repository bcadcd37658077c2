"""What planners share: the contract, the memory between plans, and scores made safe."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from suite.agents.action_sets import Actions, Generators
from suite.agents.proposals import Proposal
from suite.envs.arguments import (
    require_kind,
    require_members,
    require_number,
    require_positive,
)

Score = Callable[[Tensor], Tensor]  # of (B, K, H, A), (B, K): higher is better
Memory = dict[str, Tensor]


class Plan(NamedTuple):
    """What a planner found.

    Attributes:
        actions: The sequences (B, H, A); choices are one-hot.
        memory: What the next plan starts from.
        value: (B,), the score of what the plan was made from: of the sequence itself
            where a candidate is returned, of the elites or weighted candidates where
            their mean is.
    """

    actions: Tensor
    memory: Memory
    value: Tensor


class Planner(Protocol):
    """Searches for good action sequences."""

    @property
    def horizon(self) -> int:
        """Steps of a sequence."""
        ...

    def start(self, actions: Actions, num_envs: int) -> Memory:
        """The memory before the first plan.

        Raises:
            ValueError: If the planner's proposal cannot draw such actions.
        """
        ...

    def plan(
        self, score: Score, actions: Actions, memory: Memory, *, generator: Generators
    ) -> Plan:
        """The sequences to follow.

        Args:
            score: Of (B, K, H, A) sequences, (B, K).
            actions: What actions there are.
            memory: From ``start`` or the last plan, B rows.
            generator: One for all environments, or one each.

        Raises:
            ValueError: If the scores have another shape.
            FloatingPointError: If an environment has no candidate with a finite score.
        """
        ...


def forgotten(memory: Memory, ended: Any) -> Memory:
    """A memory in which the rows of episodes that ended (B,) start anew."""
    planned = memory["planned"]
    ended = torch.as_tensor(ended, dtype=torch.bool, device=planned.device)
    return {**memory, "planned": planned & ~ended}


# ------------------------------------------------------------------------------ memory
def cold_memory(
    proposal: Proposal, actions: Actions, num_envs: int, horizon: int
) -> Memory:
    """The middle of the actions as a centre (B, H, A), and that no row has planned.

    Raises:
        ValueError: If the proposal cannot draw such actions.
    """
    require_positive("num_envs", num_envs)
    centre = actions.middle.repeat(num_envs, horizon, 1)
    proposal.start(actions, centre)
    planned = torch.zeros(num_envs, dtype=torch.bool, device=centre.device)
    return {"centre": centre, "planned": planned}


def require_memory(planner: Any, memory: Memory, *names: str) -> None:
    """Refuse the memory of another planner.

    Args:
        planner: That shall plan.
        memory: That it was given.
        names: What it holds beside the centre.

    Raises:
        ValueError: Saying how to make one.
    """
    missing = [name for name in ("planned", "centre", *names) if name not in memory]
    if not missing and memory["centre"].shape[1] == planner.horizon:
        return
    got = f"none of {missing}" if missing else f"{memory['centre'].shape[1]} steps"
    raise ValueError(
        f"the memory is of another planner: this {type(planner).__name__} plans "
        f"{planner.horizon} steps, and it has {got}; begin with "
        "planner.start(actions, num_envs)"
    )


def next_centre(memory: Memory, tail: Tensor, middle: Tensor) -> Tensor:
    """Where the next plan begins (B, H, A): the last centre, a step on.

    Args:
        memory: Of the last plan.
        tail: The action at the new end, (A,) or (B, A).
        middle: The action (A,) of rows that have not planned yet.
    """
    centre = memory["centre"]
    tail = tail.expand(len(centre), -1)[:, None]
    shifted = torch.cat([centre[:, 1:], tail], dim=1)
    return torch.where(memory["planned"][:, None, None], shifted, middle)


def remembered(memory: Memory, centre: Tensor) -> Memory:
    """The memory after a plan about a centre (B, H, A)."""
    return {"centre": centre, "planned": torch.ones_like(memory["planned"])}


# ------------------------------------------------------------------------------ scores
def scored(score: Score, candidates: Tensor) -> Tensor:
    """Scores (B, K), minus infinity where there is no finite one.

    Raises:
        TypeError: If the scores are no tensor.
        ValueError: If the scores have another shape.
        FloatingPointError: If a row has no finite score.
    """
    scores = score(candidates)
    require_kind("what score returns", scores, Tensor)
    if scores.shape != candidates.shape[:2]:
        raise ValueError(
            f"score must return {tuple(candidates.shape[:2])} numbers, one for each "
            f"candidate of each environment, got {tuple(scores.shape)}"
        )
    is_finite = torch.isfinite(scores)
    has_none = ~is_finite.any(dim=1)
    if bool(has_none.any()):
        raise FloatingPointError(
            f"no candidate of row {int(has_none.nonzero()[0])} has a finite score: the "
            "model has diverged, or its reward is NaN; a learned one fit anew, with "
            "more data or a smaller learning rate, or plan with a shorter horizon"
        )
    return torch.where(is_finite, scores, -torch.inf)


def best_of(candidates: Tensor, scores: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The ``count`` best, best first: scores (B, count), sequences (B, count, H, A).

    Where too few have a score, the best one stands in for the rest.
    """
    values, index = scores.topk(count, dim=1)
    is_scored = torch.isfinite(values)
    values = torch.where(is_scored, values, values[:, :1])
    index = torch.where(is_scored, index, index[:, :1])
    rows = torch.arange(len(scores), device=scores.device)
    return values, candidates[rows[:, None], index]


# ------------------------------------------------------------------------------ checks
def require_counts(planner: Any, *names: str) -> None:
    """Refuse a count below 1.

    Raises:
        ValueError: Naming it.
    """
    for name in names:
        require_positive(name, getattr(planner, name))


def require_elites(planner: Any) -> None:
    """Refuse counts, elites, alpha or proposal that a cross-entropy method cannot use.

    Raises:
        ValueError: Naming it.
        TypeError: If the proposal is none.
    """
    require_counts(planner, "horizon", "candidates", "elites", "iterations")
    if planner.elites > planner.candidates:
        raise ValueError(
            f"elites must not be more than the {planner.candidates} candidates, got "
            f"{planner.elites}"
        )
    require_number("alpha", planner.alpha)
    if not 0 <= planner.alpha < 1:
        raise ValueError(
            "alpha, the weight of the old statistics, must be in [0, 1), got "
            f"{planner.alpha}"
        )
    require_proposal(planner)


def require_proposal(planner: Any) -> None:
    """Refuse what cannot be drawn from.

    Raises:
        TypeError: Saying what to give.
    """
    members = ("start", "sample", "refit", "decided")
    require_members("proposal", planner.proposal, members, "ClippedNormal()")


def require_std(planner: Any, why: str) -> None:
    """Refuse a proposal whose first draw is uniform (``std=None``).

    Raises:
        ValueError: Saying why.
    """
    if getattr(planner.proposal, "std", 1.0) is None:
        raise ValueError(
            f"{type(planner).__name__} {why}, and a first draw that is uniform "
            "(std=None) forgets it; give the proposal a std"
        )
