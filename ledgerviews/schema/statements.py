"""The SQL text that the Alembic operations run. Pure; it must also run in psql, for ``--sql``."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING

from psycopg import sql

from ledgerviews.sqltext import retarget, statement

from . import incremental

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ledgerviews.catalog import Check, Kind

_LONGEST_STEM = 63 - len("_key")  # bytes
_KEYWORDS = {"view": sql.SQL("VIEW"), "materialized view": sql.SQL("MATERIALIZED VIEW")}


@dataclass(frozen=True, kw_only=True)
class ByDay:
    """How a materialized view is computed by day.

    Attributes:
        column: the column of its key that holds the day.
        definition: its SELECT of the days from ``$1`` up to, not including, ``$2``.
        sources: the sources, ``schema.table``, that its days depend on.
    """

    column: str
    definition: str
    sources: Sequence[str]


def create(  # noqa: PLR0913 (the frozen form of a declaration)
    *,
    schema: str,
    name: str,
    kind: Kind | str,
    definition: str,
    reads: Sequence[str],
    comment: str,
    columns: Mapping[str, str],
    unique_key: Sequence[str],
    populate: bool,
    by_day: ByDay | None = None,
    checks: Sequence[Check] = (),
) -> str:
    """Create a relation with its comments and unique index, and register it.

    One that is computed by day reads a rollup in the schema ``ledgerviews``, which is created first.
    """
    relation = sql.Identifier(schema, name)
    keyword = _KEYWORDS[kind]
    stored = kind == "materialized view"
    definition = statement(definition)
    body = retarget(definition, relations={*reads, name}, schema=schema)
    parts: list[sql.Composable] = []
    if by_day is not None:
        rollup = incremental.rollup_name(schema, name)
        day_body = retarget(statement(by_day.definition), relations={*reads, name}, schema=schema)
        parts += incremental.create_rollup(
            rollup=rollup,
            body=body,
            day_body=day_body,
            unique_key=unique_key,
            day=by_day.column,
            populate=populate,
        )
        body = (
            sql.SQL("SELECT {} FROM ledgerviews.{} AS r")
            .format(
                sql.SQL(", ").join(sql.Identifier("r", column) for column in columns), sql.Identifier(rollup)
            )
            .as_string(None)
        )
    parts.append(
        sql.SQL("CREATE {} {} AS\n").format(keyword, relation)
        # The definition ends on a line of its own, because it may end in a comment.
        + sql.SQL(body + "\n")  # a frozen revision's own text
        + sql.SQL(("WITH DATA" if populate else "WITH NO DATA") if stored else "")
    )
    if unique_key:
        parts.append(
            sql.SQL("CREATE UNIQUE INDEX {} ON {} ({})").format(
                sql.Identifier(index_name(name)),
                relation,
                sql.SQL(", ").join(map(sql.Identifier, unique_key)),
            )
        )
    parts.append(sql.SQL("COMMENT ON {} {} IS {}").format(keyword, relation, sql.Literal(comment)))
    parts.extend(
        sql.SQL("COMMENT ON COLUMN {} IS {}").format(sql.Identifier(schema, name, column), sql.Literal(line))
        for column, line in columns.items()
    )
    parts.append(
        sql.SQL(
            "INSERT INTO ledgerviews.relation (schema_name, relation_name, kind, definition, unique_key)"
            " VALUES ({}, {}, {}, {}, {}::text[])"
        ).format(
            *map(sql.Literal, (schema, name, str(kind), definition)),
            sql.Literal(list(unique_key)),
        )
    )
    return _script(parts + _remember(schema, name, by_day, checks))


def _remember(schema: str, name: str, by_day: ByDay | None, checks: Sequence[Check]) -> list[sql.Composable]:
    """Register what engine 2 knows beyond version 1; nothing of it stands in a revision written for that."""
    this = sql.SQL("schema_name = {} AND relation_name = {}").format(sql.Literal(schema), sql.Literal(name))
    parts: list[sql.Composable] = []
    if by_day is not None:
        parts.append(
            sql.SQL(
                "UPDATE ledgerviews.relation SET day_column = {}, rollup = {}, sources = {}::text[],"
                " day_definition = {} WHERE "
            ).format(
                sql.Literal(by_day.column),
                sql.Literal(incremental.rollup_name(schema, name)),
                sql.Literal(list(by_day.sources)),
                sql.Literal(statement(by_day.definition)),
            )
            + this
        )
        parts.append(
            sql.SQL(
                "UPDATE ledgerviews.relation_state"
                " SET row_count = (SELECT pg_catalog.count(*) FROM ledgerviews.{}) WHERE "
            ).format(sql.Identifier(incremental.rollup_name(schema, name)))
            + this
        )
    parts.extend(
        sql.SQL(
            "INSERT INTO ledgerviews.relation_check"
            " (schema_name, relation_name, check_name, kind, columns, expression, severity)"
            " VALUES ({}, {}, {}, {}, {}::text[], {}, {})"
        ).format(
            *map(sql.Literal, (schema, name, check.name, check.kind)),
            sql.Literal(list(check.columns)),
            sql.Literal(check.expression),
            sql.Literal(str(check.severity)),
        )
        for check in checks
    )
    return parts


def drop(*, schema: str, name: str, kind: Kind | str, by_day: bool = False) -> str:
    """Drop a relation and take it off the registry; what still reads it stops this by name.

    One that somebody dropped by hand is only taken off, so that a downgrade and an upgrade bring it back.
    """
    return _script(
        [
            sql.SQL("DROP {} IF EXISTS {}").format(_KEYWORDS[kind], sql.Identifier(schema, name)),
            *(incremental.drop_rollup(rollup=incremental.rollup_name(schema, name)) if by_day else []),
            sql.SQL("DELETE FROM ledgerviews.relation WHERE schema_name = {} AND relation_name = {}").format(
                sql.Literal(schema), sql.Literal(name)
            ),
        ]
    )


def set_aside(*, schema: str, name: str) -> str:
    """Keep the rows and grants of a materialized view that is dropped next."""
    return _call("set_aside", schema, name)


def take_up(*, schema: str, name: str) -> str:
    """Give them to the one that was created in its place."""
    return _call("take_up", schema, name)


def _call(function: str, schema: str, name: str) -> str:
    return _script(
        [
            sql.SQL("SELECT ledgerviews.{}({}, {})").format(
                sql.Identifier(function), sql.Literal(schema), sql.Literal(name)
            )
        ]
    )


def create_source(  # noqa: PLR0913 (the frozen form of a declaration)
    *,
    schema: str,
    name: str,
    day: str,
    key: str | None,
    parent: incremental.ParentTable | None,
    indexes: Sequence[str],
) -> str:
    """Make a source's log and what reads it."""
    return _script(
        incremental.create_source(
            schema=schema,
            name=name,
            day=day,
            key=key,
            parent=parent,
            indexes=indexes,
        )
    )


def want_indexes(*, schema: str, name: str, indexes: Sequence[str]) -> str:
    """Note which indexes single days need of a source."""
    return _script([incremental.want_indexes(schema=schema, name=name, indexes=indexes)])


def track_sources(sources: Sequence[str], *, tracking: str) -> str:
    """Put the triggers on sources, or take them off."""
    return _script(incremental.track_sources(sources, tracking=tracking))


def drop_source(*, schema: str, name: str) -> str:
    """Take a source's triggers off and its log away."""
    return _script(incremental.drop_source(schema=schema, name=name))


def index_name(relation: str) -> str:
    """The name of a relation's unique index, within PostgreSQL's 63 bytes and no other relation's."""
    name = relation.encode()
    if len(name) <= _LONGEST_STEM:
        return relation + "_key"
    # Two long names may share their beginning: a digest of the whole tells them apart.
    return f"{name[: _LONGEST_STEM - 9].decode(errors='ignore')}_{sha256(name).hexdigest()[:8]}_key"


def _script(parts: Sequence[sql.Composable]) -> str:
    return "".join(part.as_string(None) + ";\n" for part in parts)
