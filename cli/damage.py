"""Damaged datasets among others: told in the end, a line each, after the rest."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

import click

from suite_bench.errors import NotIntact

Answer = TypeVar("Answer")


def collected(
    ask: Callable[[str], Answer],
    names: Sequence[str],
    unread: dict[str, str] | None = None,
) -> tuple[dict[str, Answer], dict[str, str]]:
    """What is known of each dataset, and why nothing is known of the damaged ones.

    Args:
        ask: Finds out about one.
        names: Of which.
        unread: Takes why some that are whole cannot be read here.

    Raises:
        Unsupported: If one cannot be read here, without ``unread``.
        ValueError: If one is not there or makes no sense.
    """
    from suite.data.minari_files import Unsupported
    from suite.storage import IntegrityError

    found: dict[str, Answer] = {}
    damaged: dict[str, str] = {}
    for name in names:
        try:
            found[name] = ask(name)
        except IntegrityError as reason:
            damaged[name] = str(reason)
        except Unsupported as reason:
            if unread is None:
                raise
            unread[name] = str(reason)
    return found, damaged


def require_none(damaged: Mapping[str, str], of: int) -> None:
    """Tell the damaged ones, a line each, then fail.

    Raises:
        NotIntact: If there are any.
    """
    for name, reason in damaged.items():
        click.echo(f"{name}  damaged: {reason}", err=True)
    if damaged:
        first, reason = next(iter(damaged.items()))
        raise NotIntact(
            f"{len(damaged)} of {of} damaged, {first}: {reason}; delete it, then make "
            "or fetch it again"
        )
