"""What a car was told before the first moment that is known of it."""

from __future__ import annotations

from typing import Any

from suite.arrays import namespace
from suite.transitions import Dataset
from suite.worldmodels.car import CAR, Car
from suite.worldmodels.car_plants import FRONT, REAR
from suite.worldmodels.recordings import Recordings

MOVING = 0.2  # m/s, below which a yaw rate says nothing of the steering


def steady_command(state: Any, car: Car) -> Any:
    """The action (..., 2) that keeps a car moving as it does, were there no gap.

    Args:
        state: (..., 6 or more), NumPy or torch.
        car: Whose limits an action of 1 means.
    """
    xp, vx, omega = namespace(state), state[..., 3], state[..., 5]
    is_moving = xp.abs(vx) > MOVING
    curvature = omega / xp.where(is_moving, vx, xp.ones_like(vx))
    steer = xp.atan((FRONT + REAR) * curvature) / car.steer_limit
    steer = xp.where(is_moving, steer, xp.zeros_like(vx))
    return xp.clip(xp.stack([steer, vx / car.speed_limit], axis=-1), -1.0, 1.0)


def car_recordings(data: Dataset, car: Car, device: str = "cpu") -> Recordings:
    """Recordings of drives for a car's model; before them it went on steadily.

    Raises:
        ValueError: If a column is missing, or the data's card says another time step.
    """
    _require_step(data, car.dt)
    return Recordings.of(
        data,
        car.history,
        states=CAR,
        actions=2,
        lead=lambda state: steady_command(state, car),
        device=device,
    )


def _require_step(data: Dataset, dt: float) -> None:
    steps = data.card.get("trajectories", {}).get("dt") or ()
    others = sorted({s for s in steps if s is not None and abs(s / dt - 1) > 0.02})
    if others:
        raise ValueError(
            f"the trajectories have steps of {others[0]:g} s and the car's are {dt:g} "
            f"s; give the car dt={others[0]:g}, or resample them"
        )
