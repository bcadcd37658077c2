"""Errors of every drive, how they grow, and where a model went: for figures."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from suite.worldmodels.drive_errors import Rolled, measured, rolled
from suite.worldmodels.recordings import Recordings

KEPT = ("ade", "error_1s", "fde", "state_mse")
MOMENTS = 20  # at which the growth of errors is told
SHOWN, POINTS = 4, 40  # drives whose paths are kept, and places of each


def drive_details(
    model: Any, recordings: Recordings, dt: float
) -> dict[str, np.ndarray]:
    """What figures and paired comparisons need of a model of E members on N drives.

    Args:
        model: See ``rolled``.
        recordings: Of the model's history.
        dt: s, of a step.

    Returns:
        ``ade``, ``error_1s`` and ``fde`` (m) and ``state_mse``, each (E, N); ``time``
        (20,) in s and ``growth`` (E, 2, 20), median and 95 % quantile over drives of
        the distance after it (m); ``paths`` (4, 2, 40, 2), places x, y of the first
        four drives in m: as they were, and as the first member foretells them.
    """
    found = rolled(model, recordings)
    errors = measured(model, found, recordings, dt)
    told = {name: np.atleast_2d(errors.by_name[name]) for name in KEPT}
    return {**told, **_growth(found, dt), "paths": _paths(found)}


def _growth(found: Rolled, dt: float) -> dict[str, np.ndarray]:
    steps = np.linspace(0, len(found.states), MOMENTS + 1)[1:].round().astype(int)
    miss = (found.states - found.truth)[steps - 1, ..., :2]
    distance = torch.linalg.vector_norm(miss, dim=-1)
    distance = torch.where(found.is_there[steps - 1], distance, torch.nan)
    distance = distance.view(len(steps), -1, distance.shape[-1])  # (20, E, N)
    shares = torch.tensor([0.5, 0.95], dtype=distance.dtype)
    quantiles = torch.nanquantile(distance, shares, dim=-1)  # (2, 20, E)
    return {"time": dt * steps, "growth": quantiles.permute(2, 0, 1).numpy()}


def _paths(found: Rolled) -> np.ndarray:
    steps = np.linspace(0, len(found.states) - 1, POINTS).round().astype(int)
    places = torch.stack([found.truth, found.states])[:, steps, ..., :2]
    places = places.view(2, POINTS, -1, places.shape[-2], 2)[:, :, 0, :SHOWN]
    return places.permute(2, 0, 1, 3).cpu().numpy()
