"""Wrappers between what an agent commands and what the environment executes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from gymnasium import spaces

from suite.wrappers.corruption import (
    Corruption,
    Memory,
    Moment,
    require_share,
    require_spread,
    require_steps,
    spread,
    spread_noise,
)
from suite.wrappers.wrapper import CorruptionWrapper

_ARRAYS = (spaces.Box, spaces.Discrete, spaces.MultiDiscrete, spaces.MultiBinary)


def _checked(who: str, value: np.ndarray, moment: Moment) -> np.ndarray:
    """Commands (n, A); a bad one is refused before anything remembers it."""
    space = moment.space
    assert space is not None
    if value.shape[1:] != space.shape:
        raise ValueError(
            f"{who}: an action must have shape {space.shape}, got {value.shape[1:]}"
        )
    if value.dtype.kind == "f" and not np.isfinite(value).all():
        raise ValueError(
            f"{who}: actions must be finite, got {value[~np.isfinite(value)][0]}; "
            "check the policy for NaN weights"
        )
    return value


def _require_arrays(who: str, space: Any) -> None:
    if not isinstance(space, _ARRAYS):
        raise ValueError(
            f"{who} needs actions that are one array or number, got {space}; flatten "
            "them first"
        )


def _memory_dtype(space: Any) -> Any:
    # Wide enough to hold what a policy of any precision commands.
    return np.float64 if space.dtype.kind == "f" else np.int64


@dataclass(frozen=True)
class NoisyAction(Corruption):
    """clip(a + std z) with z standard normal; see ``ActionNoise``."""

    std: float | Sequence[float]
    field = "action"

    def __post_init__(self) -> None:
        object.__setattr__(self, "std", spread("std", self.std))

    def check(self, space: Any) -> None:
        """Refuse all but boxes of floats, and a std for another number of entries."""
        require_spread("ActionNoise", self.std, space)

    def noise_shape(self, space: Any) -> tuple[int, ...]:
        """One number for each entry."""
        return space.shape

    def apply(self, value: np.ndarray, moment: Moment) -> tuple[np.ndarray, Memory]:
        """Actions (n, A) with noise."""
        value = _checked("ActionNoise", value, moment)
        return spread_noise(value, self.std, moment), {}


class ActionNoise(CorruptionWrapper):
    """Normal noise between command and execution.

    Use it for actuators that are not exact. ``clip(a + std * z, low, high)`` with the
    bounds of the action space is executed; ``info["executed_action"]`` tells it.

    Args:
        env: An ``Env`` or a ``VectorEnv`` whose actions are a ``Box`` of floats.
        std: Standard deviation, in units of the action: one for all entries, or one for
            each entry of a one-dimensional action (A,).
        seed: Of the noise; the same seed gives the same noise to the same episodes.

    Raises:
        ValueError: If a std is negative or not finite, if their number is not that of
            the entries, or if the actions are no box of floats.
    """

    def __init__(self, env: Any, std: float | Sequence[float], seed: int = 0):
        super().__init__(env, NoisyAction(std), seed)


@dataclass(frozen=True)
class DelayedAction(Corruption):
    """a_(t - steps), the default before; see ``ActionDelay``."""

    steps: int
    default: Any = 0
    field = "action"

    def __post_init__(self) -> None:
        object.__setattr__(self, "steps", require_steps("steps", self.steps))
        default = np.asarray(self.default).tolist()
        if isinstance(default, list):
            default = _tuples(default)
        object.__setattr__(self, "default", default)

    def check(self, space: Any) -> None:
        """Refuse actions that are no arrays, and a default that is none of them."""
        _require_arrays("ActionDelay", space)
        default = np.asarray(self.default)
        fits = default.shape in ((), space.shape)
        if not fits or not space.contains(self._default(space, space.dtype)):
            raise ValueError(
                f"ActionDelay executes the default action {self.default} at first, "
                f"which is not in {space}; pass default="
            )

    def _default(self, space: Any, dtype: Any) -> Any:
        action = np.full(space.shape, self.default, dtype)
        return action if space.shape else action[()]

    def start(self, num_rows: int, space: Any) -> Memory:
        """The default is under way: (n, steps, A), command t at t modulo steps."""
        default = self._default(space, _memory_dtype(space))
        shape = (num_rows, self.steps, *space.shape)
        return {"under_way": np.broadcast_to(default, shape).copy()}

    def apply(self, value: np.ndarray, moment: Moment) -> tuple[np.ndarray, Memory]:
        """Actions (n, A) of ``steps`` ago."""
        value = _checked("ActionDelay", value, moment)
        if self.steps == 0:
            return value.copy(), {}
        rows, slot = np.arange(len(value)), moment.step % self.steps
        under_way = moment.memory["under_way"].copy()
        executed = under_way[rows, slot]
        under_way[rows, slot] = value
        return executed, {"under_way": under_way}

    def whole(self, value: np.ndarray, moment: Moment) -> np.ndarray:
        """Actions (M, A), moved back."""
        value = _checked("ActionDelay", value, moment)
        if self.steps == 0:
            return value.copy()
        space: Any = moment.space
        dtype = _memory_dtype(space)
        executed = np.empty(value.shape, dtype)
        executed[self.steps :] = value[: -self.steps]
        executed[moment.step < self.steps] = self._default(space, dtype)
        return executed


class ActionDelay(CorruptionWrapper):
    """Every action is executed some steps late.

    Use it for latency between a policy and its robot. Step t executes what was
    commanded at step t - ``steps`` and the ``default`` before that; what is under way
    at an episode's end is never executed. The agent no longer sees a Markov state.

    Args:
        env: An ``Env`` or a ``VectorEnv`` whose actions are one array or number.
        steps: How late, 0 or more control steps.
        default: What the first ``steps`` steps of an episode execute: a number for all
            entries, or an action.

    Raises:
        ValueError: If ``steps`` is negative or no whole number, or the default is not
            in the action space.
    """

    def __init__(self, env: Any, steps: int, default: Any = 0):
        super().__init__(env, DelayedAction(steps, default))


@dataclass(frozen=True)
class RepeatedAction(Corruption):
    """What was executed last, with a probability; see ``StickyAction``."""

    probability: float
    field = "action"

    def __post_init__(self) -> None:
        probability = require_share("probability", self.probability)
        object.__setattr__(self, "probability", probability)

    def check(self, space: Any) -> None:
        """Refuse actions that are no arrays."""
        _require_arrays("StickyAction", space)

    def noise_shape(self, space: Any) -> tuple[int, ...]:
        """One number a step."""
        return ()

    def draw(
        self, generator: np.random.Generator, shape: tuple[int, ...]
    ) -> np.ndarray:
        """Uniform in [0, 1)."""
        return generator.random(shape)

    def start(self, num_rows: int, space: Any) -> Memory:
        """Nothing has been executed; the value is never used."""
        return {"executed": np.zeros((num_rows, *space.shape), _memory_dtype(space))}

    def apply(self, value: np.ndarray, moment: Moment) -> tuple[np.ndarray, Memory]:
        """Actions (n, A), some of them those before."""
        value = _checked("StickyAction", value, moment)
        repeats = (moment.noise < self.probability) & (moment.step > 0)
        repeats = repeats.reshape(-1, *[1] * (value.ndim - 1))
        executed = np.where(repeats, moment.memory["executed"], value)
        return executed, {"executed": executed}

    def whole(self, value: np.ndarray, moment: Moment) -> np.ndarray:
        """Actions (M, A), each of the latest step that executed its command."""
        value = _checked("StickyAction", value, moment)
        obeys = (moment.noise >= self.probability) | (moment.step == 0)
        return value[np.maximum.accumulate(np.where(obeys, np.arange(len(value)), 0))]


class StickyAction(CorruptionWrapper):
    """With some probability, what was executed last is executed again.

    Use it to make a deterministic environment stochastic. The first step of an episode
    always executes its command. Repeats follow each other, so that a command is ignored
    for k steps with probability ``probability ** k``.

    Args:
        env: An ``Env`` or a ``VectorEnv`` whose actions are one array or number.
        probability: In [0, 1].
        seed: Of the choice; the same seed makes the same choices in the same episodes.

    Raises:
        ValueError: If the probability is outside [0, 1].

    Source: Machado et al. 2018, section 5.2, arXiv:1709.06009.
    """

    def __init__(self, env: Any, probability: float, seed: int = 0):
        super().__init__(env, RepeatedAction(probability), seed)


def _tuples(nested: list) -> tuple:
    return tuple(_tuples(each) if isinstance(each, list) else each for each in nested)
