"""What the benchmarks of agents that learn from a memory have in common."""

from __future__ import annotations

from suite.benchmark import Part

ONE_SEED = {"seeds": [0]}


def pace(exploration: int, collect: int, updates: int, epoch: int) -> Part:
    """How often the agent acts and learns."""
    settings = {"exploration": exploration, "collect": collect}
    settings |= {"updates": updates, "epoch": epoch}
    return Part("suite.agents.pace:Pace", settings)


def returns(reference: str | None, episodes: int, steps: int) -> Part:
    """Episodes played at once, without noise."""
    settings = {"reference": reference, "episodes": episodes, "steps": steps}
    return Part("suite.scores:NormalizedReturn", settings)
