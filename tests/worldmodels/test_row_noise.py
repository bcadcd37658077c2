"""Noise that is a function of a row's key and step."""

from __future__ import annotations

import numpy as np
import torch

from suite.worldmodels.noise import (
    RowNoise,
    random_indices,
    standard_normal,
    standard_uniform,
)

KEYS = np.random.default_rng(0).integers(2**64, size=20_000, dtype=np.uint64)


def noise(rows: slice = slice(None), step: int = 0) -> RowNoise:
    keys = KEYS[rows]
    return RowNoise(keys, np.full(len(keys), step, np.uint64))


def test_a_row_draws_the_same_whoever_is_beside_it():
    everyone, some = noise(), noise(slice(100, 110))
    for columns in (3, 1, 5):
        np.testing.assert_array_equal(
            everyone.normal(columns)[100:110], some.normal(columns)
        )
    again = noise().normal(3)
    assert not np.array_equal(again, noise(step=1).normal(3))


def test_numbers_are_normal_and_independent():
    draws = np.concatenate([noise(step=step).normal(2) for step in range(3)], axis=1)
    limit = 4.5 / len(KEYS) ** 0.5
    assert np.abs(draws.mean(axis=0)).max() < limit
    assert np.abs(draws.var(axis=0) - 1).max() < 2**0.5 * limit
    kurtosis = (draws**4).mean(axis=0) - 3
    assert np.abs(kurtosis).max() < 96**0.5 * limit
    correlation = np.corrcoef(draws.T) - np.eye(6)
    assert np.abs(correlation).max() < limit
    # Keys that are neighbours, and steps of one key, are no closer than others.
    one = RowNoise(np.arange(20_000, dtype=np.uint64), np.zeros(20_000, np.uint64))
    same = RowNoise(np.zeros(20_000, np.uint64), np.arange(20_000, dtype=np.uint64))
    for found in (one.normal(1)[:, 0], same.normal(1)[:, 0]):
        assert abs(np.corrcoef(found[1:], found[:-1])[0, 1]) < limit


def test_whole_numbers_are_uniform():
    like = torch.zeros(1)
    drawn = random_indices(len(KEYS), 5, like, noise())
    counts = torch.bincount(drawn, minlength=5).double()
    assert len(counts) == 5
    assert (counts - 4000).abs().max() < 4.5 * (4000 * 0.8) ** 0.5


def test_a_generator_serves_as_well():
    like = torch.zeros(4, 2, dtype=torch.float64)
    one, two = (torch.Generator().manual_seed(1) for _ in range(2))
    found = standard_normal(like, one)
    assert found.dtype == torch.float64 and found.shape == (4, 2)
    assert torch.equal(found, standard_normal(like, two))
    assert standard_normal(like.float(), noise(slice(4))).dtype == torch.float32


def test_a_generator_of_the_cpu_serves_a_model_on_another_device():
    # torch's meta device stands for an accelerator: it has no generator of its own.
    one, other = torch.Generator(), torch.Generator()
    for like, generator in (
        (torch.empty(5, 2, device="meta"), one),
        (torch.empty(5, 2), other),
    ):
        for drawn in (
            standard_normal(like, generator),
            standard_uniform(like, generator),
            random_indices(5, 3, like, generator),
        ):
            assert drawn.device == like.device and len(drawn) == 5
    assert torch.equal(one.get_state(), other.get_state())
