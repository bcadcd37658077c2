"""Arrays shared by every layer: the NumPy-or-torch choice and the snapshot contract."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Protocol, runtime_checkable

import numpy as np

Indices = np.ndarray | Sequence[int] | slice


def namespace(array: Any) -> ModuleType:
    """The array namespace (NumPy or torch) of an array.

    Use it in pure task functions, so that one reward serves simulator and learned
    model.
    """
    if isinstance(array, np.ndarray):  # the hot path of every simulator step
        return np
    from array_api_compat import array_namespace

    return array_namespace(array)


@dataclass(frozen=True)
class Snapshot:
    """The state of n environment rows, one layer for each stateful wrapper.

    Use it to go back to a moment of an episode: ``env.restore(env.snapshot())``.

    Attributes:
        state: Arrays by name, each with leading axis n.
        inner: The snapshot of the wrapped environment, or None at the simulator.
    """

    state: Mapping[str, np.ndarray]
    inner: Snapshot | None = None

    def __len__(self) -> int:
        return len(next(iter(self.state.values())))

    def __getitem__(self, rows: Indices) -> Snapshot:
        """The snapshot of some rows; an index may repeat, to fan one row out into K."""
        return Snapshot(
            {name: array[rows] for name, array in self.state.items()},
            None if self.inner is None else self.inner[rows],
        )

    def to_tree(self) -> dict[str, Any]:
        """It as dicts of arrays, for a checkpoint."""
        inner = None if self.inner is None else self.inner.to_tree()
        return {"state": dict(self.state), "inner": inner}

    @staticmethod
    def from_tree(tree: Mapping[str, Any]) -> Snapshot:
        """The snapshot of ``to_tree``."""
        inner = tree["inner"]
        return Snapshot(
            tree["state"], None if inner is None else Snapshot.from_tree(inner)
        )

    @staticmethod
    def concatenate(snapshots: Sequence[Snapshot]) -> Snapshot:
        """Rows of several snapshots of the same environment, in order."""
        first = snapshots[0]
        inners = [s.inner for s in snapshots if s.inner is not None]
        return Snapshot(
            {
                name: np.concatenate([s.state[name] for s in snapshots])
                for name in first.state
            },
            Snapshot.concatenate(inners) if first.inner is not None else None,
        )


@runtime_checkable
class Restorable(Protocol):
    """An environment whose rows can be saved and put back exactly."""

    def snapshot(self, ids: np.ndarray | None = None) -> Snapshot:
        """The state of rows ``ids`` (all by default)."""
        ...

    def restore(
        self,
        snapshot: Snapshot,
        ids: np.ndarray | None = None,
        *,
        reseed: int | None = None,
    ) -> np.ndarray:
        """Put a snapshot's rows into rows ``ids``; returns their observations."""
        ...

    def halt(self, ids: np.ndarray) -> None:
        """Let rows ``ids`` stand still, at no cost, until they are restored or reset.

        Use it where nobody looks at a row any more, such as past a discount horizon.
        """
        ...


class NotRestorable(TypeError):
    """An environment with a layer whose state cannot be saved, named by the message."""
