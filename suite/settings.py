"""Settings by dotted key: what ``--set agent.advantage.samples=5`` changes, type-checked."""

from __future__ import annotations

import json
import re
import types
import typing
import zlib
from collections.abc import Iterable, Mapping
from typing import Any

from suite.parts import Argument, ConfigError, arguments, is_part, resolve, to_json, vector_entry_point

_NOT_SETTABLE = ("name", "about", "metric", "scales", "reference")
_FROM_THE_RUN = ("env", "make_env")  # injected: no JSON value can stand for them


def parse(assignment: str) -> tuple[str, Any]:
    """Key and value of ``"key=value"``: the value is JSON, or else a string.

    Raises:
        ValueError: If there is no ``=`` or no key.
    """
    key, separator, text = assignment.partition("=")
    if not separator or not key.strip():
        raise ValueError(f"a setting must read key=value, got {assignment!r}")
    try:
        return key.strip(), json.loads(text)
    except (json.JSONDecodeError, RecursionError):
        return key.strip(), text


def change(
    document: dict[str, Any], fields: Mapping[str, Argument], key: str, value: Any
) -> None:
    """Set one value of a benchmark's JSON document, in place.

    Args:
        document: Of ``Benchmark.to_json``.
        fields: What there is at the top.
        key: Dotted. Parts are walked through (``agent.beta`` is ``agent.kwargs.beta``), a
            number picks from a list, ``call`` is what a part calls.
        value: A JSON value.

    Raises:
        ConfigError: If there is no such key (the message lists the valid ones) or the value
            is of the wrong type.
    """
    steps = [step for step in key.split(".") if step != "kwargs"] or [key]
    node: Any = document
    for depth, step in enumerate(steps):
        where = ".".join(steps[:depth])
        if not isinstance(node, (dict, list)):
            raise ConfigError(f"no setting {key!r}: {where} is {json.dumps(node)}")
        known = {k: v for k, v in fields.items() if k not in _NOT_SETTABLE}
        if depth:
            node, known = _opened(node, step)
        if step not in known:
            place = f"{where} has" if where else "a benchmark has"
            names = ", ".join(sorted(known)) or "nothing to set"
            raise ConfigError(f"no setting {key!r}; {place} {names}")
        slot = int(step) if isinstance(node, list) else step
        if depth < len(steps) - 1:
            node = node[slot] if isinstance(node, list) else node.get(slot)
            continue
        hint = known[step].hint
        if hint is Any:  # not annotated: the value there tells
            hint = _type_of(node[slot] if isinstance(node, list) else node.get(slot))
        require_type(value, hint, key)
        node[slot] = float(value) if _is_int(value) and _wants_float(hint) else value


def differences(base: Any, ours: Any, ignore: Iterable[str] = ()) -> dict[str, Any]:
    """Our values where two documents differ, by dotted key, parts walked through."""
    flat_base, flat_ours = _flat(base), _flat(ours)
    return {
        key: value
        for key, value in flat_ours.items()
        if key.partition(".")[0] not in ignore
        and (key not in flat_base or flat_base[key] != value)
    }


def label(first: str, changes: Mapping[str, Any]) -> str:
    """A folder name that says what differs: ``default-samples5-beta0.3``."""
    words = [first]
    for key, value in changes.items():
        if isinstance(value, (dict, list)):  # too long to spell
            value = format(zlib.crc32(json.dumps(value).encode()) & 0xFFFF, "04x")
        last = "" if isinstance(value, str) else key.rpartition(".")[2]
        words.append(f"{last}{value}")
    return re.sub(r"[^A-Za-z0-9._-]+", "_", "-".join(words))[:60]


def require_type(value: Any, hint: Any, name: str) -> None:
    """Refuse a JSON value that is not of an annotated type.

    Raises:
        ConfigError: Naming the setting, the type and the value.
    """
    if not _fits(value, hint):
        raise ConfigError(f"{name} must be {_spelled(hint)}, got {json.dumps(value)}")


