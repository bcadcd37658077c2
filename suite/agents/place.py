"""Where an agent stands in its environment, as checkpoints keep it."""

from __future__ import annotations

from typing import Any

from suite.arrays import Snapshot
from suite.checkpoints import require_like
from suite.wrappers import restorable


def place(env: Any, obs: Any) -> dict[str, Any]:
    """The environment with its streams, and the observation to act on next.

    Use it in a learner's ``state()``; ``take_place`` is its inverse.

    Args:
        env: The vector environment.
        obs: What it showed last, or None before it was reset.

    Raises:
        suite.arrays.NotRestorable: If the environment cannot be saved.
    """
    saved = restorable(env)
    return {"obs": obs, "env": None if obs is None else saved.snapshot().to_tree()}


def take_place(env: Any, form: Any, tree: dict[str, Any]) -> None:
    """Put an environment where a ``place`` says, with its streams.

    Args:
        env: The vector environment, reset: the snapshot replaces every row.
        form: Of observations; what the reset gave.
        tree: A learner's state, with what ``place`` told after a reset.

    Raises:
        IntegrityError: If it is of another environment.
    """
    require_like(tree["obs"], form, "obs")
    saved = restorable(env)
    require_like(tree["env"], saved.snapshot().to_tree(), "env")
    saved.restore(Snapshot.from_tree(tree["env"]))
