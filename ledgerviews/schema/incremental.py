"""The SQL that lets a relation be computed by day: its rollup, and the tracking of the sources that it reads.

Pure. All of it stands in the schema ``ledgerviews``; the engine finds it by the names that the registry holds.
The functions' bodies are BEGIN ATOMIC, so that PostgreSQL refuses to drop a column that they read.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING

from psycopg import sql

if TYPE_CHECKING:
    from collections.abc import Sequence

_LONGEST_NAME = 63  # bytes
_LONGEST_SUFFIX = len("_changed")
_OURS = "ledgerviews"


@dataclass(frozen=True, kw_only=True)
class ParentTable:
    """The source that gives another one's rows their days: its key, and the column of its time."""

    schema: str
    name: str
    key: str
    day: str


def stem(schema: str, name: str, *, suffix: str = "") -> str:
    """What the names of a relation's parts begin with: no longer than a longest suffix allows, and its own."""
    whole = (name if schema == "public" else f"{schema}_{name}") + suffix
    room = _LONGEST_NAME - _LONGEST_SUFFIX
    if len(whole.encode()) <= room:
        return whole
    digest = sha256(whole.encode()).hexdigest()[:8]
    return f"{whole.encode()[: room - len(suffix) - 9].decode(errors='ignore')}_{digest}{suffix}"


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
    parts: list[sql.Composable] = [
        sql.SQL("CREATE VIEW {} AS\n").format(whole) + sql.SQL(body + "\n"),
        sql.SQL("CREATE TABLE {} AS SELECT * FROM {} WITH {}DATA").format(
            table, whole, sql.SQL("" if populate else "NO ")
        ),
        sql.SQL("CREATE UNIQUE INDEX {} ON {} ({})").format(
            sql.Identifier(f"{rollup}_key"), table, _listed(unique_key)
        ),
        sql.SQL("CREATE FUNCTION {}(date, date) RETURNS SETOF {}\n").format(days, table)
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
    tracking: str,
) -> list[sql.Composable]:
    """The log of a source's writes, what reads it, and the triggers that write it.

    Where the role does not own the table, no trigger can be put on it ENABLE ALWAYS: a warning says so, and
    each refresh scans the table instead.
    """
    base = stem(schema, name)
    qualified = f"{schema}.{name}"
    names = {
        "source": sql.Literal(qualified),
        "table": sql.Identifier(schema, name),
        "day": sql.Identifier(day),
        "key": sql.Identifier(key) if key else sql.Identifier(day),
        "change": _ours(f"{base}_change"),
        "track": _ours(f"{base}_track"),
        "changed": _ours(f"{base}_changed"),
        "scan": _ours(f"{base}_scan"),
        "orphan": _ours(f"{base}_orphan"),
        "orphan_index": sql.Identifier(f"{base}_key"),
        "tracking": sql.Literal(tracking),
        "schema": sql.Literal(schema),
        "name": sql.Literal(name),
        "none": sql.SQL("pg_catalog.text"),
    }
    texts = [_LOG if key else _LOG_WITHOUT_KEY]
    if parent is not None:
        names |= {
            "parent": sql.Identifier(parent.schema, parent.name),
            "parent_key": sql.Identifier(parent.key),
            "parent_day": sql.Identifier(parent.day),
            "parent_change": _ours(f"{stem(parent.schema, parent.name)}_change"),
        }
        texts += [_ORPHANS, _TRACK_CHILD, _CHANGED_CHILD, _SCAN_CHILD]
    else:
        texts += [_TRACK if key else _TRACK_WITHOUT_KEY, _CHANGED, _SCAN]
    return [
        *(sql.SQL(one).format(**names) for text in texts for one in text.split("\n---\n")),
        sql.SQL(
            "INSERT INTO ledgerviews.source"
            " (source, schema_name, table_name, stem, day_column, key_column, parent, wanted_indexes)"
            " VALUES ({}, {}, {}, {}, {}, {}, {}, {}::text[])"
        ).format(
            *map(sql.Literal, (qualified, schema, name, base, day, key)),
            sql.Literal(f"{parent.schema}.{parent.name}" if parent else None),
            sql.Literal(list(indexes)),
        ),
        *([] if tracking == "none" else [sql.SQL(_ATTACH).format(**names)]),
    ]


def drop_source(*, schema: str, name: str) -> list[sql.Composable]:
    """Take the triggers off a source and its log away."""
    base = stem(schema, name)
    return [
        sql.SQL("SELECT ledgerviews.untrack({})").format(sql.Literal(f"{schema}.{name}")),
        sql.SQL("DROP FUNCTION {}()").format(_ours(f"{base}_track")),
        sql.SQL("DROP FUNCTION {}(boolean)").format(_ours(f"{base}_changed")),
        sql.SQL("DROP FUNCTION {}()").format(_ours(f"{base}_scan")),
        sql.SQL("DROP TABLE IF EXISTS {}").format(_ours(f"{base}_orphan")),
        sql.SQL("DROP TABLE {}").format(_ours(f"{base}_change")),
        sql.SQL("DELETE FROM ledgerviews.source WHERE source = {}").format(sql.Literal(f"{schema}.{name}")),
    ]


