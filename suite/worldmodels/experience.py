"""Transitions as tensors: what a model is fitted to."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from suite.transitions import Dataset


@dataclass(frozen=True, eq=False)
class Experience:
    """M transitions of an environment, in any order.

    Use ``Experience.of`` to make one from arrays. Which of ``states`` the model knows
    is the user's choice: observations, or the named states of a task.

    Attributes:
        states: (M, S) float32.
        actions: (M, A) float32.
        rewards: (M,) float32; only a learned reward needs them.
        next_states: (M, S) float32, never those of the next episode.
        terminated: (M,) float32, 1 where the episode ended in ``next_states``.
    """

    states: torch.Tensor
    actions: torch.Tensor
    rewards: torch.Tensor
    next_states: torch.Tensor
    terminated: torch.Tensor

    @staticmethod
    def of(
        states: Any,
        actions: Any,
        rewards: Any,
        next_states: Any,
        terminated: Any,
        *,
        device: str = "cpu",
    ) -> Experience:
        """Transitions from arrays or tensors, checked.

        Raises:
            ValueError: If there is none, shapes do not belong together, a number is
                NaN or infinite, naming array, row and column, or terminated is neither
                0 nor 1.
        """
        columns = (states, actions, rewards, next_states, terminated)
        tensors = [
            torch.as_tensor(np.asarray(column, np.float32), device=device)
            if not isinstance(column, torch.Tensor)
            else column.detach().to(device, torch.float32)
            for column in columns
        ]
        made = Experience(*tensors)
        made._check()
        return made

    @staticmethod
    def of_dataset(data: Dataset, *, device: str = "cpu") -> Experience:
        """The transitions of stored episodes, observations as states.

        Raises:
            ValueError: As ``of``.
        """
        arrays = (data.obs, data.actions, data.rewards, data.next_obs, data.terminated)
        # Copies: the stored ones may be read-only.
        return Experience.of(*(np.array(each) for each in arrays), device=device)

    @staticmethod
    def concatenate(parts: Sequence[Experience]) -> Experience:
        """All transitions of several, in order."""
        names = [field.name for field in dataclasses.fields(Experience)]
        return Experience(
            *(torch.cat([getattr(part, name) for part in parts]) for name in names)
        )

    def __len__(self) -> int:
        return len(self.rewards)

    def __getitem__(self, rows: Any) -> Experience:
        """The transitions of some rows, a slice, a mask or indices of any shape."""
        names = [field.name for field in dataclasses.fields(self)]
        return Experience(*(getattr(self, name)[rows] for name in names))

    def noised(self, ratio: float, generator: torch.Generator) -> Experience:
        """These with noise on states and next states, each drawn for itself.

        Use it on what is added to a model's data, as CS285's ``--add_sl_noise`` with a
        ratio of 0.01. Its deviation is ``ratio`` times the magnitude of the number's
        mean over these transitions, 1e-6 times it where that is 0. It also hides that
        a number is constant.

        Args:
            ratio: Of deviation and mean; 0 changes nothing.
            generator: Of the noise, on the CPU.
        """
        if ratio == 0:
            return self
        noisy = {
            name: _noised(getattr(self, name), ratio, generator)
            for name in ("states", "next_states")
        }
        return dataclasses.replace(self, **noisy)

    def to_tree(self) -> dict[str, torch.Tensor]:
        """It as tensors by name, for a checkpoint; ``Experience(**tree)`` is back."""
        return {field.name: getattr(self, field.name) for field in _FIELDS}

    def _check(self) -> None:
        shapes = {f.name: tuple(getattr(self, f.name).shape) for f in _FIELDS}
        rows = shapes["rewards"][:1]
        fits = (
            shapes["states"] == shapes["next_states"]
            and len(shapes["states"]) == len(shapes["actions"]) == 2
            and shapes["rewards"] == shapes["terminated"] == rows
            and shapes["states"][:1] == shapes["actions"][:1] == rows
        )
        if not fits or rows == (0,):
            raise ValueError(
                "transitions need states (M, S), actions (M, A), rewards (M,), "
                "next_states (M, S) and terminated (M,) with M of 1 or more, got "
                + ", ".join(f"{name} {shape}" for name, shape in shapes.items())
            )
        for field in _FIELDS:
            _require_finite(field.name, getattr(self, field.name))
        strange = (self.terminated != 0) & (self.terminated != 1)
        if strange.any():
            row = int(strange.nonzero()[0])
            raise ValueError(
                f"terminated must be 0 or 1, got {float(self.terminated[row]):g} in "
                f"row {row}; is it in the place of the rewards?"
            )


_FIELDS = dataclasses.fields(Experience)


def _noised(
    values: torch.Tensor, ratio: float, generator: torch.Generator
) -> torch.Tensor:
    mean = values.double().mean(dim=0)
    mean = torch.where(mean == 0, torch.full_like(mean, 1e-6), mean)
    noise = torch.randn(values.shape, generator=generator).to(values)
    return values + noise * (ratio * mean.abs()).to(values)


def _require_finite(name: str, values: torch.Tensor) -> None:
    wrong = ~torch.isfinite(values)
    if wrong.any():
        place = torch.nonzero(wrong)[0].tolist()
        where = f"row {place[0]}" + (f", column {place[1]}" if place[1:] else "")
        raise ValueError(
            f"transitions must be finite, got {float(values[tuple(place)])} in {name}, "
            f"{where}; leave such episodes out"
        )
