"""One class for a wrapper of an Env, of a VectorEnv, of a replay and of a Dataset."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from typing import Any

import gymnasium as gym
from gymnasium.utils import RecordConstructorArgs

from suite.transitions import Dataset
from suite.wrappers.adapters import EnvAdapter, VectorAdapter
from suite.wrappers.corruption import Corruption
from suite.wrappers.dataset import Change, StoredCorruption
from suite.wrappers.noise import require_seed
from suite.wrappers.replaying import DatasetAdapter, ReplayAdapter, replay_inside

_ADAPTERS = (EnvAdapter, VectorAdapter, ReplayAdapter, DatasetAdapter)


class _Later:
    def __repr__(self) -> str:
        return "LATER"


# Given in the place of an environment: wrap what comes later. A specification says what
# shall be done to a dataset before that is loaded.
LATER: Any = _Later()


class CorruptionWrapper:
    """Base of every wrapper here: one name for whatever can be corrupted.

    Use it to publish a corruption: subclass it and pass the corruption on in
    ``__init__``. What is built of a ``gymnasium.Env`` is a ``gymnasium.Wrapper``, of a
    ``gymnasium.vector.VectorEnv`` a ``gymnasium.vector.VectorWrapper``, and an instance
    of the subclass too; of a ``suite.datasets.Dataset`` it is the corrupted
    ``Dataset``. Its constructor arguments are recorded under the names of the
    corruption's fields, so they must be called alike: a spec rebuilds it by them.

    Args:
        env: What to wrap.
        corruption: What to do to it.
        seed: Of the noise; None where there is none.

    Raises:
        TypeError: If ``env`` is neither, or acts where only stored data can change, or
            the subclass does not take what a spec would record.
        ValueError: If the corruption does not fit the environment's space.
    """

    corruption: Corruption | StoredCorruption

    # Any: a checker cannot say which adapter it is, and must not think it is neither.
    def __new__(cls, env: Any, *args: Any, **kwargs: Any) -> Any:
        """Choose the adapter."""
        if env is LATER:
            return Pending(cls, args, kwargs)
        if isinstance(env, Dataset):
            change: Any = object.__new__(_variant(cls, DatasetAdapter))
            change.__init__(env, *args, **kwargs)
            return change.result
        if isinstance(env, gym.vector.VectorEnv):
            return object.__new__(_variant(cls, VectorAdapter))
        if isinstance(env, gym.Env):
            replays = replay_inside(env) is not None
            return object.__new__(
                _variant(cls, ReplayAdapter if replays else EnvAdapter)
            )
        raise TypeError(
            f"{cls.__name__} wraps a gymnasium Env or VectorEnv or a "
            f"suite.datasets.Dataset, got {env!r}; in a Stable-Baselines3 VecEnv, wrap "
            "what is inside"
        )

    def __init__(
        self,
        env: Any,
        corruption: Corruption | StoredCorruption,
        seed: int | None = None,
    ):
        assert isinstance(self, _ADAPTERS)
        params = {
            f.name: _plain(getattr(corruption, f.name))
            for f in dataclasses.fields(corruption)  # pyright: ignore[reportArgumentType]
        }
        recorded = params if seed is None else {**params, "seed": require_seed(seed)}
        _require_taken(type(self), type(corruption), recorded)
        RecordConstructorArgs.__init__(self, **recorded)
        self.corruption = corruption
        self._wrap(env)
        name = f"{type(self).__module__}:{type(self).__qualname__}"
        self._install(Change(name, params, corruption, recorded.get("seed"), 0))

    def __reduce__(self) -> tuple[Any, ...]:
        # The class of an instance is made here and has no importable name.
        public, adapter = type(self).__bases__
        return _blank, (public, adapter), vars(self)


@dataclass(frozen=True)
class Pending:
    """A wrapper that waits for what it shall wrap: ``pending(dataset)``."""

    wrapper: type
    args: tuple[Any, ...]
    kwargs: dict[str, Any]

    def __call__(self, env: Any) -> Any:
        """Wrap it."""
        return self.wrapper(env, *self.args, **self.kwargs)


def _require_taken(wrapper: type, corruption: type, recorded: dict[str, Any]) -> None:
    """Refuse a wrapper whose record would not rebuild it.

    Raises:
        TypeError: With both lists of names.
    """
    taken = _taken(wrapper)
    if taken is not None and taken != set(recorded):
        raise TypeError(
            f"{wrapper.__name__} takes {_listed(taken)}, but a spec would record "
            f"{_listed(recorded)}; call its arguments as the fields of "
            f"{corruption.__name__} and hand on a seed if it takes one"
        )


@cache
def _taken(wrapper: type) -> set[str] | None:
    """Names of the constructor's arguments after the environment; None if any."""
    parameters = list(inspect.signature(wrapper.__init__).parameters.values())[2:]
    takes_any = any(p.kind is p.VAR_KEYWORD for p in parameters)
    return None if takes_any else {p.name for p in parameters}


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names)) or "nothing"


def _plain(value: Any) -> Any:
    """A field as JSON; what is more than a value says itself what it is."""
    if hasattr(value, "to_json"):
        return value.to_json()
    if callable(value):
        named = value if hasattr(value, "__qualname__") else type(value)
        return f"{named.__module__}:{named.__qualname__}"
    return [_plain(item) for item in value] if isinstance(value, tuple) else value


@cache
def _variant(public: type, adapter: type) -> type:
    # Of the same name and module, so that a spec names the public class.
    names = ("__module__", "__qualname__", "__doc__")
    return type(
        public.__name__, (public, adapter), {n: getattr(public, n) for n in names}
    )


def _blank(public: type, adapter: type) -> Any:
    return object.__new__(_variant(public, adapter))
