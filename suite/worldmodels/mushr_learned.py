"""MuSHR-Learned-v0: the tasks of the MuSHR car, driven inside a learned model of it."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import Any

import numpy as np

from suite.arrays import Snapshot
from suite.envs import mushr
from suite.envs.arguments import (
    require_known,
    require_positive,
    row_indices,
)
from suite.envs.mushr_starts import CarRows, OneCar
from suite.envs.mushr_tasks import checked_cars, goals_at, make_task
from suite.worldmodels.car_dynamics import CarDynamics
from suite.worldmodels.car_ensemble import CarEnsemble, CarMean, CarTS1, CarTSInf
from suite.worldmodels.car_stored import load_car
from suite.worldmodels.learned_cars import LearnedCars

PACKAGED = Path(__file__).with_name("checkpoints")
DEFAULT = "mushr-real"
PROPAGATION: dict[str, type[CarEnsemble]] = {
    "mean": CarMean,
    "ts1": CarTS1,
    "tsinf": CarTSInf,
}


def packaged_cars() -> list[str]:
    """Names of the packaged models."""
    return sorted(path.parent.name for path in PACKAGED.glob("*/MANIFEST.json"))


def load_mushr(checkpoint: str | os.PathLike[str] | None = None) -> CarDynamics:
    """A model that ``MuSHR-Learned-v0`` can drive.

    Use it to plan with what the environment steps, or to look at its members.

    Args:
        checkpoint: The name of a packaged model, or a folder that ``save_car`` wrote,
            such as ``model`` in a seed's folder of a run; None is ``"mushr-real"``.

    Raises:
        ValueError: If there is none, or it is of another car.
        IntegrityError: If it is damaged.
    """
    name = DEFAULT if checkpoint is None else os.fspath(checkpoint)
    folder = PACKAGED / name if name in packaged_cars() else Path(name)
    if not folder.is_dir():
        raise ValueError(
            f"there is no checkpoint {name!r}; give the folder of a fitted car's model "
            f"(model/ in a finished seed) or one of {', '.join(packaged_cars())}"
        )
    dynamics = load_car(folder)
    _require_mushr(dynamics, name)
    return dynamics


def _require_mushr(dynamics: CarDynamics, name: str) -> None:
    car = dynamics.car
    got = (car.dt, car.steer_limit, car.speed_limit)
    wanted = (mushr.DT, mushr.MAX_STEER, mushr.MAX_SPEED)
    if got != wanted:
        raise ValueError(
            f"the checkpoint {name!r} is of another car: its step (s) and limits (rad, "
            f"m/s) are {got}, those of MuSHR-v0 {wanted}"
        )
    for weights, values in dynamics.named_parameters():
        if not bool(values.isfinite().all()):
            raise ValueError(
                f"the checkpoint {name!r} cannot be driven: its {weights} is not "
                "finite; fit it again at a lower learning rate"
            )


class MushrLearnedVectorEnv(CarRows):
    """N learned cars; see ``MushrLearnedEnv``.

    Info: As ``MuSHR-v0``, and ``model_std`` (N,), how far the members disagree about
    the step, in deviations of the twists that they were fitted to; ``diverged`` (N,),
    where the model left all that it has seen: such a row is truncated, with reward 0
    and the state it had before.

    Args:
        num_envs: Number of rows.
        task: ``"track"``, ``"goal"`` or ``"drift"``.
        track: ``"oval"``, ``"rounded_rectangle"`` or ``"figure_8"``.
        checkpoint: See ``load_mushr``.
        propagation: ``"mean"``, ``"ts1"`` or ``"tsinf"``: whom of the members a row
            believes, all, another one at each step, or one of them throughout.
        max_steps: Control steps after which an episode is truncated.
        autoreset_mode: ``"next_step"``, ``"same_step"`` or ``"disabled"``.

    Raises:
        ValueError: For an unknown name or mode, a checkpoint that is none, or less than
            one row.
        IntegrityError: If the checkpoint is damaged.
    """

    cars: LearnedCars

    def __init__(
        self,
        num_envs: int = 1,
        *,
        task: str = "track",
        track: str = "oval",
        checkpoint: str | os.PathLike[str] | None = None,
        propagation: str = "mean",
        max_steps: int = mushr.MAX_EPISODE_STEPS,
        autoreset_mode: str = "next_step",
    ):
        require_positive("num_envs", num_envs)
        require_known("propagation", propagation, tuple(PROPAGATION))
        require_positive("max_steps", max_steps)
        made = make_task(task, track)
        self.driving = dataclasses.replace(made, max_episode_steps=max_steps)
        model = PROPAGATION[propagation](load_mushr(checkpoint))
        self.cars = LearnedCars(num_envs, self.driving, model)
        super().__init__(self.cars, self.driving, autoreset_mode=autoreset_mode)

    def reset_to(self, cars: np.ndarray, ids: np.ndarray | None = None) -> np.ndarray:
        """Start new episodes from given states of the car.

        The task begins there, and the commands before are those that would have kept
        the car moving as it does.

        Args:
            cars: (n, 6): x, y (m), theta (rad), vx, vy (m/s) and omega (rad/s).
            ids: The n rows to start; all by default.

        Returns:
            Observations of those rows, (n, O).

        Raises:
            ValueError: If the numbers are not finite or of another shape.
        """
        ids = row_indices(ids, self.num_envs)
        cars = checked_cars(cars, len(ids))
        if self._state is None:  # give every row something valid, as restore does
            self.reset(seed=0)
        assert self._state is not None
        goals = goals_at(self.driving, cars, self._state[ids])
        self.cars.place(ids, cars, goals)
        self._episodes.start(ids)
        self._refresh(ids)
        return self._obs[ids]

    def restore(
        self,
        snapshot: Snapshot,
        ids: np.ndarray | None = None,
        *,
        reseed: int | None = None,
    ) -> np.ndarray:
        """As ``BatchEnv.restore``; ``reseed`` also renews the draws of members."""
        obs = super().restore(snapshot, ids, reseed=reseed)
        if reseed is not None:
            self.cars.reseed(row_indices(ids, self.num_envs), reseed)
        return obs

    def reward_and_details(
        self, state: np.ndarray, action: np.ndarray, next_state: np.ndarray
    ) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """Rewards (n,), and the task's details of a step, each (n,)."""
        reward = self.driving.reward(state, action, next_state)
        return reward, self.driving.details(state, action, next_state)

    def _info(self, unstable: np.ndarray) -> dict[str, Any]:
        return {
            **super()._info(unstable),
            "diverged": unstable,
            "_diverged": self._mask,
            "model_std": self.cars.disagreement.copy(),
            "_model_std": self._mask,
        }


