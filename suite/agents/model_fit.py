"""A model alone: fitted to stored transitions, without a planner."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from suite.envs.arguments import require_positive
from suite.storage import IntegrityError
from suite.transitions import Dataset
from suite.worldmodels.experience import Experience
from suite.worldmodels.fit import Fit


class ModelFit:
    """Fits a model to a dataset; a ``suite.checkpoints.Learner``.

    Use it where the model is the result, such as CS285's first question. A step is one
    gradient step of all members. Its ``policy`` is the model, which acts in nothing:
    evaluate it by ``suite.worldmodels.prediction_error:PredictionError``.

    Args:
        data: What to fit to.
        fit: Of the model, without data of its own.
        updates_per_iteration: Gradient steps between two yields, rounded up to whole
            epochs of the fit. With a holdout the weights between are those of the
            moment; the best ones are put back after the last iteration.
        data_noise: Ratio of ``Experience.noised``.
        seed: Of that noise.
        device: Of the model.

    Raises:
        ValueError: If the model is of other sizes than the data, or a count is below 1.
    """

    def __init__(
        self,
        data: Dataset,
        fit: Fit,
        *,
        updates_per_iteration: int = 10,
        data_noise: float = 0.0,
        seed: int = 0,
        device: str = "cpu",
    ):
        require_positive("updates_per_iteration", updates_per_iteration)
        self.fit, self.updates_per_iteration = fit, updates_per_iteration
        self.policy = fit.dynamics.to(device)
        self.sim_steps = 0  # none at all: it learns from what others did
        self._sha256 = data.sha256
        generator = torch.Generator().manual_seed(seed)
        noisy = Experience.of_dataset(data).noised(data_noise, generator).to_tree()
        fit.begin(Experience(**{name: each.to(device) for name, each in noisy.items()}))
        self._losses = np.empty(0, np.float32)

    @property
    def num_timesteps(self) -> int:
        """Gradient steps so far."""
        return self.fit.steps

    def planned_updates(self, total_timesteps: int) -> int:
        """How many iterations ``iterate(total_timesteps)`` makes from the start."""
        epochs = math.ceil(self.updates_per_iteration / self.fit.epoch_steps)
        return math.ceil(total_timesteps / (epochs * self.fit.epoch_steps))

    def iterate(self, total_timesteps: int) -> Iterator[dict[str, float]]:
        """Fit until so many gradient steps in all; yields metrics.

        Raises:
            FloatingPointError: If a member's loss is no longer finite.
        """
        # One round for all iterations: where one ends, best weights are put back.
        epochs = self.fit.iterate(total_timesteps)
        while self.num_timesteps < total_timesteps and not self.fit.is_done:
            started, losses = time.perf_counter(), []
            end = self.num_timesteps + self.updates_per_iteration
            told: dict[str, float] = {}
            while self.num_timesteps < end and (found := next(epochs, None)):
                told = found
                losses.append(told["model/train_loss"])
            self._losses = np.append(self._losses, np.array(losses, np.float32))
            told |= {"model/train_loss": float(np.mean(losses))}
            yield told | {"time/fit_seconds": time.perf_counter() - started}

    # ------------------------------------------------------------------- checkpoints
    def series(self) -> dict[str, np.ndarray]:
        """The loss of every epoch so far."""
        return {"model_loss": self._losses}

    def state(self) -> dict[str, Any]:
        """Everything the next iteration depends on but the data."""
        return {"data": self._sha256, "fit": self.fit.state(), "losses": self._losses}

    def load_state(self, tree: dict[str, Any]) -> None:
        """Take over a ``state()``; the next ``iterate`` goes on from there.

        Raises:
            IntegrityError: If it is of another model, or of other data.
        """
        if tree["data"] != self._sha256:
            raise IntegrityError(
                f"it was fitted to data of sha256 {tree['data']}, not {self._sha256}"
            )
        self.fit.load_state(tree["fit"])
        self._losses = tree["losses"]
