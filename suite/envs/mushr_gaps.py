"""What lies between the nominal MuSHR car and one that was built."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

from suite.envs.mushr import MAX_STEER


@dataclass(frozen=True)
class Gap:
    """How a car differs from the nominal one.

    The steering that a command becomes is ``gain * command + trim``, within the limits,
    ``delay`` later, through a first-order lag.

    Args:
        trim: Steering at a command of 0, rad.
        gain: Steering for each unit of commanded steering.
        steer_low: Limit to the right, rad.
        steer_high: Limit to the left, rad.
        steer_lag: Time constant of the steering servo, s; 0 for none.
        speed_lag: Time constant of the speed controller, s; 0 for none.
        delay: Between a command and its effect, s.
        payload: Mass added, kg.
        friction: Of tyres on the floor.

    Raises:
        ValueError: If a number is not finite, a time, mass or friction negative, or the
            limits of the steering are no interval around 0.
    """

    trim: float = 0.0
    gain: float = 1.0
    steer_low: float = -MAX_STEER
    steer_high: float = MAX_STEER
    steer_lag: float = 0.0
    speed_lag: float = 0.0
    delay: float = 0.0
    payload: float = 0.0
    friction: float = 1.0

    def __post_init__(self) -> None:
        values = dataclasses.astuple(self)
        least = (self.steer_lag, self.speed_lag, self.delay, self.payload)
        if not all(map(math.isfinite, values)) or min(least) < 0 or self.friction <= 0:
            raise ValueError(
                "a gap has finite numbers, lags, delay and payload of 0 or more and a "
                f"friction above 0, got {self}"
            )
        if not self.steer_low < 0 < self.steer_high:
            raise ValueError(
                "a gap's steer_low is below 0 and its steer_high above, got "
                f"{self.steer_low} and {self.steer_high}"
            )


GAPS: dict[str, Gap] = {
    "none": Gap(),
    "easy": Gap(trim=0.02, steer_lag=0.06),
    "real": Gap(
        trim=0.03,
        gain=0.9,
        # The servo of a MuSHR car, between 0.15 and 0.85 of its range.
        steer_low=-0.263,
        steer_high=0.314,
        steer_lag=0.1,
        speed_lag=0.15,
        delay=0.05,
        payload=0.6,
        friction=0.45,
    ),
    "ice": Gap(friction=0.25),
}
