"""What lies between a command and the physics of a car: trim, gain and limits."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from suite.worldmodels.car_plants import Kinematic, Plant


@dataclass(frozen=True)
class Servo:
    """A plant whose commands are off: steering is clipped to gain * command + trim.

    Use it to identify a car by a few numbers that mean something
    (``suite.worldmodels.car_identification``). Delays are ``Car.delay``; lags are the
    plant's.

    Args:
        plant: The physics.
        trim: Steering at a command of 0, rad.
        gain: Steering for each unit of commanded steering.
        low: Limit to the right, rad.
        high: Limit to the left, rad.
        speed_gain: Speed for each unit of commanded speed.

    Raises:
        ValueError: If the limits are not on both sides of 0, or a gain is not positive.
    """

    plant: Plant = field(default_factory=Kinematic)
    trim: float = 0.0
    gain: float = 1.0
    low: float = -0.38
    high: float = 0.38
    speed_gain: float = 1.0

    def __post_init__(self) -> None:
        if not self.low < 0 < self.high or min(self.gain, self.speed_gain) <= 0:
            raise ValueError(
                "a servo needs limits on both sides of 0 and positive gains, got "
                f"{self.low} to {self.high}, {self.gain} and {self.speed_gain}"
            )

    def step(
        self,
        twist: Tensor,
        steer: Tensor,
        speed: Tensor,
        grip: Tensor | None,
        dt: float,
    ) -> Tensor:
        """See ``Plant.step``."""
        steer = torch.clamp(self.gain * steer + self.trim, self.low, self.high)
        return self.plant.step(twist, steer, self.speed_gain * speed, grip, dt)
