"""What ``run``, ``resume`` and ``sweep`` share: jobs watched to their end."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable, Generator, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from suite_bench.errors import Interrupted, Stopped, Terminated

if TYPE_CHECKING:
    from suite.running.jobs import Event, Failed


class Screen(Protocol):
    """What shows progress; a context manager."""

    def __enter__(self) -> Any:
        """Begin to show."""
        ...

    def __exit__(self, *reason: Any) -> None:
        """Clear what moves."""
        ...

    def say(self, line: str) -> None:
        """A line that stays."""
        ...

    def take(self, event: Event) -> None:
        """Show what happened."""
        ...


def watch(
    events: Generator[Event, None, None],
    screen: Screen,
    remarks: Sequence[str],
    way_on: Callable[[], str],
) -> list[Failed]:
    """Show what happens until all has happened; what failed.

    Args:
        events: Of an executor; closed at the end, which ends what is under way.
        screen: Where to show it.
        remarks: To say first.
        way_on: What to tell of an interruption: what is kept, and what to type.

    Raises:
        Interrupted: At Ctrl-C, ``Stopped`` at SIGTERM.
    """
    from suite.running.jobs import Failed

    failures: list[Failed] = []
    try:
        with _sigterm_ends(), screen, contextlib.closing(events):
            for remark in remarks:
                screen.say(remark)
            for event in events:
                if isinstance(event, Failed):
                    failures.append(event)
                screen.take(event)
    except Terminated:
        raise Stopped(f"terminated; {way_on()}") from None
    except KeyboardInterrupt:
        raise Interrupted(f"interrupted; {way_on()}") from None
    return failures


@contextlib.contextmanager
def _sigterm_ends() -> Iterator[None]:
    def end(*_: Any) -> None:
        raise Terminated

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
