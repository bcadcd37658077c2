"""Two ways to learn compared drive by drive: mean, median, tail, with intervals.

Both were judged on the same N drives, by fits of the same seeds, so differences are
paired. A fit is a member (E) of a run on one draw of the data (D).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from suite.cell import Value
    from suite.results.sweep_results import Results

RESAMPLES = 2000
QUANTILES = {"median": 0.5, "p95": 0.95, "max": 1.0}


def statistics(errors: np.ndarray) -> dict[str, np.ndarray]:
    """What fits have on average, of errors (..., D, E, N), and how they differ.

    Returns:
        ``mean``, ``median``, ``p95`` and ``max`` over drives, each the mean over fits;
        ``fits_std``, the standard deviation over fits of their mean, 0 of one; each of
        shape (...).
    """
    means = errors.mean(axis=-1)
    told = {"mean": means.mean(axis=(-2, -1))}
    quantiles = np.quantile(errors, list(QUANTILES.values()), axis=-1)
    for name, each in zip(QUANTILES, quantiles, strict=True):
        told[name] = each.mean(axis=(-2, -1))
    fits = means.reshape(*means.shape[:-2], -1)
    ddof = 1 if fits.shape[-1] > 1 else 0
    return {**told, "fits_std": fits.std(axis=-1, ddof=ddof)}


def compared(
    ours: np.ndarray, theirs: np.ndarray, *, seed: int = 0
) -> dict[str, dict[str, float]]:
    """Errors (D, E, N) beside those of another way, by statistic.

    Intervals are 95 % of a bootstrap in which draws of the data, within them fits, and
    drives are drawn anew, the same for both sides. Of a single fit they know of the
    drives alone. That of the largest of few drives is too narrow: no resample has a
    larger one.

    Returns:
        For each of ``statistics``: ``ours``, ``theirs``, the ``difference`` ours -
        theirs, and ``low`` and ``high`` of that.

    Raises:
        ValueError: If the two were not judged alike.
    """
    if ours.shape != theirs.shape or ours.ndim != 3 or not ours.size:
        raise ValueError(
            f"paired errors have one shape (D, E, N), got {ours.shape} and "
            f"{theirs.shape}"
        )
    place = _resamples(np.random.default_rng(seed), *ours.shape)
    drawn = [statistics(side[place]) for side in (ours, theirs)]
    whole = [statistics(side) for side in (ours, theirs)]
    told = {}
    for name in whole[0]:
        differences = drawn[0][name] - drawn[1][name]
        low, high = np.quantile(differences, (0.025, 0.975))
        one, other = (float(side[name]) for side in whole)
        told[name] = {
            "ours": one,
            "theirs": other,
            "difference": one - other,
            "low": float(low),
            "high": float(high),
        }
    return told


def _resamples(
    rng: np.random.Generator, data: int, fits: int, drives: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Places in errors (D, E, N), broadcast to (R, D, E, N)."""
    drawn = rng.integers(data, size=(RESAMPLES, data))[:, :, None, None]
    members = rng.integers(fits, size=(RESAMPLES, data, fits))[..., None]
    return drawn, members, rng.integers(drives, size=(RESAMPLES, drives))[:, None, None]


def errors_of(
    results: Results, rival: Value | None, task: Value | None, name: str
) -> dict[str, np.ndarray]:
    """Errors (E, N) of each finished cell of a rival and a task, by condition.

    Several seeds of a cell count as so many members.
    """
    found = {}
    for condition in results.sweep.conditions:
        cell = results.places.get((rival, task, condition))
        seeds = [] if cell is None else cell.seeds.values()
        parts = [done.details[name] for done in seeds if name in done.details]
        if parts:
            found[condition] = np.concatenate(parts).astype(np.float64)
    return found


def pairs(results: Results, names: Sequence[str]) -> list[dict[str, Any]]:
    """Every rival beside the first one, for each task and each kind of errors.

    Only what both have finished counts.
    """
    return [
        {"rival": rival, "over": results.rivals[0], "task": task, "errors": name, **row}
        for task in results.tasks
        for rival in results.rivals[1:]
        for name in names
        if (row := _pair(results, rival, task, name))
    ]


def _pair(
    results: Results, rival: Value | None, task: Value | None, name: str
) -> Mapping[str, Any]:
    ours = errors_of(results, rival, task, name)
    theirs = errors_of(results, results.rivals[0], task, name)
    both = [c for c in ours if c in theirs and ours[c].shape == theirs[c].shape]
    both = [c for c in both if ours[c].shape == ours[both[0]].shape]
    if not both:
        return {}
    stacks = [np.stack([side[c] for c in both]) for side in (ours, theirs)]
    data, fits, drives = stacks[0].shape
    sizes = {"data": data, "fits": fits, "drives": drives}
    return {**sizes, "statistics": compared(*stacks)}
