"""Cells: the places of a sweep, named by their values on axes."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from suite.benchmark import Benchmark
from suite.parts import ConfigError, frozen
from suite.settings import require_fields

Value = str | int | float
SEED = "seed"  # an axis that every sweep has
AXIS = re.compile(r"[a-z][a-z0-9_]*")
PLAIN_WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


@dataclass(frozen=True, eq=False)
class Cell:
    """One place of a sweep.

    Args:
        axes: Where it is, such as ``{"algo": "cql", "env": "hopper", "k": 30}``. Cells
            need not have the same axes: a control may have one of its own instead.
        spec: What is run there, for each of its seeds.
        cost: Work of one seed beside that of other cells; the dearest go first.

    Raises:
        ConfigError: If an axis or a value cannot be part of a folder's name, or the
            cost is not positive.
    """

    axes: Mapping[str, Value]
    spec: Benchmark
    cost: float = 1.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "axes", frozen(self.axes))
        for axis, value in self.axes.items():
            if axis == SEED or not AXIS.fullmatch(axis):
                raise ConfigError(
                    f"an axis needs a plain name other than seed, got {axis!r}"
                )
            if not _is_value(value) or not PLAIN_WORD.fullmatch(spelled(value)):
                raise ConfigError(
                    f"the axis {axis} needs plain words and numbers of 0 or more, got "
                    f"{value!r}"
                )
        if not self.axes or not (math.isfinite(self.cost) and self.cost > 0):
            raise ConfigError(
                f"a cell needs an axis and a positive cost, got {dict(self.axes)} and "
                f"{self.cost}"
            )

    @staticmethod
    def from_json(document: Any) -> Cell:
        """The cell of its fields as plain JSON.

        Raises:
            ConfigError: If a field is unknown, missing or of the wrong type.
        """
        require_fields(Cell, document, "cell")
        return Cell(**{**document, "spec": Benchmark.from_json(document["spec"])})

    @property
    def label(self) -> str:
        """Its name: ``cql-hopper-k30``."""
        return label(self.axes)

    @property
    def folder_name(self) -> str:
        """The name of its run folder."""
        return f"{self.label}-{self.spec.digest[:8]}"


def label(axes: Mapping[str, Value]) -> str:
    """A place in words: strings as they are, numbers behind the name of their axis."""
    return "-".join(
        value if isinstance(value, str) else f"{axis}{spelled(value)}"
        for axis, value in axes.items()
    )


def spelled(value: Value) -> str:
    """A value as it is typed."""
    return value if isinstance(value, str) else f"{value:g}"


def _is_value(value: Any) -> bool:
    return isinstance(value, (str, int, float)) and not isinstance(value, bool)
