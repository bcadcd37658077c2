"""What a corruption is: a pure change of one field of an episode, n rows at once."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Self, get_args

import numpy as np
from gymnasium import spaces

Field = Literal["obs", "action", "reward"]
Memory = dict[str, np.ndarray]


@dataclass(frozen=True)
class Moment:
    """What a corruption may know of n rows beside the values that it changes.

    Attributes:
        step: (n,) index of the value in its episode. Action and reward t belong to
            step t; observation 0 is that of the reset, t + 1 that after step t.
        last: (n,) bool, whether the episode ends with this step. Only true for rewards:
            nobody knows before a step that it will be the last.
        noise: (n, ...) this step's own draws; (n, 0) if the corruption draws none.
        memory: What ``apply`` returned at the step before, ``start`` at the first.
        space: The Gymnasium space of one row's value; None for rewards.
    """

    step: np.ndarray
    last: np.ndarray
    noise: np.ndarray
    memory: Mapping[str, np.ndarray]
    space: spaces.Space | None


class Corruption(ABC):
    """A change of the observations, the actions or the rewards of an episode.

    Use it to write a new wrapper: subclass it as a frozen dataclass of JSON-able fields
    and implement ``apply``. The adapters make a wrapper of ``Env`` and ``VectorEnv``
    and a transformation of stored episodes out of it. It holds no state and draws no
    noise itself, so that all three agree bit for bit and snapshots are exact.

    Attributes:
        field: Which of ``"obs"``, ``"action"`` and ``"reward"`` it changes.
    """

    field: ClassVar[Field]

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        """Refuse a class that lacks what the adapters ask of it, before it is used."""
        require_frozen(cls)
        named = getattr(cls, "field", None)
        if named not in get_args(Field):
            raise TypeError(
                f"{cls.__name__} must say which field it changes, one of "
                f"{', '.join(get_args(Field))}, such as field = 'reward'; got {named!r}"
            )
        return super().__new__(cls)

    def check(self, space: spaces.Space | None) -> None:  # noqa: B027
        """Refuse a space that this corruption does not fit.

        Raises:
            ValueError: With what was got and what to do.
        """

    def noise_shape(self, space: spaces.Space | None) -> tuple[int, ...] | None:
        """Shape of one step's draws for one row; None if it draws none."""
        return None

    def draw(
        self, generator: np.random.Generator, shape: tuple[int, ...]
    ) -> np.ndarray:
        """Draws of several steps of one episode, (steps, ...); standard normal."""
        return generator.standard_normal(shape)

    def start(self, num_rows: int, space: spaces.Space | None) -> Memory:
        """What n episodes remember when they begin: arrays (n, ...) by name."""
        return {}

    def whole(self, value: np.ndarray, moment: Moment) -> np.ndarray:
        """All steps of whole episodes at once: exactly what ``apply`` gives in turn.

        Override it to make a corruption that remembers fast on stored data; without, it
        goes step by step. What remembers nothing is fast as it is.

        Args:
            value: (M, ...), one episode after the other.
            moment: Of each value; its memory is empty.

        Returns:
            The changed values (M, ...).
        """
        return self.applied(value, moment)[0]

    @abstractmethod
    def apply(self, value: np.ndarray, moment: Moment) -> tuple[np.ndarray, Memory]:
        """The changed values of one step, and what to remember.

        Args:
            value: (n, ...); floats come as float64 and are cast back afterwards.
            moment: The rest.

        Returns:
            New arrays: the values (n, ...) and the memory, {} if there is none. Neither
            argument is written to.
        """

    def applied(self, value: np.ndarray, moment: Moment) -> tuple[np.ndarray, Memory]:
        """What ``apply`` returned, seen to be that.

        Raises:
            ValueError: If it is no pair of values of the same shape and a memory, or
                remembers what ``start`` does not name.
        """
        found: Any = self.apply(value, moment)
        is_pair = isinstance(found, tuple) and len(found) == 2
        fits = is_pair and np.shape(found[0]) == value.shape
        if not fits or not isinstance(found[1], Mapping):
            raise ValueError(
                f"{type(self).__name__}.apply must return the values {value.shape} and "
                "a dict of what to remember, as in `return values, {}`, got "
                f"{_told(found)}"
            )
        unknown = found[1].keys() - moment.memory.keys()
        if unknown:
            raise ValueError(
                f"{type(self).__name__}.apply remembers {', '.join(sorted(unknown))}, "
                "which its start does not; return the first value of it from start"
            )
        return found


