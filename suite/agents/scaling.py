"""Affine maps of what networks see and do, fitted to data or taken from bounds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np
import torch

from suite.transitions import Dataset

LEAST_SPREAD = 1e-3  # added, so that a column that never changes is not blown up


@dataclass(frozen=True)
class Affine:
    """x -> (x - shift) / spread, column by column.

    Attributes:
        shift: (C,) float64.
        spread: (C,) float64, positive.
    """

    shift: np.ndarray
    spread: np.ndarray

    def __call__(self, values: np.ndarray) -> np.ndarray:
        """(N, C) mapped, float32."""
        return ((values - self.shift) / self.spread).astype(np.float32)

    def inverse(self, values: np.ndarray) -> np.ndarray:
        """(N, C) mapped back, float32."""
        return (values * self.spread + self.shift).astype(np.float32)

    def of_tensor(
        self, values: torch.Tensor, *, backwards: bool = False
    ) -> torch.Tensor:
        """(N, C) mapped, or mapped back, with gradients."""
        shift, spread = (
            torch.as_tensor(each, dtype=values.dtype, device=values.device)
            for each in (self.shift, self.spread)
        )
        return values * spread + shift if backwards else (values - shift) / spread

    def to_tree(self) -> dict[str, Any]:
        """It as a dict of arrays, for a checkpoint."""
        return {"shift": self.shift, "spread": self.spread}


def identity(size: int) -> Affine:
    """The map that changes nothing, bit for bit."""
    return Affine(np.zeros(size), np.ones(size))


def standardised(obs: np.ndarray) -> Affine:
    """What gives observations (M, O) mean 0 and deviation 1, as d3rlpy does it."""
    obs = obs.astype(np.float64)
    return Affine(obs.mean(axis=0), obs.std(axis=0) + LEAST_SPREAD)


def to_unit_box(space: gym.Space) -> Affine:
    """What maps a bounded box of actions onto [-1, 1].

    Raises:
        ValueError: If the space has no bounds.
    """
    if not isinstance(space, gym.spaces.Box) or not space.is_bounded():
        raise ValueError(
            f"offline agents need a bounded box of actions, got {space}; give the "
            "environment's, or rescale it by gymnasium.wrappers.RescaleAction"
        )
    low, high = space.low.astype(np.float64), space.high.astype(np.float64)
    return Affine((low + high) / 2, (high - low) / 2)


def return_factor(data: Dataset, size: float) -> float:
    """What rewards are multiplied by so that returns of episodes span ``size``.

        factor = size / (largest return - smallest return)

    Source: Kostrikov et al. 2021, arXiv:2110.06169, whose size is 1000.

    Raises:
        ValueError: If all episodes have one return.
    """
    returns = data.returns
    span = float(returns.max() - returns.min())
    if not span > 0:
        raise ValueError(
            f"returns cannot be scaled to span {size:g}: all {data.num_episodes} "
            f"episodes return {returns[0]:g}; set return_span to null"
        )
    return size / span
