"""One random generator for each row, as plain arrays so that snapshots are cheap."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

_MASK = (1 << 64) - 1
WORDS = 6  # PCG64: state (2 words), increment (2), has_uint32, uinteger


def _encode(generator: np.random.Generator) -> list[int]:
    state = generator.bit_generator.state
    value, increment = state["state"]["state"], state["state"]["inc"]
    return [
        value >> 64,
        value & _MASK,
        increment >> 64,
        increment & _MASK,
        state["has_uint32"],
        state["uinteger"],
    ]


def _decode(generator: np.random.Generator, words: np.ndarray) -> None:
    high, low, inc_high, inc_low, has_uint32, uinteger = words.tolist()
    generator.bit_generator.state = {
        "bit_generator": "PCG64",
        "state": {"state": high << 64 | low, "inc": inc_high << 64 | inc_low},
        "has_uint32": has_uint32,
        "uinteger": uinteger,
    }


class RowGenerators:
    """N independent PCG64 streams, row i seeded ``seed + i``.

    Rows are only turned into arrays after they were drawn from, and only turned back
    when drawn from again: thousands of restored rows that never reset cost nothing.

    Args:
        num_rows: How many streams.
    """

    def __init__(self, num_rows: int):
        self._generators = [np.random.default_rng(0) for _ in range(num_rows)]
        self._words = np.zeros((num_rows, WORDS), np.uint64)
        self._fresh = np.zeros(num_rows, bool)  # _words holds the truth
        self._stale = np.zeros(num_rows, bool)  # the generator must be set from _words
        self._is_seeded = np.zeros(num_rows, bool)

    def seed(self, ids: np.ndarray, seed: int | Sequence[int | None] | None) -> None:
        """Give rows new streams.

        Args:
            ids: Row indices.
            seed: Row i is seeded ``seed + i``, or ``seed[i]``; None keeps a stream, or
                takes a seed from the system where there never was one.

        Raises:
            ValueError: If a list of seeds has not one for each row.
        """
        num_rows = len(self._generators)
        if seed is None or isinstance(seed, int | np.integer):
            seeds = [
                None if seed is None else int(seed) + row for row in range(num_rows)
            ]
        else:
            seeds = list(seed)
        if len(seeds) != num_rows:
            raise ValueError(
                f"a list of seeds needs one a row ({num_rows}), got {len(seeds)}"
            )
        for row in ids.tolist():
            if seeds[row] is not None or not self._is_seeded[row]:
                self._generators[row] = np.random.default_rng(seeds[row])
                self._is_seeded[row] = True
                self._fresh[row] = self._stale[row] = False

    def draw_from(self, ids: np.ndarray) -> list[np.random.Generator]:
        """The generators of rows ``ids``, about to be drawn from."""
        for row in ids[self._stale[ids]].tolist():
            _decode(self._generators[row], self._words[row])
        self._stale[ids] = self._fresh[ids] = False
        return [self._generators[row] for row in ids.tolist()]

    def words(self, ids: np.ndarray) -> np.ndarray:
        """The streams' states, (n, 6) uint64."""
        for row in ids[~self._fresh[ids]].tolist():
            self._words[row] = _encode(self._generators[row])
        self._fresh[ids] = True
        return self._words[ids]

    def set_words(self, ids: np.ndarray, words: np.ndarray) -> None:
        """Put states back."""
        self._words[ids] = words
        self._fresh[ids] = self._stale[ids] = self._is_seeded[ids] = True

    def spawn(self, ids: np.ndarray, seed: int) -> None:
        """Give rows new independent streams, all from one seed and without a loop.

        A PCG64 state is any 128 bits and its increment any odd 128 bits, so both are
        drawn.
        """
        words = np.random.default_rng(seed).integers(
            1 << 64, size=(len(ids), WORDS), dtype=np.uint64
        )
        words[:, 3] |= np.uint64(1)
        words[:, 4:] = 0
        self.set_words(ids, words)
