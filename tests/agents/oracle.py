"""A double integrator whose best policy and its value are known in closed form."""

from __future__ import annotations

import functools
from typing import Any

import torch

from suite.worldmodels.dynamics import Transition

STEP, GAMMA, EFFORT = 0.1, 0.99, 0.1
MOVE = torch.tensor([[1, STEP], [0, 1]], dtype=torch.float64)
PUSH = torch.tensor([[STEP**2 / 2], [STEP]], dtype=torch.float64)


class Integrator:
    """x' = A x + B u, paid -(x'x + 0.1 u'u) before the step; it never ends."""

    def start(self, state: torch.Tensor) -> torch.Tensor:
        return state

    def step(self, z: torch.Tensor, action: torch.Tensor, *, generator: Any = None):
        reward = -z.square().sum(dim=1) - EFFORT * action.square().sum(dim=1)
        after = z @ MOVE.to(z).T + action @ PUSH.to(z).T
        return Transition(after, reward, torch.zeros(len(z), dtype=torch.bool))

    def observe(self, z: torch.Tensor) -> torch.Tensor:
        return z


@functools.cache
def riccati() -> tuple[torch.Tensor, torch.Tensor]:
    """The best gain K (1, 2) of u = -K x, and P (2, 2) of its value -x'P x."""
    gain, worth = torch.zeros_like(PUSH.T), torch.eye(2, dtype=torch.float64)
    for _ in range(3000):
        pull = GAMMA * PUSH.T @ worth
        gain = torch.linalg.solve(
            EFFORT * torch.eye(1).double() + pull @ PUSH, pull @ MOVE
        )
        worth = torch.eye(2).double() + GAMMA * MOVE.T @ worth @ (MOVE - PUSH @ gain)
    return gain, worth
