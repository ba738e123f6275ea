"""Whoever may create operators in a schema of the search_path has none of them called with our rights."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg
import pytest

from tests.acceptance.test_revision_cli import Shop

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests import servers as pg

    Connect = Callable[[str], psycopg.Connection]

# PostgreSQL prefers an operator of exactly the types that are given to its own after a conversion.
TRAPS = """
SET search_path = pg_catalog;
DO $traps$
DECLARE
    types text[] := ARRAY[
        'name', 'text', 'varchar', '"char"', 'bool', 'int2', 'int4', 'int8', 'oid', 'jsonb', 'text[]',
        'name[]', 'regclass', 'regnamespace', 'regtype', 'regproc', 'regprocedure', 'regrole', 'int2vector',
        'oidvector', 'date', 'timestamptz', 'numeric', 'oid[]', 'regclass[]', 'aclitem[]', 'xid', 'xid8'
    ];
    signs text[] := ARRAY[
        '=', '<>', '<', '>', '<=', '>=', '~', '!~', '~~', '@>', '<@', '&&', '||', '+', '-', '->', '->>'
    ];
    l text;
    r text;
    o text;
BEGIN
    FOREACH l IN ARRAY types LOOP
        FOREACH r IN ARRAY types LOOP
            EXECUTE format(
                'CREATE FUNCTION public.trap_bool(%s, %s) RETURNS bool LANGUAGE plpgsql AS %L', l, r,
                format('BEGIN RAISE EXCEPTION ''trapped by %s and %s''; END', l, r)
            );
            EXECUTE format(
                'CREATE FUNCTION public.trap_text(a %s, b %s) RETURNS text LANGUAGE sql'
                ' RETURN CASE WHEN public.trap_bool(a, b) THEN ''1'' END', l, r
            );
            FOREACH o IN ARRAY signs LOOP
                CONTINUE WHEN EXISTS (
                    SELECT FROM pg_operator
                    WHERE oprname = o AND oprleft = l::regtype AND oprright = r::regtype
                );
                EXECUTE format(
                    'CREATE OPERATOR public.%s (LEFTARG = %s, RIGHTARG = %s, FUNCTION = public.trap_%s)',
                    o, l, r, CASE WHEN o IN ('||', '+', '-', '->', '->>') THEN 'text' ELSE 'bool' END
                );
            END LOOP;
        END LOOP;
    END LOOP;
