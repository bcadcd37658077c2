"""What an ensemble does not know, as a price or as an end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import torch
from torch import nn

from suite.envs.arguments import require_not_negative
from suite.worldmodels.dynamics import Transition
from suite.worldmodels.learned import LearnedDynamics, Prediction
from suite.worldmodels.noise import Noise


class Uncertainty(Protocol):
    """How unsure the elites are of a step, from what they predict."""

    def __call__(self, prediction: Prediction, state_size: int) -> torch.Tensor:
        """(B,), 0 or more, of a prediction with axes (K, B, D)."""
        ...


@dataclass(frozen=True)
class MaxSigma:
    """The largest predicted deviation, max_i |sigma_i|_2: how noisy the world seems.

    Use it with Gaussian members; MOPO's own choice. It counts a learned reward's
    deviation too.

    Source: Yu et al. 2020, section 4.3, arXiv:2005.13239.

    Raises:
        ValueError: When called for deterministic members.
    """

    def __call__(self, prediction: Prediction, state_size: int) -> torch.Tensor:
        """(B,) of (K, B, D)."""
        if prediction.std is None:
            raise ValueError(
                "MaxSigma needs members that predict a deviation, got deterministic "
                "ones; use GaussianEnsemble, MaxDeviation or EnsembleStd"
            )
        return prediction.std.norm(dim=-1).amax(dim=0)


@dataclass(frozen=True)
class MaxDeviation:
    """The farthest member, max_i |mu_i - mean of mu|_2: what members disagree on.

    Use it where the world is deterministic and data are few.

    Source: MOPO's second form; Kidambi et al. 2020, arXiv:2005.05951, take the largest
    distance of a pair instead.
    """

    def __call__(self, prediction: Prediction, state_size: int) -> torch.Tensor:
        """(B,) of (K, B, D)."""
        mean = prediction.mean[..., :state_size]
        return (mean - mean.mean(dim=0)).norm(dim=-1).amax(dim=0)


@dataclass(frozen=True)
class EnsembleStd:
    """The deviation of the members' mixture: noise and disagreement together.

        sqrt(sum over dimensions of mean_i(sigma_i^2 + mu_i^2) - mean_i(mu_i)^2)

    Source: Lakshminarayanan et al. 2017, section 2.4, arXiv:1612.01474; as a penalty
    Lu et al. 2022, arXiv:2110.04135.
    """

    def __call__(self, prediction: Prediction, state_size: int) -> torch.Tensor:
        """(B,) of (K, B, D)."""
        variance = prediction.mean[..., :state_size].var(dim=0, correction=0)
        if prediction.std is not None:
            noise = prediction.std[..., :state_size].square().mean(dim=0)
            variance = variance + noise
        return variance.sum(dim=-1).sqrt()


class ModelWrapper(nn.Module):
    """A model that passes everything on to another one; subclass it to change a part.

    Args:
        model: A ``Mean``, ``TS1`` or ``TSInf``, or a wrapper of one.

    Raises:
        TypeError: If it is none: other models have no members to ask.
    """

    def __init__(self, model: Any):
        super().__init__()
        if not isinstance(getattr(model, "dynamics", None), LearnedDynamics):
            raise TypeError(
                f"{type(self).__name__} asks the members of an ensemble, got "
                f"{type(model).__name__}; give it a Mean, TS1 or TSInf"
            )
        self.model = model
        self.needs_state = model.needs_state
        self.state_size, self.action_size = model.state_size, model.action_size

    @property
    def dynamics(self) -> Any:
        """The ensemble inside."""
        return self.model.dynamics

    def start(self, state: torch.Tensor, *member: torch.Tensor) -> Any:
        """The z of states (B, S); ``member`` is handed on to a ``TSInf`` inside."""
        return self.model.start(state, *member)

    def step(
        self, z: Any, action: torch.Tensor, *, generator: Noise = None
    ) -> Transition:
        """One step under actions (B, A)."""
        return self.model.step(z, action, generator=generator)

    def state(self, z: Any) -> torch.Tensor:
        """The state (B, S) inside z."""
        return self.model.state(z)

    def observe(self, z: Any) -> torch.Tensor:
        """Observations (B, O)."""
        return self.model.observe(z)

    def success(self, z: Any) -> torch.Tensor:
        """Whether the task is solved (B,) bool."""
        return self.model.success(z)

    def truncated(self, z: Any) -> torch.Tensor:
        """Rows (B,) that the model does not dare to go on with."""
        if hasattr(self.model, "truncated"):
            return self.model.truncated(z)
        return torch.zeros_like(self.model.success(z))

    def uncertainty(
        self, measure: Uncertainty, z: Any, action: torch.Tensor
    ) -> torch.Tensor:
        """How unsure the elites are of a step, (B,)."""
        prediction = self.dynamics.predict(self.state(z), action)
        return measure(prediction, self.state_size)


def _given(measure: Uncertainty | None) -> Uncertainty:
    """A measure, or the usual one for None.

    Raises:
        TypeError: If it is the class of one, or nothing that can be called.
    """
    if measure is None:
        return MaxSigma()
    if isinstance(measure, type) or not callable(measure):
        raise TypeError(f"measure must be such as MaxSigma(), got {measure!r}")
    return measure


class Penalised(ModelWrapper):
    """The reward less what the model does not know: r - weight * u(s, a).

    Use it to learn a policy inside a model without being lured to where it is wrong.

    Source: Yu et al. 2020, section 4.2, arXiv:2005.13239; weights were 0.5 to 5.

    Args:
        model: As ``ModelWrapper``.
        weight: What one unit of uncertainty costs.
        measure: Of the uncertainty, in the units of the state.

    Raises:
        TypeError: If the measure is none.
        ValueError: For a weight below 0.
    """

    def __init__(self, model: Any, weight: float, measure: Uncertainty | None = None):
        super().__init__(model)
        require_not_negative("weight", weight)
        self.weight, self.measure = weight, _given(measure)

    def step(
        self, z: Any, action: torch.Tensor, *, generator: Noise = None
    ) -> Transition:
        """One step under actions (B, A)."""
        found = self.model.step(z, action, generator=generator)
        price = self.weight * self.uncertainty(self.measure, z, action)
        return found._replace(reward=found.reward - price)


class BoundedZ(NamedTuple):
    """z of the model inside, and whether the step that led here was too unsure."""

    inner: Any
    is_unknown: torch.Tensor


class Bounded(ModelWrapper):
    """Rollouts are cut off where the model does not know what it is doing.

    Use it for long rollouts: a step whose uncertainty exceeds the threshold truncates
    the episode, which is no end of the task; a critic bootstraps there, and
    ``ImaginedScore`` fears the worst for a planner. In a
    ``ModelEnv`` the row keeps the state before that step.

    Args:
        model: As ``ModelWrapper``.
        threshold: The largest uncertainty that is believed.
        measure: Of the uncertainty, in the units of the state.

    Raises:
        TypeError: If the measure is none.
        ValueError: For a threshold below 0.
    """

    def __init__(
        self, model: Any, threshold: float, measure: Uncertainty | None = None
    ):
        super().__init__(model)
        require_not_negative("threshold", threshold)
        self.threshold, self.measure = threshold, _given(measure)

    def start(self, state: torch.Tensor, *member: torch.Tensor) -> BoundedZ:
        """The z of states (B, S), all known; ``member`` as in ``ModelWrapper``."""
        known = torch.zeros(len(state), dtype=torch.bool, device=state.device)
        return BoundedZ(self.model.start(state, *member), known)

    def step(
        self, z: BoundedZ, action: torch.Tensor, *, generator: Noise = None
    ) -> Transition:
        """One step under actions (B, A)."""
        found = self.model.step(z.inner, action, generator=generator)
        # What is NaN is not known either.
        is_unknown = ~(self.uncertainty(self.measure, z, action) <= self.threshold)
        return found._replace(next_z=BoundedZ(found.next_z, is_unknown))

    def state(self, z: BoundedZ) -> torch.Tensor:
        """The state (B, S) inside z."""
        return self.model.state(z.inner)

    def observe(self, z: BoundedZ) -> torch.Tensor:
        """Observations (B, O)."""
        return self.model.observe(z.inner)

    def success(self, z: BoundedZ) -> torch.Tensor:
        """Whether the task is solved (B,) bool."""
        return self.model.success(z.inner)

    def truncated(self, z: BoundedZ) -> torch.Tensor:
        """Rows (B,) whose last step was too unsure."""
        if hasattr(self.model, "truncated"):
            return z.is_unknown | self.model.truncated(z.inner)
        return z.is_unknown
