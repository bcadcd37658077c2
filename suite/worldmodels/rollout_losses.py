"""Losses of a model against recordings: one step, rollouts, poses, and their tail."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor

from suite.worldmodels.car_motion import wrapped
from suite.worldmodels.cvar import CVaR
from suite.worldmodels.unrolled import (
    Snippets,
    Teaching,
    Unrolled,
    begun,
    unrolled,
)

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class OneStep:
    """The error of one step from the truth: mean over d of w_d (x' - x)^2.

    Its samples are the first steps of the snippets.

    Args:
        weight: Of the whole term.
        columns: w, one for each column of the state's error, () is 1; for a car vx, vy
            and omega.
    """

    weight: float = 1.0
    columns: Sequence[float] = (1.0, 1.0, 2.0)


@dataclass(frozen=True)
class Rollout:
    """The error of H steps on the model's own predictions.

        R_i = sum over h of discount^h mean over d of (x' - x)^2, over sum of discount^h

    Args:
        horizon: H.
        weight: Of the whole term.
        teacher_forcing: How probable it is that a sample's state is set to the truth
            before a step other than the first, each sample for itself.
        detach: Whether gradients end at every step.
        discount: Of later steps.
        growth: Epochs in which the horizon grows evenly from 1; 0 is all of it at once.
            Long rollouts of a model that knows nothing yet diverge.
        release: Epochs in which teacher forcing falls evenly from 1 to what it is; 0
            is that from the start.

    Raises:
        ValueError: If a number is out of range.
    """

    horizon: int = 10
    weight: float = 0.5
    teacher_forcing: float = 0.2
    detach: bool = False
    discount: float = 1.0
    growth: int = 0
    release: int = 0

    def __post_init__(self) -> None:
        if min(self.growth, self.release) < 0:
            raise ValueError(
                "growth and release are epochs, 0 or more, got "
                f"{self.growth} and {self.release}"
            )
        if self.horizon < 1 or not 0 <= self.teacher_forcing <= 1:
            raise ValueError(
                "a rollout needs a horizon of 1 or more and teacher_forcing in [0, 1], "
                f"got {self.horizon} and {self.teacher_forcing}"
            )
        if self.discount <= 0:
            raise ValueError(f"discount must be positive, got {self.discount}")

    def horizon_at(self, epoch: int) -> int:
        """Steps of a rollout in an epoch, counted from 0."""
        if epoch >= self.growth:
            return self.horizon
        return 1 + (self.horizon - 1) * epoch // self.growth

    def teacher_forcing_at(self, epoch: int) -> float:
        """How probable the truth is before a step in an epoch, counted from 0."""
        if epoch >= self.release:
            return self.teacher_forcing
        return 1 + (self.teacher_forcing - 1) * epoch / self.release


@dataclass(frozen=True)
class Pose:
    """The error of the poses that a rollout leads to, in m^2 and rad^2.

        P_i = the rollout's mean over steps of mean over columns of e^2

    Args:
        weight: Of the whole term.
        heading: Whether the heading counts beside the place, its error wrapped.
    """

    weight: float = 0.05
    heading: bool = False


@dataclass(frozen=True)
class Layout:
    """What the columns of a recorded state are.

    Args:
        state: Those whose error is counted in deviations.
        position: Those of the place, m; () if there is none.
        heading: That of the heading, rad, or None.
    """

    state: Sequence[int] = (3, 4, 5)
    position: Sequence[int] = (0, 1)
    heading: int | None = 2


class Terms(NamedTuple):
    """The loss and what it is made of.

    Attributes:
        loss: (...), one a member.
        told: By name, each (...): the raw terms, without weights.
        memory: (...), of the tail's estimator.
    """

    loss: Tensor
    told: dict[str, Tensor]
    memory: Tensor


@dataclass(frozen=True)
class Losses:
    """What a model is fitted by; a term that is left out is off.

    Use it on any ``DynamicsModel`` that observes what is recorded. All terms come from
    one rollout, the first step of which is the one-step prediction. CVaR weighs
    samples of rollouts: without rollouts it is off, and says so once.

    Args:
        one_step: Of one step, or None.
        rollout: Of H steps, or None.
        pose: Of the places that those lead to, or None.
        cvar: Reduces the losses of rollouts to their tail, or None for the mean.
        penalties: Weights by name of what the model says of itself, whose mean square
            is added: a car's ``residual`` (m/s, rad/s), ``correction`` (rad, m/s) and
            ``log_grip``.
        layout: What the columns of a state are.

    Raises:
        ValueError: If there is nothing to fit, or poses without rollouts.
    """

    one_step: OneStep | None = field(default_factory=OneStep)
    rollout: Rollout | None = None
    pose: Pose | None = None
    cvar: CVaR | None = None
    penalties: Mapping[str, float] = field(default_factory=dict)
    layout: Layout = field(default_factory=Layout)

    def __post_init__(self) -> None:
        if self.one_step is None and self.rollout is None:
            raise ValueError(
                "losses need one_step or rollout, got neither: nothing would be fitted"
            )
        if self.pose is not None and self.rollout is None:
            raise ValueError("a pose loss needs a rollout, got none; leave both out")
        if self.one_step is not None and self.one_step.columns:
            got, wanted = len(self.one_step.columns), len(self.layout.state)
            if got != wanted:
                raise ValueError(
                    f"one_step needs a weight for each of {wanted} columns of the "
                    f"state, got {got}"
                )
        if self.cvar is not None and self.rollout is None:
            log.warning("CVaR is off: it weighs rollouts, and rollout is off")

    @property
    def horizon(self) -> int:
        """Steps of a snippet."""
        return 1 if self.rollout is None else self.rollout.horizon

    def horizon_at(self, epoch: int) -> int:
        """Steps of a snippet that count in an epoch."""
        return 1 if self.rollout is None else self.rollout.horizon_at(epoch)

    @property
    def tail(self) -> CVaR | None:
        """What weighs rollouts: None without rollouts."""
        return None if self.rollout is None else self.cvar

    def teaching(
        self, states: Tensor, draws: Tensor | None, epoch: int = 0
    ) -> Teaching | None:
        """Where rollouts are set to the truth.

        Args:
            states: (H + 1, ..., S).
            draws: (H, ...) uniform numbers in [0, 1), None for none.
            epoch: From 0.
        """
        rollout = self.rollout
        if rollout is None or len(states) == 2 or draws is None:
            return None
        share = rollout.teacher_forcing_at(epoch)
        if not (share or rollout.detach):
            return None
        mask = draws < share
        mask[0] = False  # it begins at the truth anyway
        return Teaching(states[:-1], mask, rollout.detach)

    def terms(
        self,
        model: Any,
        snippets: Snippets,
        scale: Tensor,
        *,
        epoch: int = 0,
        draws: Tensor | None = None,
        memory: Tensor | None = None,
    ) -> Terms:
        """The loss on snippets.

        Args:
            model: A ``DynamicsModel``.
            snippets: What was recorded.
            scale: Deviations of the state's columns, (D,) or (E, 1, D).
            epoch: From 0: the tail may be approached slowly.
            draws: (H, ...) uniform numbers that decide on teacher forcing; None: never.
            memory: (...), of the last ``Terms``; None at first.

        Raises:
            ValueError: If a penalty's name is not of what the model says.
        """
        steps = self.horizon_at(epoch)
        states, actions = snippets.states[: steps + 1], snippets.actions[:steps]
        draws = None if draws is None else draws[:steps]
        z = begun(model, snippets)
        found = unrolled(model, z, actions, self.teaching(states, draws, epoch))
        rollout, pose, one_step = self.errors(found, states[1:], scale)
        loss, told = torch.zeros_like(one_step.mean(dim=-1)), {}
        if self.one_step is not None:
            told["one_step"] = one_step.mean(dim=-1)
            loss = loss + self.one_step.weight * told["one_step"]
        memory = torch.full_like(loss, torch.nan) if memory is None else memory
        if self.rollout is not None:
            part, more, memory = self._rolled(rollout, pose, epoch, memory)
            loss, told = loss + part, {**told, **more}
        for name, value in self._penalised(found).items():
            loss, told[f"reg_{name}"] = loss + self.penalties[name] * value, value
        return Terms(loss, {n: v.detach() for n, v in told.items()}, memory)

    def errors(
        self, found: Unrolled, truth: Tensor, scale: Tensor
    ) -> tuple[Tensor, Tensor | None, Tensor]:
        """Of each sample (..., B): of the rollout, of its poses, of its first step."""
        columns = list(self.layout.state)
        miss = found.states[..., columns] - truth[..., columns]
        squares = (miss / scale).square()
        first = squares[0]
        if self.one_step is not None and self.one_step.columns:
            first = first * first.new_tensor(list(self.one_step.columns))
        pose = None
        if self.pose is not None:
            pose = self._over_steps(self._pose_squares(found.states, truth))
        return self._over_steps(squares), pose, first.mean(dim=-1)

    def _pose_squares(self, states: Tensor, truth: Tensor) -> Tensor:
        place = list(self.layout.position)
        parts = [states[..., place] - truth[..., place]]
        heading = self.layout.heading
        if self.pose is not None and self.pose.heading and heading is not None:
            turn = states[..., heading] - truth[..., heading]
            parts.append(wrapped(turn)[..., None])
        return torch.cat(parts, dim=-1).square()

    def _over_steps(self, squares: Tensor) -> Tensor:
        """(H, ..., B, D) to (..., B): the mean over columns and steps, discounted."""
        discount = 1.0 if self.rollout is None else self.rollout.discount
        if discount == 1:
            return squares.mean(dim=(0, -1))
        steps = torch.arange(len(squares), device=squares.device)
        weights = discount ** steps.to(squares)
        return torch.tensordot(weights / weights.sum(), squares.mean(dim=-1), 1)

    def _rolled(
        self, rollout: Tensor, pose: Tensor | None, epoch: int, memory: Tensor
    ) -> tuple[Tensor, dict[str, Tensor], Tensor]:
        """The weighted loss of rollouts (...), what to tell, and the memory."""
        assert self.rollout is not None
        mean, size = rollout.mean(dim=-1), rollout.shape[-1]
        told = {"rollout_mean": mean, "rollout_cvar": mean}
        losses, apart = self.rollout.weight * rollout, torch.zeros_like(mean)
        cvar = self.tail
        if pose is not None and self.pose is not None:
            told["pose"] = pose.mean(dim=-1)
            if cvar is None or cvar.apply_to == "rollout_plus_pose":
                losses = losses + self.pose.weight * pose
            else:
                apart = self.pose.weight * told["pose"]
        alpha, used = 1.0, torch.full_like(mean, size)
        loss = losses.mean(dim=-1)
        if cvar is not None:
            alpha = cvar.alpha_at(epoch)
            loss, weights, memory = cvar.tail(losses, epoch, memory)
            # Of the rollout alone and without its weight: comparable with its mean.
            share = weights / weights.sum(dim=-1, keepdim=True)
            told["rollout_cvar"] = (share * rollout).sum(dim=-1)
            used = (weights > 0).sum(dim=-1).to(mean)
        told["k_used"], told["alpha"] = used, torch.full_like(mean, alpha)
        return loss + apart, told, memory

    def _penalised(self, found: Unrolled) -> dict[str, Tensor]:
        """Mean squares (...) of what is held down."""
        missing = set(self.penalties) - set(found.extras)
        if missing:
            raise ValueError(
                f"the model says nothing of {', '.join(sorted(missing))} to penalise; "
                f"it says {', '.join(found.extras) or 'nothing'}"
            )
        leading = found.states.dim() - 1  # (H, ..., B): a number each may have columns
        means = {}
        for name in self.penalties:
            square = found.extras[name].square()
            square = square if square.dim() == leading else square.mean(dim=-1)
            means[name] = square.mean(dim=(0, -1))
        return means