class MushrLearnedEnv(OneCar):
    """Drive a learned MuSHR car: laps of a track, to a pose, or sideways.

    Spaces, observation, reward, success, start and end are those of ``MuSHR-v0``, by
    the same functions; a model moves the car. Nothing of MuJoCo is needed. The packaged
    model was fitted to trajectories of the gap ``"real"``.

    Info: As ``MuSHR-v0``, and ``model_std``, ``diverged``: see
    ``MushrLearnedVectorEnv``.
    Source: docs/envs/mushr_learned.md.

    Args:
        task: ``"track"``, ``"goal"`` or ``"drift"``.
        track: ``"oval"``, ``"rounded_rectangle"`` or ``"figure_8"``.
        checkpoint: See ``load_mushr``.
        propagation: ``"mean"``, ``"ts1"`` or ``"tsinf"``.
        max_steps: Control steps after which an episode is truncated.
    """

    def __init__(
        self,
        *,
        task: str = "track",
        track: str = "oval",
        checkpoint: str | os.PathLike[str] | None = None,
        propagation: str = "mean",
        max_steps: int = mushr.MAX_EPISODE_STEPS,
    ):
        self._rows = MushrLearnedVectorEnv(
            1,
            task=task,
            track=track,
            checkpoint=checkpoint,
            propagation=propagation,
            max_steps=max_steps,
            autoreset_mode="disabled",
        )
        super().__init__(self._rows)

    def reset_to(self, car: np.ndarray) -> np.ndarray:
        """Start a new episode from a car's six numbers; returns the observation (O,).

        Raises:
            ValueError: If the numbers are not finite or of another shape.
        """
        return self._rows.reset_to(np.asarray(car)[None])[0]
