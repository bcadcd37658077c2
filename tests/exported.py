"""The wrappers that are exported, and arguments to try each with.

No test names what it sweeps: what is exported is found. A required argument gets a
value by its name from ``ARGUMENTS``, else by its annotation.
"""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Mapping
from typing import Any

import suite.wrappers
from suite.parts import arguments
from suite.wrappers import CorruptionWrapper

ARGUMENTS = {"std": 0.1, "steps": 2, "probability": 0.5, "scale": -2.0}
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


def wrapped(name: str, env: Any) -> Any:
    """An environment in the exported wrapper of that name."""
    return WRAPPERS[name](env, **required(WRAPPERS[name], {"env": None}))
