"""Steps of episodes in their order, drawn as pieces that models are fitted to."""

from __future__ import annotations

from typing import Any

import torch

from suite.envs.arguments import require_positive
from suite.storage import IntegrityError
from suite.transitions import Dataset
from suite.worldmodels.experience import Experience
from suite.worldmodels.subsequences import Subsequences

_FIRST = 256  # moments of the first table; it doubles up to the capacity
_ROUNDS = 20  # of draws that may miss, before all pieces are looked for
_UNSTABLE = 2.0  # in the last column, where 1 is the end of an episode


class SequenceMemory:
    """The newest moments of N rows that step together, in one ring.

    Use it for models that are rolled out. A piece begins anywhere in an episode and
    lies within it; it may end early where the episode terminated. Adding and drawing
    cost what is added or drawn, however much there is; memory grows with what is
    inside.

    Args:
        capacity: Steps at most, of all rows together.

    Raises:
        ValueError: For a capacity below 1.
    """

    def __init__(self, capacity: int = 1_000_000):
        require_positive("capacity", capacity)
        self.capacity = capacity
        self._table: torch.Tensor | None = None  # (moments fit now, N, 2 S + A + 3)
        self._widths: list[int] = []
        self._size = self._next = 0  # moments inside; where the next one goes

    @staticmethod
    def of_dataset(data: Dataset, device: str = "cpu") -> SequenceMemory:
        """All steps of stored episodes, as one row."""
        done = torch.tensor(data.terminated | data.truncated, device=device)
        memory = SequenceMemory(len(data))
        memory.add(Experience.of_dataset(data, device=device), done[:, None])
        return memory

    def __len__(self) -> int:
        """Steps inside."""
        return self._size * (0 if self._table is None else self._table.shape[1])

    def add(
        self,
        real: Experience,
        done: torch.Tensor,
        unstable: torch.Tensor | None = None,
    ) -> None:
        """Put T moments in, the newest that fit if there are too many.

        Args:
            real: T N transitions, one moment of all rows after the other.
            done: (T, N) bool, whether the episode ended or was cut off with the step.
            unstable: (T, N) bool, whether the step was given up, so that it belongs to
                no piece; None if none was.

        Raises:
            ValueError: If they are of other rows or sizes than those inside, or of more
                rows than the capacity.
        """
        moments = _moments(real, done, unstable)
        table = self._fitting(moments, _widths(real))
        moments = moments[-self._limit(moments.shape[1]) :]
        places = (self._next + torch.arange(len(moments))) % self._limit(table.shape[1])
        table[places.to(table.device)] = moments
        self._next = int(self._next + len(moments)) % self._limit(table.shape[1])
        self._size = min(self._size + len(moments), self._limit(table.shape[1]))

    def _limit(self, rows: int) -> int:
        """How many moments of so many rows there is room for."""
        return self.capacity // rows

    def _fitting(self, moments: torch.Tensor, widths: list[int]) -> torch.Tensor:
        """The table, large enough for these moments, too."""
        rows = moments.shape[1]
        limit = self._limit(rows)
        if self._table is None:
            if limit < 1:
                raise ValueError(
                    f"a memory of {self.capacity} steps has no room for one of each of "
                    f"{rows} rows; give it a larger capacity"
                )
            self._widths = widths
            shape = (min(_FIRST, limit), *moments.shape[1:])
            self._table = moments.new_empty(shape)
        if (rows, widths) != (self._table.shape[1], self._widths):
            raise ValueError(
                f"the memory holds {self._table.shape[1]} rows with {self._widths[0]} "
                f"numbers of observation and {self._widths[1]} of action, got {rows} "
                f"with {widths[0]} and {widths[1]}"
            )
        needed = min(self._size + len(moments), limit)
        if needed > len(self._table):
            larger = min(max(needed, 2 * len(self._table)), limit)
            grown = moments.new_empty(larger, *moments.shape[1:])
            grown[: self._size] = self._table[: self._size]
            self._table = grown
        return self._table

    # ----------------------------------------------------------------------- drawing
    def states(self, count: int, generator: torch.Generator) -> torch.Tensor:
        """Observations (count, S) that were acted on, uniformly and with replacement.

        Raises:
            ValueError: If there is none.
        """
        table = self._filled()
        places = torch.randint(len(self), (count,), generator=generator)
        return table.flatten(0, 1)[places.to(table.device), : self._widths[0]]

    def pieces(
        self, count: int, steps: int, generator: torch.Generator
    ) -> Subsequences:
        """Pieces of episodes, uniformly and with replacement.

        Of all moments after which the episode goes on for so many steps, or terminates
        before.

        Args:
            count: B.
            steps: H.
            generator: Of the draws, on the CPU.

        Raises:
            ValueError: If there is none.
        """
        require_positive("steps", steps)
        table, parts, missing = self._filled(), [], count
        for _ in range(_ROUNDS):
            drawn = self._drawn(table, missing, steps, generator)
            parts.append(drawn)
            missing -= drawn.shape[1]
            if not missing:
                return self._pieces(torch.cat(parts, dim=1))
        ages, rows = self._starts(table, steps)
        if not len(ages):
            raise ValueError(
                f"no {steps} steps in a row lie within one episode of the {len(self)} "
                "that are stored; shorten the horizon, or collect more before the "
                "first update"
            )
        chosen = torch.randint(len(ages), (missing,), generator=generator)
        parts.append(self._following(table, ages[chosen], rows[chosen], steps))
        return self._pieces(torch.cat(parts, dim=1))

    def _drawn(
        self, table: torch.Tensor, count: int, steps: int, generator: torch.Generator
    ) -> torch.Tensor:
        """So many moments and what follows (H, b, W); those that are pieces."""
        # A moment's age: 0 is the oldest. The newest have nothing behind them.
        ages = torch.randint(self._size, (count,), generator=generator)
        rows = torch.randint(table.shape[1], (count,), generator=generator)
        return self._following(table, ages, rows, steps)

    def _following(
        self, table: torch.Tensor, ages: torch.Tensor, rows: torch.Tensor, steps: int
    ) -> torch.Tensor:
        ages = ages + torch.arange(steps)[:, None]
        places = (self._oldest(table) + ages) % max(self._size, 1)
        found = table[places.to(table.device), rows.to(table.device)]
        terminated, done = found[..., -2] > 0, found[..., -1] > 0
        # In the order of time, the first thing that ends a piece must be its
        # termination; what lies beyond the newest moment ends it like a cut, and a
        # step that was given up is a cut before itself.
        cut = (done & ~terminated)[:-1] | (ages[1:] >= self._size).to(done.device)
        unstable = found[..., -1] == _UNSTABLE
        cut |= unstable[1:]
        ends = terminated[:-1].cumsum(dim=0) > 0
        return found[:, ~((cut & ~ends).any(dim=0) | unstable[0])]

    def _starts(
        self, table: torch.Tensor, steps: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Ages and rows (P,) of all moments that a piece begins at."""
        flags = table[..., -2:].cpu().roll(-self._oldest(table), dims=0)
        terminated, done = (flags > 0).unbind(dim=-1)
        ages = torch.arange(len(done))[:, None]
        # When the episode of each moment ends; the memory's end counts like a cut.
        last = torch.where(done, ages, len(done) - 1).flip(0).cummin(dim=0).values
        last = last.flip(0)
        ends = terminated.gather(0, last)
        # A step that was given up is not counted.
        last = last - (flags[..., -1] == _UNSTABLE).gather(0, last).long()
        ages, rows = (ends | (last - ages >= steps - 1)).nonzero(as_tuple=True)
        return ages, rows

    def _oldest(self, table: torch.Tensor) -> int:
        """Where the oldest moment lies."""
        return self._next if self._size == self._limit(table.shape[1]) else 0

    def _pieces(self, found: torch.Tensor) -> Subsequences:
        parts = found.split([*self._widths, 1], dim=-1)
        states, actions, rewards, next_states, ends, _ = parts
        obs = torch.cat([states[:1], next_states])
        return Subsequences(obs, actions, rewards[..., 0], ends[..., 0] > 0)

    def _filled(self) -> torch.Tensor:
        if self._table is None or not self._size:
            raise ValueError("there is no step to draw; add some first")
        return self._table[: self._size]

    # ------------------------------------------------------------------- checkpoints
    def state(self) -> dict[str, Any]:
        """What is inside; live tensors."""
        return {
            "capacity": self.capacity,
            "widths": list(self._widths),
            "next": self._next,
            "moments": None if self._table is None else self._table[: self._size],
        }

    def load_state(self, tree: dict[str, Any], device: str = "cpu") -> None:
        """Take over a ``state()``.

        Raises:
            IntegrityError: If it is none.
        """
        table, widths, capacity = tree["moments"], tree["widths"], tree["capacity"]
        size, place = (0 if table is None else len(table)), tree["next"]
        limit = capacity if table is None else capacity // table.shape[1]
        fits = table is None or (
            table.dtype == torch.float32
            and table.dim() == 3
            and table.shape[2] == sum(widths) + 1
        )
        is_full = 0 < size == limit
        fits = fits and size <= limit
        if not fits or not (0 <= place < limit if is_full else place == size):
            raise IntegrityError(
                f"it is no memory: {size} moments of {widths}, the next one at {place} "
                f"of {limit}"
            )
        self.capacity, self._widths, self._next = capacity, list(widths), place
        self._size = size
        self._table = None if table is None else table.to(device, copy=True)


def _moments(
    real: Experience, done: torch.Tensor, unstable: torch.Tensor | None
) -> torch.Tensor:
    """(T, N, 2 S + A + 3)."""
    if done.numel() != len(real):
        raise ValueError(
            f"done (T, N) must be of all {len(real)} transitions, got shape "
            f"{tuple(done.shape)}"
        )
    ends = done.to(real.rewards)
    if unstable is not None:
        ends = ends.masked_fill(unstable, _UNSTABLE)
    columns = (
        *(real.states, real.actions, real.rewards[:, None], real.next_states),
        *(real.terminated[:, None], ends.flatten()[:, None]),
    )
    return torch.cat(columns, dim=1).unflatten(0, tuple(done.shape))


def _widths(real: Experience) -> list[int]:
    size = real.states.shape[1]
    return [size, real.actions.shape[1], 1, size, 1]
