"""Pieces of episodes, as models are fitted to that are rolled out."""

from __future__ import annotations

from typing import NamedTuple

import torch


class Subsequences(NamedTuple):
    """B pieces of H steps, each of one episode.

    A piece may end early in a termination: what follows it is filled with any finite
    numbers, such as the last observation again, and counts for nothing.

    Attributes:
        obs: (H + 1, B, O), what was seen before, between and after the steps.
        actions: (H, B, A).
        rewards: (H, B).
        terminated: (H, B) bool, whether the episode ended in ``obs[h + 1]``.
    """

    obs: torch.Tensor
    actions: torch.Tensor
    rewards: torch.Tensor
    terminated: torch.Tensor

    @property
    def mask(self) -> torch.Tensor:
        """(H, B) bool: the episode had not ended before step h."""
        ended = self.terminated.cumsum(dim=0)
        return ended - self.terminated.long() == 0

    def require(self, obs_size: int, action_size: int) -> None:
        """Refuse pieces of other sizes, or whose parts do not belong together.

        Raises:
            ValueError: Naming the shapes.
        """
        steps, rows = self.rewards.shape if self.rewards.dim() == 2 else (0, 0)
        shapes = {
            "obs": (steps + 1, rows, obs_size),
            "actions": (steps, rows, action_size),
            "rewards": (steps, rows),
            "terminated": (steps, rows),
        }
        got = {name: tuple(getattr(self, name).shape) for name in shapes}
        if min(steps, rows) < 1 or got != shapes:
            raise ValueError(
                f"subsequences of this model are obs (H + 1, B, {obs_size}), actions "
                f"(H, B, {action_size}), rewards and terminated (H, B), got {got}"
            )
        if self.terminated.dtype != torch.bool:
            raise ValueError(f"terminated must be bool, got {self.terminated.dtype}")
