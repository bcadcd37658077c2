"""Where noise comes from: a counter-based stream for every episode.

Philox4x64 turns a key (128 bits) and a counter (256 bits) into random bits, so a place
in a stream is an address and needs no history. Here the key is a hash of (seed, kind,
layer), and the counter is

    word 0   blocks drawn within the chunk
    word 1   chunk: 64 consecutive steps
    word 2   how many episodes the row has begun since it was seeded
    word 3   the row's seed

Two episodes, rows, chunks or wrappers therefore never share a number, what a step draws
does not depend on which other rows step along, and a snapshot holds an address instead
of a generator. Chunks make a draw cheap: one call into NumPy for 64 steps of a row.

Source: Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3".
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from zlib import crc32

import numpy as np

CHUNK = 64  # steps drawn at once; part of the stream, so never changed


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

    Raises:
        ValueError: If the seed is not a whole number of 0 or more.
    """

    def __init__(self, seed: int, kind: str, layer: int):
        require_seed(seed)
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
        """The draws of one chunk of one episode, (64, *shape).

        Args:
            key: (2,) uint64: the row's seed and its count of episodes.
            index: Which chunk of the episode.
            draw: ``draw(generator, shape)``, the distribution.
            shape: Of one step's draws.
        """
        self._state["state"]["counter"] = [0, int(index), int(key[1]), int(key[0])]
        self._bits.state = self._state  # copied by NumPy
        return draw(self._generator, (CHUNK, *shape))

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
        keys, lengths = keys[lengths > 0], lengths[lengths > 0]
        chunks = -(-lengths // CHUNK)
        counters = np.zeros((chunks.sum(), 4), np.uint64)
        counters[:, 1] = np.arange(len(counters)) - np.repeat(
            np.cumsum(chunks) - chunks, chunks
        )
        counters[:, 2:] = np.repeat(keys[:, ::-1], chunks, axis=0)
        # A chunk is drawn whole, as a stream does it, though an episode ends within it.
        used = np.full(len(counters), CHUNK)
        used[np.cumsum(chunks) - 1] = lengths - (chunks - 1) * CHUNK
        if isinstance(draw, Draw):
            return self._in_place(counters, used, draw, shape)
        place, whole, drawn = self._state["state"], (CHUNK, *shape), []
        for place["counter"], count in zip(
            counters.tolist(), used.tolist(), strict=True
        ):
            self._bits.state = self._state
            drawn.append(draw(self._generator, whole)[:count])
        return np.concatenate(drawn) if drawn else np.empty((0, *shape))

    def _in_place(
        self, counters: np.ndarray, used: np.ndarray, draw: Draw, shape: tuple[int, ...]
    ) -> np.ndarray:
        """The first ``used`` draws of every chunk, one chunk after the other."""
        result = np.empty((used.sum(), *shape))
        rest = np.empty((CHUNK, *shape))  # of a chunk in which an episode ends
        place, bits, state = self._state["state"], self._bits, self._state
        fill, first = getattr(self._generator, draw.method), 0
        for place["counter"], count in zip(
            counters.tolist(), used.tolist(), strict=True
        ):
            bits.state = state
            if count == CHUNK:
                fill(out=result[first : first + CHUNK])
            else:
                fill(out=rest)
                result[first : first + count] = rest[:count]
            first += count
        return result
