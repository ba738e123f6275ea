"""The SQL that reads a relation: rows for Arrow, and the fingerprint of each partition. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from psycopg import sql

from bq_export.source.values import misfit_sql, value_sql

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date

    from bq_export.source.relation import Relation
    from bq_export.types import Field

ROWS = "r"  # the relation's name inside the statements
# Texts and times are read the same way whatever role, database or environment prefer; the fingerprint is
# taken of their text.
SESSION = {
    "datestyle": "ISO, YMD",
    "timezone": "UTC",
    "intervalstyle": "postgres",
    "bytea_output": "hex",
    "extra_float_digits": "1",
    "xmloption": "content",
    "search_path": "pg_catalog",
}


def _sql(text: str) -> sql.SQL:
    """Text that this package composed of its own literals and of quoted names."""
    return sql.SQL(text)


def _quoted(one: Field) -> str:
    return f"{ROWS}.{sql.Identifier(one.name).as_string()}"


def _value(one: Field, *, raising: bool) -> sql.SQL:
    return _sql(value_sql(one, _quoted(one), raising=raising))


def select_rows(
    relation: Relation,
    *,
    partitions: Sequence[date | None] | None = None,
    pages: tuple[int, int | None] | None = None,
) -> sql.Composed:
    """All rows, or those of the partitions (None is the NULL day), or of a range of pages of them.

    ``pages`` is a first page and the page to stop before, or None for no end.
    """
    columns = [
        sql.SQL("{} AS {}").format(_value(one, raising=True), sql.Identifier(one.name))
        for one in relation.fields
    ]
    conditions: list[sql.Composable] = []
    if partitions is not None:
        conditions.append(_in_partitions(relation, partitions))
    if pages is not None:
        first, end = pages
        conditions.append(sql.SQL("r.ctid >= {}::pg_catalog.tid").format(sql.Literal(f"({first},0)")))
        if end is not None:
            conditions.append(sql.SQL("r.ctid < {}::pg_catalog.tid").format(sql.Literal(f"({end},0)")))
    where = sql.SQL(" WHERE {}").format(sql.SQL(" AND ").join(conditions)) if conditions else sql.SQL("")
    return sql.SQL("SELECT {} FROM {} AS r{}").format(
        sql.SQL(", ").join(columns), sql.Identifier(relation.schema, relation.name), where
    )


def _in_partitions(relation: Relation, partitions: Sequence[date | None]) -> sql.Composed:
    one = relation.partition
    assert one is not None  # noqa: S101 (only a partitioned relation is asked for some)
    days = sorted(day for day in partitions if day is not None)
    column = _sql(_quoted(one))
    chosen = sql.SQL("{} = ANY ({}::date[])").format(column, sql.Literal([day.isoformat() for day in days]))
    if len(days) == len(partitions):
        return chosen
    # A day that does not fit stands in the NULL partition where its policy says so.
    return sql.SQL("({} OR ({}) IS NULL)").format(chosen, _value(one, raising=False))


def select_fingerprints(relation: Relation) -> sql.Composed:
    """For each partition: its day, rows, two sums of hashes, bytes as text, misfits of each guarded field.

    The sum does not depend on the order of rows, and two equal rows do not cancel each other. OFFSET 0 keeps
    the row's text from being built anew for each function over it.
    """
    values = sql.SQL(", ").join(_value(one, raising=False) for one in relation.fields)
    guarded = guarded_fields(relation)
    partition = relation.partition
    key = _value(partition, raising=False) if partition is not None else sql.SQL("NULL::date")
    misfits = [
        sql.SQL(", {} AS {}").format(_sql(misfit_sql(one, _quoted(one)) or "false"), sql.Identifier(f"m{n}"))
        for n, one in enumerate(guarded)
    ]
    counts = [
        sql.SQL(", pg_catalog.count(*) FILTER (WHERE s.{})").format(sql.Identifier(f"m{n}"))
        for n in range(len(guarded))
    ]
    return sql.SQL(
        "SELECT s.day, pg_catalog.count(*),"
        ' pg_catalog.sum(pg_catalog.hashtextextended(s.line COLLATE "C", 0)),'
        ' pg_catalog.sum(pg_catalog.hashtextextended(s.line COLLATE "C", 1)),'
        " pg_catalog.sum(pg_catalog.octet_length(s.line))::bigint{}"
        " FROM (SELECT {} AS day, ROW({})::text AS line{} FROM {} AS r OFFSET 0) AS s GROUP BY s.day"
    ).format(
        sql.SQL("").join(counts),
        key,
        values,
        sql.SQL("").join(misfits),
        sql.Identifier(relation.schema, relation.name),
    )


def guarded_fields(relation: Relation) -> list[Field]:
    """The fields whose type does not hold every value of the column."""
    return [one for one in relation.fields if one.fits is not None]


def select_example(relation: Relation, one: Field) -> sql.Composed:
    """One value that does not fit, as text of at most 60 characters."""
    return sql.SQL("SELECT pg_catalog.left(({})::text, 60) FROM {} AS r WHERE {} LIMIT 1").format(
        _sql(_quoted(one)),
        sql.Identifier(relation.schema, relation.name),
        _sql(misfit_sql(one, _quoted(one)) or "false"),
    )


def select_misfits(relation: Relation, fields: Sequence[Field]) -> sql.Composed:
    """How many values of each of these guarded fields do not fit."""
    counts = [
        sql.SQL("pg_catalog.count(*) FILTER (WHERE {})").format(
            _sql(misfit_sql(one, _quoted(one)) or "false")
        )
        for one in fields
    ]
    return sql.SQL("SELECT {} FROM {} AS r").format(
        sql.SQL(", ").join(counts), sql.Identifier(relation.schema, relation.name)
    )
