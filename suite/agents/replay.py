"""What soft actor-critic learns from: real transitions, or a mixture with imagined."""

from __future__ import annotations

from typing import Any, Protocol

import torch

from suite.agents.ring_buffer import RingBuffer
from suite.envs.arguments import require_positive
from suite.storage import IntegrityError
from suite.worldmodels.experience import Experience


class Memory(Protocol):
    """Where minibatches come from. Hand one to ``SAC`` or ``MBPO``."""

    def add(self, real: Experience) -> None:
        """Take over transitions of the environment."""
        ...

    def imagine(self, imagined: Experience) -> None:
        """Take over transitions of a model."""
        ...

    def expect(self, rows: int) -> None:
        """Be told how many imagined transitions an epoch brings from now on."""
        ...

    def sample(self, count: int, generator: torch.Generator) -> Experience:
        """A minibatch."""
        ...

    def sizes(self) -> dict[str, int]:
        """How many transitions are inside, by kind."""
        ...

    def state(self) -> dict[str, Any]:
        """All that is inside; live tensors."""
        ...

    def load_state(self, tree: dict[str, Any], device: str) -> None:
        """Take over a ``state()``."""
        ...


class Replay:
    """One ring for everything, drawn from uniformly.

    Use it for plain SAC; and with a model where real and imagined transitions shall
    push each other out, as in CS285's ``run_hw4_mbpo``, whose buffer holds 100,000:
    their mixture then is whatever was added last.

    Args:
        capacity: Transitions at most.
    """

    def __init__(self, capacity: int = 1_000_000):
        self._ring = RingBuffer(capacity)

    def add(self, real: Experience) -> None:
        """Put them in."""
        self._ring.add(real)

    def imagine(self, imagined: Experience) -> None:
        """Put them in, beside the real ones."""
        self._ring.add(imagined)

    def expect(self, rows: int) -> None:
        """Nothing: the capacity is fixed."""

    def sample(self, count: int, generator: torch.Generator) -> Experience:
        """Any of them."""
        return self._ring.sample(count, generator)

    def sizes(self) -> dict[str, int]:
        """``all``."""
        return {"all": len(self._ring)}

    def state(self) -> dict[str, Any]:
        """All that is inside; live tensors."""
        return {"all": self._ring.state()}

    def load_state(self, tree: dict[str, Any], device: str = "cpu") -> None:
        """Take over a ``state()``.

        Raises:
            IntegrityError: If it is of another kind.
        """
        _require_names(tree, {"all"})
        self._ring.load_state(tree["all"], device)


class Mixture:
    """A fixed share of every minibatch is real, the rest imagined.

    Use it for MBPO. Of B transitions ``int(real_share B)`` are real and the others
    imagined, exactly; all are real while nothing was imagined yet. Imagined ones stay
    for ``retained`` epochs: the ring is resized when the rollouts' length changes, and
    keeps the newest.

    Source: Janner et al. 2019, code of arXiv:1906.08253.

    Args:
        real_share: Of a minibatch.
        retained: Epochs that imagined transitions stay.
        capacity: Real transitions at most.

    Raises:
        ValueError: For a share outside [0, 1] or a number below 1.
    """

    def __init__(
        self, real_share: float = 0.05, retained: int = 1, capacity: int = 1_000_000
    ):
        if not 0 <= real_share <= 1:
            raise ValueError(f"real_share must be within [0, 1], got {real_share}")
        require_positive("retained", retained)
        self.real_share, self.retained = real_share, retained
        self._real = RingBuffer(capacity)
        self._imagined = RingBuffer(1)  # until it is told how many there will be

    def add(self, real: Experience) -> None:
        """Put them to the real ones."""
        self._real.add(real)

    def imagine(self, imagined: Experience) -> None:
        """Put them to the imagined ones."""
        self._imagined.add(imagined)

    def expect(self, rows: int) -> None:
        """Keep as many as ``retained`` epochs bring."""
        self._imagined.resize(self.retained * rows)

    def sample(self, count: int, generator: torch.Generator) -> Experience:
        """The real ones first, then the imagined."""
        real = int(self.real_share * count) if len(self._imagined) else count
        rings = (self._real, real), (self._imagined, count - real)
        parts = [ring.sample(rows, generator) for ring, rows in rings if rows]
        return parts[0] if len(parts) == 1 else Experience.concatenate(parts)

    def sizes(self) -> dict[str, int]:
        """``real`` and ``imagined``."""
        return {"real": len(self._real), "imagined": len(self._imagined)}

    def state(self) -> dict[str, Any]:
        """All that is inside; live tensors."""
        return {"real": self._real.state(), "imagined": self._imagined.state()}

    def load_state(self, tree: dict[str, Any], device: str = "cpu") -> None:
        """Take over a ``state()``.

        Raises:
            IntegrityError: If it is of another kind.
        """
        _require_names(tree, {"real", "imagined"})
        self._real.load_state(tree["real"], device)
        self._imagined.load_state(tree["imagined"], device)


def _require_names(tree: dict[str, Any], names: set[str]) -> None:
    if set(tree) != names:
        raise IntegrityError(
            f"it is of another kind of memory: it holds {sorted(tree)}, not "
            f"{sorted(names)}"
        )
