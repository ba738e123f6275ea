"""Literals and printed definitions mean the same under whatever settings a session has."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests import servers as pg
from tests.acceptance.test_revision_cli import Shop
from tests.application import Application

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import psycopg

    Connect = Callable[[str], psycopg.Connection]

SINCE = "WHERE o.placed >= timestamptz '2026-02-01 00:00' AND o.placed::date <> DATE '2026-02-03'"
SQL = f"SELECT o.id, o.placed::date AS day FROM public.orders AS o {SINCE}"
ENTITIES = {"public.since": ("materialized view", SQL)}
STYLES = ("SQL, DMY", "German, DMY", "Postgres, DMY")
BY_HAND = """
import ledgerviews.schema
from alembic import op
revision = "a1"
down_revision = None
def upgrade():
    op.ledgerviews_engine(version=3, previous=0)
    op.execute("SET search_path = app, public")
    op.execute("CREATE TABLE first (i integer)")
    {block}op.ledgerviews_create_materialized_view(
        "since", {sql!r}, unique_key=["id"], columns={{"id": "The id.", "day": "The day."}}, comment="Since."
    )
    op.execute("CREATE TABLE app.dated AS SELECT '2026-07-01 09:00'::timestamptz AS at")
    op.execute("CREATE TABLE second (i integer)")
def downgrade():
    pass
"""


@pytest.fixture
def connection(empty_url: str, connect: Connect) -> psycopg.Connection:
    """A session under UTC, of a database with orders around midnights in another zone than the database's."""
    made = connect(empty_url)
    made.execute(
        "SET TimeZone = 'UTC'; CREATE SCHEMA app;"
        "CREATE TABLE public.orders (id integer PRIMARY KEY, placed timestamptz);"
        "INSERT INTO public.orders"
        " SELECT n, timestamptz '2026-01-30 00:30+00' + n * interval '3 hours'"
        " FROM generate_series(1, 60) AS n"
    )
    made.execute(f"ALTER DATABASE {made.info.dbname} SET TimeZone = 'Pacific/Auckland'".encode())
    return made


def published(connection: psycopg.Connection) -> bool:
    """Whether what is published is what the SELECT gives under UTC."""
    connection.execute("CALL ledgerviews.refresh()")
    return sorted(connection.execute(SQL.encode()).fetchall()) == sorted(
        connection.execute("TABLE public.since").fetchall()
    )


@pytest.mark.parametrize("style", STYLES)
def test_a_release_puts_back_what_was_there(
    tmp_path: Path, empty_url: str, connect: Connect, connection: psycopg.Connection, style: str
) -> None:
    """Of ours, and of what others built on it: the same, in a session that prints dates otherwise."""
    application = Application(tmp_path / "app", empty_url, entities=ENTITIES, options={"tables": False})
    application.change()
    connection.execute(
        "CREATE VIEW public.dash AS SELECT s.id, DATE '2026-03-04' AS day, interval '1 day 2 hours' AS late,"
        " timestamptz '2026-02-01 00:00+00' AS at FROM public.since AS s"
    )
    ask = "SELECT pg_get_viewdef('public.dash'::regclass), pg_get_viewdef('public.since'::regclass)"
    before = connection.execute(ask).fetchall()
    odd = connect(empty_url)
    odd.execute(f"SET DateStyle = '{style}'; SET IntervalStyle = 'sql_standard'; SET extra_float_digits = 0")

    odd.execute("SELECT ledgerviews.release(ARRAY['public.orders'])")
    odd.execute("SELECT ledgerviews.restore()")

    assert connection.execute(ask).fetchall() == before
    assert published(connection)
    assert application.differs() == []


@pytest.mark.parametrize("block", ["", "with op.get_context().autocommit_block():\n        "])
def test_a_revision_s_own_code_has_the_role_s_settings_and_ours_has_none(
    tmp_path: Path, run_cli: pg.RunCli, empty_url: str, connection: psycopg.Connection, block: str
) -> None:
    """Its literals are of the database's zone and its names of the path that it set; the mart's are UTC."""
    team = Shop(tmp_path, run_cli, empty_url)
    team.declare("m", "SELECT o.id FROM public.orders AS o")
    file = team.folder / "shop/migrations/versions/a1_by_hand.py"
    file.write_text(BY_HAND.format(sql=SQL, block=block), encoding="utf-8")

    done = team("db", "upgrade")

    assert done.returncode == 0, done.stderr
    assert published(connection)
    assert connection.execute("SELECT at::text FROM app.dated").fetchall() == [("2026-06-30 21:00:00+00",)]
    assert connection.execute("SELECT to_regclass('app.first'), to_regclass('app.second')").fetchall() == [
        ("app.first", "app.second")
    ]


