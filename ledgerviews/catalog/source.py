"""A table of the application, and how its rows find their days."""

from __future__ import annotations

from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import TYPE_CHECKING

from ledgerviews.errors import DeclarationError

from .fields import did_you_mean, require_mapping, require_one, require_tuples

if TYPE_CHECKING:
    from collections.abc import Mapping

TIMES = ("date", "timestamp", "timestamptz")
"""The words of types that tell a day."""
WORDS = ("text", "enum", "integer", "number", "uuid", "json", "jsonb", "boolean", *TIMES)
"""The words of types; any other type has PostgreSQL's own name."""
_COLUMNS = '{"…": "…"}: each column\'s name, and the types that it may have'


@dataclass(frozen=True, kw_only=True)
class Source:
    """A table of the application that models read.

    Attributes:
        schema: where the table stands.
        name: its name.
        columns: each column that is read, with the types it may have, separated by ``|``, in the words of
            ``ledgerviews.schema.contract``: ``uuid``, ``text``, ``enum``, ``integer``, ``timestamptz`` …
        description: one sentence.
        day: the column of a row's own time; its UTC day is the row's day, unless it has a parent. Needed,
            like ``day_rows``, where a model is computed by day from this table.
        key: of a source with a parent, the column that points at it; of a parent, the one pointed at.
        parent: ``schema.name`` of the source whose row, where it exists, gives this one its day.
        indexes: leading columns, comma-separated, of indexes without which single days are slow to read.
        day_rows: conditions for the rows that belong to the days from ``lo`` up to, not including, ``hi``;
            each row meets one of them for one day. Columns are qualified by the table's bare name and stand
            raw, so that an index serves. Empty where no model is computed by day from this table.
    """

    schema: str = "public"
    name: str
    columns: Mapping[str, str] = field(hash=False)
    description: str
    day: str | None = None
    key: str | None = None
    parent: str | None = None
    indexes: tuple[str, ...] = ()
    day_rows: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Take the blanks out of indexes; raises DeclarationError for what a field cannot be."""
        owner = f"Source {self.qualified}"
        require_one(owner, str, schema=self.schema, name=self.name, description=self.description)
        require_one(owner, str, optional=True, day=self.day, key=self.key, parent=self.parent)
        require_tuples(owner, str, indexes=self.indexes, day_rows=self.day_rows)
        require_mapping(owner, _COLUMNS, columns=self.columns)
        # A blank after a comma would be looked for in the name of a column.
        object.__setattr__(self, "indexes", tuple(_without_blanks(owner, one) for one in self.indexes))

    @property
    def qualified(self) -> str:
        """The name with its schema."""
        return f"{self.schema}.{self.name}"


def require_parent(source: Source, sources: Mapping[tuple[str, str], Source]) -> None:
    """Raise DeclarationError where a source names columns or a parent that are not declared."""
    for name in filter(None, (source.day, source.key)):
        if name not in source.columns:
            meant = did_you_mean(name, source.columns)
            raise DeclarationError(f"Source {source.qualified}: it does not declare its column {name}{meant}")
    for index in source.indexes:
        for column in index.split(","):
            if column not in source.columns:
                raise DeclarationError(
                    f"Source {source.qualified}: its indexes name {column}, which it does not declare"
                    f"{did_you_mean(column, source.columns)}"
                )
    _require_time(source)
    if source.parent is None:
        return
    parent = next((one for one in sources.values() if one.qualified == source.parent), None)
    if parent is None:
        known = {one.name: one.qualified for one in sources.values()}
        near = get_close_matches(source.parent.rpartition(".")[2], sorted(known), n=1)
        meant = f"; did you mean {known[near[0]]}?" if near else "."
        raise DeclarationError(f"Source {source.qualified}: its parent {source.parent} is no source{meant}")
    if source.key is None or parent.key is None or parent.parent is not None:
        raise DeclarationError(
            f"Source {source.qualified}: it and its parent {source.parent} both need a key,"
            " and the parent must have no parent itself."
        )


def _without_blanks(owner: str, index: str) -> str:
    """The columns of an index, with nothing but a comma between them."""
    columns = [name.strip() for name in index.split(",")]
    if not all(columns):
        raise DeclarationError(
            f"{owner}: its indexes hold {index!r}, in which a column's name is empty.",
            hint='Write the columns of an index with one comma between them, as "a,b".',
        )
    return ",".join(columns)


def _require_time(source: Source) -> None:
    """Raise DeclarationError where the column of a source's day is declared as what has no day."""
    if source.day is None:
        return
    words = [word.strip() for word in source.columns[source.day].split("|")]
    # A word that is none may be a misspelt one: it is told what the table has.
    if set(words) & set(WORDS) - set(TIMES):
        raise DeclarationError(
            f"Source {source.qualified}: its day column {source.day} is declared as {' or '.join(words)}.",
            hint=f"The day is told by a column of type {', '.join(TIMES)}: name one, or leave day out.",
        )
