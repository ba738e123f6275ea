"""Changed column types that views read: the revision alters them in ``with ledgerviews.released(op, …):``."""

from __future__ import annotations

import json
from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING

from alembic.autogenerate import renderers
from alembic.operations import ops

from ledgerviews.queries import query
from ledgerviews.sqltext import MODEL_SCHEMA

from .live import NEEDED_ENGINE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from alembic.autogenerate.api import AutogenContext

    from .live import Run

IMPORT = "import ledgerviews"


class ReleasedOps(ops.ModifyTableOps):
    """Operations on a table that views read; while they run, these are off."""

    def reverse(self) -> ReleasedOps:
        """The way back needs the same."""
        back = super().reverse()
        return ReleasedOps(back.table_name, back.ops, schema=back.schema)


def released(
    run: Run, found: Sequence[ops.MigrateOperation], *, engine: int, default_schema: str
) -> list[ops.MigrateOperation]:
    """The operations, those apart that PostgreSQL refuses while a view or function reads the column.

    A dropped column is not among them: no view could come back without it.

    Args:
        run: runs a statement.
        found: what Alembic found.
        engine: the version of the engine in the database.
        default_schema: that of tables without one.
    """
    wanted = [
        {"schema_name": one.schema or default_schema, "table_name": one.table_name, "name": column}
        for one in found
        if isinstance(one, ops.ModifyTableOps)
        for part in one.ops
        if (column := _retyped(part)) is not None
    ]
    if not wanted or engine < NEEDED_ENGINE:
        return list(found)
    read = {tuple(row[:3]) for row in run(query("read_columns"), {"wanted": json.dumps(wanted)})}
    made: list[ops.MigrateOperation] = []
    for one in found:
        if not isinstance(one, ops.ModifyTableOps):
            made.append(one)
            continue
        table = (one.schema or default_schema, one.table_name)
        off = [(*table, _retyped(part)) in read for part in one.ops]
        for kind, parts in groupby(zip(off, one.ops, strict=True), key=itemgetter(0)):
            made.append(
                (ReleasedOps if kind else ops.ModifyTableOps)(
                    one.table_name, [part for _, part in parts], schema=one.schema
                )
            )
    return made


def _retyped(part: ops.MigrateOperation) -> str | None:
    """The column whose type it changes."""
    return part.column_name if isinstance(part, ops.AlterColumnOp) and part.modify_type is not None else None


@renderers.dispatch_for(ReleasedOps)
def _render(autogen_context: AutogenContext, operation: ReleasedOps) -> list[str]:
    autogen_context.imports.add(IMPORT)
    dialect = autogen_context.dialect
    assert dialect is not None  # noqa: S101 (there is one where something was compared)
    quote = dialect.identifier_preparer.quote
    schema = operation.schema or dialect.default_schema_name or MODEL_SCHEMA
    table = f"{quote(schema)}.{quote(operation.table_name)}"
    plain = ops.ModifyTableOps(operation.table_name, operation.ops, schema=operation.schema)
    lines: list[str] = renderers.dispatch(plain)(autogen_context, plain)
    # The printer indents after a colon, and an empty line ends the block.
    return [f"with ledgerviews.released(op, {table!r}):", *lines, ""]
