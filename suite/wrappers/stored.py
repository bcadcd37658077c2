"""A corruption over stored episodes, all of them at once."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
from gymnasium import spaces

from suite.wrappers.corruption import Corruption, Moment
from suite.wrappers.noise import NORMAL, NoiseStream
from suite.wrappers.rows import CorruptedRows, cast_once, exact

# Numbers that are corrupted together, so that caches hold them and their noise takes
# little memory; a longer episode is one block.
_BLOCK = 1 << 15


def corrupted(
    corruption: Corruption,
    values: np.ndarray,
    lengths: Sequence[int] | np.ndarray,
    episode_ids: Sequence[int] | np.ndarray | None = None,
    *,
    seed: int = 0,
    layer: int = 0,
    space: spaces.Space | None = None,
) -> np.ndarray:
    """One field of stored episodes, corrupted as the wrapper does it step by step.

    Use it on whole datasets, at millions of steps a second. An episode's last reward is
    taken for the one its end came with.

    Args:
        corruption: What to do; its ``field`` says what ``values`` are.
        values: (sum of lengths, ...), the episodes one after the other. An episode of T
            steps has T actions and rewards and T + 1 observations.
        lengths: (E,) how many of the values are each episode's.
        episode_ids: (E,) the ids of the stored episodes, 0 to E - 1 by default: the
            noise goes by these, so it does not change when episodes are left out.
            (E, 2) are row seeds and episode counts of a live environment.
        seed: As the wrapper's.
        layer: How many corruptions of this kind were applied before.
        space: Of one value: for observations and actions.

    Returns:
        New values, of the same shape.

    Raises:
        ValueError: If the lengths do not add up, or the corruption does not fit.
    """
    lengths, values = np.asarray(lengths, np.int64), np.asarray(values)
    ids = np.arange(len(lengths)) if episode_ids is None else np.asarray(episode_ids)
    if lengths.sum() != len(values) or len(ids) != len(lengths):
        raise ValueError(
            f"{len(lengths)} lengths that add up to {lengths.sum()}, {len(ids)} "
            f"episode ids and {len(values)} values do not belong together"
        )
    keys = np.zeros((len(lengths), 2), np.uint64)
    keys[:, : ids.ndim] = ids if ids.ndim == 2 else ids[:, None]
    stream = NoiseStream(seed, type(corruption).__name__, layer)
    return corrupted_by(corruption, values, lengths, keys, stream, space)


def corrupted_by(
    corruption: Corruption,
    values: np.ndarray,
    lengths: np.ndarray,
    keys: np.ndarray,
    stream: NoiseStream,
    space: spaces.Space | None,
) -> np.ndarray:
    """``corrupted`` with a noise stream and the episodes' keys (E, 2) in it."""
    corruption.check(space)
    remembers = bool(corruption.start(1, space))
    if remembers and type(corruption).whole is Corruption.whole:
        return _step_by_step(corruption, values, lengths, keys, stream, space)
    parts = [
        _at_once(corruption, values[rows], lengths[some], keys[some], stream, space)
        for some, rows in _blocks(lengths, math.prod(values.shape[1:]))
    ]
    return np.concatenate(parts) if parts else values.copy()


def _blocks(lengths: np.ndarray, width: int) -> Iterator[tuple[slice, slice]]:
    """Episodes, and where they lie, a few at a time."""
    ends, steps = np.cumsum(lengths), _BLOCK // max(1, width)
    first = 0
    while first < len(lengths):
        begin = ends[first] - lengths[first]
        after = max(first + 1, int(np.searchsorted(ends, begin + steps, "right")))
        yield slice(first, after), slice(begin, ends[after - 1])
        first = after


def _at_once(
    corruption: Corruption,
    values: np.ndarray,
    lengths: np.ndarray,
    keys: np.ndarray,
    stream: NoiseStream,
    space: spaces.Space | None,
) -> np.ndarray:
    """What remembers nothing, or knows itself how, can have all steps as rows."""
    ends, count = np.cumsum(lengths), len(values)
    last = np.zeros(count, bool)
    if corruption.field == "reward":
        last[ends[lengths > 0] - 1] = True
    step = np.arange(count) - np.repeat(ends - lengths, lengths)
    shape = corruption.noise_shape(space)
    if shape is None:
        noise = np.empty((count, 0))
    else:
        is_normal = type(corruption).draw is Corruption.draw
        draw = NORMAL if is_normal else corruption.draw
        noise = stream.episodes(keys, lengths, draw, shape)
    moment = Moment(step, last, noise, {}, space)
    return cast_once(corruption.whole(exact(values), moment), values)


def _step_by_step(
    corruption: Corruption,
    values: np.ndarray,
    lengths: np.ndarray,
    keys: np.ndarray,
    stream: NoiseStream,
    space: spaces.Space | None,
) -> np.ndarray:
    rows = CorruptedRows(corruption, space, len(lengths), stream)
    rows.keys[:] = keys
    first, result = np.cumsum(lengths) - lengths, None
    ends_at = lengths if corruption.field == "reward" else np.zeros_like(lengths)
    for t in range(lengths.max(initial=0)):
        running = np.flatnonzero(lengths > t)
        places = first[running] + t
        now = np.zeros((len(lengths), *values.shape[1:]), values.dtype)
        now[running] = values[places]
        changed = rows.apply(running, now, ends_at == t + 1)[running]
        if result is None:
            result = np.empty(values.shape, changed.dtype)
        result[places] = changed
    return values.copy() if result is None else result
