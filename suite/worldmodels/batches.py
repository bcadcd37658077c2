"""Which transitions each member of an ensemble is fitted to, and which to none."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import torch

from suite.envs.arguments import (
    require_members,
    require_not_negative,
    require_number,
    require_positive,
)


class Batches(Protocol):
    """Which rows each member sees."""

    def require(self, rows: int, members: int) -> None:
        """Refuse too few rows, before an epoch needs them."""
        ...

    def steps(self, rows: int) -> int:
        """Gradient steps of one epoch."""
        ...

    def epoch(
        self, rows: int, members: int, seed: int, generator: torch.Generator
    ) -> Iterator[torch.Tensor]:
        """Row indices (E, b) of each step; ``seed`` stays for a round of fitting."""
        ...


def require_batches(batches: Any) -> None:
    """Refuse what cannot say which rows each member sees.

    Raises:
        TypeError: Naming what it is.
    """
    such = "Disjoint(...) or Bootstrap(...)"
    require_members("batches", batches, ("require", "steps", "epoch"), such)


@dataclass(frozen=True)
class Disjoint:
    """Every step draws rows that are all distinct, and deals each member its share.

    Use it to repeat the experiment log: no row is seen by two members in one step.

    Args:
        batch_size: Rows of one member in one step.
        steps_per_epoch: Steps between two yields.

    Raises:
        ValueError: For a number below 1.
    """

    batch_size: int = 512
    steps_per_epoch: int = 20

    def __post_init__(self) -> None:
        require_positive("batch_size", self.batch_size)
        require_positive("steps_per_epoch", self.steps_per_epoch)

    def require(self, rows: int, members: int) -> None:
        """Refuse fewer rows than are dealt out in a step.

        Raises:
            ValueError: If there are too few to be distinct.
        """
        needed = members * self.batch_size
        if needed > rows:
            raise ValueError(
                f"{members} members with {self.batch_size} distinct rows each need "
                f"{needed} transitions, got {rows}; lower batch_size or use Bootstrap"
            )

    def steps(self, rows: int) -> int:
        """Gradient steps of one epoch."""
        return self.steps_per_epoch

    def epoch(
        self, rows: int, members: int, seed: int, generator: torch.Generator
    ) -> Iterator[torch.Tensor]:
        """Row indices (E, b) of each step.

        Raises:
            ValueError: If there are too few rows to be distinct.
        """
        self.require(rows, members)
        needed = members * self.batch_size
        for _ in range(self.steps_per_epoch):
            yield _distinct(rows, needed, generator).view(members, self.batch_size)


@dataclass(frozen=True)
class Bootstrap:
    """Each member has its own resample of the data, with replacement, for a round.

    Use it for PETS and MBPO: members then disagree where data are few. An epoch is one
    pass over it in a new order.

    Source: Chua et al. 2018, section 4, arXiv:1805.12114.

    Args:
        batch_size: Rows of one member in one step.

    Raises:
        ValueError: For a batch below 1 row.
    """

    batch_size: int = 256

    def __post_init__(self) -> None:
        require_positive("batch_size", self.batch_size)

    def require(self, rows: int, members: int) -> None:
        """Any number of rows can be drawn again and again."""

    def steps(self, rows: int) -> int:
        """Gradient steps of one epoch."""
        return -(-rows // self.batch_size)

    def epoch(
        self, rows: int, members: int, seed: int, generator: torch.Generator
    ) -> Iterator[torch.Tensor]:
        """Row indices (E, b) of each step; the last one may have fewer."""
        own = torch.Generator().manual_seed(seed)
        resample = torch.randint(rows, (members, rows), generator=own)
        order = torch.rand(members, rows, generator=generator).argsort(dim=1)
        yield from resample.gather(1, order).split(self.batch_size, dim=1)


def _distinct(rows: int, count: int, generator: torch.Generator) -> torch.Tensor:
    """Distinct indices (count,) in random order, without a permutation of all rows."""
    if 2 * count > rows:
        return torch.randperm(rows, generator=generator)[:count]
    drawn = torch.empty(0, dtype=torch.int64)
    while len(drawn) < count:  # what repeats is drawn again, later ones first
        more = torch.randint(rows, (count,), generator=generator)
        drawn = torch.cat([drawn, more])
        order = torch.argsort(drawn, stable=True)
        repeats = torch.zeros(len(drawn), dtype=torch.bool)
        repeats[order[1:]] = drawn[order[1:]] == drawn[order[:-1]]
        drawn = drawn[~repeats]
    return drawn[:count]


@dataclass(frozen=True)
class Holdout:
    """Rows that are not trained on, to choose weights and members and to stop.

    After every epoch each member whose error on them fell by more than ``improvement``
    of the best so far keeps its weights; at the end of a round these are put back.

    Source: Janner et al. 2019, code of arXiv:1906.08253.

    Args:
        share: Of the transitions.
        largest: Rows at most.
        elites: How many members shall predict, the best ones; None is all.
        patience: Epochs in a row without an improvement of any member that end a
            round; None never ends it early.
        improvement: Relative.

    Raises:
        ValueError: For a share outside (0, 1), a count below 1 or an improvement below
            0.
    """

    share: float = 0.2
    largest: int = 5000
    elites: int | None = None
    patience: int | None = None
    improvement: float = 0.01

    def __post_init__(self) -> None:
        require_positive("largest", self.largest)
        for name in ("elites", "patience"):
            count = getattr(self, name)
            require_positive(name, 1 if count is None else count)
        require_number("share", self.share)
        if not 0 < self.share < 1:
            raise ValueError(f"share must be within (0, 1), got {self.share}")
        require_not_negative("improvement", self.improvement)
