"""Wrappers that change the reward and leave everything else untouched."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from suite.wrappers.corruption import (
    Corruption,
    Memory,
    Moment,
    require_finite,
    require_not_negative,
    require_share,
    require_steps,
)
from suite.wrappers.wrapper import CorruptionWrapper


@dataclass(frozen=True)
class NoisyReward(Corruption):
    """r + (std + relative_std |r|) z with z standard normal; see ``RewardNoise``."""

    std: float
    relative_std: float = 0.0
    field = "reward"

    def __post_init__(self) -> None:
        for name in ("std", "relative_std"):
            value = require_not_negative(name, getattr(self, name))
            object.__setattr__(self, name, value)

    def noise_shape(self, space: Any) -> tuple[int, ...]:
        """One number a step."""
        return ()

    def apply(self, value: np.ndarray, moment: Moment) -> tuple[np.ndarray, Memory]:
        """Rewards (n,) with noise."""
        std: Any = self.std
        if self.relative_std:
            std = std + self.relative_std * np.abs(value)
        return value + std * moment.noise, {}


class RewardNoise(CorruptionWrapper):
    """Normal noise on every reward.

    Use it to see how much an agent depends on exact rewards, or for a noisy dataset.
    ``std`` is in units of the reward; ``relative_std`` adds a share of |r|, so that
    with ``std=0`` only rewards other than 0 are touched. The reward of step t becomes
    ``r + (std + relative_std * |r|) * z_t``.

    Args:
        env: An ``Env`` or a ``VectorEnv``.
        std: Standard deviation, 0 or more.
        seed: Of the noise; the same seed gives the same noise to the same episodes.
        relative_std: Standard deviation as a share of |r|, 0 or more.

    Raises:
        ValueError: If an argument is negative or not finite.

    Example:
        >>> import gymnasium as gym
        >>> from suite.wrappers import RewardNoise
        >>> env = RewardNoise(gym.make("CartPole-v1"), std=0.1)
        >>> _ = env.reset(seed=0)
        >>> _, reward, _, _, info = env.step(0)
        >>> reward == info["clean_reward"]
        False
    """

    def __init__(
        self, env: Any, std: float, seed: int = 0, *, relative_std: float = 0.0
    ):
        super().__init__(env, NoisyReward(std, relative_std), seed)


@dataclass(frozen=True)
class ScaledReward(Corruption):
    """scale r + shift; see ``RewardScale``."""

    scale: float
    shift: float = 0.0
    field = "reward"

    def __post_init__(self) -> None:
        for name in ("scale", "shift"):
            value = require_finite(name, getattr(self, name))
            object.__setattr__(self, name, value)

    def apply(self, value: np.ndarray, moment: Moment) -> tuple[np.ndarray, Memory]:
        """Rewards (n,), scaled and shifted."""
        return self.scale * value + self.shift, {}


class RewardScale(CorruptionWrapper):
    """``scale * r + shift``.

    Use it to set the size of returns, to make every step cost something (``shift=-1``)
    or to turn a reward round (``scale=-1``). A shift changes which episode lengths pay.

    Args:
        env: An ``Env`` or a ``VectorEnv``.
        scale: Factor.
        shift: Added to every step's reward afterwards.

    Raises:
        ValueError: If an argument is not finite.
    """

    def __init__(self, env: Any, scale: float, shift: float = 0.0):
        super().__init__(env, ScaledReward(scale, shift))


@dataclass(frozen=True)
class DelayedReward(Corruption):
    """r_(t - steps), and all that is owed at the end; see ``RewardDelay``."""

    steps: int
    field = "reward"

    def __post_init__(self) -> None:
        object.__setattr__(self, "steps", require_steps("steps", self.steps))

    def start(self, num_rows: int, space: Any) -> Memory:
        """Nothing is owed yet: (n, steps), reward t at t modulo steps."""
        return {"owed": np.zeros((num_rows, self.steps))}

    def apply(self, value: np.ndarray, moment: Moment) -> tuple[np.ndarray, Memory]:
        """Rewards (n,) of ``steps`` ago."""
        if self.steps == 0:
            return value.copy(), {}
        rows, slot = np.arange(len(value)), moment.step % self.steps
        owed = moment.memory["owed"].copy()
        paid = owed[rows, slot]
        owed[rows, slot] = value
        paid = paid + np.where(moment.last, owed.sum(axis=1), 0.0)
        return paid, {"owed": owed}

    def whole(self, value: np.ndarray, moment: Moment) -> np.ndarray:
        """Rewards (M,), moved back; what is owed is summed as ``apply`` does it."""
        if self.steps == 0:
            return value.copy()
        paid = np.zeros(len(value))
        paid[self.steps :] = value[: -self.steps]
        paid[moment.step < self.steps] = 0.0
        (last,) = np.nonzero(moment.last)
        # Slot j holds the latest reward t with t = j modulo steps, if there is one.
        ends = moment.step[last, None]
        back = (ends - np.arange(self.steps)) % self.steps
        held = value[np.maximum(last[:, None] - back, 0)]
        owed = np.where(back <= ends, held, 0.0)
        paid[last] += owed.sum(axis=1)
        return paid + 0.0  # as apply adds it: no negative zero is left


class RewardDelay(CorruptionWrapper):
    """Every reward is paid some steps late.

    Use it to make credit assignment harder without changing returns: what is still owed
    at an episode's end, truncation included, is paid with its last step. The first
    ``steps`` rewards are 0.

    Args:
        env: An ``Env`` or a ``VectorEnv``; a time limit belongs inside, since an end
            that this wrapper does not see is not paid for.
        steps: How late, 0 or more control steps.

    Raises:
        ValueError: If ``steps`` is negative or no whole number.
    """

    def __init__(self, env: Any, steps: int):
        super().__init__(env, DelayedReward(steps))


@dataclass(frozen=True)
class SummedReward(Corruption):
    """The sum of the episode's rewards at its end, else 0; see ``SparseReward``."""

    field = "reward"

    def start(self, num_rows: int, space: Any) -> Memory:
        """Nothing earned yet."""
        return {"earned": np.zeros(num_rows)}

    def apply(self, value: np.ndarray, moment: Moment) -> tuple[np.ndarray, Memory]:
        """0 (n,), or the return at the end."""
        earned = moment.memory["earned"] + value
        return np.where(moment.last, earned, 0.0), {"earned": earned}

    def whole(self, value: np.ndarray, moment: Moment) -> np.ndarray:
        """0 (M,), or the return at the end, added up in order."""
        paid = np.zeros(len(value))
        (last,) = np.nonzero(moment.last)
        for end, steps in zip(last.tolist(), moment.step[last].tolist(), strict=True):
            paid[end] = np.add.accumulate(value[end - steps : end + 1])[-1] + 0.0
        return paid


