"""The SQL text that the Alembic operations run. Pure; it must also run in psql, for ``--sql``."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING

from psycopg import sql

from ledgerviews.sqltext import retarget, statement

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ledgerviews.catalog import Kind

_LONGEST_STEM = 63 - len("_key")  # bytes
_KEYWORDS = {"view": sql.SQL("VIEW"), "materialized view": sql.SQL("MATERIALIZED VIEW")}


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
) -> str:
    """Create a relation with its comments and unique index, and register it."""
    relation = sql.Identifier(schema, name)
    keyword = _KEYWORDS[kind]
    stored = kind == "materialized view"
    definition = statement(definition)
    body = retarget(definition, relations={*reads, name}, schema=schema)
    parts: list[sql.Composable] = [
        sql.SQL("CREATE {} {} AS\n").format(keyword, relation)
        # The definition ends on a line of its own, because it may end in a comment.
        + sql.SQL(body + "\n")  # a frozen revision's own text
        + sql.SQL(("WITH DATA" if populate else "WITH NO DATA") if stored else "")
    ]
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
            sql.Literal(schema),
            sql.Literal(name),
            sql.Literal(str(kind)),
            sql.Literal(definition),
            sql.Literal(list(unique_key)),
        )
    )
    return _script(parts)


def drop(*, schema: str, name: str, kind: Kind | str) -> str:
    """Drop a relation and take it off the registry; what still reads it stops this by name.

    One that somebody dropped by hand is only taken off, so that a downgrade and an upgrade bring it back.
    """
    return _script(
        [
            sql.SQL("DROP {} IF EXISTS {}").format(_KEYWORDS[kind], sql.Identifier(schema, name)),
            sql.SQL("DELETE FROM ledgerviews.relation WHERE schema_name = {} AND relation_name = {}").format(
                sql.Literal(schema), sql.Literal(name)
            ),
        ]
    )


def index_name(relation: str) -> str:
    """The name of a relation's unique index, within PostgreSQL's 63 bytes and no other relation's."""
    name = relation.encode()
    if len(name) <= _LONGEST_STEM:
        return relation + "_key"
    # Two long names may share their beginning: a digest of the whole tells them apart.
    return f"{name[: _LONGEST_STEM - 9].decode(errors='ignore')}_{sha256(name).hexdigest()[:8]}_key"


def _script(parts: Sequence[sql.Composable]) -> str:
    return "".join(part.as_string(None) + ";\n" for part in parts)
