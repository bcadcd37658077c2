"""Solvers of dx/dtau = v(x, tau) from tau = 0 to 1 in a fixed number of steps.

Gradients are those of the steps that were made (discretise, then optimise): a solver is
ordinary arithmetic.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch

Velocity = Callable[[torch.Tensor, float], torch.Tensor]  # of x and tau


class Solver(Protocol):
    """How to get from 0 to 1."""

    @property
    def evaluations(self) -> int:
        """How often the velocity is asked for: what a solution costs."""
        ...

    def solve(self, velocity: Velocity, x: torch.Tensor) -> torch.Tensor:
        """Where x has come to at tau = 1, having begun at 0."""
        ...


@dataclass(frozen=True)
class Euler:
    """K steps along the velocity at their beginning; the error falls as 1 / K.

        x <- x + v(x, tau) / K

    Args:
        steps: K.

    Raises:
        ValueError: If K is below 1.
    """

    steps: int = 4

    def __post_init__(self) -> None:
        _require_steps(self)

    @property
    def evaluations(self) -> int:
        """One a step."""
        return self.steps

    def solve(self, velocity: Velocity, x: torch.Tensor) -> torch.Tensor:
        """Where x has come to at tau = 1, having begun at 0."""
        for k in range(self.steps):
            x = x + velocity(x, k / self.steps) / self.steps
        return x


@dataclass(frozen=True)
class Heun:
    """K steps along the mean of both ends' velocities; the error falls as 1 / K^2.

        k1 = v(x, tau);  k2 = v(x + k1 / K, tau + 1 / K);  x <- x + (k1 + k2) / (2 K)

    Two evaluations a step: of the same cost is Euler with twice as many steps, which is
    the better one where K is so small that neither is accurate.

    Args:
        steps: K.

    Raises:
        ValueError: If K is below 1.
    """

    steps: int = 2

    def __post_init__(self) -> None:
        _require_steps(self)

    @property
    def evaluations(self) -> int:
        """Two a step."""
        return 2 * self.steps

    def solve(self, velocity: Velocity, x: torch.Tensor) -> torch.Tensor:
        """Where x has come to at tau = 1, having begun at 0."""
        for k in range(self.steps):
            here = velocity(x, k / self.steps)
            there = velocity(x + here / self.steps, (k + 1) / self.steps)
            x = x + (here + there) / (2 * self.steps)
        return x


def _require_steps(solver: Euler | Heun) -> None:
    if solver.steps < 1:
        raise ValueError(
            f"{type(solver).__name__} needs 1 step or more to get from 0 to 1, got "
            f"{solver.steps}"
        )
