"""What the benchmarks of agents that learn from a memory have in common."""

from __future__ import annotations

from typing import Any

from suite.benchmark import Part

ONE_SEED = {"seeds": [0]}


def pace(exploration: int, collect: int, updates: int, epoch: int) -> Part:
    """How often the agent acts and learns."""
    settings = {"exploration": exploration, "collect": collect}
    settings |= {"updates": updates, "epoch": epoch}
    return Part("suite.agents.pace:Pace", settings)


def returns(
    reference: str | None, episodes: int, steps: int, told: tuple[str, ...] = ()
) -> Part:
    """Episodes played at once, without noise, and what else is told of their steps."""
    settings: dict[str, Any] = {"reference": reference}
    settings |= {"episodes": episodes, "steps": steps}
    if told:
        settings["told"] = list(told)
    return Part("suite.scores:NormalizedReturn", settings)
