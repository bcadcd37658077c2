"""Several memories of steps, drawn from as if they were one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch

from suite.agents.sequence_memory import SequenceMemory
from suite.worldmodels.subsequences import Subsequences


class JoinedMemory:
    """What was stored before and what is met now: every step is drawn alike.

    Use it where a model is fitted to both. The parts are shared, not copied, and grow
    on their own.

    Args:
        parts: Memories of steps of the same sizes.
    """

    def __init__(self, parts: Sequence[SequenceMemory]):
        self.parts = tuple(parts)

    def __len__(self) -> int:
        """Steps inside."""
        return sum(map(len, self.parts))

    def states(self, count: int, generator: torch.Generator) -> torch.Tensor:
        """See ``SequenceMemory.states``."""
        shares = self._shares(count, generator)
        return torch.cat([part.states(n, generator) for part, n in shares])

    def pieces(
        self, count: int, steps: int, generator: torch.Generator
    ) -> Subsequences:
        """See ``SequenceMemory.pieces``; a part gets its share of all steps."""
        shares = self._shares(count, generator)
        found = [part.pieces(n, steps, generator) for part, n in shares]
        columns = zip(*found, strict=True)
        return Subsequences(*(torch.cat(column, dim=1) for column in columns))

    def _shares(
        self, count: int, generator: torch.Generator
    ) -> Iterator[tuple[SequenceMemory, int]]:
        """The parts that something is drawn from, and how much."""
        lengths = torch.tensor([len(part) for part in self.parts], dtype=torch.float64)
        filled = int((lengths > 0).sum())
        if filled < 2:  # nothing to choose: draws are those of the part itself
            yield self.parts[int(lengths.argmax())], count
            return
        chosen = lengths.multinomial(count, replacement=True, generator=generator)
        for part, n in zip(self.parts, chosen.bincount().tolist(), strict=False):
            if n:
                yield part, n
