"""Which member of an ensemble is believed at which step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import nn

from suite.envs.arguments import require_kind
from suite.worldmodels.dynamics import DynamicsModel, Transition
from suite.worldmodels.learned import LearnedDynamics, Prediction
from suite.worldmodels.noise import Noise, random_indices, standard_normal


class StateZ(NamedTuple):
    """A state (B, S)."""

    state: torch.Tensor


class MemberZ(NamedTuple):
    """A state (B, S) and whom the row believes (B,) int64, -1 if not drawn yet."""

    state: torch.Tensor
    member: torch.Tensor


Propagate = Callable[[LearnedDynamics], DynamicsModel]


def require_propagation(propagation: Any) -> None:
    """Refuse what does not make a model of an ensemble.

    Raises:
        TypeError: If it is no function, or what it would make.
    """
    if not callable(propagation) or isinstance(propagation, nn.Module):
        raise TypeError(
            "propagation must be a function that makes a model of an ensemble, such as "
            f"TSInf itself, got a {type(propagation).__name__}"
        )


class Propagation(nn.Module):
    """What the three have in common; use one of them.

    Args:
        dynamics: The ensemble.

    Raises:
        TypeError: If it is none.
    """

    def __init__(self, dynamics: LearnedDynamics):
        super().__init__()
        if not isinstance(dynamics, LearnedDynamics):
            raise TypeError(
                f"{type(self).__name__} propagates a LearnedDynamics, got "
                f"{type(dynamics).__name__}; other models need no wrapper"
            )
        self.dynamics = dynamics
        self.needs_state = dynamics.needs_state
        self.state_size, self.action_size = dynamics.state_size, dynamics.action_size

    def _checked(self, state: torch.Tensor) -> torch.Tensor:
        require_kind("state", state, torch.Tensor, "give torch.tensor(obs)")
        if state.dim() != 2 or state.shape[1] != self.state_size:
            raise ValueError(
                f"the model starts from states (B, {self.state_size}), got "
                f"{tuple(state.shape)}; was it fitted to another environment?"
            )
        return state.to(self.dynamics.dtype)

    def state(self, z: StateZ | MemberZ) -> torch.Tensor:
        """The state (B, S) inside z."""
        return z.state

    def observe(self, z: StateZ | MemberZ) -> torch.Tensor:
        """Observations (B, O)."""
        observe = self.dynamics.functions["observe"]
        return z.state if observe is None else observe(z.state)

    def success(self, z: StateZ | MemberZ) -> torch.Tensor:
        """Whether the task is solved (B,) bool; nowhere if the model knows no task."""
        success = self.dynamics.functions["success"]
        if success is None:
            return torch.zeros(len(z.state), dtype=torch.bool, device=z.state.device)
        return success(z.state)


class Mean(Propagation):
    """All elites together: the next state is the mean of their means, without noise.

    Use it for rollouts that shall not be random, such as the log's model rollouts. It
    forgets what the members disagree on, and all noise. PETS calls it E.

    Args, errors: As ``Propagation``.
    """

    def start(self, state: torch.Tensor) -> StateZ:
        """The z of states (B, S)."""
        return StateZ(self._checked(state))

    def step(
        self, z: StateZ, action: torch.Tensor, *, generator: Noise = None
    ) -> Transition:
        """One step under actions (B, A); nothing is drawn."""
        outcome = self.dynamics.predict(z.state, action).mean.mean(dim=0)
        state, *ends = self.dynamics.settle(z.state, action, outcome)
        return Transition(StateZ(state), *ends)


class TS1(Propagation):
    """One elite a row, drawn anew at every step, with the noise it predicts.

    Use it for MBPO, or where a plan shall be judged without faith in any one member.

    Source: Chua et al. 2018, section 5, arXiv:1805.12114.

    Args, errors: As ``Propagation``.
    """

    def start(self, state: torch.Tensor) -> StateZ:
        """The z of states (B, S)."""
        return StateZ(self._checked(state))

    def step(
        self, z: StateZ, action: torch.Tensor, *, generator: Noise = None
    ) -> Transition:
        """One step under actions (B, A)."""
        member = _drawn(self.dynamics, z.state, generator)
        outcome = _sampled(
            self.dynamics.predict_rows(z.state, action, member), generator
        )
        state, *ends = self.dynamics.settle(z.state, action, outcome)
        return Transition(StateZ(state), *ends)


class TSInf(Propagation):
    """One elite a row for as long as the row lasts, with the noise it predicts.

    Use it for planning: what the members disagree on stays coherent over the horizon.
    With deterministic members it is the log's planner, each network on its own
    trajectory.

    Source: Chua et al. 2018, section 5, arXiv:1805.12114.

    Args, errors: As ``Propagation``.
    """

    def start(self, state: torch.Tensor, member: torch.Tensor | None = None) -> MemberZ:
        """The z of states (B, S).

        Args:
            state: (B, S).
            member: (B,) int64, whom each row believes, for a planner that wants equal
                shares; None draws one at the first step.
        """
        state = self._checked(state)
        if member is None:
            member = torch.full((len(state),), -1, device=state.device)
        return MemberZ(state, member)

    def step(
        self, z: MemberZ, action: torch.Tensor, *, generator: Noise = None
    ) -> Transition:
        """One step under actions (B, A)."""
        # Drawn for all rows at all steps: what a row draws must not depend on others.
        drawn = _drawn(self.dynamics, z.state, generator)
        member = torch.where(z.member < 0, drawn, z.member)
        outcome = _sampled(
            self.dynamics.predict_rows(z.state, action, member), generator
        )
        state, *ends = self.dynamics.settle(z.state, action, outcome)
        return Transition(MemberZ(state, member), *ends)


def innermost(model: Any) -> Any:
    """The model inside all that is around it, such as ``Penalised``."""
    while hasattr(model, "model"):
        model = model.model
    return model


def _drawn(
    dynamics: LearnedDynamics, state: torch.Tensor, generator: Noise
) -> torch.Tensor:
    elites = dynamics.elites
    return elites[random_indices(len(state), len(elites), state, generator)]


def _sampled(prediction: Prediction, generator: Noise) -> torch.Tensor:
    if prediction.std is None:
        return prediction.mean
    noise = standard_normal(prediction.mean, generator)
    return prediction.mean + prediction.std * noise