def record(owner: type, fields: Any, what: str) -> Any:
    """A dataclass from a document, its field names and plain types checked.

    Raises:
        ConfigError: If a field is unknown, missing or of the wrong type.
    """
    require_fields(owner, to_json(fields), what)
    return owner(**fields)


def require_fields(owner: type, document: Any, what: str) -> None:
    """Check the names and plain types of a document against a dataclass.

    Raises:
        ConfigError: If a field is unknown, missing or of the wrong type.
    """
    if not isinstance(document, Mapping):
        raise ConfigError(f"{what} must be a JSON object, got {document!r}")
    known = arguments(owner)
    for name, value in document.items():
        if name not in known:
            raise ConfigError(f"{what} has no {name!r}; it has {', '.join(known)}")
        require_type(value, known[name].hint, name)
    for name, argument in known.items():
        if argument.required and name not in document:
            raise ConfigError(f"{what} needs {name!r}")


def _opened(node: Any, step: str) -> tuple[Any, dict[str, Argument]]:
    """Where a step's value lives, and what can be set there."""
    if isinstance(node, list):
        return node, {str(index): Argument(Any, True) for index in range(len(node))}
    if is_part(node):
        known = {"call": Argument(str, True), **_taken(node["call"])}
        return (node if step == "call" else node["kwargs"]), known
    if set(node) == {"id", "num_envs", "kwargs"}:
        own = {"id": Argument(str, True), "num_envs": Argument(int, True)}
        known = {**_taken(vector_entry_point(node["id"])), **own}
        return (node if step in own else node["kwargs"]), known
    return node, {name: Argument(Any, True) for name in node}


def _taken(call: str) -> dict[str, Argument]:
    taken = arguments(resolve(call))
    return {name: argument for name, argument in taken.items() if name not in _FROM_THE_RUN}


def _flat(node: Any, prefix: str = "") -> dict[str, Any]:
    if isinstance(node, Mapping) and isinstance(node.get("kwargs"), Mapping):
        node = {**{k: v for k, v in node.items() if k != "kwargs"}, **node["kwargs"]}
    if not isinstance(node, Mapping) or not node:
        return {prefix.rstrip("."): node}
    flat: dict[str, Any] = {}
    for name, child in node.items():
        flat |= _flat(child, f"{prefix}{name}.")
    return flat


# ---------------------------------------------------------------------------- types
def _fits(value: Any, hint: Any) -> bool:
    origin, options = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return any(_fits(value, option) for option in options)
    if origin is typing.Literal:
        return value in options
    plain = origin or hint
    if plain is Any or isinstance(plain, typing.TypeVar):
        return True
    if plain is type(None):
        return value is None
    if plain is float:
        return _is_int(value) or isinstance(value, float)
    if plain is int:
        return _is_int(value)
    if plain in (bool, str):
        return isinstance(value, plain)
    if plain in (list, tuple):
        return isinstance(value, list) and _items_fit(value, options)
    # Any other class can only be given as an object: a mapping, a part, a reference.
    return isinstance(value, Mapping)


def _items_fit(value: list[Any], options: tuple[Any, ...]) -> bool:
    if not options:
        return True
    if len(options) == 1 or options[-1] is Ellipsis:
        return all(_fits(item, options[0]) for item in value)
    return len(value) == len(options) and all(map(_fits, value, options))


def _is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _type_of(value: Any) -> Any:
    return Any if value is None else type(value)


def _wants_float(hint: Any) -> bool:
    options = typing.get_args(hint) or (hint,)
    return float in options and int not in options


def _spelled(hint: Any) -> str:
    origin, options = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(dict.fromkeys(_spelled(option) for option in options))
    if origin in (list, tuple):
        return f"a list of {_spelled(options[0])}"
    if hint is type(None):
        return "null"
    if hint in (int, float, bool, str):
        return hint.__name__
    return f"an object such as {{\"call\": ...}} for {getattr(hint, '__name__', hint)}"
