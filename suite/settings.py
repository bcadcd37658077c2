"""Settings by dotted key, type-checked: ``--set agent.advantage.samples=5``."""

from __future__ import annotations

import json
import re
import types
import typing
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from suite.parts import (
    Argument,
    ConfigError,
    arguments,
    is_part,
    resolve,
    to_json,
    vector_entry_point,
)
from suite.unknown_names import near

_NOT_SETTABLE = ("name", "about", "metric", "scales", "reference", "baselines")
# Injected, or for the run to choose: no setting of an experiment.
_FROM_THE_RUN = (
    *("env", "make_env", "seed", "device", "threads", "data"),
    *("autoreset_mode", "num_threads", "render_mode"),
)


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
        key: Dotted. Parts are walked through (``agent.beta`` is ``agent.kwargs.beta``),
            a number picks from a list, ``call`` is what a part calls.
        value: A JSON value.

    Raises:
        ConfigError: If there is no such key (the message lists the valid ones) or the
            value is of the wrong type.
    """
    steps = _steps(key)
    slots = {
        name: _Slot(document, name, field.hint)
        for name, field in fields.items()
        if name not in _NOT_SETTABLE
    }
    for depth, step in enumerate(steps[:-1]):
        slots = _slots(_pick(slots, step, key, steps[:depth]).value)
    slot = _pick(slots, steps[-1], key, steps[:-1])
    hint = slot.hint
    if hint is Any and slot.value is not None:  # not annotated: the value there tells
        hint = type(slot.value)
    require_type(value, hint, key)
    slot.holder[slot.name] = float(value) if _wants_float(hint, value) else value


def flat(document: Any, prefix: str = "") -> dict[str, Any]:
    """The settings of a document by dotted key, parts and lists of them walked through.

    So that ``wrappers.0.std`` is one of them.
    """
    if isinstance(document, list) and document and all(map(is_part, document)):
        document = {str(place): part for place, part in enumerate(document)}
    if isinstance(document, Mapping) and isinstance(document.get("kwargs"), Mapping):
        own = {name: value for name, value in document.items() if name != "kwargs"}
        document = {**own, **document["kwargs"]}
    if not isinstance(document, Mapping) or not document:
        return {prefix.rstrip("."): document}
    found: dict[str, Any] = {}
    for name, value in document.items():
        found |= flat(value, f"{prefix}{name}.")
    return found


def overridden(
    settings: Mapping[str, Any], changes: Mapping[str, Any]
) -> dict[str, Any]:
    """Flat settings with others on top; what a replaced part had is gone."""
    result = dict(settings)
    for path, value in changes.items():
        key = ".".join(_steps(path))
        inside = [name for name in result if name == key or name.startswith(f"{key}.")]
        for name in inside:
            del result[name]
        result |= flat(to_json(value), f"{key}.")
    return result


def changes(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> dict[str, Any]:
    """Our flat settings that are not theirs."""
    return {k: v for k, v in ours.items() if k not in theirs or theirs[k] != v}


def differences(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> list[str]:
    """A word for each of our flat settings that is not theirs, such as ``beta0.3``."""
    changed = changes(ours, theirs).items()
    words = [_word(_shortest(key, ours), value) for key, value in changed]
    shorter: dict[str, str] = {}  # lists of parts, and how many ours has left
    for key in theirs:
        part = re.fullmatch(r"(.+)\.(\d+)\.call", key)
        if part and key not in ours and part[1] not in ours:
            shorter.setdefault(part[1], part[2])
    return words + [f"{name}{count}" for name, count in shorter.items()]


def label(first: str, words: Sequence[str]) -> str:
    """A folder name that says what differs: ``default-samples5-beta0.3``.

    Where there is no room for all, the length of the training is left out, which every
    table states, and then it ends in how many more there are: ``+2``.
    """
    words = [re.sub(r"[^A-Za-z0-9._-]+", "_", word)[:60] for word in (first, *words)]
    if len("-".join(words)) > 60:
        words = [word for word in words if not word.startswith("total_timesteps")]
    # Whole words: half a number would be another number.
    for count in range(len(words), 0, -1):
        left = len(words) - count
        spelled = "-".join(words[:count]) + (f"+{left}" if left else "")
        if len(spelled) <= 60:
            return spelled
    return words[0]


def _shortest(key: str, settings: Mapping[str, Any]) -> str:
    """As much of a dotted key, from its end, as no other setting ends in.

    Not from a number on: of ``wrappers.1.std`` that would say little.
    """
    steps = key.split(".")
    for count in range(1, len(steps)):
        end = "." + ".".join(steps[-count:])
        is_shared = any(f".{name}".endswith(end) for name in settings if name != key)
        if not is_shared and not end[1].isdigit():
            return end[1:]
    return key


def _word(name: str, value: Any) -> str:
    if value in ([], {}):
        return f"{name}0"
    if isinstance(value, (dict, list)):  # too long to spell
        return f"{name}{zlib.crc32(json.dumps(value).encode()) & 0xFFFF:04x}"
    return _own_name(value) if isinstance(value, str) else f"{name}{value}"


def _own_name(text: str) -> str:
    """Of a path or a callable."""
    return re.split("[/:]", text)[-1]


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
            others = f"it has {', '.join(known)}"
            raise ConfigError(f"{what} has no {name!r}; {near(name, known, others)}")
        require_type(value, known[name].hint, name)
    for name, argument in known.items():
        if argument.required and name not in document:
            raise ConfigError(f"{what} needs {name!r}")


def _steps(key: str) -> list[str]:
    return [step for step in key.split(".") if step != "kwargs"] or [key]


@dataclass(frozen=True)
class _Slot:
    """Where a setting lives in a document, and its type if that is known."""

    holder: Any
    name: Any
    hint: Any

    @property
    def value(self) -> Any:
        is_list = isinstance(self.holder, list)
        return self.holder[self.name] if is_list else self.holder.get(self.name)


NOTHING_INSIDE = (
    "has nothing to set inside; set it whole, a part as "
    '{"call": "module:Class", "kwargs": {}}'
)


def _pick(slots: Mapping[str, _Slot], step: str, key: str, path: list[str]) -> _Slot:
    if step in slots:
        return slots[step]
    names = f"has {', '.join(sorted(slots))}" if slots else NOTHING_INSIDE
    raise ConfigError(f"no setting {key!r}; {'.'.join(path) or 'a benchmark'} {names}")


def _slots(node: Any) -> dict[str, _Slot]:
    """What can be set inside a value."""
    if isinstance(node, list):
        return {str(index): _Slot(node, index, Any) for index in range(len(node))}
    if not isinstance(node, dict):
        return {}
    if is_part(node):
        return {"call": _Slot(node, "call", str), **_taken(node["call"], node)}
    if set(node) == {"id", "num_envs", "kwargs"}:
        own = {"id": _Slot(node, "id", str), "num_envs": _Slot(node, "num_envs", int)}
        return {**_taken(vector_entry_point(node["id"]), node), **own}
    return {name: _Slot(node, name, Any) for name in node}


def _taken(call: str, node: dict[str, Any]) -> dict[str, _Slot]:
    return {
        name: _Slot(node["kwargs"], name, argument.hint)
        for name, argument in arguments(resolve(call)).items()
        if (name not in _FROM_THE_RUN or name in node["kwargs"])
        and not name.startswith("_")
    }


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
    if plain in (list, tuple, Sequence):
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


def _wants_float(hint: Any, value: Any) -> bool:
    options = typing.get_args(hint) or (hint,)
    return _is_int(value) and float in options and int not in options


def _spelled(hint: Any) -> str:
    origin, options = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(dict.fromkeys(_spelled(option) for option in options))
    if origin in (list, tuple, Sequence):
        return f"a list of {_spelled(options[0])}"
    if hint is type(None):
        return "null"
    if hint in (int, float, bool, str):
        return hint.__name__
    return f'an object such as {{"call": ...}} for {getattr(hint, "__name__", hint)}'
