"""The SQL that lets a relation be computed by day: its rollup, and the tracking of the sources that it reads.

All of it stands in the schema ``ledgerviews``; the engine finds it by the names that the registry holds.
The functions' bodies are BEGIN ATOMIC, so that PostgreSQL refuses to drop a column that they read.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from importlib.resources import files
from typing import TYPE_CHECKING

from psycopg import sql

if TYPE_CHECKING:
    from collections.abc import Sequence

_LONGEST_NAME = 63  # bytes
_LONGEST_SUFFIX = len("_changed")
_DEFINER = "LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp "
_OURS = "ledgerviews"


@dataclass(frozen=True, kw_only=True)
class ParentTable:
    """The source that gives another one's rows their days: its key, and the column of its time."""

    schema: str
    name: str
    key: str
    day: str


def stem(schema: str, name: str, *, suffix: str = "") -> str:
    """What the names of a relation's parts begin with: its own, and with room for the longest suffix."""
    whole = (name if schema == "public" else f"{schema}_{name}") + suffix
    room = _LONGEST_NAME - _LONGEST_SUFFIX
    if schema == "public" and len(whole.encode()) <= room:
        return whole
    # Two long names may share their beginning, and a.b_c and a_b.c be joined alike.
    digest = sha256(f"{schema}.{name}{suffix}".encode()).hexdigest()[:8]
    kept = whole.removesuffix(suffix).encode()[: room - len(suffix) - 9].decode(errors="ignore")
    return f"{kept}_{digest}{suffix}"


def rollup_name(schema: str, name: str) -> str:
    """The table that holds a relation's rows."""
    return stem(schema, name, suffix="_rollup")


def create_rollup(  # noqa: PLR0913 (what a rollup is made from)
    *,
    rollup: str,
    body: str,
    day_body: str,
    unique_key: Sequence[str],
    day: str,
    populate: bool,
) -> list[sql.Composable]:
    """The view of all rows, the table that holds them, and the function that computes some days.

    Args:
        rollup: the table's name.
        body: the SELECT of all rows, every name in its final schema.
        day_body: that of the days from ``$1`` up to, not including, ``$2``.
        unique_key: the columns that tell rows apart.
        day: the column of the day.
        populate: whether to fill the table now.
    """
    table, whole, days = _ours(rollup), _ours(f"{rollup}_whole"), _ours(f"{rollup}_days")
    # The functions' arguments have names: PostgreSQL writes one without as "" into a dump of an atomic body.
    parts: list[sql.Composable] = [
        sql.SQL("CREATE VIEW {} AS\n").format(whole) + sql.SQL(body + "\n"),
        sql.SQL("CREATE TABLE {} AS SELECT * FROM {} WITH {}DATA").format(
            table, whole, sql.SQL("" if populate else "NO ")
        ),
        # A publication of all tables refuses to have rows deleted that it cannot name.
        sql.SQL("ALTER TABLE {} REPLICA IDENTITY FULL").format(table),
        sql.SQL("CREATE UNIQUE INDEX {} ON {} ({})").format(
            sql.Identifier(f"{rollup}_key"), table, _listed(unique_key)
        ),
        sql.SQL("CREATE FUNCTION {}(lo date, hi date) RETURNS SETOF {}\n").format(days, table)
        + sql.SQL(_DEFINER + "STABLE BEGIN ATOMIC\n" + day_body + ";\nEND"),
        sql.SQL("REVOKE ALL ON FUNCTION {}(date, date) FROM PUBLIC").format(days),
    ]
    if unique_key[0] != day:
        parts.append(
            sql.SQL("CREATE INDEX {} ON {} ({})").format(
                sql.Identifier(f"{rollup}_day"), table, sql.Identifier(day)
            )
        )
    return parts


def drop_rollup(*, rollup: str) -> list[sql.Composable]:
    """Take all of it away again; the relation that reads it is gone by then."""
    return [
        sql.SQL("DROP FUNCTION IF EXISTS {}(date, date)").format(_ours(f"{rollup}_days")),
        sql.SQL("DROP TABLE IF EXISTS {}").format(_ours(rollup)),
        sql.SQL("DROP VIEW IF EXISTS {}").format(_ours(f"{rollup}_whole")),
    ]


