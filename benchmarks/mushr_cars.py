"""Cars as parts of benchmarks: plants, and the numbers that identification found."""

from __future__ import annotations

from suite.benchmark import Part

MODELS = "suite.worldmodels"


def plant(kind: str, **numbers: float) -> Part:
    """A plant of ``suite.worldmodels.car_plants``."""
    return Part(f"{MODELS}.car_plants:{kind}", numbers)


def servo(of: Part, **numbers: float) -> Part:
    """A plant whose commands are off."""
    return Part(f"{MODELS}.car_servo:Servo", {"plant": of, **numbers})


def bare(plant: Part, delay: float = 0.0) -> Part:
    """A car of physics alone."""
    parts = {"adapter": None, "residual": None, "friction": None}
    kwargs = {"plant": plant, **parts, "history": 3, "delay": delay}
    return Part(f"{MODELS}.car:Car", kwargs)


# Of the three seeds of ``mushr-identified`` the one whose misfit to the trajectories it
# was fitted to is least, seed 2; of the gap that it does not know, trim is 0.03, gain
# 0.9, the limits are -0.263 and 0.314.
IDENTIFIED_DELAY = 0.0809  # s
IDENTIFIED_PLANT = servo(
    plant("Kinematic", rear=0.1478, speed_lag=0.213, steer_lag=0.1323),
    trim=0.0284,
    gain=0.8692,
    low=-0.2452,
    high=0.3005,
    speed_gain=0.9565,
)
IDENTIFIED = bare(IDENTIFIED_PLANT, IDENTIFIED_DELAY)
