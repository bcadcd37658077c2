"""How far a model is off on whole drives, from their first state and the commands."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from suite.worldmodels.car import CAR, POSE
from suite.worldmodels.car_dynamics import CarDynamics
from suite.worldmodels.car_ensemble import CarEnsemble
from suite.worldmodels.car_motion import wrapped
from suite.worldmodels.recordings import Recordings
from suite.worldmodels.unrolled import Snippets, begun, unrolled

TIMES = (0.5, 1.0, 2.0, 5.0, 10.0)  # s, at which the error of the place is told
WORST = 0.2  # the share whose mean is told as cvar20
LOST = 100.0  # m: a model that is so far off has diverged


@dataclass(frozen=True, eq=False)
class DriveErrors:
    """Errors of a model on N trajectories, or of E members on each.

    Attributes:
        ids: (N,), of the episodes.
        lengths: (N,), steps.
        by_name: Each (N,) or (E, N) float64: ``state_mse`` (all six numbers, headings
            wrapped, mixed units), ``pos_mse`` (x and y, m^2), ``vel_mse`` (twist), each
            the mean over steps; ``ade`` and ``fde``, the distance of the places on
            average and at the end (m); ``heading`` (degrees, mean of magnitudes);
            ``error_0.5s`` ... ``error_10s`` (m), NaN where the drive is shorter;
            ``diverged``, 1 where the model left the finite numbers, came off by more
            than 100 m or gave the row up.
    """

    ids: np.ndarray
    lengths: np.ndarray
    by_name: dict[str, np.ndarray]

    def summary(self) -> dict[str, float]:
        """The headline: means over trajectories and members, and what the tail is.

        Each of ``state_mse``, ``pos_mse``, ``vel_mse``, ``ade``, ``fde``, ``heading``
        and the ``error_...`` as its mean; of the first, ``ade`` and ``fde`` also
        ``_median``, ``_p95``, ``_max`` and ``_cvar20``; ``diverged``, how many.
        """
        told: dict[str, float] = {}
        for name, values in self.by_name.items():
            each = values.reshape(-1, values.shape[-1])
            if name == "diverged":
                told[name] = float(each.sum(axis=1).mean())
            elif not np.isnan(each).all():
                told[name] = float(np.nanmean(each))
            if name in ("state_mse", "ade", "fde"):
                tails = [tail(row) for row in each]
                told |= {
                    f"{name}_{kind}": float(np.mean([t[kind] for t in tails]))
                    for kind in tails[0]
                }
        return told

    def per_trajectory(self, member: int = 0) -> list[dict[str, Any]]:
        """One document a trajectory, of one member."""
        columns = {
            name: values.reshape(-1, values.shape[-1])[member]
            for name, values in self.by_name.items()
        }
        return [
            {
                "id": int(self.ids[i]),
                "steps": int(self.lengths[i]),
                **{name: float(values[i]) for name, values in columns.items()},
            }
            for i in range(len(self.ids))
        ]


def tail(values: np.ndarray) -> dict[str, float]:
    """Median, 95 % quantile, largest and mean of the worst fifth of values (N,)."""
    ranked = np.sort(values)[::-1]
    share = max(WORST * len(ranked), 1.0)
    weights = np.clip(share - np.arange(len(ranked)), 0, 1) / share
    used = weights > 0  # 0 times infinity is no number
    return {
        "median": float(np.median(ranked)),
        "p95": _quantile(ranked, 0.95),
        "max": float(ranked[0]),
        "cvar20": float((weights[used] * ranked[used]).sum()),
    }


def _quantile(ranked: np.ndarray, share: float) -> float:
    finite = np.isfinite(ranked).all()  # between infinities there is nothing to add
    method = "linear" if finite else "higher"
    return float(np.quantile(ranked, share, method=method))


class Rolled(NamedTuple):
    """Rollouts of a model along N recordings, or of E members along each.

    Attributes:
        states: (T, ..., N, 6) float64, as predicted.
        truth: Likewise.
        is_there: (T, ..., N) bool: which steps the recordings have.
    """

    states: Tensor
    truth: Tensor
    is_there: Tensor


@torch.no_grad()
def rolled(model: Any, recordings: Recordings) -> Rolled:
    """Roll a model out along all trajectories, side by side.

    Args:
        model: A ``DynamicsModel`` of a car. A ``CarDynamics`` of several members has
            each of them on each trajectory, an ensemble says one thing.
        recordings: Of the model's history.
    """
    snippets, is_there = _padded(recordings)
    if isinstance(model, CarDynamics) and model.members > 1:
        members = model.members
        snippets = Snippets(
            *(
                part.unsqueeze(axis).expand(
                    *part.shape[:axis], members, *part.shape[axis:]
                )
                for part, axis in zip(snippets, (1, 1, 0), strict=True)
            )
        )
        is_there = is_there[:, None].expand(-1, members, -1)
    found = unrolled(model, begun(model, snippets), snippets.actions)
    return Rolled(
        found.states[..., :CAR].double(),
        snippets.states[1:, ..., :CAR].double(),
        is_there,
    )


def drive_errors(model: Any, recordings: Recordings, dt: float) -> DriveErrors:
    """Errors of rollouts along all trajectories.

    Args:
        model: See ``rolled``.
        recordings: Of the model's history.
        dt: s, of a step.
    """
    return measured(model, rolled(model, recordings), recordings, dt)


def measured(
    model: Any, found: Rolled, recordings: Recordings, dt: float
) -> DriveErrors:
    """Errors of rollouts; see ``drive_errors``."""
    miss, is_there = found.states - found.truth, found.is_there
    miss[..., POSE - 1] = wrapped(miss[..., POSE - 1])
    by_name = _errors(miss, is_there, dt)
    lost = ~(torch.linalg.vector_norm(miss[..., :2], dim=-1) < LOST)
    if isinstance(model, (CarDynamics, CarEnsemble)):
        limit = dynamics_of(model).twist_limit
        limit = limit if miss.dim() == 4 else limit.amax(dim=0)
        lost = lost | ~(found.states[..., POSE:].abs() <= limit).all(dim=-1)
    by_name["diverged"] = (lost & is_there).any(dim=0).double()
    return DriveErrors(
        recordings.ids.cpu().numpy(),
        recordings.lengths.cpu().numpy(),
        {name: values.cpu().numpy() for name, values in by_name.items()},
    )


def _padded(recordings: Recordings) -> tuple[Snippets, Tensor]:
    """All trajectories as snippets of the longest, and which steps (T, N) they have."""
    steps = torch.arange(int(recordings.lengths.max()) + 1)[:, None]
    steps = steps.to(recordings.first.device)
    rows = recordings.first + torch.minimum(steps, recordings.lengths)
    back = torch.arange(-recordings.history, 0, device=rows.device)
    snippets = Snippets(
        recordings.states[rows],
        recordings.actions[rows[:-1]],
        recordings.actions[recordings.first[:, None] + back],
    )
    return snippets, steps[1:] <= recordings.lengths


def _errors(miss: Tensor, is_there: Tensor, dt: float) -> dict[str, Tensor]:
    """Errors (..., N) of differences (T, ..., N, 6)."""
    count = is_there.sum(dim=0)

    def average(values: Tensor) -> Tensor:
        return torch.where(is_there, values, 0.0).sum(dim=0) / count

    distance = torch.linalg.vector_norm(miss[..., :2], dim=-1)
    told = {
        "state_mse": average(miss.square().mean(dim=-1)),
        "pos_mse": average(miss[..., :2].square().mean(dim=-1)),
        "vel_mse": average(miss[..., POSE:].square().mean(dim=-1)),
        "ade": average(distance),
        "fde": distance.gather(0, count[None] - 1)[0],
        "heading": average(torch.rad2deg(miss[..., POSE - 1].abs())),
    }
    for moment in TIMES:
        step = round(moment / dt) - 1
        name = f"error_{moment:g}s"
        told[name] = torch.full_like(told["ade"], torch.nan)
        if step < len(distance):
            told[name] = torch.where(is_there[step], distance[step], torch.nan)
    return told


def dynamics_of(model: CarDynamics | CarEnsemble) -> CarDynamics:
    """A model itself, or what an ensemble has around it."""
    return model.dynamics if isinstance(model, CarEnsemble) else model
