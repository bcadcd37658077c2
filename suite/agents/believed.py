"""The model that an agent imagines in: fitted as it goes, or given."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

import torch

from suite.envs.arguments import require_kind, require_not_negative
from suite.storage import IntegrityError
from suite.worldmodels.diagnostics import (
    Windows,
    calibration,
    outcome_errors,
    prediction_errors,
)
from suite.worldmodels.dynamics import DynamicsModel
from suite.worldmodels.experience import Experience
from suite.worldmodels.fit import Fit
from suite.worldmodels.model_spec import live_model
from suite.worldmodels.propagation import TS1, Propagate, require_propagation
from suite.worldmodels.stored import save_dynamics

_TOLD = ("model/train_loss", "model/holdout_error", "model/steps")


class Believed(Protocol):
    """A model, and how it follows what is met. Hand one to ``MBPO``."""

    model: DynamicsModel

    def require(self, rows: int) -> None:
        """Refuse so few transitions for the first fit, before they are collected."""
        ...

    def noised(self, real: Experience, generator: torch.Generator) -> Experience:
        """What the model's data shall be of these transitions."""
        ...

    def judged(self, unseen: Experience) -> dict[str, float]:
        """What to log of how well it says what it has not seen; it has been fitted."""
        ...

    def refit(self, data: Experience) -> dict[str, float]:
        """Learn from all that was met; what to log of it."""
        ...

    def state(self) -> dict[str, Any]:
        """What it learned; live tensors."""
        ...

    def load_state(self, tree: dict[str, Any]) -> None:
        """Take over a ``state()``."""
        ...

    def save(self, folder: Path) -> None:
        """Write the model to a directory; nothing, if it was given."""
        ...


class Fitted:
    """An ensemble that is fitted to all data so far, its weights going on.

    Use it for MBPO and Dyna. Data are observations, as the agent sees them.

    Args:
        fit: Of the ensemble, without data of its own.
        propagation: Makes a model of its dynamics: ``TS1`` as published, ``Mean`` in
            CS285, or a function that wraps one in ``Penalised`` or ``Bounded``.
        steps: Gradient steps of a fit; None ends it by the holdout's patience.
        data_noise: Ratio of ``Experience.noised``, which the model's data get: of the
            means over what is added at a time, so that ``Pace(collect=...)`` should be
            hundreds of steps.
        device: ``"cpu"`` or ``"cuda"``.

    Raises:
        TypeError: If the fit is none, or the propagation a model already.
        ValueError: If nothing would end a fit, the model wants to start from
            ``info["state"]``, or the noise is negative.
    """

    def __init__(
        self,
        fit: Fit,
        *,
        propagation: Propagate = TS1,
        steps: int | None = None,
        data_noise: float = 0.0,
        device: str = "cpu",
    ):
        require_kind("fit", fit, Fit, "Fit(dynamics) fits an ensemble")
        require_propagation(propagation)
        if fit.dynamics.needs_state:
            raise ValueError(
                "MBPO learns and acts on observations, and this model starts from "
                "info['state']; give LearnedDynamics functions of the observation "
                "instead of of_task(...)"
            )
        fit.require_end(steps)
        require_not_negative("data_noise", data_noise)
        fit.dynamics.to(device)
        self.fit, self.steps, self.data_noise = fit, steps, data_noise
        self.model: Any = propagation(fit.dynamics)

    def require(self, rows: int) -> None:
        """Refuse transitions that are too few to fit to.

        Raises:
            ValueError: If nothing could be held out, or a step needs more.
        """
        self.fit.require(rows)

    def noised(self, real: Experience, generator: torch.Generator) -> Experience:
        """With the noise that CS285 adds to the data of its models."""
        return real.noised(self.data_noise, generator)

    def judged(self, unseen: Experience) -> dict[str, float]:
        """How wrong step, reward and end are, and whether the ensemble knows it."""
        states = torch.stack([unseen.states, unseen.next_states])
        found = Windows(states.cpu(), unseen.actions[None].cpu())
        told = prediction_errors(self.fit.dynamics, found, (1,))
        told = {"error_1": told["error_1"], **calibration(self.fit.dynamics, found)}
        told |= outcome_errors(self.fit.dynamics, unseen)
        return {f"model/{name}": value for name, value in told.items()}

    def refit(self, data: Experience) -> dict[str, float]:
        """A round of the fit; the last epoch's loss and error, and all steps so far."""
        found = self.fit.run(data, self.steps)
        return {name: found[name] for name in _TOLD if name in found}

    def state(self) -> dict[str, Any]:
        """Of the fit."""
        return self.fit.state()

    def load_state(self, tree: dict[str, Any]) -> None:
        """Take over a ``state()``.

        Raises:
            IntegrityError: If it is of another model.
        """
        self.fit.load_state(tree)

    def save(self, folder: Path) -> None:
        """Write the dynamics, for ``suite.worldmodels.stored.load_dynamics``."""
        save_dynamics(self.fit.dynamics, folder)


class Given:
    """A model that is right already, such as exact dynamics; nothing is fitted.

    Use it to see what an agent makes of a good model.

    Args:
        model: Starts from observations.

    Raises:
        TypeError: If it is no model.
        ValueError: If it wants to start from ``info["state"]``.
    """

    def __init__(self, model: DynamicsModel):
        model = live_model(model)
        if getattr(model, "needs_state", False):
            raise ValueError(
                "MBPO starts rollouts from observations, and this model from "
                "info['state']; give one of observations"
            )
        self.model = model

    def require(self, rows: int) -> None:
        """Nothing is fitted: any number will do."""

    def noised(self, real: Experience, generator: torch.Generator) -> Experience:
        """As they are."""
        return real

    def judged(self, unseen: Experience) -> dict[str, float]:
        """Nothing: it is right."""
        return {}

    def refit(self, data: Experience) -> dict[str, float]:
        """Nothing to do."""
        return {}

    def state(self) -> dict[str, Any]:
        """Nothing."""
        return {}

    def load_state(self, tree: dict[str, Any]) -> None:
        """Nothing.

        Raises:
            IntegrityError: If there is something.
        """
        if tree:
            raise IntegrityError(f"a given model has no state, got {sorted(tree)}")

    def save(self, folder: Path) -> None:
        """Nothing: it was given."""
