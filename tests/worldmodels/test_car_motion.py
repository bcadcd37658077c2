"""Poses follow twists as they do in closed form, with gradients everywhere."""

from __future__ import annotations

import math

import pytest
import torch

from suite.worldmodels.car_motion import moved, path, sinc, wrapped


def double(*numbers: float) -> torch.Tensor:
    return torch.tensor(numbers, dtype=torch.float64)


@pytest.mark.parametrize("omega", [0.0, 1e-12, 1e-4, 0.3, -2.0, 9.0, 30.0])
def test_a_constant_twist_draws_the_arc_of_the_closed_form(omega):
    vx, vy, dt, theta = 1.3, -0.4, 0.25, 0.7
    found = moved(double(2.0, -1.0, theta), double(vx, vy, omega), dt)
    if omega == 0:
        ahead, aside = vx * dt, vy * dt
    else:  # the integral of R(omega t) v over t
        turn = omega * dt
        s, c = math.sin(turn) / omega, 2 * math.sin(turn / 2) ** 2 / omega
        ahead, aside = s * vx - c * vy, c * vx + s * vy
    cos, sin = math.cos(theta), math.sin(theta)
    expected = double(
        2.0 + cos * ahead - sin * aside,
        -1.0 + sin * ahead + cos * aside,
        theta + omega * dt,
    )
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)


def test_a_whole_circle_ends_where_it_began():
    pose, twist = double(1.0, 2.0, 0.5), double(1.0, 0.2, 2 * math.pi / 5)
    for _ in range(100):
        pose = moved(pose, twist, 0.05)
    torch.testing.assert_close(pose, double(1.0, 2.0, 0.5 + 2 * math.pi))


@pytest.mark.parametrize("x", [0.0, 1e-9, 1e-3, 0.4999, 0.5, 0.5001, 3.0, -0.2])
def test_sinc_and_its_derivatives_are_those_of_sin_x_over_x(x):
    at = torch.tensor(x, dtype=torch.float64, requires_grad=True)
    (first,) = torch.autograd.grad(sinc(at), at, create_graph=True)
    (second,) = torch.autograd.grad(first, at)
    near_zero = abs(x) < 1e-2
    value = 1 - x * x / 6 if near_zero else math.sin(x) / x
    slope = -x / 3 if near_zero else (x * math.cos(x) - math.sin(x)) / x**2
    torch.testing.assert_close(sinc(at).item(), value, rtol=0, atol=1e-9)
    torch.testing.assert_close(first.item(), slope, rtol=0, atol=1e-8)
    assert math.isfinite(second.item())
    if x == 0:
        assert second.item() == pytest.approx(-1 / 3)


def test_float32_gradients_near_zero_are_not_rounding():
    at = torch.tensor([1e-6, 1e-4, 1e-2], requires_grad=True)
    sinc(at).sum().backward()
    assert at.grad is not None
    torch.testing.assert_close(at.grad, -at.detach() / 3, rtol=1e-4, atol=0)


def test_gradients_at_rest_are_finite_and_equal_to_differences():
    pose = double(0.3, 0.1, 0.2).requires_grad_()
    for twist in (double(0, 0, 0), double(1, 0, 0), double(0, 0, 1e-9)):
        assert torch.autograd.gradcheck(
            lambda p, t: moved(p, t, 0.05), (pose, twist.requires_grad_())
        )


@pytest.mark.parametrize("share", [None, 0.0, 0.4, 1.0])
def test_a_path_at_once_is_one_step_after_another(share):
    generator = torch.Generator().manual_seed(0)
    start, twists, truth = (
        torch.randn(*shape, generator=generator, dtype=torch.float64)
        for shape in ((2, 5, 3), (8, 2, 5, 3), (8, 2, 5, 3))
    )
    taught = None
    if share is not None:
        taught = torch.rand(8, 2, 5, generator=generator) < share
        taught[0] = False
    found = path(start, twists, 0.1, None if taught is None else truth, taught)
    pose = start
    for h in range(8):
        if taught is not None:
            pose = torch.where(taught[h][..., None], truth[h], pose)
        pose = moved(pose, twists[h], 0.1)
        torch.testing.assert_close(found[h], pose)


def test_wrapped_angles_are_the_same_angles_with_slope_one():
    angle = double(-7.0, -3.2, 0.0, 3.1, 3.2, 40.0).requires_grad_()
    found = wrapped(angle)
    assert found.abs().max() <= math.pi
    torch.testing.assert_close(torch.cos(found), torch.cos(angle))
    torch.testing.assert_close(torch.sin(found), torch.sin(angle))
    found.sum().backward()
    torch.testing.assert_close(angle.grad, torch.ones_like(angle))