@pytest.mark.skipif(shutil.which("psql") is None, reason="There is no psql.")
def test_a_script_has_the_same(
    tmp_path: Path, run_cli: pg.RunCli, empty_url: str, connection: psycopg.Connection
) -> None:
    """What ``db upgrade --sql`` prints, run by psql in the database's own zone."""
    team = Shop(tmp_path, run_cli, empty_url)
    team.declare("m", "SELECT o.id FROM public.orders AS o")
    file = team.folder / "shop/migrations/versions/a1_by_hand.py"
    file.write_text(BY_HAND.format(sql=SQL, block=""), encoding="utf-8")
    script = team("db", "upgrade", "--sql")
    assert script.returncode == 0, script.stderr

    ran = subprocess.run(
        ["psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", empty_url],
        input=script.stdout,
        text=True,
        capture_output=True,
        check=False,
        env=pg.clean_environment(),
    )

    assert ran.returncode == 0, ran.stderr
    assert published(connection)
    assert connection.execute("SELECT at::text FROM app.dated").fetchall() == [("2026-06-30 21:00:00+00",)]
    assert connection.execute("SELECT to_regclass('app.first'), to_regclass('app.second')").fetchall() == [
        ("app.first", "app.second")
    ]


def test_entities_are_looked_up_under_the_role_s_path(
    tmp_path: Path, run_cli: pg.RunCli, empty_url: str, connection: psycopg.Connection
) -> None:
    """Under our own env.py, too, a text without schemas is compared, installed and found to be the same."""
    team = Shop(tmp_path, run_cli, empty_url)
    team.declare("m", "SELECT o.id FROM public.orders AS o")
    (team.folder / "shop/migrations/env.py").write_text(
        "import sqlalchemy\n"
        "from alembic_utils.pg_view import PGView\n"
        "from ledgerviews.schema import declare, run_migrations\n"
        "metadata = sqlalchemy.MetaData()\n"
        'view = PGView(schema="public", signature="bare", definition="SELECT id FROM orders")\n'
        'declare(metadata, entities=[view], models="shop.models")\n'
        "run_migrations(target_metadata=metadata)\n",
        encoding="utf-8",
    )

    done = [team("db", "revision", "-m", "first"), team("db", "upgrade"), team("db", "check")]

    assert [one.stderr for one in done if one.returncode] == []
    assert connection.execute("SELECT count(*) FROM public.bare").fetchall() == [(60,)]


ONE = """
from alembic import op
revision = {revision!r}
down_revision = {before!r}
def upgrade():
    op.execute({statement!r})
"""


def test_what_a_revision_resets_is_ours_again_in_the_next(
    tmp_path: Path, run_cli: pg.RunCli, empty_url: str, connection: psycopg.Connection
) -> None:
    """So that its code does not depend on what was pending before it."""
    name = connection.info.dbname
    connection.execute(f"ALTER DATABASE {name} SET DateStyle = 'German, DMY'".encode())
    connection.execute(f"ALTER DATABASE {name} SET quote_all_identifiers = on".encode())
    team = Shop(tmp_path, run_cli, empty_url)
    team.declare("m", "SELECT o.id FROM public.orders AS o")
    asked = (
        "CREATE TABLE public.seen AS SELECT current_setting('DateStyle') AS style,"
        " current_setting('quote_all_identifiers') AS quoted, current_setting('TimeZone') AS zone"
    )
    for revision, before, statement in (("a1", None, "RESET ALL"), ("a2", "a1", asked)):
        file = team.folder / f"shop/migrations/versions/{revision}.py"
        text = ONE.format(revision=revision, before=before, statement=statement)
        file.write_text(text, encoding="utf-8")

    done = team("db", "upgrade")

    assert done.returncode == 0, done.stderr
    assert connection.execute("SELECT style, quoted, zone FROM public.seen").fetchall() == [
        ("ISO, MDY", "off", "Pacific/Auckland")
    ]
