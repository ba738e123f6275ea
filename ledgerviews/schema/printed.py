"""What PostgreSQL prints of a declared definition, and in what form that is compared. Pure."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from .live import Column

_IDENTIFIER = r'(?:"(?:[^"]|"")+"|[a-z_][a-z0-9_$]*)'
# schema.name name: such a thing stands in FROM only, for a column's own has AS before it. Literals and quoted
# names are passed over as a whole.
_REPEATED = re.compile(
    rf'(?<![\w.$"])({_IDENTIFIER}\.({_IDENTIFIER})) \2(?![\w$"(.])'
    r"""|'(?:[^']|'')*'|"(?:[^"]|"")*\""""
)


class ReadColumn(NamedTuple):
    """A column that is read; None of a table that is read without one."""

    schema: str
    table: str
    column: str | None


@dataclass(frozen=True, kw_only=True)
class Normal:
    """A declared definition as PostgreSQL prints it.

    Attributes:
        printed: the SELECT; None where it cannot be created now.
        columns: what it gives.
        days: the body of the function of single days.
        printed_again: the same, of a view made from what was printed: its text need not come back as it
            went, and what was restored from a dump was made from it.
        days_again: the same of the function.
        indexes: the declared indexes, in their order.
        error: why it cannot be created, or its check be run.
        sqlstate: PostgreSQL's code for that.
        part: the part of the spec that is to blame: definition, day_definition, indexes, options or checks.
        check: the name of the check that cannot be run.
        at: the position in it, from 0; None where nobody knows it.
        reads: the columns of tables that it reads, as schema, table and column, None for no one of them.
        reads_days: those of the function of single days.
        moving: what it calls itself that reads the clock, or is another at each call.
        moving_days: the same of the function of single days, with what the views call that it reads.
    """

    printed: str | None = None
    columns: tuple[Column, ...] = ()
    days: str | None = None
    printed_again: str | None = None
    days_again: str | None = None
    indexes: tuple[str, ...] = ()
    error: str | None = None
    sqlstate: str | None = None
    part: str = "definition"
    check: str | None = None
    at: int | None = None
    reads: frozenset[ReadColumn] = frozenset()
    reads_days: frozenset[ReadColumn] = frozenset()
    moving: tuple[str, ...] = ()
    moving_days: tuple[str, ...] = ()


def plain(printed: str | None) -> str | None:
    """What PostgreSQL printed, without the aliases that only repeat a relation's name."""
    return None if printed is None else _REPEATED.sub(lambda found: found[1] or found[0], printed)


def read_columns(found: str | None) -> frozenset[ReadColumn]:
    """The columns that the catalog lists."""
    return frozenset(ReadColumn(*one) for one in json.loads(found or "[]"))


def moving_calls(found: str | None, *, days: bool) -> tuple[str, ...]:
    """What the catalog lists of the definition, or of the function of single days."""
    return tuple(name for of_days, name in json.loads(found or "[]") if of_days == days)
