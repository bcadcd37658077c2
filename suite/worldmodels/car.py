"""What a learned model of a car is made of: physics, and networks that correct it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from suite.worldmodels.car_plants import Kinematic, Plant

CAR, POSE, TWIST = 6, 3, 3  # numbers of a car's state: x, y, theta, vx, vy, omega


@dataclass(frozen=True)
class Adapter:
    """Networks that correct the command before physics sees it: trim, gain, lag.

    Args:
        hidden: Widths of each of the two networks.
        steer: rad, the largest correction of the steering angle.
        speed: m/s, the largest correction of the speed.
    """

    hidden: Sequence[int] = (64, 64)
    steer: float = 0.2
    speed: float = 1.0


@dataclass(frozen=True)
class Residual:
    """A network that adds to the twist that physics predicts.

    Args:
        hidden: Its widths.
    """

    hidden: Sequence[int] = (32, 32)


@dataclass(frozen=True)
class Friction:
    """A network that tells how well the tyres hold, as a factor of the plant's grip.

    Args:
        hidden: Its widths.
        largest: The factor lies within [1 / largest, largest].
    """

    hidden: Sequence[int] = (32, 32)
    largest: float = 4.0


@dataclass(frozen=True)
class Car:
    """What a car's model is made of; every network may be left out.

        structured      Car()
        direct          Car(Hold(), adapter=None, residual=Residual((128, 128)))
        physics alone   Car(adapter=None, residual=None)

    Args:
        plant: The physics.
        adapter: Corrects commands, or None.
        residual: Corrects the outcome, or None.
        friction: Corrects the grip, or None.
        history: Earlier commands that the networks see beside the current one; what
            lags or is delayed is hidden in them.
        dt: s, of a step.
        steer_limit: rad, what the action 1 commands.
        speed_limit: m/s, likewise.
        delay: s, between a command and its effect on the plant, at most the history.

    Raises:
        ValueError: If a number is out of range.
    """

    plant: Plant = field(default_factory=Kinematic)
    adapter: Adapter | None = field(default_factory=Adapter)
    residual: Residual | None = field(default_factory=Residual)
    friction: Friction | None = None
    history: int = 3
    dt: float = 0.05
    steer_limit: float = 0.38
    speed_limit: float = 3.0
    delay: float = 0.0

    def __post_init__(self) -> None:
        positive = (self.dt, self.steer_limit, self.speed_limit)
        if self.history < 0 or min(positive) <= 0 or self.steer_limit >= math.pi / 2:
            raise ValueError(
                "a car needs a history of 0 or more, positive dt and limits and a "
                f"steering limit below a right angle, got {self.history} and {positive}"
            )
        if not 0 <= self.delay <= self.history * self.dt:
            raise ValueError(
                f"a delay must be 0 to the {self.history} commands of the history, "
                f"{self.history * self.dt:g} s, got {self.delay}"
            )
        if self.friction is not None and self.friction.largest <= 1:
            raise ValueError(
                f"the largest grip factor must be above 1, got {self.friction.largest}"
            )