def create_source(  # noqa: PLR0913 (the frozen form of a declaration)
    *,
    schema: str,
    name: str,
    day: str,
    key: str | None,
    parent: ParentTable | None,
    indexes: Sequence[str],
) -> list[sql.Composable]:
    """The log of a source's writes, what writes it and what reads it; nothing is put on the table yet."""
    base = stem(schema, name)
    qualified = f"{schema}.{name}"
    names = {
        "source": sql.Literal(qualified),
        "table": sql.Identifier(schema, name),
        "day": sql.Identifier(day),
        "key": sql.Identifier(key) if key else sql.Identifier(day),
        "change": _ours(f"{base}_change"),
        "changed": _ours(f"{base}_changed"),
        "taken": _ours(f"{base}_taken"),
        "scan": _ours(f"{base}_scan"),
        "orphan": _ours(f"{base}_orphan"),
        "day_of": _ours(f"{base}_day"),
        "key_of": _ours(f"{base}_link"),
        "orphan_index": sql.Identifier(f"{base}_key"),
    }
    used = ["log", "columns"] if key else ["log_without_key", "columns_without_key"]
    if parent is not None:
        names |= {
            "parent": sql.Identifier(parent.schema, parent.name),
            "parent_source": sql.Literal(f"{parent.schema}.{parent.name}"),
            "parent_key": sql.Identifier(parent.key),
            "parent_day": sql.Identifier(parent.day),
            "parent_change": _ours(f"{stem(parent.schema, parent.name)}_change"),
        }
        used += ["orphans", "changed_child", "scan_child"]
    else:
        used += ["changed", "scan"]
    return [
        *(_template(name).format(**names) for name in used),
        sql.SQL(
            "INSERT INTO ledgerviews.source"
            " (source, schema_name, table_name, stem, day_column, key_column, parent, wanted_indexes)"
            " VALUES ({}, {}, {}, {}, {}, {}, {}, {}::text[])"
        ).format(
            *map(sql.Literal, (qualified, schema, name, base, day, key)),
            sql.Literal(f"{parent.schema}.{parent.name}" if parent else None),
            sql.Literal(list(indexes)),
        ),
        sql.SQL("SELECT ledgerviews.write_trigger({})").format(sql.Literal(qualified)),
    ]


def want_indexes(*, schema: str, name: str, indexes: Sequence[str]) -> sql.Composable:
    """Note which indexes single days need of a source: its leading columns, comma-separated."""
    return sql.SQL("UPDATE ledgerviews.source SET wanted_indexes = {}::text[] WHERE source = {}").format(
        sql.Literal(list(indexes)), sql.Literal(f"{schema}.{name}")
    )


def track_sources(sources: Sequence[str], *, tracking: str) -> list[sql.Composable]:
    """Put the triggers on sources (``schema.table``), all together; take them off for tracking ``none``.

    Where the role does not own a table, no trigger can be put on it ENABLE ALWAYS: a warning says so, and
    each refresh scans the table instead.
    """
    names = {"sources": sql.Literal(list(sources)), "tracking": sql.Literal(tracking)}
    if tracking == "none":
        return [sql.SQL("SELECT ledgerviews.track({sources}::text[], {tracking})").format(**names)]
    return [_template("track_sources").format(**names)]


def drop_source(*, schema: str, name: str) -> list[sql.Composable]:
    """Take a source's log away, and its triggers off, where they stand."""
    base = stem(schema, name)
    return [
        sql.SQL("SELECT ledgerviews.untrack({})").format(sql.Literal(f"{schema}.{name}")),
        sql.SQL("DROP FUNCTION {}()").format(_ours(f"{base}_track")),
        sql.SQL("DROP FUNCTION {}").format(_ours(f"{base}_day")),
        sql.SQL("DROP FUNCTION IF EXISTS {}").format(_ours(f"{base}_link")),
        sql.SQL("DROP FUNCTION {}(boolean)").format(_ours(f"{base}_changed")),
        sql.SQL("DROP FUNCTION {}(boolean)").format(_ours(f"{base}_taken")),
        sql.SQL("DROP FUNCTION {}()").format(_ours(f"{base}_scan")),
        sql.SQL("DROP TABLE IF EXISTS {}").format(_ours(f"{base}_orphan")),
        sql.SQL("DROP TABLE {}").format(_ours(f"{base}_change")),
        sql.SQL("DELETE FROM ledgerviews.source WHERE source = {}").format(sql.Literal(f"{schema}.{name}")),
    ]


def _template(name: str) -> sql.SQL:
    """A file of ``tracking/``, whose {names} psycopg fills in, without its last semicolon."""
    text = files(__package__).joinpath("tracking", f"{name}.sql").read_text(encoding="utf-8")
    return sql.SQL(text.rstrip().removesuffix(";"))  # a file of this package


def _ours(name: str) -> sql.Identifier:
    return sql.Identifier(_OURS, name)


def _listed(columns: Sequence[str]) -> sql.Composed:
    return sql.SQL(", ").join(map(sql.Identifier, columns))
