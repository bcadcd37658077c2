"""Units of what evaluations count, for whoever prints or draws it."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Unit:
    """How a number is shown.

    Attributes:
        name: Behind the number, or above a column of them.
        factor: What it is multiplied by.
        low: Smallest value there can be, before that, or None.
        high: Largest one, or None.
        best: Picks the best of several; errors are best where they are least.
        digits: Behind the point.
    """

    name: str
    factor: float = 1.0
    low: float | None = None
    high: float | None = None
    best: Callable[[Iterable[float]], float] = max
    digits: int = 1

    def shown(self, value: float | None, digits: int | None = None) -> str:
        """A number without its unit; a dash for None."""
        digits = self.digits if digits is None else digits
        return "-" if value is None else f"{self.factor * value:z.{digits}f}"

    def written(self, value: float, digits: int | None = None) -> str:
        """A number with its unit."""
        joint = "" if self.name == "%" else " "
        return f"{self.shown(value, digits)}{joint}{self.name}".rstrip()

    def named(self, name: str, value: float | None) -> str:
        """A number behind its name, with its unit unless the name has it already."""
        if value is None or self._is_in(name):
            return f"{name} {self.shown(value)}"
        return f"{name} {self.written(value)}"

    def headed(self, name: str) -> str:
        """A column's name with its unit, unless the name has it already."""
        return name if self._is_in(name) else f"{name} ({self.name})"

    def _is_in(self, name: str) -> bool:
        """Whether a name says the unit, as a word of its own; no unit is in any."""
        word = rf"(?<![A-Za-z/']){re.escape(self.name)}(?![A-Za-z/])"
        return not self.name or re.search(word, name) is not None

    def within(self, value: float) -> float:
        """A bound of an interval, itself bounded by what there can be."""
        above = value if self.low is None else max(value, self.low)
        return above if self.high is None else min(above, self.high)


SHARE = Unit("%", 100.0, 0.0, 1.0)
# D4RL's convention: 0 is what random actions return, 100 an expert.
POINTS = Unit("points")
RETURN = Unit("return")
# Squared, of normalised states: small numbers, shown with one decimal.
ERROR = Unit("x 0.001", 1000.0, 0.0, None, min)
CENTIMETRES = Unit("cm", 100.0, 0.0, None, min)  # of what is measured in metres
SECONDS = Unit("s", 1.0, 0.0, None, min)

UNITS = {
    "normalized_return": POINTS,
    "normalized_return_local": POINTS,
    "return_mean": RETURN,
    "return_std": RETURN,
    "episode_length": Unit("steps", low=0.0),
    "x_velocity": Unit("m/s", digits=2),
    "prediction_error": Unit("", low=0.0, best=min, digits=3),
    "state_mse": ERROR,
    "lap_time": SECONDS,
    "laps": Unit("laps", low=0.0),
    "crashes": Unit("crashes", low=0.0, best=min),
    **dict.fromkeys(
        [
            *("ade", "ade_p95", "ade_max", "fde"),
            *("cross_track", "cross_track_rms", "cross_track_max"),
            *(f"error_{seconds}s" for seconds in ("0.5", "1", "2", "5", "10")),
        ],
        CENTIMETRES,
    ),
}


# A word of the name of what is best where it is least.
_LESS = re.compile(r"(?:^|_)(?:loss|error|mse|nll|misfit)(?:_|$)")


def unit(metric: str, values: Iterable[float] = ()) -> Unit:
    """The unit of a metric; one that nothing is said of is a share in [0, 1].

    A column of metrics.csv, such as train/return_mean, has that of its last part; one
    that nothing is said of is a plain number, as are losses and errors wherever they
    stand.
    """
    kind, _, name = metric.rpartition("/")
    if name in UNITS:
        return UNITS[name]
    return plain_unit(metric, values) if kind or _LESS.search(name) else SHARE


def plain_unit(column: str, values: Iterable[float]) -> Unit:
    """No unit, and four digits of the largest of a column's values."""
    largest = max(map(abs, values), default=0.0) or 1.0
    best = min if _LESS.search(column.rpartition("/")[2]) else max
    return Unit("", best=best, digits=max(0, 3 - math.floor(math.log10(largest))))
