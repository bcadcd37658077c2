"""A name that is not known: one wording for all, which names the near ones."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UnknownName(LookupError):
    """Nothing of a name that somebody typed; the message has the near ones."""


def no_such(kind: str, name: str, known: Iterable[str]) -> str:
    """A sentence for a name that is not known, with the near ones, or else all."""
    known = list(known)
    if not known:
        return f"no {kind} {name!r}; there is none at all"
    return f"no {kind} {name!r}; " + near(name, known, f"there is {', '.join(known)}")


def near(name: str, known: Iterable[str], otherwise: str) -> str:
    """A question with the known names that are near, or else what is told otherwise."""
    found = difflib.get_close_matches(name, list(known), n=3)
    return f"did you mean {' or '.join(found)}?" if found else otherwise
