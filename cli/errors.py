"""Failures as the user meets them: one sentence and an exit code, no traceback."""

from __future__ import annotations

import click


class Failure(click.ClickException):
    """Something unexpected: exit code 1."""

    exit_code = 1


class WrongUse(Failure):
    """A wrong name or argument on the command line: exit code 2."""

    exit_code = 2


class BadConfig(Failure):
    """A setting, specification or file that cannot be used: exit code 3."""

    exit_code = 3


class Diverged(Failure):
    """A training that went to NaN or infinity: exit code 4."""

    exit_code = 4


class NotIntact(Failure):
    """A stored file that is not what was written: exit code 5."""

    exit_code = 5


class NoResources(Failure):
    """Disk, memory or a lock that cannot be had: exit code 6."""

    exit_code = 6


class Interrupted(Failure):
    """Ctrl-C: exit code 130."""

    exit_code = 130


class Stopped(Failure):
    """A polite request of the system to end: exit code 143."""

    exit_code = 143


class Terminated(KeyboardInterrupt):
    """SIGTERM arrived."""


def explained(reason: BaseException) -> click.ClickException:
    """The failure that tells a user about an exception."""
    # Imported here: the command line must start without the library.
    from suite.storage import IntegrityError
    from suite.unknown_names import UnknownName

    if isinstance(reason, Terminated):
        return Stopped("terminated")
    if isinstance(reason, KeyboardInterrupt):
        return Interrupted("interrupted")
    if isinstance(reason, OSError) and reason.filename is not None:
        return NoResources(f"{reason.strerror}: {reason.filename}")
    kinds: list[tuple[tuple[type[BaseException], ...], type[Failure]]] = [
        ((UnknownName,), WrongUse),
        ((ValueError,), BadConfig),
        ((FloatingPointError,), Diverged),
        ((IntegrityError,), NotIntact),
        ((OSError, MemoryError), NoResources),
    ]
    # Some libraries put a page into a message; a user needs the sentence.
    message = " ".join(str(reason).split())
    for exceptions, failure in kinds:
        if isinstance(reason, exceptions):
            return failure(message)
    return Failure(
        f"unexpected {type(reason).__name__}: {message}; please report it, with the "
        "traceback that --debug shows"
    )
