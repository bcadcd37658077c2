"""How well a model foretells whole drives from their first state and the commands."""

from __future__ import annotations

import numpy as np

from suite.transitions import Dataset
from suite.worldmodels.car_dynamics import CarDynamics
from suite.worldmodels.car_ensemble import CarEnsemble
from suite.worldmodels.car_history import car_recordings
from suite.worldmodels.drive_details import drive_details
from suite.worldmodels.drive_errors import DriveErrors, drive_errors, dynamics_of
from suite.worldmodels.recordings import Recordings


class OpenLoop:
    """An evaluation of a car's model on drives that it was not fitted to.

    Use it as the ``evaluation`` of a benchmark whose agent is a ``CarFit``. The result
    is ``DriveErrors.summary()``, and of several members also ``<name>_<e>`` for
    ``error_1s``, ``ade`` and ``state_mse``. The run keeps ``drive_details`` of both
    kinds of drives.

    Args:
        drives: What was recorded, and held out.
        ood: Drives unlike those that are learned from; their results are called
            ``ood_...``. None for none.
    """

    def __init__(self, drives: Dataset, ood: Dataset | None = None):
        self.drives = {"": drives} | ({} if ood is None else {"ood_": ood})

    def __call__(self, model: CarDynamics | CarEnsemble, key: int) -> dict[str, float]:
        """Evaluate a model; ``key`` changes nothing: the drives are what they are."""
        told: dict[str, float] = {}
        for kind in self.drives:
            found = _told(self.errors(model, kind))
            told |= {f"{kind}{name}": value for name, value in found.items()}
        return told

    def errors(self, model: CarDynamics | CarEnsemble, kind: str = "") -> DriveErrors:
        """Of each trajectory; ``kind`` is ``""`` or ``"ood_"``."""
        recordings = self._recordings(model, kind)
        return drive_errors(model, recordings, dynamics_of(model).car.dt)

    def details(self, trained: CarDynamics | CarEnsemble) -> dict[str, np.ndarray]:
        """See ``drive_details``."""
        told: dict[str, np.ndarray] = {}
        for kind in self.drives:
            recordings = self._recordings(trained, kind)
            dt = dynamics_of(trained).car.dt
            found = drive_details(trained, recordings, dt)
            told |= {f"{kind}{name}": values for name, values in found.items()}
        return told

    def _recordings(self, model: CarDynamics | CarEnsemble, kind: str) -> Recordings:
        dynamics = dynamics_of(model)
        device = str(dynamics.twist_std.device)
        return car_recordings(self.drives[kind], dynamics.car, device)


def _told(errors: DriveErrors) -> dict[str, float]:
    """The summary, and what each of several members has."""
    told = errors.summary()
    for name in ("error_1s", "ade", "state_mse"):
        values = errors.by_name[name]
        if values.ndim > 1:
            means = np.nanmean(values, axis=-1)
            told |= {f"{name}_{e}": float(v) for e, v in enumerate(means)}
    return told
