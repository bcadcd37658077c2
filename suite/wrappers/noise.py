"""Where noise comes from: a counter-based stream for every episode.

Philox4x64 turns a key (128 bits) and a counter (256 bits) into random bits, so a place
in a stream is an address and needs no history. Here the key is a hash of (seed, kind,
layer), and the counter is

    word 0   blocks drawn within the chunk
    word 1   chunk: 256 consecutive steps of a wrapper
    word 2   how many episodes the row has begun since it was seeded
    word 3   the row's seed

Two episodes, rows, chunks or wrappers therefore never share a number, what a step draws
does not depend on which other rows step along, and a snapshot holds an address instead
of a generator. Chunks make a draw cheap: one call into NumPy for many steps of a row,
and an episode of 1000 steps, whole, sets its counter four times.

Source: Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3".
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from zlib import crc32

import numpy as np

# Steps drawn at once; part of the stream, so never changed. More would set the counter
# less often, yet a row draws a whole chunk whenever it resets or is restored.
CHUNK = 256


@dataclass(frozen=True)
class Draw:
    """A distribution that a generator can also draw in place, which is faster.

    Args:
        method: Of ``numpy.random.Generator``; takes a shape, or ``out``.
    """

    method: str

    def __call__(
        self, generator: np.random.Generator, shape: tuple[int, ...]
    ) -> np.ndarray:
        """Draws of that shape."""
        return getattr(generator, self.method)(shape)


NORMAL, UNIFORM = Draw("standard_normal"), Draw("random")


def require_seed(seed: Any) -> int:
    """A whole number of 0 or more.

    Raises:
        ValueError: If it is anything else.
    """
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or seed < 0:
        raise ValueError(f"seed must be a whole number of 0 or more, got {seed!r}")
    return int(seed)


class NoiseStream:
    """The draws of one wrapper, addressed by episode and chunk.

    Args:
        seed: The wrapper's seed, 0 or more.
        kind: Name of the corruption.
        layer: How many wrappers of that kind lie inside this one.
        chunk_steps: Consecutive steps that are drawn at once.

    Raises:
        ValueError: If the seed is not a whole number of 0 or more.
    """

    def __init__(self, seed: int, kind: str, layer: int, chunk_steps: int = CHUNK):
        require_seed(seed)
        self.chunk_steps = chunk_steps
        words = np.random.SeedSequence([int(seed), crc32(kind.encode()), layer])
        # Python's numbers: NumPy reads them twice as fast as its own.
        self._state: dict[str, Any] = {
            "bit_generator": "Philox",
            "state": {"counter": None, "key": words.generate_state(2, "u8").tolist()},
            "buffer": [0, 0, 0, 0],
            "buffer_pos": 4,  # the buffer is empty
            "has_uint32": 0,
            "uinteger": 0,
        }
        self._bits: Any = np.random.Philox(0)  # its state is typed as if read-only
        self._generator = np.random.Generator(self._bits)

    def chunk(
        self,
        key: np.ndarray,
        index: int,
        draw: Callable[[np.random.Generator, tuple[int, ...]], np.ndarray],
        shape: tuple[int, ...],
    ) -> np.ndarray:
        """The draws of one chunk of one episode, (chunk_steps, *shape).

        Args:
            key: (2,) uint64: the row's seed and its count of episodes.
            index: Which chunk of the episode.
            draw: ``draw(generator, shape)``, the distribution.
            shape: Of one step's draws.
        """
        self._state["state"]["counter"] = [0, int(index), int(key[1]), int(key[0])]
        self._bits.state = self._state  # copied by NumPy
        return draw(self._generator, (self.chunk_steps, *shape))

    def episodes(
        self,
        keys: np.ndarray,
        lengths: np.ndarray,
        draw: Callable[[np.random.Generator, tuple[int, ...]], np.ndarray],
        shape: tuple[int, ...],
    ) -> np.ndarray:
        """The draws of whole episodes, one after the other, (sum of lengths, *shape).

        Args:
            keys: (E, 2) uint64, as in ``chunk``.
            lengths: (E,) steps of each episode.
            draw: As in ``chunk``.
            shape: As in ``chunk``.
        """
        counter = self._state["state"]["counter"] = [0, 0, 0, 0]
        # In place where that is possible: a tenth of a microsecond counts here. These
        # draw one number after the other, so that fewer are the first of more.
        fill = getattr(self._generator, draw.method) if isinstance(draw, Draw) else None
        result = self._empty(lengths.sum(), draw, shape)
        bits, state, steps, first = self._bits, self._state, self.chunk_steps, 0
        for (counter[3], counter[2]), length in zip(
            keys.tolist(), lengths.tolist(), strict=True
        ):
            episode = result[first : first + length]
            for counter[1], begin in enumerate(range(0, length, steps)):
                bits.state = state
                place = episode[begin : begin + steps]
                if fill is not None:
                    fill(out=place)
                else:  # drawn whole, as a stream does it, and cut at the episode's end
                    place[:] = draw(self._generator, (steps, *shape))[: len(place)]
            first += length
        return result

    def _empty(self, count: int, draw: Any, shape: tuple[int, ...]) -> np.ndarray:
        is_float = isinstance(draw, Draw)
        dtype = float if is_float else draw(self._generator, (1, *shape)).dtype
        return np.empty((count, *shape), dtype)
