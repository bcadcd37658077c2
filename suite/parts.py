"""Parts: constructor calls as data, so that an experiment is JSON and composable."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import json
import math
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import FunctionType, MappingProxyType, SimpleNamespace
from typing import Any


class ConfigError(ValueError):
    """A specification that cannot be: a wrong name or type, a missing argument."""


@dataclass(frozen=True)
class Ref:
    """A Python object named by string, for arguments that want a class itself.

    Use it where JSON has no value: ``{"activation_fn": Ref("torch.nn:Tanh")}``.

    Args:
        ref: ``"module:attribute"``.
    """

    ref: str

    def __post_init__(self) -> None:
        if not isinstance(self.ref, str):
            raise ConfigError(f"a reference must be a string, got {self.ref!r}")


@dataclass(frozen=True, eq=False)
class Part:
    """A call with keyword arguments, not made yet.

    Use it wherever a specification needs an object: an agent, an estimator, a wrapper.
    Parts nest. Two parts are equal if their JSON is.

    Args:
        call: ``"module:attribute"`` of what to call.
        kwargs: JSON-able values, parts and references; copied and frozen.

    Raises:
        ConfigError: If a value cannot be written as JSON.
    """

    call: str
    kwargs: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not isinstance(self.call, str) or not isinstance(self.kwargs, Mapping):
            raise ConfigError(
                'a part must read {"call": "module:attribute", "kwargs": {...}}, got '
                f"{self.call!r} and {self.kwargs!r}"
            )
        object.__setattr__(self, "kwargs", frozen(self.kwargs))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Part) and canonical(self) == canonical(other)

    def __hash__(self) -> int:
        return hash(canonical(self))

    def __reduce__(self) -> tuple[Any, ...]:
        return from_json, (to_json(self),)  # a mappingproxy does not pickle


def frozen(value: Any) -> Any:
    """An immutable copy of a JSON-able value: tuples for lists, read-only dicts.

    Raises:
        ConfigError: If a value is not JSON, a ``Part`` or a ``Ref``.
    """
    if isinstance(value, Mapping):
        return MappingProxyType({str(key): frozen(item) for key, item in value.items()})
    if isinstance(value, (list, tuple)):
        return tuple(frozen(item) for item in value)
    if isinstance(value, float) and not math.isfinite(value):
        raise ConfigError(
            f"a setting must be finite to be written as JSON, got {value}"
        )
    if value is None or isinstance(value, (bool, int, float, str, Part, Ref)):
        return value
    raise ConfigError(
        f"a setting must be JSON, a Part or a Ref, got {type(value).__name__}: "
        f"{value!r}"
    )


def to_json(value: Any) -> Any:
    """A value as plain dicts, lists and scalars, dataclasses by their fields."""
    if dataclasses.is_dataclass(value):
        return {
            f.name: to_json(getattr(value, f.name)) for f in dataclasses.fields(value)
        }
    if isinstance(value, Mapping):
        return {key: to_json(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [to_json(item) for item in value]
    return value


def from_json(document: Any) -> Any:
    """The frozen value of a document; parts and references are told by their keys."""
    if isinstance(document, Mapping):
        if is_part(document):
            return Part(document["call"], from_json(document.get("kwargs", {})))
        if set(document) == {"ref"}:
            return Ref(document["ref"])
        return frozen({key: from_json(item) for key, item in document.items()})
    if isinstance(document, (list, tuple)):
        return tuple(from_json(item) for item in document)
    return frozen(document)


def is_part(document: Any) -> bool:
    """Whether a JSON document is a ``Part``; ``kwargs`` may be left out if empty."""
    return (
        isinstance(document, Mapping)
        and "call" in document
        and document.keys() <= {"call", "kwargs"}
    )


def canonical(value: Any) -> str:
    """The one JSON text of a value, for hashes and comparison."""
    return json.dumps(to_json(value), sort_keys=True, separators=(",", ":"))


def resolve(name: str) -> Any:
    """The object named ``"module:attribute"``, imported.

    Raises:
        ConfigError: If the name has another form, or there is no such module or
            attribute.
    """
    module_name, separator, attribute = name.partition(":")
    if not separator:
        raise ConfigError(f"{name!r} must read 'module:attribute'")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as reason:
        raise ConfigError(
            f"{name!r} needs the module {reason.name!r}, which is not found; check the "
            "spelling, put the folder of your own on PYTHONPATH, or install "
            "suite-bench[all]"
        ) from None
    if not hasattr(module, attribute):
        raise ConfigError(f"{module_name!r} has no {attribute!r} (asked for {name!r})")
    return getattr(module, attribute)


def vector_entry_point(env_id: str) -> str:
    """``"module:attribute"`` of a registered id.

    Args:
        env_id: As Gymnasium takes it: ``"module:Id-v0"`` imports the module that
            registers it, which a process of its own needs to be told.

    Raises:
        ConfigError: If there is no such id or it has no vector entry point.
    """
    import gymnasium as gym

    module, _, plain = env_id.rpartition(":")
    try:
        if module:
            importlib.import_module(module)
        entry = gym.spec(plain).vector_entry_point
    except (gym.error.Error, ImportError) as reason:
        raise ConfigError(f"there is no environment {env_id!r}: {reason}") from None
    if not isinstance(entry, str):
        raise ConfigError(
            f"the environment {env_id!r} has no vector entry point, by which a "
            "benchmark makes its rows; name one in its gym.register(id, ..., "
            "vector_entry_point=...), such as a BatchEnv of yours"
        )
    return entry


def registered_arguments(env_id: str) -> dict[str, Any]:
    """What an id's registration gives to its entry point.

    Args:
        env_id: One that ``vector_entry_point`` knows.
    """
    import gymnasium as gym

    return gym.spec(env_id.rpartition(":")[2]).kwargs


@dataclass(frozen=True)
class Argument:
    """What a callable says about one of its arguments."""

    hint: Any  # a type, or Any where the annotation is missing or cannot be read
    required: bool


def arguments(target: Callable[..., Any]) -> dict[str, Argument]:
    """Every argument a callable takes by name.

    A class whose constructor passes ``**kwargs`` on is read together with its bases, so
    that ``PPO(policy, env, *, advantage=None, **kwargs)`` shows all that
    Stable-Baselines3 takes.
    """
    found: dict[str, Argument] = {}
    for function in _constructors(target):
        passes_on = False
        for name, parameter in inspect.signature(function).parameters.items():
            if parameter.kind is parameter.VAR_KEYWORD:
                passes_on = True
            elif parameter.kind is not parameter.VAR_POSITIONAL and name != "self":
                required = parameter.default is parameter.empty
                hint = _hint(parameter.annotation, function)
                found.setdefault(name, Argument(hint, required))
        if not passes_on:
            break
    return found


def _constructors(target: Callable[..., Any]) -> list[Callable[..., Any]]:
    if not inspect.isclass(target):
        return [target]
    classes = inspect.getmro(target)[:-1]  # object's own takes nothing
    return [vars(owner)["__init__"] for owner in classes if "__init__" in vars(owner)]


def _hint(annotation: Any, function: FunctionType) -> Any:
    if annotation is inspect.Parameter.empty:
        return Any
    # One at a time: a library's single unreadable annotation must not hide the others.
    holder = SimpleNamespace(__annotations__={"hint": annotation})
    try:
        return typing.get_type_hints(holder, globalns=function.__globals__)["hint"]
    except (NameError, TypeError):  # a name imported for the type checker only
        return Any


def bind(part: Part, available: Mapping[str, Any]) -> Callable[..., Any]:
    """What a part calls, once its argument names are known to fit.

    Args:
        part: The part.
        available: Names the builder can inject.

    Raises:
        ConfigError: If the part names an argument that the callable does not take, or
            leaves out one it needs.
    """
    target = resolve(part.call)
    if not callable(target):
        raise ConfigError(f"{part.call!r} is not callable")
    accepted = arguments(target)
    for name in part.kwargs:
        if name not in accepted:
            raise ConfigError(
                f"{part.call} takes no {name!r}; it takes {', '.join(sorted(accepted))}"
            )
    for name, argument in accepted.items():
        if argument.required and name not in part.kwargs and name not in available:
            raise ConfigError(f"{part.call} needs the argument {name!r}")
    return target


def build(part: Part, available: Mapping[str, Any], **own: Any) -> Any:
    """Make the call of a part, nested parts first.

    What the builder has (an env factory, a seed, a device) is injected by parameter
    name: wherever a callable takes an argument of that name and its part does not give
        it.

    Args:
        part: The part.
        available: Injected here and into every nested part.
        **own: Injected here only.

    Returns:
        What the call returned.

    Raises:
        ConfigError: See ``bind``.
    """
    offered = {**available, **own}
    target = bind(part, offered)
    accepted = arguments(target)
    kwargs = {name: value for name, value in offered.items() if name in accepted}
    kwargs.update(
        {name: _built(value, available) for name, value in part.kwargs.items()}
    )
    try:
        return target(**kwargs)
    except TypeError as reason:  # a value of a type that no annotation told
        raise ConfigError(f"{part.call}: {reason}") from reason


def check(value: Any, available: Mapping[str, Any]) -> None:
    """``bind`` every part inside a value, and ``resolve`` every reference.

    Raises:
        ConfigError: See ``bind`` and ``resolve``.
    """
    if isinstance(value, Part):
        bind(value, available)
        check(value.kwargs, available)
    elif isinstance(value, Ref):
        resolve(value.ref)
    elif isinstance(value, (Mapping, tuple)):
        for item in value.values() if isinstance(value, Mapping) else value:
            check(item, available)


def _built(value: Any, available: Mapping[str, Any]) -> Any:
    if isinstance(value, Part):
        return build(value, available)
    if isinstance(value, Ref):
        return resolve(value.ref)
    if isinstance(value, Mapping):
        return {key: _built(item, available) for key, item in value.items()}
    if isinstance(value, tuple):
        return [_built(item, available) for item in value]
    return value
