"""N episodes side by side under one corruption: the state that all adapters share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from gymnasium import spaces

from suite.arrays import Snapshot
from suite.wrappers.corruption import Corruption, Field, Moment
from suite.wrappers.noise import NoiseStream

_WORD = 1 << 64


class CorruptedRows:
    """Where each of N episodes is: its key, its step, its memory, whether it ended.

    Args:
        corruption: What is done to them.
        space: The space of one row's value; None for rewards.
        num_rows: N.
        stream: Where the noise comes from.

    Raises:
        ValueError: If the corruption does not fit the space.
    """

    def __init__(
        self,
        corruption: Corruption,
        space: spaces.Space | None,
        num_rows: int,
        stream: NoiseStream,
    ):
        corruption.check(space)
        self.corruption, self.space = corruption, space
        self.keys = np.zeros((num_rows, 2), np.uint64)  # row seed, episodes since then
        self.step = np.zeros(num_rows, np.int64)
        self.ended = np.zeros(num_rows, bool)
        self.memory = corruption.start(num_rows, space)
        self._is_seeded = np.zeros(num_rows, bool)
        self._stream = stream
        self._noise_shape = corruption.noise_shape(space)
        self._chunk = np.full(num_rows, -1)  # which one self._noise holds
        self._noise: np.ndarray | None = None  # (N, chunk, ...), made at the first draw
        self._arange = np.arange(num_rows)
        # What each row was last shown, for rows that stand still or are restored.
        self.obs: np.ndarray | None = None
        if corruption.field == "obs":
            assert space is not None
            self.obs = np.zeros((num_rows, *(space.shape or ())), space.dtype)

    # ---------------------------------------------------------------- episodes
    def start(
        self,
        ids: np.ndarray,
        seeds: Sequence[int | None] | None = None,
        episode_ids: np.ndarray | None = None,
    ) -> None:
        """Begin new episodes in rows ``ids``.

        Args:
            ids: Row indices.
            seeds: One for each of all N rows, None to count on; None for no seeds.
            episode_ids: (N,) ids of stored episodes, where those are being replayed.
        """
        self.keys[ids, 1] += np.uint64(1)
        if seeds is not None:
            for row in ids.tolist():
                seed = seeds[row]
                if seed is not None:
                    self._seed(row, seed)
        unseeded = ids[~self._is_seeded[ids]]
        if unseeded.size:
            system = int(np.random.SeedSequence().generate_state(1, np.uint64)[0])
            for row in unseeded.tolist():
                self._seed(row, system + row)
        if episode_ids is not None:
            self.keys[ids, 0], self.keys[ids, 1] = episode_ids[ids], 0
        self.step[ids] = 0
        self.ended[ids] = False
        self._chunk[ids] = -1
        for name, array in self.corruption.start(len(ids), self.space).items():
            self.memory[name][ids] = array

    def _seed(self, row: int, seed: int) -> None:
        self.keys[row] = int(seed) % _WORD, 0
        self._is_seeded[row] = True

    def running(self) -> np.ndarray | None:
        """Indices of the rows whose episode goes on; None if all do."""
        return np.flatnonzero(~self.ended) if self.ended.any() else None

    # ------------------------------------------------------------------- steps
    def touches(self, field: Field) -> bool:
        """Whether the corruption changes that field."""
        return self.corruption.field == field

    def apply(
        self, ids: np.ndarray | None, value: np.ndarray, last: np.ndarray | None = None
    ) -> np.ndarray:
        """The next values of rows ``ids``, the other rows' as they are; a new array.

        Args:
            ids: Row indices; None means every row.
            value: (N, ...), of all rows.
            last: (N,) bool, whether the episode ends here; None means nowhere.
        """
        rows = slice(None) if ids is None else ids
        step = self.step[rows]
        moment = Moment(
            step,
            np.zeros(len(step), bool) if last is None else last[rows],
            self._noise_of(self._arange[rows], step),
            {name: array[rows] for name, array in self.memory.items()},
            self.space,
        )
        changed, memory = self.corruption.applied(exact(value[rows]), moment)
        changed = cast_once(changed, value)
        for name, array in memory.items():
            self.memory[name][rows] = array
        self.step[rows] += 1
        if ids is None:
            return changed
        whole = value.astype(changed.dtype)
        whole[ids] = changed
        return whole

    def _noise_of(self, ids: np.ndarray, step: np.ndarray) -> np.ndarray:
        shape, steps = self._noise_shape, self._stream.chunk_steps
        if shape is None:
            return np.empty((len(ids), 0))
        if self._noise is None:
            self._noise = np.empty((len(self.step), steps, *shape))
        chunk = step // steps
        stale = self._chunk[ids] != chunk
        if stale.any():
            draw, rows = (
                self.corruption.draw,
                zip(ids[stale], chunk[stale], strict=True),
            )
            for row, index in rows:
                self._noise[row] = self._stream.chunk(
                    self.keys[row], index, draw, shape
                )
            self._chunk[ids] = chunk
        return self._noise[ids, step % steps]

    # --------------------------------------------------------------- snapshots
    def _arrays(self) -> dict[str, np.ndarray]:
        arrays = {"key": self.keys, "step": self.step, "ended": self.ended}
        if self.obs is not None:
            arrays["obs"] = self.obs
        return {**arrays, **self.memory}

    def snapshot(self, ids: np.ndarray, inner: Snapshot) -> Snapshot:
        """This layer's state of rows ``ids`` around that of the environment inside."""
        return Snapshot({n: array[ids] for n, array in self._arrays().items()}, inner)

    def require_fitting(self, snapshot: Snapshot, num_rows: int) -> Snapshot:
        """The snapshot of the environment inside.

        Raises:
            ValueError: If the snapshot's outer layer is not one of this wrapper, or of
                another number of rows.
        """
        own, got = self._arrays(), snapshot.state
        fits = set(got) == set(own) and all(
            got[name].shape[1:] == array.shape[1:] for name, array in own.items()
        )
        if not fits or snapshot.inner is None:
            raise ValueError(
                f"the outer layer of the snapshot holds {', '.join(got)}, that of "
                f"{type(self.corruption).__name__} {', '.join(own)}: restore it into "
                "the same stack of wrappers with the same arguments"
            )
        if len(snapshot) != num_rows:
            raise ValueError(
                f"the snapshot has {len(snapshot)} rows for {num_rows} rows of the "
                "environment; index it to fan out or pick: snapshot[rows]"
            )
        return snapshot.inner

    def restore(self, snapshot: Snapshot, ids: np.ndarray, reseed: int | None) -> None:
        """Put this layer's rows back; ``reseed`` gives them new episode keys."""
        for name, array in self._arrays().items():
            array[ids] = snapshot.state[name]
        self._is_seeded[ids] = True
        self._chunk[ids] = -1
        if reseed is not None:
            generator = np.random.default_rng(reseed)
            self.keys[ids, 0] = generator.integers(_WORD, size=len(ids), dtype="u8")
            self.keys[ids, 1] = 0


def exact(values: np.ndarray) -> np.ndarray:
    """Floats in float64, so that float32 data get the same noise; the rest as it is."""
    return values.astype(np.float64) if values.dtype.kind == "f" else values


def cast_once(changed: np.ndarray, like: np.ndarray) -> np.ndarray:
    """What a corruption made of ``exact(like)``, in the type of that."""
    if like.dtype.kind == "f" or changed.dtype.kind == like.dtype.kind:
        return changed.astype(like.dtype, copy=False)
    return changed


def row_indices(ids: Any, num_rows: int) -> np.ndarray:
    """Row indices from indices, a bool mask, or None for every row."""
    if ids is None:
        return np.arange(num_rows)
    ids = np.asarray(ids)
    return np.flatnonzero(ids) if ids.dtype == bool else ids.astype(np.int64)
