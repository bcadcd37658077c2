"""Paired comparisons: hand numbers, what intervals know, and details on disk."""

from __future__ import annotations

import numpy as np
import pytest

from suite.results.details import read_details, write_details
from suite.results.paired import compared, statistics
from suite.storage import IntegrityError


def test_statistics_by_hand():
    one = np.arange(1.0, 101.0)
    errors = np.stack([one, one + 2])[None]  # one draw of the data, two fits
    told = {name: float(value) for name, value in statistics(errors).items()}
    assert told == pytest.approx(
        {"mean": 51.5, "median": 51.5, "p95": 96.05, "max": 101.0, "fits_std": 2**0.5}
    )
    assert statistics(errors[:, :1])["fits_std"] == 0


def test_a_constant_difference_is_known_for_certain():
    theirs = np.random.default_rng(0).exponential(size=(3, 5, 50))
    told = compared(theirs - 0.1, theirs)
    for name in ("mean", "median", "p95", "max"):
        found = told[name]
        values = found["difference"], found["low"], found["high"]
        assert values == pytest.approx((-0.1, -0.1, -0.1))
    assert told["fits_std"]["difference"] == pytest.approx(0, abs=1e-12)


def test_fits_that_differ_widen_an_interval_that_drives_alone_do_not():
    rng = np.random.default_rng(0)
    theirs = 1 + 0.01 * rng.random((1, 5, 50))
    shift = np.linspace(-0.5, 0.5, 5)[None, :, None]
    sure, unsure = compared(theirs + 0.2, theirs), compared(theirs + shift, theirs)
    assert sure["mean"]["high"] - sure["mean"]["low"] < 0.001
    assert unsure["mean"]["low"] < -0.2 < 0.2 < unsure["mean"]["high"]
    assert sure["mean"]["low"] > 0 and unsure["fits_std"]["difference"] > 0.3


def test_intervals_cover_as_often_as_they_say():
    """Of a mean over 50 drives, known to be 0: about 95 of 100, never below 85."""
    rng, covered = np.random.default_rng(1), 0
    for seed in range(100):
        difference = rng.standard_normal((1, 1, 50))
        found = compared(difference, np.zeros_like(difference), seed=seed)["mean"]
        covered += found["low"] <= 0 <= found["high"]
    assert covered >= 85


def test_what_was_not_judged_alike_is_refused():
    with pytest.raises(ValueError, match=r"have one shape \(D, E, N\), got \(1, 2, 3"):
        compared(np.zeros((1, 2, 3)), np.zeros((1, 2, 4)))


def test_details_come_back_and_damage_is_told(tmp_path):
    path, arrays = tmp_path / "details.npz", {"ade": np.ones((2, 3)), "time": [1, 2]}
    write_details(path, arrays)  # pyright: ignore[reportArgumentType]
    first = path.read_bytes()
    found = read_details(path)
    assert {n: (v.shape, v.dtype) for n, v in found.items()} == {
        "ade": ((2, 3), np.float32),
        "time": ((2,), np.float32),
    }
    write_details(path, arrays)  # pyright: ignore[reportArgumentType]
    assert path.read_bytes() == first
    path.write_bytes(first[:50])
    with pytest.raises(IntegrityError, match="missing or damaged"):
        read_details(path)
    np.savez(path, ade=np.ones(3))
    with pytest.raises(IntegrityError, match="holds no numbers as 'ade'"):
        read_details(path)
