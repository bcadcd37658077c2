"""When and how long an agent imagines: strategy objects for ``MBPO``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from suite.envs.arguments import require_positive
from suite.worldmodels.branches import require_length


class Length(Protocol):
    """How many steps a rollout has."""

    def __call__(self, epoch: int) -> int:
        """Steps in this epoch, counted from 0 after the exploration."""
        ...


@dataclass(frozen=True)
class Fixed:
    """The same length always; 1 is Dyna.

    Args:
        steps: Of a rollout.

    Raises:
        ValueError: For less than 1 step.
    """

    steps: int = 1

    def __post_init__(self) -> None:
        require_length(self.steps)

    def __call__(self, epoch: int) -> int:
        """That number."""
        return self.steps


@dataclass(frozen=True)
class Growing:
    """Longer rollouts as the model gets better.

        int(clip(x + (epoch - a) / (b - a) * (y - x), x, y))

    Args:
        first_epoch: a, until which the length is x.
        last_epoch: b, from which on it is y.
        shortest: x.
        longest: y.

    Raises:
        ValueError: If the epochs do not rise, or lengths fall, begin below 1 or are no
            whole numbers.

    Source: Janner et al. 2019, appendix C, arXiv:1906.08253, and its code.
    """

    first_epoch: int
    last_epoch: int
    shortest: int
    longest: int

    def __post_init__(self) -> None:
        for steps in (self.shortest, self.longest):
            require_length(steps)
        if self.last_epoch <= self.first_epoch or self.longest < self.shortest:
            raise ValueError(f"epochs must rise and lengths not fall, got {self}")

    def __call__(self, epoch: int) -> int:
        """The length in this epoch."""
        span = self.last_epoch - self.first_epoch
        grown = (epoch - self.first_epoch) / span * (self.longest - self.shortest)
        return int(min(max(self.shortest + grown, self.shortest), self.longest))


@dataclass(frozen=True)
class Branched:
    """Rollouts of the policy from states that were met.

    Use it for MBPO as published (``every=None``: many rollouts after each fit) and for
    CS285's (``starts=1, every=1``: one before each update) alike. What is imagined is
    as old as ``every``: with ``starts`` and ``every`` 50 it is as much as with 1 and 1,
    by a policy at most 49 updates older.

    Args:
        starts: Rollouts at a time, from states drawn with replacement.
        length: Of each.
        every: Updates between two times, the first one right after a fit; None is once
            a fit.

    Raises:
        TypeError: If the length is a number: ``Fixed`` makes it one of all epochs.
        ValueError: If a number is below 1.
    """

    starts: int = 100_000
    length: Length = Fixed(1)
    every: int | None = None

    def __post_init__(self) -> None:
        if not callable(self.length) or isinstance(self.length, type):
            raise TypeError(
                f"length must be a Length such as Fixed(1), got {self.length!r}"
            )
        require_positive("starts", self.starts)
        require_positive("every", 1 if self.every is None else self.every)

    def is_due(self, updates: int) -> bool:
        """Whether to imagine, so many updates after the last fit."""
        return updates == 0 if self.every is None else updates % self.every == 0

    def rows_per_epoch(self, length: int, fits: float, updates: int) -> int:
        """Imagined transitions of an epoch if no rollout ends early.

        Args:
            length: Of a rollout.
            fits: Of the model in an epoch.
            updates: Of the policy in an epoch.
        """
        times = fits if self.every is None else updates / self.every
        times = max(times, 1)  # what is imagined at once is kept, if less often too
        return max(int(times * self.starts * length), 1)
