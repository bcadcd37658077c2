"""Minibatches of stored transitions for d3rlpy's algorithms."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from d3rlpy.torch_utility import TorchMiniBatch

from suite.agents.scaling import Affine
from suite.transitions import Dataset


class Minibatches:
    """Rows of a table, drawn uniformly and with replacement by an own generator.

    Use it instead of d3rlpy's replay buffer. That one leaves out the last transition of
    every truncated episode and puts zeros in the place of the last observation of a
    terminated one; here all M transitions are drawn, each with its true next_obs. It
    draws from NumPy's global generator, here nothing does. And a minibatch is one
    gather on the device instead of 256 small copies.

    Args:
        data: The transitions.
        obs: What observations are mapped by.
        actions: What actions are mapped by, onto [-1, 1].
        reward_factor: What rewards are multiplied by.
        batch_size: Transitions of a minibatch, B.
        generator: Of the draws.
        device: Where the table lies, 4 (2 O + A + 2) bytes a transition.
    """

    def __init__(
        self,
        data: Dataset,
        obs: Affine,
        actions: Affine,
        *,
        reward_factor: float = 1.0,
        batch_size: int,
        generator: np.random.Generator,
        device: str,
    ):
        columns = (
            obs(data.obs),
            actions(data.actions),
            (data.rewards * np.float64(reward_factor))[:, None],
            data.terminated[:, None],
            obs(data.next_obs),
        )
        table = np.concatenate(columns, axis=1, dtype=np.float32, casting="same_kind")
        self.table = torch.from_numpy(table).to(device)
        self.batch_size, self.generator = batch_size, generator
        self._widths = [column.shape[1] for column in columns]
        self._zeros = torch.zeros(batch_size, 1, device=device)
        self._ones = torch.ones(batch_size, 1, device=device)

    def draw(self, count: int) -> Iterator[TorchMiniBatch]:
        """The next minibatches; all their rows are drawn at once, before the first."""
        shape = (count, self.batch_size)
        rows = self.generator.integers(len(self.table), size=shape)
        for chosen in torch.from_numpy(rows).to(self.table.device):
            yield self.batch(chosen)

    def batch(self, rows: torch.Tensor) -> TorchMiniBatch:
        """The minibatch of some rows (B,), as views of one gathered table."""
        gathered = self.table.index_select(0, rows)
        obs, actions, rewards, ends, next_obs = gathered.split(self._widths, dim=1)
        return TorchMiniBatch(
            observations=obs,
            actions=actions,
            rewards=rewards,
            next_observations=next_obs,
            terminals=ends,
            intervals=self._ones,
            # None of these algorithms reads the two.
            next_actions=self._zeros,
            returns_to_go=self._zeros,
            device=str(self.table.device),
        )

    def state(self) -> dict[str, Any]:
        """Of the generator, as JSON."""
        return dict(self.generator.bit_generator.state)

    def load_state(self, tree: dict[str, Any]) -> None:
        """Put a ``state`` back."""
        self.generator.bit_generator.state = tree
