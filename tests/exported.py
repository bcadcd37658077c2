"""The wrappers that are exported, and arguments to try each with.

No test names what it sweeps: what is exported is found. A required argument gets a
value by its name from ``ARGUMENTS``, else by its annotation.
"""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from stored import dataset

import suite.wrappers
from suite.envs.replay import ReplayEnv
from suite.parts import arguments
from suite.wrappers import CorruptionWrapper, StoredCorruption

DATA = dataset([9, 70, 3, 20] * 4)


class Outwards:
    """An attack without a critic: everything further from zero."""

    def __call__(self, array: str, data: Any, rows: Any, box: Any) -> np.ndarray:
        return np.sign(getattr(data, array)[rows])

    def to_json(self) -> str:
        return "outwards"


ARGUMENTS = {"std": 0.1, "steps": 2, "probability": 0.5, "scale": -2.0}
ARGUMENTS |= {"rate": 0.4, "size": 3.0, "percent": 30.0, "attack": Outwards()}
WRAPPERS: dict[str, type[CorruptionWrapper]] = {
    name: found
    for name, found in vars(suite.wrappers).items()
    if inspect.isclass(found)
    and issubclass(found, CorruptionWrapper)
    and found is not CorruptionWrapper
}


def required(target: Callable[..., Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Values for the arguments without a default; floats of (0, 1) that increase."""
    wanted = {
        name: argument.hint
        for name, argument in arguments(target).items()
        if argument.required and name not in given
    }
    return {
        name: _value(target, name, hint, place, len(wanted))
        for place, (name, hint) in enumerate(wanted.items(), start=1)
    }


def _value(
    target: Callable[..., Any], name: str, hint: Any, place: int, count: int
) -> Any:
    options = typing.get_args(hint) or (hint,)
    by_type = {float: place / (count + 1), int: place, bool: True}
    if name in ARGUMENTS:
        return ARGUMENTS[name]
    for known, value in by_type.items():
        if known in options:
            return value
    raise AssertionError(
        f"{target.__name__} needs {name!r}: annotate it as float, int or bool, or add "
        "a value to ARGUMENTS in tests/exported.py"
    )


def wrapped(name: str, what: Any) -> Any:
    """An environment, or data, in the exported wrapper of that name."""
    return WRAPPERS[name](what, **required(WRAPPERS[name], {"env": None}))


def _changes_stored_data_alone(name: str) -> bool:
    try:
        corruption = wrapped(name, ReplayEnv(DATA)).corruption
    except (AssertionError, TypeError, ValueError):
        return False  # why is told where it is tried
    return isinstance(corruption, StoredCorruption)


# Those that an acting environment can undergo; every one can be of stored data.
LIVE = [name for name in WRAPPERS if not _changes_stored_data_alone(name)]
