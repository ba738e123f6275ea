"""A table of the application, and how its rows find their days."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ledgerviews.errors import DeclarationError

if TYPE_CHECKING:
    from collections.abc import Mapping


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

    @property
    def qualified(self) -> str:
        """The name with its schema."""
        return f"{self.schema}.{self.name}"


def require_parent(source: Source, sources: Mapping[tuple[str, str], Source]) -> None:
    """Raise DeclarationError where a source names columns or a parent that are not declared."""
    for name in filter(None, (source.day, source.key)):
        if name not in source.columns:
            raise DeclarationError(f"Source {source.qualified}: it does not declare its column {name}.")
    if source.parent is None:
        return
    parent = next((one for one in sources.values() if one.qualified == source.parent), None)
    if parent is None:
        raise DeclarationError(f"Source {source.qualified}: its parent {source.parent} is no source.")
    if source.key is None or parent.key is None or parent.parent is not None:
        raise DeclarationError(
            f"Source {source.qualified}: it and its parent {source.parent} both need a key,"
            " and the parent must have no parent itself."
        )