def require_frozen(corruption: type) -> None:
    """Refuse a class of corruptions that is no frozen dataclass.

    One that adds no field to a dataclass need not be decorated again.

    Raises:
        TypeError: With what to write.
    """
    own = vars(corruption)
    added = [
        hint for hint in own.get("__annotations__", {}).values() if _is_field(hint)
    ]
    params = getattr(corruption, "__dataclass_params__", None)
    is_missed = bool(added) and "__dataclass_params__" not in own
    if params is None or not params.frozen or is_missed:
        raise TypeError(
            f"{corruption.__name__} must be a frozen dataclass; write "
            "@dataclass(frozen=True) above the class"
        )


def _is_field(hint: Any) -> bool:
    return not str(hint).removeprefix("typing.").startswith("ClassVar")


def _told(found: Any) -> str:
    """What something is, by type and shape."""
    if isinstance(found, tuple):
        return f"({', '.join(map(_told, found))})"
    return f"{type(found).__name__} {np.shape(found) or ''}".rstrip()


def _number(name: str, value: Any) -> float:
    try:
        if not isinstance(value, (str, bytes)):
            return float(value)
    except (TypeError, ValueError):
        pass
    raise ValueError(f"{name} must be a number, got {value!r}")


def require_not_negative(name: str, value: float) -> float:
    """A finite float of 0 or more.

    Raises:
        ValueError: Naming the argument.
    """
    number = _number(name, value)
    if not (math.isfinite(number) and number >= 0):
        raise ValueError(f"{name} must be a finite number of 0 or more, got {value!r}")
    return number


def require_share(name: str, value: float, whole: float = 1) -> float:
    """A number between 0 and ``whole``.

    Raises:
        ValueError: Naming the argument.
    """
    number = require_not_negative(name, value)
    if number > whole:
        raise ValueError(f"{name} must be at most {whole}, got {value!r}")
    return number


def require_finite(name: str, value: float) -> float:
    """A finite float.

    Raises:
        ValueError: Naming the argument.
    """
    number = _number(name, value)
    if not math.isfinite(number):
        raise ValueError(f"{name} must be finite, got {value!r}")
    return number


def require_steps(name: str, value: int) -> int:
    """A whole number of steps, 0 or more.

    Raises:
        ValueError: Naming the argument.
    """
    is_whole = not isinstance(value, bool) and _number(name, value) % 1 == 0
    if not is_whole or value < 0:
        raise ValueError(f"{name} must be a whole number of 0 or more, got {value!r}")
    return int(value)


def require_float_box(who: str, space: spaces.Space | None) -> spaces.Box:
    """The space, if it is a box of floats.

    Raises:
        ValueError: Naming the space.
    """
    if isinstance(space, spaces.Box) and np.issubdtype(space.dtype, np.floating):
        return space
    raise ValueError(
        f"{who} needs a Box of floats, got {space}; convert it first, for example with "
        "gymnasium.wrappers.FlattenObservation or DtypeObservation"
    )


def spread(name: str, std: Any) -> float | tuple[float, ...]:
    """A standard deviation, or one for each entry, checked.

    Raises:
        ValueError: If one is negative or not finite.
    """
    if np.ndim(std) == 0:
        return require_not_negative(name, std)
    return tuple(require_not_negative(name, each) for each in std)


def spread_noise(value: np.ndarray, std: Any, moment: Moment) -> np.ndarray:
    """Values (n, ...) plus ``std`` times the moment's draws, inside its box."""
    noisy = np.asarray(std) * moment.noise
    noisy += value
    return within(noisy, moment.space)


def within(values: np.ndarray, space: Any) -> np.ndarray:
    """Values clipped to a box, in place; one without bounds leaves them alone."""
    if space.bounded_below.any() or space.bounded_above.any():
        np.clip(values, space.low, space.high, out=values)
    return values


def require_spread(who: str, std: float | Sequence[float], space: Any) -> None:
    """Refuse a space that a standard deviation does not fit.

    Raises:
        ValueError: If it is no box of floats or has another number of entries.
    """
    box = require_float_box(who, space)
    if isinstance(std, tuple) and box.shape != (len(std),):
        raise ValueError(
            f"{who} got {len(std)} standard deviations for a space of shape "
            f"{box.shape}; give one for each entry, or a single number"
        )
