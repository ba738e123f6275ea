"""Columns and tables that a revision would drop while what is declared still reads them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from alembic.operations import ops

from ledgerviews.errors import DeclarationError, UnwritableError
from ledgerviews.queries import query

from .compare import DROP
from .engine_versions import SCHEMA
from .keys import SOURCE, located
from .printed import ReadColumn

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from .declare import Comparison
    from .live import Place, Run

_DAYS = "single days of "
_PARTS = ("_whole", "_days")


def require_unread(  # noqa: PLR0913 (what is compared, and what for)
    run: Run,
    found: Sequence[ops.MigrateOperation],
    comparison: Comparison,
    *,
    schema: str,
    default_schema: str,
    writing: bool = True,
) -> None:
    """Raise DeclarationError where operations drop what is read by what stays, or by what comes before them.

    Args:
        run: runs a statement.
        found: what Alembic found of dropped tables and columns.
        comparison: what is declared, and what stands.
        schema: the target schema.
        default_schema: that of tables without one.
        writing: whether a revision is to be written; else UnwritableError is raised.
    """
    going = list(_dropped(found, default_schema))
    if not going:
        return
    wanted = [{"schema_name": one.schema, "table_name": one.table, "name": one.column} for one in going]
    rows = run(query("read_columns"), {"wanted": json.dumps(wanted)})
    standing = [(ReadColumn(*row[:3]), (str(row[3]), str(row[4]))) for row in rows]
    told = still_reading(going, standing, comparison, schema=schema)
    if not told:
        return
    fault = DeclarationError if writing else UnwritableError
    raise fault(
        "The revision would drop what is still read; nothing was written:"
        if writing
        else "A revision would drop what is still read:",
        shown=[f"{_name(one)}: read by {', '.join(readers)}" for one, readers in told.items()],
        hint="Have the SELECTs do without it, and its source's columns in sources.py, in this revision or an"
        " earlier one; or leave it in the metadata. Rename a column by hand, with op.alter_column(…,"
        " new_column_name=…): what reads it follows.",
    )


def still_reading(
    going: Iterable[ReadColumn],
    standing: Iterable[tuple[ReadColumn, Place]],
    found: Comparison,
    *,
    schema: str,
) -> dict[ReadColumn, list[str]]:
    """What of that which goes is read, and by what of ours: as it stands, or as it is to be made. Pure.

    Args:
        going: columns, and tables, of which the column is None.
        standing: what reads which of these now.
        found: what is declared, and what differs.
        schema: the target schema.
    """
    readers = [*_made(found), *_kept(standing, found, schema), *_tracked(found)]
    told = {}
    for one in going:
        names = {name for name, read in readers if _touches(one, read)}
        # Single days are told where nothing else of it reads the column: a source declares that.
        whole = sorted(
            name
            for name in names
            if name.removeprefix(_DAYS) == name or name.removeprefix(_DAYS) not in names
        )
        if whole:
            told[one] = whole
    return told


def _made(found: Comparison) -> Iterator[tuple[str, ReadColumn]]:
    """What the definitions read that the revision makes, by what was printed of them."""
    for one in found.differences:
        if one.normal is not None:
            yield from ((one.key, read) for read in one.normal.reads)
            yield from ((_DAYS + one.key, read) for read in one.normal.reads_days)


def _kept(
    standing: Iterable[tuple[ReadColumn, Place]], found: Comparison, schema: str
) -> Iterator[tuple[str, ReadColumn]]:
    """What is read by that which stays as it is, rollups among it; others' views are left to them."""
    relations = found.state.relations
    known = {place: ".".join(place) for place, live in relations.items() if live.registered is not None}
    known |= {located(key, schema): key for key, spec in found.specs.items() if spec["kind"] != SOURCE}
    parts = {
        (SCHEMA, f"{there.rollup}{part}"): (place, _DAYS if part == "_days" else "")
        for place, live in relations.items()
        if (there := live.registered) is not None and there.rollup is not None
        for part in _PARTS
    }
    changing = {
        located(one.former or one.key, schema)
        for one in found.differences
        if one.what == DROP or one.normal is not None or {"kind", "definition"} & set(one.aspects)
    }
    for read, reader in standing:
        place, part = parts.get(reader, (reader, ""))
        if place in known and place not in changing:
            yield part + known[place], read


def _tracked(found: Comparison) -> Iterator[tuple[str, ReadColumn]]:
    """What the functions read that tell the days of a source's rows."""
    for key, spec in found.specs.items():
        if spec["kind"] == SOURCE:
            for column in filter(None, (spec["day"], spec.get("key"))):
                yield f"the tracking of {key}", ReadColumn(spec["schema"], spec["name"], column)


def _touches(going: ReadColumn, read: ReadColumn) -> bool:
    return going[:2] == read[:2] and going.column in {None, read.column}


def _dropped(found: Sequence[ops.MigrateOperation], default_schema: str) -> Iterator[ReadColumn]:
    for one in found:
        if isinstance(one, ops.DropTableOp):
            yield ReadColumn(one.schema or default_schema, one.table_name, None)
        elif isinstance(one, ops.ModifyTableOps):
            for part in one.ops:
                if isinstance(part, ops.DropColumnOp):
                    yield ReadColumn(one.schema or default_schema, one.table_name, part.column_name)


def _name(one: ReadColumn) -> str:
    return ".".join(filter(None, one))
