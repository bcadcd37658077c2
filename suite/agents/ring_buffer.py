"""A buffer of transitions that forgets the oldest."""

from __future__ import annotations

from typing import Any

import torch

from suite.envs.arguments import require_positive
from suite.storage import IntegrityError
from suite.worldmodels.experience import Experience

_FIRST = 1024  # rows of the first table; it doubles up to the capacity


class RingBuffer:
    """The newest transitions, up to a number, in one table.

    Use it for replay. Adding and drawing cost what the rows cost that are added or
    drawn, however many there are; memory grows with what is inside.

    Args:
        capacity: Transitions at most.

    Raises:
        ValueError: For a capacity below 1.
    """

    def __init__(self, capacity: int):
        require_positive("capacity", capacity)
        self.capacity = capacity
        self._table: torch.Tensor | None = None  # (fit now, 2 S + A + 2)
        self._widths: list[int] = []
        self._size = self._next = 0  # rows inside; where the next one goes

    def __len__(self) -> int:
        return self._size

    def add(self, new: Experience) -> None:
        """Put transitions in, the last ones of them if there are too many.

        Raises:
            ValueError: If they are of other sizes than those inside.
        """
        rows = _rows(new)[-self.capacity :]
        table = self._fitting(rows, _widths(new))
        places = (self._next + torch.arange(len(rows))) % self.capacity
        table[places.to(table.device)] = rows
        self._next = int(self._next + len(rows)) % self.capacity
        self._size = min(self._size + len(rows), self.capacity)

    def _fitting(self, rows: torch.Tensor, widths: list[int]) -> torch.Tensor:
        """The table, large enough for these rows, too."""
        if self._table is None:
            self._widths = widths
            self._table = rows.new_empty(min(_FIRST, self.capacity), sum(widths))
        if widths != self._widths:
            raise ValueError(
                f"the buffer holds transitions of {self._widths[0]} numbers of "
                f"observation and {self._widths[1]} of action, got {widths[0]} and "
                f"{widths[1]}"
            )
        needed = min(self._size + len(rows), self.capacity)
        if needed > len(self._table):
            larger = min(max(needed, 2 * len(self._table)), self.capacity)
            grown = rows.new_empty(larger, sum(widths))
            grown[: self._size] = self._table[: self._size]
            self._table = grown
        return self._table

    def sample(self, count: int, generator: torch.Generator) -> Experience:
        """Transitions drawn uniformly and with replacement.

        Args:
            count: How many.
            generator: Of the draws, on the CPU.

        Raises:
            ValueError: If there is none.
        """
        if not self._size or self._table is None:
            raise ValueError("there is no transition to draw; add some first")
        rows = torch.randint(self._size, (count,), generator=generator)
        return self._experience(self._table[rows.to(self._table.device)])

    def all(self) -> Experience:
        """All of them, the oldest first.

        Raises:
            ValueError: If there is none.
        """
        if not self._size:
            raise ValueError("there is no transition in the buffer; add some first")
        return self._experience(self._in_order())

    def resize(self, capacity: int) -> None:
        """Another capacity; the newest transitions that fit stay.

        Raises:
            ValueError: For a capacity below 1.
        """
        require_positive("capacity", capacity)
        if capacity == self.capacity:
            return
        if self._table is not None:
            self._table = self._in_order()[-capacity:].clone()
            self._size = len(self._table)
        self._next, self.capacity = self._size % capacity, capacity

    def _in_order(self) -> torch.Tensor:
        assert self._table is not None
        inside = self._table[: self._size]
        return inside.roll(-self._next, 0) if self._size == self.capacity else inside

    def _experience(self, rows: torch.Tensor) -> Experience:
        states, actions, rewards, next_states, ends = rows.split(self._widths, dim=1)
        return Experience(states, actions, rewards[:, 0], next_states, ends[:, 0])

    # ------------------------------------------------------------------- checkpoints
    def state(self) -> dict[str, Any]:
        """What is inside; live tensors."""
        return {
            "capacity": self.capacity,
            "widths": list(self._widths),
            "next": self._next,
            "rows": None if self._table is None else self._table[: self._size],
        }

    def load_state(self, tree: dict[str, Any], device: str = "cpu") -> None:
        """Take over a ``state()``.

        Raises:
            IntegrityError: If it is none.
        """
        rows, widths, capacity = tree["rows"], tree["widths"], tree["capacity"]
        size = 0 if rows is None else len(rows)
        place = tree["next"]
        is_full = size == capacity
        fits = rows is None or (rows.dtype, tuple(rows.shape)) == (
            torch.float32,
            (size, sum(widths)),
        )
        if not fits or not (0 <= place < capacity if is_full else place == size):
            raise IntegrityError(
                f"it is no buffer: {size} rows of {widths}, the next one at {place} of "
                f"{capacity}"
            )
        self.capacity, self._widths, self._next = capacity, list(widths), place
        self._size = size
        self._table = None if rows is None else rows.to(device, copy=True)


def _rows(new: Experience) -> torch.Tensor:
    return torch.cat(
        [
            new.states,
            new.actions,
            new.rewards[:, None],
            new.next_states,
            new.terminated[:, None],
        ],
        dim=1,
    )


def _widths(new: Experience) -> list[int]:
    return [new.states.shape[1], new.actions.shape[1], 1, new.states.shape[1], 1]
