"""How often an off-policy agent acts, learns and reports."""

from __future__ import annotations

from dataclasses import dataclass

from suite.envs.arguments import require_not_negative, require_positive, require_whole


@dataclass(frozen=True)
class Pace:
    """Steps and updates in turn. Numbers of steps are of all rows together.

    Args:
        exploration: First steps, taken with uniform actions; no update before them.
        collect: Steps between two blocks of updates.
        updates: Gradient updates of a block.
        epoch: Steps between two yields of ``iterate``.

    Raises:
        ValueError: If a number is out of range, or an epoch no multiple of ``collect``.
    """

    exploration: int = 1000
    collect: int = 1
    updates: int = 1
    epoch: int = 1000

    def __post_init__(self) -> None:
        require_whole("exploration", self.exploration)
        require_not_negative("exploration", self.exploration)
        for name in ("collect", "updates", "epoch"):
            require_positive(name, getattr(self, name))
        if self.epoch % self.collect:
            raise ValueError(
                f"an epoch of {self.epoch} steps must be a multiple of collect, "
                f"{self.collect}"
            )

    @property
    def updates_per_epoch(self) -> int:
        """Gradient updates of an epoch after the exploration."""
        return self.epoch // self.collect * self.updates

    @property
    def first_learned_from(self) -> int:
        """Steps that there are when the first update, or fit, is made."""
        return (self.exploration // self.collect + 1) * self.collect

    def require_rows(self, rows: int) -> None:
        """Refuse an environment whose rows cannot share the steps of ``collect``.

        Raises:
            ValueError: Naming both.
        """
        if self.collect % rows:
            raise ValueError(
                f"collect must be a multiple of the {rows} rows of the environment, "
                f"got {self.collect}"
            )