END
$traps$;
RESET search_path;
"""
BY_DAY = '''"""Orders per day."""
from ledgerviews.catalog import Kind, Model
MODEL = Model.beside(
    __file__, kind=Kind.MATERIALIZED_VIEW, description="Orders per day.", grain=("day",), day="day",
    columns={"day": "The day.", "orders": "How many."},
)
'''
SOURCES = '''"""The table."""
from ledgerviews.catalog import Source
SOURCES = (
    Source(
        name="orders", description="Orders.", columns={"id": "integer", "at": "timestamptz"}, key="id",
        day="at", day_rows=("ledgerviews.in_days(orders.at, lo, hi)",),
    ),
)
'''
COMMANDS = (
    "db check",
    "diff",
    "db revision -m first",
    "db upgrade",
    "db check",
    "db current",
    "db history",
    "diff",
    "refresh",
    "refresh --full",
    "refresh --dry-run",
    "verify",
    "status",
    "runs",
    "tracking install --mode every-write public.orders",
    "tracking status",
    "index install --yes",
    "index status",
    "cron status",
    "grant reader pg_monitor",
    "grant refresher pg_monitor",
    "release public.orders",
    "restore",
    "refresh",
    "db downgrade base",
)


@pytest.fixture
def trapped(tmp_path: Path, run_cli: pg.RunCli, empty_url: str, connect: Connect) -> Shop:
    """A team whose public schema holds an operator for each two types that PostgreSQL has none for."""
    connection = connect(empty_url)
    connection.execute("CREATE TABLE public.orders (id integer PRIMARY KEY, at timestamptz)")
    connection.execute("INSERT INTO public.orders SELECT n, now() FROM generate_series(1, 9) AS n")
    connection.execute(TRAPS)
    made = Shop(tmp_path, run_cli, empty_url)
    made.declare("m", "SELECT o.id FROM public.orders AS o")
    models = tmp_path / "shop/models"
    (models / "sources.py").write_text(SOURCES, encoding="utf-8")
    (models / "daily.py").write_text(BY_DAY, encoding="utf-8")
    (models / "daily.sql").write_text(
        "SELECT ledgerviews.utc_day(o.at) AS day, count(*) AS orders FROM public.orders AS o GROUP BY 1\n",
        encoding="utf-8",
    )
    return made


def test_no_command_calls_an_operator_of_the_path(trapped: Shop, connect: Connect) -> None:
    """From the first revision to the last refresh and back; the traps themselves work."""
    connection = connect(trapped.url)
    done = [(words, trapped(*words.split())) for words in COMMANDS]
    with pytest.raises(psycopg.errors.RaiseException, match="trapped by name and name"):
        connection.execute("SELECT nspname || nspname FROM pg_namespace")

    assert [(words, one.stderr) for words, one in done if "trapped" in one.stdout + one.stderr] == []
    # The first two find something to do, the others want pg_cron and PostgreSQL 17.
    failed = {words: one.stderr for words, one in done if one.returncode}
    assert set(failed) <= {"db check", "diff", "cron status", "grant refresher pg_monitor"}, failed


FAILING = """
import ledgerviews.schema
from alembic import op
revision = "z1"
down_revision = {before!r}
def upgrade():
    with op.get_context().autocommit_block():
        op.execute("SELECT 1")
    {statement}
def downgrade():
    pass
"""


@pytest.mark.parametrize(
    "statement", ["raise RuntimeError('no')", "op.execute('SELECT 1 / 0')", "op.execute('SELECT nosuch')"]
)
def test_nor_does_a_revision_that_fails_after_a_commit(trapped: Shop, statement: str) -> None:
    """Where the database is, is asked under our path again, though the commit kept the role's."""
    assert trapped("db", "revision", "-m", "first", "--rev-id", "a1").returncode == 0
    assert trapped("db", "upgrade").returncode == 0
    file = trapped.folder / "shop/migrations/versions/z1_failing.py"
    file.write_text(FAILING.format(before="a1", statement=statement), encoding="utf-8")

    told = trapped("db", "upgrade")

    assert told.returncode in {1, 2}
    assert "trapped" not in told.stderr
    assert "the database is at a1" in told.stderr


def test_nor_does_a_replacement_that_fails(trapped: Shop, connect: Connect) -> None:
    """While it is built, and where a reader keeps it from being exchanged."""
    assert trapped("db", "revision", "-m", "first", "--rev-id", "a1").returncode == 0
    assert trapped("db", "upgrade").returncode == 0
    assert trapped("refresh").returncode == 0
    reader = connect(trapped.url)
    told = []

    trapped.declare("m", "SELECT 9 / (o.id - 5) AS id FROM public.orders AS o")
    assert trapped("db", "revision", "-m", "second", "--rev-id", "a2").returncode == 0
    told.append(trapped("db", "upgrade"))
    (trapped.folder / "shop/migrations/versions/a2_second.py").unlink()
    trapped.declare("m", "SELECT o.id + 0 AS id FROM public.orders AS o")
    assert trapped("db", "revision", "-m", "second", "--rev-id", "a2").returncode == 0
    reader.execute("BEGIN; SELECT FROM public.m")
    told.append(trapped("db", "upgrade"))
    reader.execute("ROLLBACK")

    assert "division by zero" in told[0].stderr
    assert "public.m is locked by process" in told[1].stderr
    assert [one.stderr for one in told if "trapped" in one.stderr] == []
    assert trapped("db", "upgrade").returncode == 0
