"""A small shop whose relations are replaced: its specs, the operation, and what stands in a database."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Any

import psycopg
import sqlalchemy
from alembic.config import Config
from alembic.environment import EnvironmentContext
from alembic.migration import MigrationContext
from alembic.operations import Operations
from alembic.script import ScriptDirectory

from ledgerviews.config import Settings
from ledgerviews.schema.execute import SETTINGS
from tests.servers import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

Specs = dict[str, dict[str, Any]]

TABLES = """
CREATE TABLE public.orders (
    id int PRIMARY KEY, customer text NOT NULL, placed_at timestamptz NOT NULL, amount int NOT NULL
);
INSERT INTO public.orders
SELECT n, 'c' || n % 7, timestamptz '2026-01-01 12:00+00' + n % 40 * interval '1 day', n % 100
FROM generate_series(1, 2000) AS n;
"""

BASE: dict[str, Any] = {
    "kind": "view",
    "definition": "-- One row per order; ' :abc' and 100 % are text.\n"
    "SELECT o.id, o.customer, ledgerviews.utc_day(o.placed_at) AS day, o.amount\nFROM public.orders AS o",
    "comment": "Orders.",
    "columns": {"id": "Key.", "customer": "Who.", "day": "UTC day.", "amount": "Cents."},
}
DAILY: dict[str, Any] = {
    "kind": "materialized view",
    "definition": "SELECT b.day, b.customer, count(*) AS orders, sum(b.amount)::bigint AS amount\n"
    "FROM public.base AS b\nGROUP BY b.day, b.customer",
    "reads": ["base"],
    "comment": "Orders by day.",
    "columns": {"day": "UTC day.", "customer": "Who.", "orders": "Number.", "amount": "Cents."},
    "unique_key": ["day", "customer"],
    "day": "day",
    "day_definition": "SELECT b.day, b.customer, count(*) AS orders, sum(b.amount)::bigint AS amount\n"
    "FROM (SELECT ledgerviews.utc_day(o.placed_at) AS day, o.customer, o.amount FROM public.orders AS o\n"
    "WHERE ledgerviews.in_days(o.placed_at, $1, $2)) AS b\nGROUP BY b.day, b.customer",
    "sources": ["public.orders"],
    "checks": [{"name": "positive", "kind": "expression", "expression": "orders > 0", "severity": "error"}],
}
TOP: dict[str, Any] = {
    "kind": "materialized view",
    "definition": "SELECT d.day, sum(d.orders)::bigint AS orders\nFROM public.daily AS d\nGROUP BY d.day",
    "reads": ["daily"],
    "comment": "All orders by day.",
    "columns": {"day": "UTC day.", "orders": "Number."},
    "unique_key": ["day"],
}
SOURCE: dict[str, Any] = {"kind": "source", "schema": "public", "name": "orders", "day": "placed_at"}
SHOP: Specs = {"base": BASE, "daily": DAILY, "top": TOP, "public.orders": SOURCE}


def with_amount(expression: str) -> Specs:
    """The relations that change where another amount is read: the base, and the days of what reads it."""
    named = f"{expression} AS amount"
    return {
        "base": BASE | {"definition": BASE["definition"].replace("o.amount\n", f"{named}\n")},
        "daily": DAILY
        | {
            "day_definition": DAILY["day_definition"].replace(
                "o.customer, o.amount ", f"o.customer, {named} "
            )
        },
    }


FOREIGN = """
CREATE VIEW public.team_view AS SELECT t.day, t.orders, b.n
FROM public.top AS t CROSS JOIN (SELECT count(*) AS n FROM public.base) AS b;
CREATE VIEW public.team_upper AS SELECT v.day, v.n AS "N" FROM public.team_view AS v WHERE v.orders > 1;
CREATE MATERIALIZED VIEW public.team_mart AS SELECT v.day, v.orders * 2 AS twice FROM public.team_view AS v;
CREATE INDEX team_index ON public.team_mart (twice);
CREATE FUNCTION public.team_function(d date) RETURNS bigint LANGUAGE sql STABLE
BEGIN ATOMIC SELECT t.orders FROM public.top AS t WHERE t.day = d; END;
CREATE INDEX by_hand ON public.daily (amount) WHERE amount > 5;
COMMENT ON INDEX public.by_hand IS 'Made by hand.';
CREATE STATISTICS public.by_hand_statistics ON day, customer FROM public.daily;
ALTER STATISTICS public.by_hand_statistics SET STATISTICS 77;
ALTER MATERIALIZED VIEW public.daily ALTER COLUMN customer SET STATISTICS 55;
ALTER MATERIALIZED VIEW public.daily SET (fillfactor = 90, autovacuum_enabled = false);
GRANT SELECT ON public.daily TO pg_monitor WITH GRANT OPTION;
GRANT SELECT (day, orders) ON public.top TO pg_read_all_stats;
GRANT SELECT ON public.base, public.team_view TO pg_monitor;
GRANT SELECT ON public.daily, public.base TO pg_database_owner;
GRANT SELECT, INSERT ON ledgerviews.daily_rollup TO pg_monitor;
GRANT EXECUTE ON FUNCTION ledgerviews.daily_rollup_days TO pg_monitor;
COMMENT ON VIEW public.team_view IS 'The team''s own.';
ALTER VIEW public.team_upper SET (security_barrier = true);
ALTER MATERIALIZED VIEW public.top OWNER TO pg_database_owner;
"""

FINGERPRINT = """
SELECT pg_catalog.jsonb_agg(x.line ORDER BY x.line::text) FROM (
    SELECT jsonb_build_array('relation', n.nspname, c.relname, c.relkind, c.relispopulated,
        CASE WHEN c.relkind IN ('v', 'm') THEN pg_get_viewdef(c.oid) END,
        pg_get_userbyid(c.relowner), c.reloptions,
        ARRAY(SELECT a::text FROM unnest(c.relacl) AS a ORDER BY 1),
        obj_description(c.oid, 'pg_class'),
        (SELECT jsonb_agg(jsonb_build_array(a.attname, format_type(a.atttypid, a.atttypmod),
            NULLIF(a.attstattarget, -1),
            a.attacl::text, col_description(c.oid, a.attnum)) ORDER BY a.attnum)
         FROM pg_attribute AS a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped),
        ARRAY(SELECT pg_get_indexdef(i.indexrelid) || COALESCE(obj_description(i.indexrelid, 'pg_class'), '')
            FROM pg_index AS i WHERE i.indrelid = c.oid ORDER BY 1),
        ARRAY(SELECT pg_get_statisticsobjdef(s.oid) || COALESCE(s.stxstattarget, -1)
            FROM pg_statistic_ext AS s WHERE s.stxrelid = c.oid ORDER BY 1)) AS line
    FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
    WHERE n.nspname NOT LIKE 'pg\\_%' AND n.nspname <> 'information_schema' AND c.relkind IN ('r', 'v', 'm')
    UNION ALL
    SELECT jsonb_build_array('function', n.nspname, pg_get_functiondef(p.oid), pg_get_userbyid(p.proowner),
        ARRAY(SELECT a::text FROM unnest(p.proacl) AS a ORDER BY 1), obj_description(p.oid, 'pg_proc'))
    FROM pg_proc AS p JOIN pg_namespace AS n ON n.oid = p.pronamespace
    WHERE n.nspname IN ('public', 'ledgerviews') AND p.prokind = 'f'
    UNION ALL
    SELECT jsonb_build_array('schema', n.nspname) FROM pg_namespace AS n
    WHERE n.nspname !~ '^pg_(toast_)?temp'
    UNION ALL
    SELECT jsonb_build_array('entry', to_jsonb(r) - 'installed_at') FROM ledgerviews.relation AS r
    UNION ALL
    SELECT jsonb_build_array('check', to_jsonb(r)) FROM ledgerviews.relation_check AS r
    UNION ALL
    SELECT jsonb_build_array('source', to_jsonb(s) - 'tracked_at' - 'seen') FROM ledgerviews.source AS s
    UNION ALL
    SELECT jsonb_build_array('trigger', t.tgrelid::regclass, pg_get_triggerdef(t.oid), t.tgenabled)
    FROM pg_trigger AS t WHERE NOT t.tgisinternal
) AS x
"""


def operate(url: str, work: Callable[[Operations], None], *, settings: Settings | None = None) -> None:
    """Run operations in one transaction, as a revision does."""
    with closing(psycopg.connect(url)) as raw:
        engine = sqlalchemy.create_engine(
            "postgresql+psycopg://", creator=lambda: raw, poolclass=sqlalchemy.StaticPool
        )
        with engine.connect() as connection:
            connection.rollback()
            with connection.begin():
                config = Config()
                config.attributes[SETTINGS] = settings or Settings(database_url=url)
                environment = EnvironmentContext(config, ScriptDirectory(str(ROOT / "migrations")))
                context = MigrationContext.configure(connection, environment_context=environment)
                operations = Operations(context)
                work(operations)


def replace(
    url: str, before: Mapping[str, Any], after: Mapping[str, Any], *, fill: bool = False, **settings: Any
) -> None:
    """What a revision's upgrade does; with fill, what the downgrade of one that drops does."""
    operate(
        url,
        lambda operations: operations.ledgerviews_replace(before, after, fill=fill),  # type: ignore[attr-defined]
        settings=Settings(database_url=url, **settings),
    )


