"""Why gradients through a learned model help where the world's own are 0.

A ball is thrown at an angle theta against a wall. Most angles end at the wall, and a
little more than one of them flies far beyond: the best throw lies at the edge of a
plateau. On the plateau the world's gradient is 0; that of a network fitted to throws
leads over the edge.

Source: Georgiev et al. 2025, section 3, arXiv:2407.02466; sizes of the networks, rates
and batches as in its code.
"""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from suite.worldmodels.latent_networks import latent_mlp

SPEED, WALL, PUSH, SECONDS, GRAVITY = 10.0, 5.0, 1.0, 2.0, -9.81
PLATEAU = -WALL
EDGE = 0.116


def cost(theta: torch.Tensor) -> torch.Tensor:
    """Minus how far the ball comes; it stops at the wall if it is below its top."""
    forward = SPEED * torch.cos(theta)
    # As published: half of what motion under a constant push would take off.
    at_wall = (-forward + (forward.square() + PUSH * WALL).sqrt()) / PUSH
    height = SPEED * torch.sin(theta) * at_wall + GRAVITY / 2 * at_wall.square()
    far = forward * SECONDS + PUSH / 2 * SECONDS**2
    stopped = (height < 0) & (at_wall < SECONDS)
    return -torch.where(stopped, torch.full_like(far, WALL), far)


def surrogate(kind: str, seed: int) -> nn.Module:
    """A network of theta (N, 1), fitted to throws at every angle."""
    torch.manual_seed(seed)
    if kind == "simnorm":
        generator = torch.Generator().manual_seed(seed)
        net = nn.Sequential(latent_mlp((1, 32, 32), generator), nn.Linear(32, 1))
    else:
        hidden = [nn.Linear(1, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU()]
        net = nn.Sequential(*hidden, nn.Linear(32, 1))
    angles = torch.linspace(-math.pi, math.pi, 1000)[:, None]
    optimizer = torch.optim.Adam(net.parameters(), lr=2e-3)
    for _ in range(100 * (1000 // 56)):
        chosen = angles[torch.randint(1000, (56,))]
        optimizer.zero_grad()
        (net(chosen) - cost(chosen)).square().mean().backward()
        optimizer.step()
    return net


def slopes(function, angles: torch.Tensor) -> torch.Tensor:
    angles = angles.clone().requires_grad_()
    (found,) = torch.autograd.grad(function(angles).sum(), angles)
    return found


def test_the_best_throw_lies_at_the_edge_of_a_plateau():
    angles = torch.linspace(-math.pi, math.pi, 100_001)
    costs = cost(angles)
    jumps = (costs.diff().abs() > 1).nonzero()[:, 0]
    found = [round(angles[jump].item(), 2) for jump in jumps]
    assert found == [-1.55, 0.12]
    assert cost(torch.tensor([EDGE - 0.01, EDGE + 0.02])).tolist() == pytest.approx(
        [-5.0, -21.82], abs=0.05
    )
    assert angles[costs.argmin()].item() == pytest.approx(EDGE, abs=0.01)
    assert (costs == PLATEAU).float().mean().item() == pytest.approx(0.265, abs=0.002)
    flat = torch.linspace(-1.5, EDGE - 0.01, 50)[:, None]
    assert not slopes(cost, flat).any()


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["relu", "simnorm"])
def test_a_fitted_network_leads_over_the_edge(kind):
    before = torch.linspace(EDGE - 0.1, EDGE, 20)[:, None]  # where the world is flat
    for seed in range(3):
        net = surrogate(kind, seed)
        # The world's is 0. Of 16 fits of each kind the flattest have -42 and -6.
        assert slopes(net, before).mean() < -2, seed
        theta = torch.full((1, 1), EDGE - 0.1)
        for _ in range(200):
            theta = theta - 1e-3 * slopes(net, theta)
        assert cost(theta).item() < -15, (seed, theta.item())
