"""What a car is told to do so that its data say how it moves: families of commands.

A family draws a whole trajectory's commands at once; ``Pursuit`` alone looks at the
car, to drive laps. Commands are actions [steer, speed] in [-1, 1], as ``MuSHR-v0`` has.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from suite.envs import mushr
from suite.envs.tracks import LAYOUTS, Centreline, centreline


@dataclass(frozen=True)
class Speeds:
    """The speeds of a data set.

    Args:
        low: Slowest forward speed, m/s.
        high: Fastest, m/s.
        reverse: Share of the draws that go backwards, at up to 1 m/s.
    """

    low: float = 0.2
    high: float = 2.0
    reverse: float = 0.1

    def draw(self, rng: np.random.Generator) -> float:
        """One speed, as an action."""
        speed = rng.uniform(self.low, self.high)
        if rng.random() < self.reverse:
            speed = -rng.uniform(0.2, 1.0)
        return speed / mushr.MAX_SPEED


Family = Callable[[np.random.Generator, int, Speeds], np.ndarray]  # -> (steps, 2)


def constant(rng: np.random.Generator, steps: int, speeds: Speeds) -> np.ndarray:
    """One command throughout."""
    return np.tile([rng.uniform(-1.0, 1.0), speeds.draw(rng)], (steps, 1))


def hold(rng: np.random.Generator, steps: int, speeds: Speeds) -> np.ndarray:
    """Steering and speed jump, each at its own times, after 0.2 to 1.5 s."""
    steer = _held(rng, steps, lambda: rng.uniform(-1.0, 1.0), (0.2, 1.5))
    speed = _held(rng, steps, lambda: speeds.draw(rng), (0.2, 1.5))
    return np.stack([steer, speed], axis=1)


def sinusoid(rng: np.random.Generator, steps: int, speeds: Speeds) -> np.ndarray:
    """Steering swings at 0.2 to 2 Hz; speed jumps every 1 to 3 s."""
    frequency, amplitude, phase = rng.uniform((0.2, 0.3, 0), (2.0, 1.0, 2 * np.pi))
    offset = rng.uniform(-1, 1) * (1 - amplitude)
    time = np.arange(steps) * mushr.DT
    steer = offset + amplitude * np.sin(2 * np.pi * frequency * time + phase)
    speed = _held(rng, steps, lambda: speeds.draw(rng), (1.0, 3.0))
    return np.stack([steer, speed], axis=1)


def chirp(rng: np.random.Generator, steps: int, speeds: Speeds) -> np.ndarray:
    """Steering sweeps from 0.1 to 3 Hz, evenly or by octaves; speed sways slowly."""
    low, high, time = 0.1, 3.0, np.arange(steps) * mushr.DT
    share = time / max(time[-1], mushr.DT)
    is_even, amplitude = rng.random() < 0.5, rng.uniform(0.3, 1.0)
    if is_even:
        cycles = time * (low + (high - low) * share / 2)
    else:
        ratio = high / low
        cycles = low * time[-1] / np.log(ratio) * (ratio**share - 1)
    steer = amplitude * np.sin(2 * np.pi * (cycles + rng.random()))
    # No multiple of the steering's frequencies, so that effects can be told apart.
    sway = np.sin(2 * np.pi * (0.07 * time + rng.random()))
    middle = speeds.draw(rng)
    return np.stack([steer, middle * (1 + 0.3 * sway)], axis=1)


def noise(rng: np.random.Generator, steps: int, speeds: Speeds) -> np.ndarray:
    """Ornstein-Uhlenbeck noise: steering over 0.4 s, speed over 1.5 s."""
    steer = 0.6 * _wander(rng, steps, 0.4)
    middle = (speeds.low + speeds.high) / 2
    spread = (speeds.high - speeds.low) / 4
    speed = (middle + spread * _wander(rng, steps, 1.5)) / mushr.MAX_SPEED
    return np.stack([steer, speed], axis=1)


def bang_bang(rng: np.random.Generator, steps: int, speeds: Speeds) -> np.ndarray:
    """Full steering to one side, then the other; full speed, standstill, backwards."""
    side = rng.choice([-1.0, 1.0])
    sides = iter(side * (-1.0) ** np.arange(steps))
    steer = _held(rng, steps, lambda: next(sides), (0.3, 0.8))
    levels = np.array([speeds.high, speeds.high, 0.0, -1.0]) / mushr.MAX_SPEED
    speed = _held(rng, steps, lambda: rng.choice(levels), (0.5, 1.5))
    return np.stack([steer, speed], axis=1)


def _held(
    rng: np.random.Generator,
    steps: int,
    draw: Callable[[], float],
    seconds: tuple[float, float],
) -> np.ndarray:
    """Draws (steps,), each held for some time."""
    values = np.empty(steps)
    begin = 0
    while begin < steps:
        end = begin + max(1, round(rng.uniform(*seconds) / mushr.DT))
        values[begin:end] = draw()
        begin = end
    return values


def _wander(rng: np.random.Generator, steps: int, time_constant: float) -> np.ndarray:
    """Ornstein-Uhlenbeck noise (steps,) of variance 1."""
    keep = np.exp(-mushr.DT / time_constant)
    draws = rng.standard_normal(steps) * np.sqrt(1 - keep**2)
    value, values = rng.standard_normal(), np.empty(steps)
    for step in range(steps):
        value = keep * value + draws[step]
        values[step] = value
    return values


OPEN_LOOP: dict[str, Family] = {
    "constant": constant,
    "hold": hold,
    "sinusoid": sinusoid,
    "chirp": chirp,
    "noise": noise,
    "bang_bang": bang_bang,
}


# ---------------------------------------------------------------------------- pursuit
@dataclass(frozen=True)
class Lap:
    """Laps that one trajectory drives, and what disturbs them.

    Args:
        track: Of ``suite.envs.tracks``.
        car: Where it begins (6,).
        s: Arc length there, m.
        disturbance: Added to the commands (steps, 2); the speed is all in it.
    """

    track: str
    car: np.ndarray
    s: float
    disturbance: np.ndarray


def lap(rng: np.random.Generator, steps: int, speeds: Speeds) -> Lap:
    """Laps of one of the tracks, from anywhere along it, steering disturbed."""
    track = sorted(LAYOUTS)[rng.integers(len(LAYOUTS))]
    line = centreline(track)
    s, vx = rng.uniform((0.0, 0.0), (line.length, speeds.high))
    x, y, theta = line.pose(np.array(s))
    steer = rng.uniform(0.0, 0.3) * _wander(rng, steps, 0.3)
    speed = _held(rng, steps, lambda: abs(speeds.draw(rng)), (1.0, 3.0))
    car = np.array([x, y, mushr.wrap(theta), vx, 0.0, 0.0])
    return Lap(track, car, float(s), np.stack([steer, speed], axis=1))


def pure_pursuit(
    cars: np.ndarray, line: Centreline, near: np.ndarray, lookahead: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Steering actions (n,) towards a point of the centreline, and arc lengths (n,).

    Args:
        cars: (n, 6).
        line: The centreline.
        near: Arc lengths around which the cars are (n,), m.
        lookahead: How far ahead the point lies (n,), m.

    Source: Coulter 1992, "Implementation of the pure pursuit path tracking algorithm".
    """
    s = line.project(cars[:, mushr.X], cars[:, mushr.Y], near).s
    x, y, _ = line.pose(s + lookahead)
    ahead, left = mushr.seen_from(cars, x, y)
    # From the rear axle, where the geometry of a bicycle holds.
    ahead = ahead + mushr.REAR_AXLE
    curvature = 2 * left / (ahead * ahead + left * left)
    return np.arctan(mushr.WHEELBASE * curvature) / mushr.MAX_STEER, s


class Pursuit:
    """Rows that drive laps, in closed loop; each by itself.

    Args:
        rows: Which rows do (n,).
        laps: One for each.
    """

    def __init__(self, rows: Sequence[int], laps: Sequence[Lap]):
        self.rows = np.array(rows, int)
        self._near = np.array([each.s for each in laps])
        self._disturbance = [each.disturbance for each in laps]
        names = np.array([each.track for each in laps])
        self._groups = [
            (str(line), np.flatnonzero(names == line)) for line in sorted(set(names))
        ]

    def act(self, cars: np.ndarray, step: int) -> np.ndarray:
        """Commands (n, 2) of the rows, given all cars (N, 6)."""
        own = cars[self.rows]
        commands = np.array([each[step] for each in self._disturbance]).reshape(-1, 2)
        for track, group in self._groups:
            some = own[group]
            reach = 0.35 + 0.25 * np.abs(some[:, mushr.VX])
            line = centreline(track)
            steer, s = pure_pursuit(some, line, self._near[group], reach)
            self._near[group] = s
            commands[group, 0] += steer
        return commands
