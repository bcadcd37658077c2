from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from suite.results.series import read_series, rolling_variance, write_series
from suite.storage import IntegrityError


def brute_force(values: np.ndarray, window: int) -> np.ndarray:
    return np.array(
        [
            values[i + 1 - window : i + 1].astype(float).var()
            if i + 1 >= window
            else np.nan
            for i in range(len(values))
        ]
    )


@pytest.mark.parametrize(
    ("count", "window"), [(0, 3), (2, 3), (3, 3), (7, 3), (9, 3), (20, 1), (500, 64)]
)
def test_a_rolling_variance_is_that_of_each_window(count, window):
    values = np.random.default_rng(0).normal(-90, 3, count).astype(np.float32)
    found = rolling_variance(values, window)
    np.testing.assert_allclose(found, brute_force(values, window), atol=1e-12)
    assert found.dtype == np.float64


def test_an_explosion_is_forgotten_when_the_window_has_passed():
    values = np.random.default_rng(0).normal(size=300).astype(np.float32)
    values[40] = 1e15
    found = rolling_variance(values, 50)
    np.testing.assert_allclose(found, brute_force(values, 50), rtol=1e-9)
    with pytest.raises(ValueError, match="needs a step, got 0"):
        rolling_variance(values, 0)


def test_series_are_read_as_they_were_written(tmp_path: Path):
    series = {
        "td_loss": np.arange(5, dtype=np.float32),
        "critic_loss": np.array([np.nan, 1e30], np.float32),
    }
    write_series(tmp_path / "one.npz", series)
    write_series(tmp_path / "two.npz", series)
    np.testing.assert_equal(read_series(tmp_path / "one.npz"), series)
    assert (tmp_path / "one.npz").read_bytes() == (tmp_path / "two.npz").read_bytes()


def test_a_damaged_file_of_series_is_refused(tmp_path: Path):
    path = tmp_path / "series.npz"
    write_series(path, {"td_loss": np.arange(50, dtype=np.float32)})
    content = path.read_bytes()
    for damage in (content[:-30], content[:90] + b"?" + content[91:], b""):
        path.write_bytes(damage)
        with pytest.raises(IntegrityError, match="missing or damaged"):
            read_series(path)
    np.savez(path, td_loss=np.arange(3))
    with pytest.raises(IntegrityError, match="holds no series as 'td_loss'"):
        read_series(path)
    np.savez(path, td_loss=np.array([{}], object))
    with pytest.raises(IntegrityError, match="allow_pickle"):
        read_series(path)
