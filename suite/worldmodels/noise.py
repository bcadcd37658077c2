"""Random numbers of a model's step: one stream for the batch, or one for each row.

A model draws through the functions here, so that the same model serves ``imagine``,
where one ``torch.Generator`` is enough, and ``ModelEnv``, where every row must have a
stream of its own: what happens in a row then depends on no other row, and a row can be
saved, restored and fanned out.
"""

from __future__ import annotations

import numpy as np
import torch

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_FIRST, _SECOND = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)


class RowNoise:
    """The draws of one step of N rows, each a function of the row's key and step.

    Use it as the ``generator`` of one ``DynamicsModel.step``: nothing is kept, so that
    a row's noise is two numbers, and the same two give the same noise.

    Source: SplitMix64, Steele et al. 2014, "Fast splittable pseudorandom number
    generators", figure 14, started from a hash of key and step.

    Args:
        keys: (N,) uint64, which stream.
        steps: (N,) uint64, how many steps of it are done.
    """

    def __init__(self, keys: np.ndarray, steps: np.ndarray):
        self._base = _mixed(keys ^ _mixed(steps + _GOLDEN))
        self._used = 0  # words drawn of each row in this step

    def uniform(self, columns: int) -> np.ndarray:
        """Numbers in (0, 1], (N, columns) float64."""
        place = np.arange(self._used, self._used + columns, dtype=np.uint64)
        self._used += columns
        words = _mixed(self._base[:, None] + _GOLDEN * (place + np.uint64(1)))
        return ((words >> np.uint64(11)) + np.uint64(1)) * 2.0**-53

    def normal(self, columns: int) -> np.ndarray:
        """Standard normal numbers, (N, columns) float64, by Box and Muller."""
        radius, angle = np.split(self.uniform(2 * columns), 2, axis=1)
        return np.sqrt(-2 * np.log(radius)) * np.cos(2 * np.pi * angle)


def _mixed(words: np.ndarray) -> np.ndarray:
    words = (words ^ (words >> np.uint64(30))) * _FIRST
    words = (words ^ (words >> np.uint64(27))) * _SECOND
    return words ^ (words >> np.uint64(31))


Noise = torch.Generator | RowNoise | None  # None is torch's global generator


def standard_normal(like: torch.Tensor, generator: Noise) -> torch.Tensor:
    """Standard normal numbers of the shape, dtype and device of ``like``, (B, D)."""
    if isinstance(generator, RowNoise):
        return torch.from_numpy(generator.normal(like.shape[1])).to(like)
    where = _device(like, generator)
    drawn = torch.randn(like.shape, dtype=like.dtype, device=where, generator=generator)
    return drawn.to(like.device)


def standard_uniform(like: torch.Tensor, generator: Noise) -> torch.Tensor:
    """Numbers in [0, 1] of the shape, dtype and device of ``like``, (..., D)."""
    if isinstance(generator, RowNoise):
        return torch.from_numpy(generator.uniform(like.shape[1])).to(like)
    where = _device(like, generator)
    drawn = torch.rand(like.shape, dtype=like.dtype, device=where, generator=generator)
    return drawn.to(like.device)


def random_indices(rows: int, below: int, like: torch.Tensor, generator: Noise):
    """Uniform whole numbers in [0, below), (rows,) int64, on the device of ``like``."""
    if isinstance(generator, RowNoise):
        drawn = np.ceil(generator.uniform(1)[:, 0] * below).astype(np.int64) - 1
        return torch.from_numpy(drawn).to(like.device)
    where = _device(like, generator)
    drawn = torch.randint(below, (rows,), device=where, generator=generator)
    return drawn.to(like.device)


def _device(like: torch.Tensor, generator: torch.Generator | None) -> torch.device:
    """Where a generator can draw: one of the CPU serves a model on any device."""
    return like.device if generator is None else generator.device
