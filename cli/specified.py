"""What the command line names: a benchmark or a sweep, its size and what is changed."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from suite_bench.errors import WrongUse

Named = TypeVar("Named")


def named(
    name: str, by_name: Callable[[str], Named], from_json: Callable[[Any], Named]
) -> Named:
    """What a name or the path of a JSON file stands for.

    Raises:
        WrongUse: If there is no such file.
        ConfigError: If it is not JSON, or not of the right kind.
        UnknownName: If there is nothing of that name.
    """
    from suite.parts import ConfigError

    if not name.endswith(".json"):
        return by_name(name)
    try:
        return from_json(json.loads(Path(name).read_bytes()))
    except (FileNotFoundError, IsADirectoryError):
        raise WrongUse(f"there is no file {name}") from None
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as reason:
        raise ConfigError(f"{name} is not JSON: {reason}") from None


def given_settings(assignments: tuple[str, ...]) -> dict[str, Any]:
    """What ``--set`` was given, by key.

    Raises:
        WrongUse: If one is no assignment.
    """
    from suite.settings import parse

    try:
        return dict(parse(assignment) for assignment in assignments)
    except ValueError as reason:
        raise WrongUse(f"--set: {reason}") from None


def require_said_once(seeds: str | None, changes: Mapping[str, Any]) -> None:
    """Refuse seeds that are named in two ways."""
    if seeds is not None and "seeds" in changes:
        raise WrongUse("--seeds and --set seeds say the same; give one of them")


def given_seeds(text: str) -> tuple[int, ...]:
    """The seeds that ``--seeds`` names.

    Raises:
        WrongUse: If it names none.
    """
    found: list[int] = []
    for item in text.split(","):
        part = re.fullmatch(r"\s*(\d{1,9})(?:-(\d{1,9}))?\s*", item)
        first, last = (part[1], part[2] or part[1]) if part else ("1", "0")
        if int(first) > int(last) or int(last) - int(first) >= 1000:
            raise WrongUse(f"--seeds must read 0, 0-2 or 0,3, got {text!r}")
        found += range(int(first), int(last) + 1)
    return tuple(dict.fromkeys(found))