def _ours(name: str) -> sql.Identifier:
    return sql.Identifier(_OURS, name)


def _listed(columns: Sequence[str]) -> sql.Composed:
    return sql.SQL(", ").join(map(sql.Identifier, columns))


_DEFINER = "LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp "

_LOG = """\
CREATE TABLE {change} AS
SELECT ledgerviews.utc_day(t.{day}) AS day, t.{key} AS key FROM {table} AS t WITH NO DATA"""

_LOG_WITHOUT_KEY = """\
CREATE TABLE {change} AS
SELECT ledgerviews.utc_day(t.{day}) AS day, NULL::{none} AS key FROM {table} AS t WITH NO DATA"""

# In the log of a parent, key is that of a row that is gone, so that its children can be found.
_TRACK = """\
CREATE FUNCTION {track}() RETURNS trigger LANGUAGE plpgsql
SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $body$
BEGIN
    IF TG_OP = 'INSERT' THEN
        INSERT INTO {change} (day) VALUES (ledgerviews.utc_day(NEW.{day}));
    ELSIF TG_OP = 'DELETE' THEN
        INSERT INTO {change} (day, key) VALUES (ledgerviews.utc_day(OLD.{day}), OLD.{key});
    ELSE
        INSERT INTO {change} (day, key) VALUES
            (ledgerviews.utc_day(OLD.{day}), CASE WHEN OLD.{key} IS DISTINCT FROM NEW.{key} THEN OLD.{key} END),
            (ledgerviews.utc_day(NEW.{day}), NULL);
    END IF;
    RETURN NULL;
END
$body$
---
REVOKE ALL ON FUNCTION {track}() FROM PUBLIC"""

_TRACK_WITHOUT_KEY = """\
CREATE FUNCTION {track}() RETURNS trigger LANGUAGE plpgsql
SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $body$
BEGIN
    IF TG_OP <> 'INSERT' THEN
        INSERT INTO {change} (day) VALUES (ledgerviews.utc_day(OLD.{day}));
    END IF;
    IF TG_OP <> 'DELETE' THEN
        INSERT INTO {change} (day) VALUES (ledgerviews.utc_day(NEW.{day}));
    END IF;
    RETURN NULL;
END
$body$
---
REVOKE ALL ON FUNCTION {track}() FROM PUBLIC"""

# In the log of a child, key is that of the parent: its day is looked up at the refresh, for it may move.
_TRACK_CHILD = """\
CREATE FUNCTION {track}() RETURNS trigger LANGUAGE plpgsql
SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $body$
BEGIN
    IF TG_OP = 'INSERT' THEN
        INSERT INTO {change} (day, key) VALUES (ledgerviews.utc_day(NEW.{day}), NEW.{key});
    ELSIF TG_OP = 'DELETE' THEN
        INSERT INTO {change} (day, key) VALUES (ledgerviews.utc_day(OLD.{day}), OLD.{key});
    ELSE
        INSERT INTO {change} (day, key) VALUES (ledgerviews.utc_day(NEW.{day}), NEW.{key});
        IF OLD.{key} IS DISTINCT FROM NEW.{key} OR OLD.{day} IS DISTINCT FROM NEW.{day} THEN
            INSERT INTO {change} (day, key) VALUES (ledgerviews.utc_day(OLD.{day}), OLD.{key});
        END IF;
    END IF;
    RETURN NULL;
END
$body$
---
REVOKE ALL ON FUNCTION {track}() FROM PUBLIC"""

_ORPHANS = """\
CREATE TABLE {orphan} AS
SELECT t.{key} AS key, ledgerviews.utc_day(t.{day}) AS day FROM {table} AS t WITH NO DATA
---
CREATE INDEX {orphan_index} ON {orphan} (key)
---
COMMENT ON TABLE {orphan} IS 'Rows, by the key they point at and their own day, whose parent did not exist at the last refresh.'"""

_CHANGED = (
    """\
CREATE FUNCTION {changed}(boolean) RETURNS TABLE (source text, day date)
"""
    + _DEFINER
    + """BEGIN ATOMIC
WITH taken AS (
    DELETE FROM {change} AS c RETURNING c.day
)
SELECT DISTINCT {source}, t.day FROM taken AS t WHERE NOT $1;
END
---
REVOKE ALL ON FUNCTION {changed}(boolean) FROM PUBLIC"""
)

