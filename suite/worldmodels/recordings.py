"""Recorded trajectories as tensors, and snippets of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from suite.transitions import Dataset
from suite.worldmodels.unrolled import Snippets


@dataclass(frozen=True, eq=False)
class Recordings:
    """N trajectories one after the other, each led by room for a history.

    Use ``Recordings.of`` to make it. Trajectory i has its states and actions at
    ``first[i]`` and the ``lengths[i]`` rows after it; before it lie ``history`` rows of
    commands that nobody recorded.

    Attributes:
        states: (R, S), of trajectory i the rows first[i] ... first[i] + lengths[i].
        actions: (R, A).
        first: (N,) int64.
        lengths: (N,) int64, steps.
        ids: (N,) int64, of the episodes they are of.
        history: Rows before each.
    """

    states: Tensor
    actions: Tensor
    first: Tensor
    lengths: Tensor
    ids: Tensor
    history: int

    @staticmethod
    def of(
        data: Dataset,
        history: int = 0,
        *,
        states: int | None = None,
        actions: int | None = None,
        lead: Callable[[Tensor], Tensor] | None = None,
        device: str = "cpu",
    ) -> Recordings:
        """The trajectories of a dataset.

        Args:
            data: Observations are the states.
            history: Commands that a model sees beside the current one.
            states: Columns it needs; the first ones are taken. None takes all.
            actions: Likewise, exactly.
            lead: What was commanded before first states (N, S), (N, A); None is zeros.
            device: Where to put them.

        Raises:
            ValueError: If a column is missing.
        """
        _require_columns(data, states, actions)
        steps = torch.from_numpy(data.lengths.copy())
        rows = steps + 1 + history
        first = torch.cumsum(rows, 0) - rows + history
        place = np.repeat(first.numpy() - data.offsets[:-1], data.lengths)
        place = torch.from_numpy(place + np.arange(len(data)))
        last = first + steps
        total = int(rows.sum())
        kept = torch.zeros(total, states or data.obs.shape[1])
        kept[place] = torch.from_numpy(data.obs[:, :states].copy())
        ends = data.next_obs[data.offsets[1:] - 1, :states]
        kept[last] = torch.from_numpy(ends.copy())
        commands = torch.zeros(total, data.actions.shape[1])
        commands[place] = torch.from_numpy(data.actions.copy())
        if lead is not None:
            for row in range(1, history + 1):
                commands[first - row] = lead(kept[first])
        ids = torch.from_numpy(data.episode_ids.copy())
        return Recordings(
            kept.to(device),
            commands.to(device),
            first.to(device),
            steps.to(device),
            ids.to(device),
            history,
        )

    @staticmethod
    def concatenate(parts: Sequence[Recordings]) -> Recordings:
        """Several, of the same history, one after the other."""
        if len(parts) == 1:
            return parts[0]
        sizes = [len(part.states) for part in parts]
        offsets = np.cumsum([0, *sizes[:-1]]).tolist()
        first = [part.first + at for part, at in zip(parts, offsets, strict=True)]
        return Recordings(
            torch.cat([part.states for part in parts]),
            torch.cat([part.actions for part in parts]),
            torch.cat(first),
            torch.cat([part.lengths for part in parts]),
            torch.cat([part.ids for part in parts]),
            parts[0].history,
        )

    def __len__(self) -> int:
        return len(self.first)

    def starts(self, trajectories: Tensor, horizon: int, stride: int = 1) -> Tensor:
        """Rows (M,) where snippets of so many steps fit into some trajectories.

        Raises:
            ValueError: If none does.
        """
        found = [
            torch.arange(first, first + length - horizon + 1, stride)
            for first, length in zip(
                self.first[trajectories].tolist(),
                self.lengths[trajectories].tolist(),
                strict=True,
            )
            if length >= horizon
        ]
        if not found:
            longest = int(self.lengths[trajectories].max()) if len(trajectories) else 0
            raise ValueError(
                f"no trajectory has {horizon} steps for a rollout, the longest of "
                f"{len(trajectories)} has {longest}; lower the horizon or give longer "
                "ones"
            )
        return torch.cat(found).to(self.first.device)

    def snippets(self, starts: Tensor, horizon: int) -> Snippets:
        """Snippets that begin at rows (...)."""
        steps = torch.arange(horizon + 1, device=starts.device)
        rows = starts + steps.view(-1, *[1] * starts.dim())
        back = torch.arange(-self.history, 0, device=starts.device)
        return Snippets(
            self.states[rows],
            self.actions[rows[:-1]],
            self.actions[starts[..., None] + back],
        )


def _require_columns(data: Dataset, states: int | None, actions: int | None) -> None:
    found = data.obs.shape[1], data.actions.shape[1]
    if (states or 0) > found[0] or (actions or found[1]) != found[1]:
        raise ValueError(
            f"the model needs {states} columns of state (x, y, theta, vx, vy, omega of "
            f"a car) and {actions} of action, the recordings have {found[0]} and "
            f"{found[1]}; a column is missing, or they are of something else"
        )