def open_shop(
    connection: psycopg.Connection, url: str, *, foreign: bool = True, tables: str = TABLES
) -> None:
    """Tables, engine, relations filled and, with foreign, what a team built on them."""
    connection.execute(tables.encode())
    connection.execute("CREATE SCHEMA IF NOT EXISTS ledgerviews")
    operate(url, lambda operations: operations.ledgerviews_engine(version=3, previous=0))  # type: ignore[attr-defined]
    replace(url, {}, SHOP)
    connection.execute("CALL ledgerviews.refresh()")
    if foreign:
        connection.execute(FOREIGN.encode())


def fingerprint(connection: psycopg.Connection) -> list[Any]:
    """All that stands in the database but data and identities."""
    ((found,),) = connection.execute(FINGERPRINT.encode()).fetchall()
    return list(found)


def rows(connection: psycopg.Connection, name: str) -> list[Any]:
    """A relation's rows, sorted."""
    return sorted(connection.execute(f"SELECT to_jsonb(r)::text FROM {name} AS r".encode()).fetchall())


def true_rows(connection: psycopg.Connection, specs: Mapping[str, Any], name: str) -> list[Any]:
    """What the relation's SELECT gives now, of which all that it reads are computed anew."""
    parts = list(_with_clauses(specs, name))
    text = specs[name]["definition"]
    for other in specs:
        text = text.replace(f"public.{other} ", f"{other} ")
    clauses = f"WITH {', '.join(parts)}" if parts else ""
    query = f"{clauses} SELECT to_jsonb(r)::text FROM ({text}\n) AS r"
    return sorted(connection.execute(query.encode()).fetchall())


def _with_clauses(specs: Mapping[str, Any], name: str) -> Iterator[str]:
    for other in specs[name].get("reads", ()):
        yield from _with_clauses(specs, other)
        text = specs[other]["definition"]
        for inner in specs[other].get("reads", ()):
            text = text.replace(f"public.{inner} ", f"{inner} ")
        yield f"{other} AS ({text}\n)"
