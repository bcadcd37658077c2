"""Tracks: closed, smooth, and points found beside them, in NumPy and torch."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from suite.envs.tracks import LAYOUTS, centreline

TRACKS = list(LAYOUTS)


@pytest.mark.parametrize("name", TRACKS)
def test_a_track_closes_and_turns_round_once_or_not_at_all(name):
    line = centreline(name)
    ends = line.pose(np.array([0.0, line.length * (1 - 1e-12)]))
    for coordinate in ends[:2]:
        assert coordinate[1] == pytest.approx(coordinate[0], abs=1e-6)
    turned = (line.pieces[:, 3] * line.pieces[:, 4]).sum()
    assert turned == pytest.approx(0 if name == "figure_8" else 2 * np.pi)


def test_lengths_are_those_of_straights_and_circles():
    assert centreline("oval").length == pytest.approx(8 + 2 * np.pi * 1.5)
    expected = 12 + 2 * np.pi * 1.2
    assert centreline("rounded_rectangle").length == pytest.approx(expected)
    assert centreline("figure_8").length == pytest.approx(6 + 3 * np.pi * 1.5)


@pytest.mark.parametrize("name", TRACKS)
def test_a_point_beside_the_track_is_found_where_it_was_put(name):
    line, rng = centreline(name), np.random.default_rng(0)
    s, offset = rng.uniform(0, line.length, 500), rng.uniform(-0.6, 0.6, 500)
    x, y, heading = line.pose(s)
    at = line.project(x - offset * np.sin(heading), y + offset * np.cos(heading), s)
    np.testing.assert_allclose(line.difference(at.s, s), 0, atol=1e-9)
    np.testing.assert_allclose(at.offset, offset, atol=1e-9)
    np.testing.assert_allclose(np.cos(at.heading - heading), 1, atol=1e-12)


def test_where_a_track_crosses_itself_the_place_before_decides():
    line = centreline("figure_8")
    middle = line.length / 2  # the origin again, on the other diagonal
    point = np.array([0.05]), np.array([-0.01])
    here = line.project(*point, np.array([0.0]))
    there = line.project(*point, np.array([middle - 0.1]))
    assert abs(line.difference(here.s, 0.0)[0]) < 0.1
    assert abs(line.difference(there.s, middle)[0]) < 0.1
    assert line.project(*point, np.array([3 * line.length])).s == here.s


@pytest.mark.parametrize("name", TRACKS)
def test_torch_finds_the_same_and_its_gradient_is_finite(name):
    line, rng = centreline(name), np.random.default_rng(1)
    x, y, near = rng.uniform(-3, 3, (3, 40, 5))
    ours = line.project(x, y, near)
    tx, ty = (torch.tensor(each, requires_grad=True) for each in (x, y))
    theirs = line.project(tx, ty, torch.tensor(near))
    np.testing.assert_allclose(theirs.s.detach(), ours.s, atol=1e-9)
    np.testing.assert_allclose(theirs.offset.detach(), ours.offset, atol=1e-9)
    for gradient in torch.autograd.grad((theirs.s + theirs.offset).sum(), (tx, ty)):
        assert torch.isfinite(gradient).all()
    s = torch.tensor(near)
    np.testing.assert_array_equal(line.curvature(s), line.curvature(near))


def test_curvature_is_that_of_the_piece_on_any_lap():
    line = centreline("oval")
    s = np.array([1.0, 3.0, 8.0]) + np.array([[0.0], [line.length], [-line.length]])
    np.testing.assert_allclose(line.curvature(s), np.tile([0, 1 / 1.5, 0], (3, 1)))