class SparseReward(CorruptionWrapper):
    """The whole undiscounted return with the last step, 0 before.

    Use it to turn any dense task into one with a single reward an episode.

    Args:
        env: An ``Env`` or a ``VectorEnv``; a time limit belongs inside.
    """

    def __init__(self, env: Any):
        super().__init__(env, SummedReward())


@dataclass(frozen=True)
class FlippedReward(Corruption):
    """-r with a probability; see ``RewardFlip``."""

    rate: float
    field = "reward"

    def __post_init__(self) -> None:
        object.__setattr__(self, "rate", require_share("rate", self.rate))

    def noise_shape(self, space: Any) -> tuple[int, ...]:
        """One number a step."""
        return ()

    def draw(
        self, generator: np.random.Generator, shape: tuple[int, ...]
    ) -> np.ndarray:
        """Uniform in [0, 1)."""
        return generator.random(shape)

    def apply(self, value: np.ndarray, moment: Moment) -> tuple[np.ndarray, Memory]:
        """Rewards (n,), some of them turned round."""
        return np.where(moment.noise < self.rate, -value, value), {}


class RewardFlip(CorruptionWrapper):
    """With some probability a reward has the wrong sign.

    Use it for a signal that is now and then misread. Unlike zero-mean noise it does not
    average out: the mean of a reward is ``(1 - 2 rate) r``.

    Args:
        env: An ``Env``, a ``VectorEnv`` or a ``Dataset``.
        rate: Probability of each reward, 0 to 1; 1 turns all round.
        seed: Of the choice; the same seed makes the same choices in the same episodes.

    Raises:
        ValueError: If the rate is out of range.
    """

    def __init__(self, env: Any, rate: float, seed: int = 0):
        super().__init__(env, FlippedReward(rate), seed)


@dataclass(frozen=True)
class OutlyingReward(Corruption):
    """r + size or r - size with a probability; see ``RewardOutliers``."""

    rate: float
    size: float
    field = "reward"

    def __post_init__(self) -> None:
        object.__setattr__(self, "rate", require_share("rate", self.rate))
        size = require_not_negative("size", self.size)
        object.__setattr__(self, "size", size)

    def noise_shape(self, space: Any) -> tuple[int, ...]:
        """Whether, and to which side."""
        return (2,)

    def draw(
        self, generator: np.random.Generator, shape: tuple[int, ...]
    ) -> np.ndarray:
        """Uniform in [0, 1)."""
        return generator.random(shape)

    def apply(self, value: np.ndarray, moment: Moment) -> tuple[np.ndarray, Memory]:
        """Rewards (n,), some of them far off."""
        whether, side = moment.noise[:, 0] < self.rate, moment.noise[:, 1] < 0.5
        spike = np.where(side, self.size, -self.size)
        return np.where(whether, value + spike, value), {}


class RewardOutliers(CorruptionWrapper):
    """With some probability a reward is far off, up or down alike.

    Use it for faulty sensors and heavy tails: rare errors that no mean forgives.

    Args:
        env: An ``Env``, a ``VectorEnv`` or a ``Dataset``.
        rate: Probability of each reward, 0 to 1.
        size: How far off, in units of the reward, 0 or more.
        seed: Of choice and side.

    Raises:
        ValueError: If an argument is out of range.
    """

    def __init__(self, env: Any, rate: float, size: float, seed: int = 0):
        super().__init__(env, OutlyingReward(rate, size), seed)