# $1: nothing before is known, so only the memory of orphans is made anew. A row counts on the day of its
# parent where there is one, else on its own; both are dirty where that may have changed.
_CHANGED_CHILD = (
    """\
CREATE FUNCTION {changed}(boolean) RETURNS TABLE (source text, day date)
"""
    + _DEFINER
    + """BEGIN ATOMIC
WITH taken AS (
    DELETE FROM {change} AS c RETURNING c.day, c.key
),
asked AS (
    SELECT DISTINCT t.day, t.key FROM taken AS t WHERE NOT $1
),
linked AS (
    SELECT a.day, a.key, p.{parent_key} IS NOT NULL AS found, ledgerviews.utc_day(p.{parent_day}) AS parent_day
    FROM asked AS a
    LEFT JOIN {parent} AS p ON p.{parent_key} = a.key
),
gone AS (
    SELECT DISTINCT c.key FROM {parent_change} AS c WHERE c.key IS NOT NULL AND NOT $1
),
left_behind AS (
    SELECT DISTINCT t.{key} AS key, ledgerviews.utc_day(t.{day}) AS day
    FROM gone AS g
    JOIN {table} AS t ON t.{key} = g.key
),
orphaned AS (
    SELECT l.key, l.day FROM linked AS l WHERE l.key IS NOT NULL AND NOT l.found
    UNION
    SELECT b.key, b.day FROM left_behind AS b
    WHERE NOT EXISTS (SELECT FROM {parent} AS p WHERE p.{parent_key} = b.key)
    UNION
    SELECT t.{key}, ledgerviews.utc_day(t.{day}) FROM {table} AS t
    WHERE $1 AND t.{key} IS NOT NULL AND NOT EXISTS (SELECT FROM {parent} AS p WHERE p.{parent_key} = t.{key})
),
forgotten AS (
    DELETE FROM {orphan} AS o WHERE $1
),
adopted AS (
    DELETE FROM {orphan} AS o USING {parent} AS p WHERE p.{parent_key} = o.key AND NOT $1 RETURNING o.day
),
noted AS (
    INSERT INTO {orphan} (key, day)
    SELECT n.key, n.day FROM orphaned AS n
    WHERE $1 OR NOT EXISTS (SELECT FROM {orphan} AS o WHERE o.key = n.key AND o.day = n.day)
)
SELECT {source}, CASE WHEN l.found THEN l.parent_day ELSE l.day END FROM linked AS l
UNION
SELECT {source}, b.day FROM left_behind AS b
UNION
SELECT {source}, a.day FROM adopted AS a;
END
---
REVOKE ALL ON FUNCTION {changed}(boolean) FROM PUBLIC"""
)

# A row that was written anew has another place or another writer: nothing of its content has to be read.
_SCAN = (
    """\
CREATE FUNCTION {scan}() RETURNS TABLE (day date, row_count bigint, fingerprint numeric)
"""
    + _DEFINER
    + """STABLE BEGIN ATOMIC
SELECT
    ledgerviews.utc_day(t.{day}),
    pg_catalog.count(*),
    pg_catalog.sum(pg_catalog.hashtidextended(t.ctid, (t.xmin::text::bigint << 32) | t.tableoid::bigint))
FROM {table} AS t
GROUP BY 1;
END
---
REVOKE ALL ON FUNCTION {scan}() FROM PUBLIC"""
)

_SCAN_CHILD = (
    """\
CREATE FUNCTION {scan}() RETURNS TABLE (day date, row_count bigint, fingerprint numeric)
"""
    + _DEFINER
    + """STABLE BEGIN ATOMIC
SELECT
    CASE WHEN p.{parent_key} IS NULL THEN ledgerviews.utc_day(t.{day}) ELSE ledgerviews.utc_day(p.{parent_day}) END,
    pg_catalog.count(*),
    pg_catalog.sum(pg_catalog.hashtidextended(t.ctid, (t.xmin::text::bigint << 32) | t.tableoid::bigint))
FROM {table} AS t
LEFT JOIN {parent} AS p ON p.{parent_key} = t.{key}
GROUP BY 1;
END
---
REVOKE ALL ON FUNCTION {scan}() FROM PUBLIC"""
)

_ATTACH = """\
DO $body$
BEGIN
    IF (
        SELECT pg_catalog.pg_has_role(c.relowner, 'USAGE')
        FROM pg_catalog.pg_class AS c
        WHERE c.oid = pg_catalog.to_regclass(pg_catalog.format('%I.%I', {schema}, {name}))
    ) THEN
        PERFORM ledgerviews.track({source}, {tracking});
    ELSE
        RAISE WARNING '% belongs to another role, so no trigger tracks its writes: each refresh scans it.', {source}
            USING HINT = 'Run ledgerviews tracking install as a member of its owner.';
    END IF;
END
$body$"""
