"""Dynamics of a state, learned by an ensemble, with a given or learned reward."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, Self

import torch
from torch import nn
from torch.nn import functional

from suite.envs.task import Task, never
from suite.worldmodels.dynamics import ROW_BLOCK, padded
from suite.worldmodels.ensemble import Ensemble, Output
from suite.worldmodels.experience import Experience
from suite.worldmodels.functions import require_told, task_functions
from suite.worldmodels.normaliser import Folded, Normaliser


class Prediction(NamedTuple):
    """What members say of a step, in the data's units.

    Attributes:
        mean: (E, B, D): the next state (S), then the reward and the logit of
            termination where these are learned. Without the axis E where each row
            asked one member.
        std: Its standard deviation; None of deterministic members, 0 for the logit.
    """

    mean: torch.Tensor
    std: torch.Tensor | None

    def of(self, rows: Any) -> Prediction:
        """Of some members, or of pairs of members and rows."""
        std = None if self.std is None else self.std[rows]
        return Prediction(self.mean[rows], std)


class LearnedDynamics(nn.Module):
    """An ensemble that predicts how a state changes, with a given or learned reward.

    Use it inside ``Mean``, ``TS1`` or ``TSInf``, which make it a ``DynamicsModel``:
    alone it says what each member thinks, not what happens. The network sees the
    normalised state and action and predicts the normalised change:

        s' = s + f((s - mean_s) / std_s, (a - mean_a) / std_a) std_d + mean_d

    Reward, termination and success are pure functions of the state, best those of the
    task in ``suite.envs``, so that simulator and model cannot disagree.

    Args:
        ensemble: Its inputs are features and action, its outputs the change of the
            state, then 1 for a learned reward, then 1 for a learned termination.
        reward: ``reward(state, action, next_state)`` gives (...); None learns it.
        terminated: ``terminated(next_state)`` gives (...) bool; None learns it.
        success: ``success(state)`` gives (...) bool; None knows of none.
        features: ``features(state)`` gives what the network sees of a state (..., F),
            such as sine and cosine of an angle; None is the state itself.
        observe: ``observe(state)`` gives the observation; None is the state itself.
        needs_state: Whether its state is ``info["state"]``, not the observation.

    Raises:
        TypeError: If a function, tried on zeros, takes other arguments.
        ValueError: If the ensemble's inputs leave no number for an action, or a
            function gives something else than one number or bool a row.
    """

    def __init__(
        self,
        ensemble: Ensemble,
        *,
        reward: Callable[..., torch.Tensor] | None = None,
        terminated: Callable[..., torch.Tensor] | None = never,
        success: Callable[..., torch.Tensor] | None = None,
        features: Callable[..., torch.Tensor] | None = None,
        observe: Callable[..., torch.Tensor] | None = None,
        needs_state: bool = False,
    ):
        super().__init__()
        self.ensemble = ensemble
        self.functions = {
            "reward": reward,
            "terminated": terminated,
            "success": success,
            "features": features,
            "observe": observe,
        }
        self.needs_state = needs_state
        self.state_size = ensemble.outputs - (reward is None) - (terminated is None)
        self.action_size = ensemble.inputs - self._features_size()
        if min(self.state_size, self.action_size) < 1:
            raise ValueError(
                f"an ensemble of {ensemble.inputs} inputs and {ensemble.outputs} "
                f"outputs leaves {self.state_size} numbers for the state and "
                f"{self.action_size} for the action; inputs are features and action, "
                "outputs the change of the state and what is learned beside it"
            )
        state = self.ensemble.weights[0].new_zeros(self.state_size)
        require_told(self.functions, self.action_size, state)
        self.input_scale: Normaliser | Folded = Normaliser(ensemble.inputs)
        self.output_scale: Normaliser | Folded = Normaliser(ensemble.outputs)
        self.register_buffer("is_elite", torch.ones(ensemble.members, dtype=torch.bool))
        self.register_buffer("is_fitted", torch.zeros((), dtype=torch.bool))

    is_elite: torch.Tensor  # (E,) bool: which members predict
    is_fitted: torch.Tensor  # () bool: whether it has seen data

    @classmethod
    def of_task(cls, ensemble: Ensemble, task: Task) -> Self:
        """Dynamics of a task's named state, with all of its functions.

        Use it for the environments of this suite. The network sees the observation,
        which leaves out what a task does not depend on, such as how far a robot has
        run, and predicts the change of the whole state. Where the observation is the
        state, no function stands for it.

        Args:
            ensemble: Its inputs are observation and action, its outputs the state's.
            task: Whose reward, termination, success and observation.
        """
        functions = task_functions(task, ensemble.outputs)
        return cls(ensemble, **functions, needs_state=True)

    def _features_size(self) -> int:
        features = self.functions["features"]
        if features is None:
            return self.state_size
        return features(torch.zeros(1, max(self.state_size, 1))).shape[-1]

    @property
    def dtype(self) -> torch.dtype:
        """Of states and predictions."""
        return self.ensemble.weights[0].dtype

    @property
    def elites(self) -> torch.Tensor:
        """Indices of the members that predict, (K,) int64."""
        return torch.nonzero(self.is_elite)[:, 0]

    # ------------------------------------------------------------------ prediction
    def predict(self, state: torch.Tensor, action: torch.Tensor) -> Prediction:
        """What each elite says of rows (B, S) and (B, A), leading axis K.

        Raises:
            ValueError: If a shape is another.
        """
        found = self(state, action)
        if len(self.elites) == self.ensemble.members:
            return found
        return found.of(self.elites)

    def forward(self, state: torch.Tensor, action: torch.Tensor) -> Prediction:
        """What each member says, elite or not.

        Args:
            state: (B, S), or (E, B, S) where each member is in a state of its own.
            action: (B, A), or (E, B, A).

        Raises:
            ValueError: If a shape is another.
        """
        return self._predicted(state, self.ensemble(self._network_input(state, action)))

    def predict_rows(
        self, state: torch.Tensor, action: torch.Tensor, member: torch.Tensor
    ) -> Prediction:
        """What one member a row says, without asking the others.

        Args:
            state: (B, S).
            action: (B, A).
            member: (B,) int64.

        Returns:
            A prediction without the axis E.
        """
        if len(member) <= ROW_BLOCK:  # a block is the least that a member gets
            rows = torch.arange(len(member), device=member.device)
            return self(state, action).of((member, rows))
        x = self._network_input(state, action)
        members = self.ensemble.members
        slot, longest = _slots(member, members)
        stacked = x.new_zeros(members * longest, x.shape[1]).index_copy(0, slot, x)
        found = self.ensemble(stacked.view(members, longest, -1))
        return self._predicted(state, found.each(lambda part: part.flatten(0, 1)[slot]))

    def _network_input(self, state: torch.Tensor, action: torch.Tensor) -> torch.Tensor:
        features = self.functions["features"]
        if state.dim() == 3 and action.dim() == 2:  # one action for every member
            action = action.expand(state.shape[0], *action.shape)
        leading = tuple(state.shape[:-1])
        sizes = state.shape[-1], action.shape[-1]
        fits = sizes == (self.state_size, self.action_size) and leading
        if not fits or action.shape[:-1] != leading:
            raise ValueError(
                f"the model takes states (B, {self.state_size}) and actions "
                f"(B, {self.action_size}), got {tuple(state.shape)} and "
                f"{tuple(action.shape)}"
            )
        seen = state if features is None else features(state)
        return self.input_scale(torch.cat([seen, action], dim=-1))

    def _predicted(self, state: torch.Tensor, found: Output) -> Prediction:
        mean = self.output_scale.inverse(found.mean)
        size = self.state_size
        mean = torch.cat([state + mean[..., :size], mean[..., size:]], dim=-1)
        if found.logvar is None:
            return Prediction(mean, None)
        std = self.output_scale.spread(torch.exp(found.logvar / 2))
        if self.functions["terminated"] is None:  # no noise on a logit
            std = torch.cat([std[..., :-1], torch.zeros_like(std[..., -1:])], dim=-1)
        return Prediction(mean, std)

    def settle(
        self, state: torch.Tensor, action: torch.Tensor, outcome: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """What an outcome means.

        Args:
            state: (B, S).
            action: (B, A).
            outcome: (B, D), one prediction's mean or a draw from it.

        Returns:
            Next state (B, S), reward (B,) and terminated (B,) bool.
        """
        size = self.state_size
        reward, terminated = self.functions["reward"], self.functions["terminated"]
        next_state = outcome[..., :size]
        paid = (
            outcome[..., size]
            if reward is None
            else reward(state, action, next_state).to(outcome)
        )
        ends = outcome[..., -1] > 0 if terminated is None else terminated(next_state)
        return next_state, paid, ends

    # -------------------------------------------------------------------- training
    def refresh(self, data: Experience) -> None:
        """Take over the normalisation of the data, which changes every prediction.

        Raises:
            ValueError: If the data is of other sizes, or the model is frozen.
        """
        if isinstance(self.input_scale, Folded) or isinstance(
            self.output_scale, Folded
        ):
            raise ValueError("a frozen model cannot be fitted; fit the original")
        got = data.states.shape[1], data.actions.shape[1]
        if got != (self.state_size, self.action_size):
            raise ValueError(
                f"the model is of {self.state_size} numbers of state and "
                f"{self.action_size} of action, the data of {got[0]} and {got[1]}"
            )
        self.input_scale.refresh(self._raw_input(data))
        targets = self._targets(data)
        self.output_scale.refresh(targets)
        if self.functions["terminated"] is None:
            self.output_scale.mean[-1], self.output_scale.std[-1] = 0, 1
        self.is_fitted.fill_(True)

    def regression(self, data: Experience) -> tuple[torch.Tensor, torch.Tensor]:
        """Normalised inputs (M, in) and targets (M, out) of the network."""
        assert isinstance(self.output_scale, Normaliser)
        inputs = self.input_scale(self._raw_input(data))
        return inputs, self.output_scale(self._targets(data))

    def _raw_input(self, data: Experience) -> torch.Tensor:
        features = self.functions["features"]
        seen = data.states if features is None else features(data.states)
        return torch.cat([seen, data.actions], dim=-1).to(self.dtype)

    def _targets(self, data: Experience) -> torch.Tensor:
        columns = [data.next_states - data.states]
        if self.functions["reward"] is None:
            columns.append(data.rewards[:, None])
        if self.functions["terminated"] is None:
            columns.append(data.terminated[:, None])
        return torch.cat(columns, dim=-1).to(self.dtype)

    def losses(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """Each member's loss (E,) on its own rows (E, b, in) and (E, b, out)."""
        found = self.ensemble(x)
        if self.functions["terminated"] is not None:
            return found.losses(y)
        regressed = found.each(lambda part: part[..., :-1])
        entropy = functional.binary_cross_entropy_with_logits(
            found.mean[..., -1], y[..., -1], reduction="none"
        )
        return regressed.losses(y[..., :-1]) + entropy.mean(dim=1)

    @torch.no_grad()
    def errors(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """Each member's mean squared error (E,) on the same rows, termination apart."""
        stop = None if self.functions["terminated"] is not None else -1
        mean = self.ensemble(x).mean
        return (mean[..., :stop] - y[..., :stop]).square().mean(dim=(1, 2))

    # -------------------------------------------------------------------- freezing
    def frozen(self, *, hidden_dtype: torch.dtype | None = None) -> Self:
        """A copy for planning: the elites alone, normalisation folded into the weights.

        The change of the state is then what the last layer says, without a pass of
        normalisation before and after; equal to float tolerance. It is not fitted.

        Args:
            hidden_dtype: Of the layers between first and last, such as
                ``torch.bfloat16`` where the processor multiplies it natively; the rest
                keeps its type. None keeps all.

        Raises:
            ValueError: If it is frozen already.
        """
        if isinstance(self.input_scale, Folded):
            raise ValueError("the model is frozen already; give the fitted one")
        assert isinstance(self.output_scale, Normaliser)
        scales = self.input_scale, self.output_scale
        before, after = ((scale.mean, scale.std) for scale in scales)
        ensemble = self.ensemble.folded(self.elites, before, after, hidden_dtype)
        twin = type(self)(ensemble, **self.functions, needs_state=self.needs_state)
        twin.input_scale, twin.output_scale = Folded(), Folded()
        twin.is_fitted.copy_(self.is_fitted)
        return twin.to(self.is_elite.device)


def _slots(member: torch.Tensor, members: int) -> tuple[torch.Tensor, int]:
    """Where each row goes if every member gets the same number of rows, padded.

    Returns:
        (B,) places in members * longest, and the longest.
    """
    counts = torch.bincount(member, minlength=members)
    order = torch.argsort(member, stable=True)
    starts = torch.cumsum(counts, 0) - counts
    rank = torch.empty_like(member)
    rank[order] = torch.arange(len(member), device=member.device)
    longest = padded(int(counts.max()))
    return member * longest + rank - starts[member], longest
