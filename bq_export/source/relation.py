"""A published relation as it stands in the database, with the way of each of its columns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from psycopg import errors, sql
from psycopg.rows import class_row, dict_row

from bq_export.errors import ExportError, RewrittenError
from bq_export.queries import query
from bq_export.types import Column, Field, fields_for
from ledgerviews.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable

    import psycopg

    from ledgerviews.catalog import Catalog, Export, Model

# A relation of more pages than this is read by two connections; below, the second costs more than it saves.
PAGES_FOR_TWO = 2_000


@dataclass(frozen=True, kw_only=True)
class Relation:
    """What is exported: where it stands, how its columns travel, and how its model says to export it.

    ``relation_id`` is its oid, by which another of its name is told from it;
    ``pages`` is the size of a relation with storage, 0 for a view; ``grain`` are the columns of one row.
    """

    relation_id: int
    schema: str
    name: str
    export: Export
    fields: tuple[Field, ...]
    grain: tuple[str, ...]
    comment: str
    pages: int

    @property
    def qualified(self) -> str:
        """The name for messages."""
        return f"{self.schema}.{self.name}"

    @property
    def partition(self) -> Field | None:
        """The column whose days travel one by one."""
        return next((one for one in self.fields if one.name == self.export.partition), None)


def exported(catalog: Catalog, names: Iterable[str]) -> list[Model]:
    """The models of those names, with or without a schema; without a name all that are exported."""
    wanted = [name.rpartition(".")[2] for name in names]
    able = [model for model in catalog.models.values() if model.export is not None]
    for name in wanted:
        if catalog[name].export is None:
            raise UsageError(
                f"{name} is not exported: its declaration does not say how.",
                hint=f"Give its model an export=Export(…). Exported: {', '.join(m.name for m in able)}.",
            )
    if not able:
        raise UsageError("No model says how it is exported.", hint="Give one an export=Export(…).")
    return [model for model in able if not wanted or model.name in wanted]


def read_relation(connection: psycopg.Connection, model: Model, *, schema: str) -> Relation:
    """Read a relation from the catalog, and hold it; raises ExportError where it cannot be exported."""
    assert model.export is not None  # noqa: S101 (the caller chose it for that)
    name = f"{schema}.{model.name}"
    with connection.cursor(row_factory=dict_row) as cursor:
        found = cursor.execute(query("relation"), {"schema": schema, "name": model.name}).fetchone()
    if found is None:
        raise ExportError(
            f"Cannot export {name}: there is no such relation.",
            hint="Run `ledgerviews db upgrade`, or set LEDGERVIEWS_SCHEMA to where it stands.",
        )
    if found["readable"] is None:
        raise RewrittenError(relation=name)  # dropped since
    if not found["readable"]:
        raise ExportError(
            f"Cannot export {name}: this role may not read it.",
            hint=f"GRANT SELECT ON {name} to it; `bq-export role NAME` prints all grants.",
        )
    if not found["populated"]:
        raise ExportError(
            f"Cannot export {name}: it was never refreshed.", hint="Run `ledgerviews refresh` first."
        )
    with connection.cursor(row_factory=class_row(Column)) as cursor:
        columns = cursor.execute(query("columns"), {"relation_id": found["relation_id"]}).fetchall()
    fields = fields_for(columns, numeric=model.export.numeric, policy=model.export.policy)
    relation = Relation(
        relation_id=found["relation_id"],
        schema=schema,
        name=model.name,
        export=model.export,
        fields=tuple(fields),
        grain=model.grain,
        comment=found["comment"] or model.description,
        pages=found["pages"],
    )
    _check(relation)
    _hold(connection, relation)
    return relation


def _hold(connection: psycopg.Connection, relation: Relation) -> None:
    """Lock a relation as any reader does, to the transaction's end; raises where it is not of its moment.

    A plain REFRESH or a TRUNCATE that committed since would show rows of later, or none at all.
    """
    values = {"relation_id": relation.relation_id, "schema": relation.schema, "name": relation.name}
    select = sql.SQL("SELECT FROM {} LIMIT 0").format(sql.Identifier(relation.schema, relation.name))
    try:
        connection.execute(select)
        row = connection.execute(query("rewritten"), values).fetchone()
    except (errors.UndefinedTable, errors.UndefinedObject):
        row = None
    if row is None or row[0]:
        raise RewrittenError(relation=relation.qualified)


def _check(relation: Relation) -> None:
    names = {one.name for one in relation.fields}
    if missing := sorted(relation.export.named - names):
        raise ExportError(
            f"Cannot export {relation.qualified}: the declaration names {', '.join(missing)}, "
            "which the relation does not have.",
            hint="Run `ledgerviews db upgrade`; `ledgerviews status` tells what differs.",
        )
    partition = relation.partition
    if partition is not None and partition.type != "DATE":
        raise ExportError(
            f"Cannot export {relation.qualified} by {partition.name}: it is {partition.source}, no date."
        )
