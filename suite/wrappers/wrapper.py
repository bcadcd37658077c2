"""One class for a wrapper of an Env and of a VectorEnv."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Iterable
from functools import cache
from typing import Any

import gymnasium as gym
from gymnasium.utils import RecordConstructorArgs

from suite.wrappers.adapters import EnvAdapter, VectorAdapter
from suite.wrappers.corruption import Corruption
from suite.wrappers.noise import NoiseStream
from suite.wrappers.rows import CorruptedRows
from suite.wrappers.stack import layers


class CorruptionWrapper:
    """Base of every wrapper here: one name for an ``Env`` and a ``VectorEnv``.

    Use it to publish a corruption: subclass it and pass the corruption on in
    ``__init__``. What is built is an ``EnvAdapter`` (a ``gymnasium.Wrapper``) or a
    ``VectorAdapter`` (a ``gymnasium.vector.VectorWrapper``), and an instance of the
    subclass too. Its constructor arguments are recorded under the names of the
    corruption's fields, so they must be called alike: a spec rebuilds it by them.

    Args:
        env: What to wrap.
        corruption: What to do to it.
        seed: Of the noise; None where there is none.

    Raises:
        TypeError: If ``env`` is neither, or the subclass does not take what a spec
            would record.
        ValueError: If the corruption does not fit the environment's space.
    """

    corruption: Corruption

    # Any: a checker cannot say which adapter it is, and must not think it is neither.
    def __new__(cls, env: Any, *args: Any, **kwargs: Any) -> Any:
        """Choose the adapter."""
        if isinstance(env, gym.vector.VectorEnv):
            return object.__new__(_variant(cls, VectorAdapter))
        if isinstance(env, gym.Env):
            return object.__new__(_variant(cls, EnvAdapter))
        raise TypeError(
            f"{cls.__name__} wraps a gymnasium Env or VectorEnv, got {env!r}; in a "
            "Stable-Baselines3 VecEnv, wrap what is inside"
        )

    def __init__(self, env: Any, corruption: Corruption, seed: int | None = None):
        assert isinstance(self, EnvAdapter | VectorAdapter)
        recorded = {
            f.name: _plain(getattr(corruption, f.name))
            for f in dataclasses.fields(corruption)  # pyright: ignore[reportArgumentType]
        }
        if seed is not None:
            recorded["seed"] = int(seed)
        _require_taken(type(self), type(corruption), recorded)
        RecordConstructorArgs.__init__(self, **recorded)
        self._wrap(env)
        self.corruption = corruption
        space = None if corruption.field == "reward" else self._spaces[corruption.field]
        layer = _of_a_kind(corruption, env)
        stream = NoiseStream(
            0 if seed is None else seed, type(corruption).__name__, layer
        )
        self._rows = CorruptedRows(corruption, space, self._num_rows, stream)
        self._was_reset = False

    def __reduce__(self) -> tuple[Any, ...]:
        # The class of an instance is made here and has no importable name.
        public, adapter = type(self).__bases__
        return _blank, (public, adapter is VectorAdapter), vars(self)


def _of_a_kind(corruption: Corruption, env: Any) -> int:
    """How many wrappers with a corruption of this kind lie inside."""
    inside = list(layers(env))
    if isinstance(inside[-1], gym.vector.SyncVectorEnv):
        inside += layers(inside[-1].envs[0])  # each row has its own
    return sum(
        isinstance(layer, CorruptionWrapper)
        and type(layer.corruption) is type(corruption)
        for layer in inside
    )


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
    return [_plain(item) for item in value] if isinstance(value, tuple) else value


@cache
def _variant(public: type, adapter: type) -> type:
    # Of the same name and module, so that a spec names the public class.
    names = ("__module__", "__qualname__", "__doc__")
    return type(
        public.__name__, (public, adapter), {n: getattr(public, n) for n in names}
    )


def _blank(public: type, is_vector: bool) -> Any:
    return object.__new__(_variant(public, VectorAdapter if is_vector else EnvAdapter))
