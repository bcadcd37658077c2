"""Columns of the tables that a run keeps: eval.csv, then metrics.csv."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

from suite.parts import ConfigError
from suite.unknown_names import no_such

Rows = Sequence[Mapping[str, float]]


def rows_with(tables: Sequence[Rows], column: str) -> Rows:
    """The rows that have a column, of the first table that has it; none if no one has.

    Cells without a value are not there, as before a first fit.
    """
    found = ([row for row in table if column in row] for table in tables)
    return next(filter(None, found), [])


def no_column(tables: Sequence[Rows], column: str) -> ConfigError:
    """What to raise where no table has it; it names those that are near."""
    names = itertools.chain.from_iterable(itertools.chain(*tables))
    return ConfigError(no_such("column", column, dict.fromkeys(names)))
