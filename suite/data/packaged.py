"""Which behaviours are packaged, by the names of their folders.

``suite.agents.behaviour`` reads them and needs torch; who only lists does not.
"""

from __future__ import annotations

from pathlib import Path

PACKAGED = Path(__file__).parents[1] / "agents" / "behaviours"


def behaviour_names() -> list[str]:
    """Names of the packaged behaviours."""
    return sorted(path.parent.name for path in PACKAGED.glob("*/card.json"))
