"""The application alters a table that views read: everything comes off, and comes back as it was."""

from __future__ import annotations

import contextlib
import io
import subprocess
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy
from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.operations import Operations
from alembic.util import CommandError

import ledgerviews
from ledgerviews.config import Settings
from ledgerviews.models import demo
from ledgerviews.schema import commands
from tests.fingerprint import fingerprint, rows

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import psycopg

    Connect = Callable[[str], psycopg.Connection]

EVENTS = "public.suggestion_events"
MARTS = (
    "public.mart_suggestions_daily",
    "public.mart_suggestions_feedback_daily",
    "public.mart_suggestions_kpis",
    "team.by_day",
    'team."Wide view"',
)
# What a team may have hung on the table beside our views, with all that can hang on a relation.
TEAM = r"""
CREATE SCHEMA team;
GRANT USAGE ON SCHEMA team TO PUBLIC;
CREATE VIEW team."Wide view" WITH (security_invoker = true, security_barrier) AS
    SELECT id, created_at, mode, 'public.suggestion_events' AS "lit ON eral" FROM public.suggestion_events;
CREATE MATERIALIZED VIEW team.by_day WITH (fillfactor = 70) AS
    SELECT created_at::date AS d, "lit ON eral" AS lit, count(*) AS n FROM team."Wide view" GROUP BY 1, 2;
CREATE UNIQUE INDEX "by_day ON key" ON team.by_day (d);
CREATE INDEX by_day_lower ON team.by_day ((lower(lit) || 'team.by_day ON x')) WHERE n > 0;
CREATE INDEX by_day_brin ON team.by_day USING brin (d) WITH (pages_per_range = 16);
ALTER INDEX team.by_day_lower ALTER COLUMN 1 SET STATISTICS 77;
COMMENT ON INDEX team.by_day_brin IS 'it''s 100% :brin';
ALTER MATERIALIZED VIEW team.by_day CLUSTER ON "by_day ON key";
ALTER MATERIALIZED VIEW team.by_day ALTER COLUMN lit SET STORAGE EXTERNAL;
ALTER MATERIALIZED VIEW team.by_day ALTER COLUMN n SET STATISTICS 33;
ALTER MATERIALIZED VIEW team.by_day ALTER COLUMN n SET (n_distinct = 5);
CREATE STATISTICS team.by_day_statistics (ndistinct) ON d, lit FROM team.by_day;
COMMENT ON STATISTICS team.by_day_statistics IS 'together';
ALTER STATISTICS team.by_day_statistics SET STATISTICS 12;
CREATE STATISTICS public.by_day_elsewhere ON (lower(lit)) FROM team.by_day;
COMMENT ON MATERIALIZED VIEW team.by_day IS 'Days.';
COMMENT ON COLUMN team.by_day.n IS 'How many, in %s.';
GRANT SELECT ON team.by_day TO PUBLIC;
GRANT SELECT ON team.by_day TO {reader} WITH GRANT OPTION;
SET ROLE {reader};
GRANT SELECT ON team.by_day TO {other};
RESET ROLE;
GRANT SELECT (d), REFERENCES (n) ON team.by_day TO {other};
GRANT SELECT ON public.stg_suggestion_events TO {reader};
REVOKE DELETE ON public.stg_suggestion_events FROM CURRENT_USER;
ALTER VIEW team."Wide view" ALTER COLUMN mode SET DEFAULT 'auto';
CREATE FUNCTION team.nothing() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
CREATE TRIGGER "put ON it" INSTEAD OF INSERT ON team."Wide view" FOR EACH ROW EXECUTE FUNCTION team.nothing();
COMMENT ON TRIGGER "put ON it" ON team."Wide view" IS 'a trigger';
CREATE RULE away AS ON DELETE TO team."Wide view"
    DO INSTEAD DELETE FROM public.suggestion_events WHERE id = OLD.id;
COMMENT ON RULE away ON team."Wide view" IS 'a rule';
CREATE FUNCTION team.counted(at_least integer DEFAULT 1) RETURNS bigint LANGUAGE sql STABLE
    BEGIN ATOMIC SELECT count(*) FROM team.by_day AS b WHERE b.n >= at_least; END;
COMMENT ON FUNCTION team.counted(integer) IS 'a function';
REVOKE ALL ON FUNCTION team.counted(integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION team.counted(integer) TO {reader};
-- As PostgreSQL does itself since 15.20 (not in 18.6); of a view nobody may say it.
UPDATE pg_attribute SET attoptions = '{{pg_attver=1}}'
    WHERE attrelid = 'team."Wide view"'::regclass AND attnum > 0 AND attoptions IS NULL;
CREATE VIEW team.last AS SELECT team.counted(2) AS total, b.* FROM team.by_day AS b;
CREATE FUNCTION team.takes(one team.last) RETURNS bigint LANGUAGE plpgsql AS 'BEGIN RETURN one.total; END';
ALTER DEFAULT PRIVILEGES IN SCHEMA team GRANT ALL ON TABLES TO {other};
ALTER DEFAULT PRIVILEGES IN SCHEMA team GRANT EXECUTE ON FUNCTIONS TO {other};
ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT ON TABLES TO {other};
"""


@pytest.fixture
def roles(installed_url: str, connect: Connect) -> Iterator[tuple[str, str]]:
    """Two roles of this database only."""
    superuser = connect(installed_url)
    names = tuple(f"{name}_{superuser.info.backend_pid}" for name in ("reader", "other"))
    for name in names:
        superuser.execute(f"CREATE ROLE {name} LOGIN".encode())
    yield names[0], names[1]
    for name in names:
        superuser.execute(f"DROP OWNED BY {name} CASCADE".encode())
    for name in names:
        superuser.execute(f"DROP ROLE {name}".encode())


@pytest.fixture
def database(installed_url: str, connect: Connect, roles: tuple[str, str]) -> str:
    """A filled and refreshed database with what a team hung on the table."""
    connection = connect(installed_url)
    demo.reference_rows(connection)
    connection.execute("CALL ledgerviews.refresh()")
    connection.execute(TEAM.format(reader=roles[0], other=roles[1]).encode())
    return installed_url


@contextlib.contextmanager
def migration(url: str, *, driver: str = "psycopg", **options: Any) -> Iterator[Operations]:
    """An Alembic migration of the application, in one transaction."""
    engine = sqlalchemy.create_engine(
        url.replace("postgresql://", f"postgresql+{driver}://"), poolclass=sqlalchemy.NullPool, **options
    )
    try:
        with engine.begin() as connection:
            yield Operations(MigrationContext.configure(connection))
    finally:
        engine.dispose()


@pytest.mark.parametrize("driver", ["psycopg", "psycopg2"])
def test_a_type_changes_and_everything_comes_back(database: str, connect: Connect, driver: str) -> None:
    """Two migrations, there and back: catalog and rows are as they were, and refreshed rows are right."""
    connection = connect(database)
    before, figures = fingerprint(connection), rows(connection, *MARTS)

    with migration(database, driver=driver) as op, ledgerviews.released(op, EVENTS):
        op.alter_column("suggestion_events", "mode", type_=sqlalchemy.Text(), schema="public")
    between = fingerprint(connection)
    with migration(database, driver=driver) as op, ledgerviews.released(op, EVENTS):
        op.alter_column("suggestion_events", "mode", type_=sqlalchemy.String(), schema="public")

    assert between != before
    assert fingerprint(connection) == before
    assert rows(connection, *MARTS) == figures
    assert rows(connection, "ledgerviews.released", "ledgerviews.released_object") == {
        "ledgerviews.released": [],
        "ledgerviews.released_object": [],
    }
    _refresh_and_compare(connection)


def test_what_the_migration_writes_is_in_the_next_refresh(database: str, connect: Connect) -> None:
    """Rows that are written while the triggers are off are seen: the next refresh is full, and exact."""
    connection = connect(database)

    with migration(database) as op, ledgerviews.released(op, EVENTS):
        op.execute(
            "UPDATE public.suggestion_events SET created_at = created_at - interval '3 days', mode = 'model'"
        )
        op.execute("ALTER TABLE public.suggestion_events ALTER COLUMN mode TYPE varchar(40)")
    scopes = _refresh_and_compare(connection)

    assert scopes[:2] == [
        ("mart_suggestions_daily", "all", f"{EVENTS}: it was truncated or rewritten"),
        ("mart_suggestions_feedback_daily", "all", f"{EVENTS}: it was truncated or rewritten"),
    ] or all("its triggers were altered" in reason for _, _, reason in scopes[:2])
    assert all(scope == "days" for _, scope, _ in _refresh_and_compare(connection)[:2])


@pytest.mark.parametrize(
    ("statement", "says"),
    [
        (
            "RENAME COLUMN id TO event_id",
            "line 5 of the SELECT of stg_suggestion_events; {0}.id is now named event_id: column e.id ",
        ),
        (
            "RENAME COLUMN mode TO wanted",
            "line 10 of the SELECT of stg_suggestion_events; {0}.mode is now named wanted: ",
        ),
        (
            "DROP COLUMN candidates",
            "line 9 of the SELECT of stg_suggestion_events; {0}.candidates was dropped: column e.cand",
        ),
        (
            "ALTER COLUMN mode TYPE integer USING 1",
            "line 21 of the SELECT of stg_suggestion_events; {0}.mode was character varying and is integer: ",
        ),
    ],
)
def test_a_view_that_no_longer_fits_stops_the_migration(
    database: str, connect: Connect, statement: str, says: str
) -> None:
    """The error names the view, the column and the line of the model, and nothing has changed."""
    connection = connect(database)
    before, figures = fingerprint(connection), rows(connection, *MARTS)

    with (
        pytest.raises(CommandError) as caught,
        migration(database) as op,
        ledgerviews.released(op, EVENTS),
    ):
        op.execute(f"ALTER TABLE {EVENTS} {statement}")

    assert str(caught.value).startswith(
        f"View public.stg_suggestion_events no longer fits, {says.format(EVENTS)}"
    )
    assert fingerprint(connection) == before
    assert rows(connection, *MARTS) == figures


def test_a_view_of_the_team_that_no_longer_fits_is_named(database: str, connect: Connect) -> None:
    """A column that only the team's own view reads: the line is that of PostgreSQL's text."""
    connection = connect(database)
    connection.execute(f"ALTER TABLE {EVENTS} ADD COLUMN note text")
    connection.execute(f"CREATE VIEW team.notes AS SELECT id,\n note FROM {EVENTS}")

    with pytest.raises(CommandError) as caught, migration(database) as op, ledgerviews.released(op, EVENTS):
        op.drop_column("suggestion_events", "note", schema="public")

    assert str(caught.value).startswith(
        f"View team.notes no longer fits, line 2 as PostgreSQL prints it; {EVENTS}.note was dropped: "
    )
    assert str(caught.value).endswith("or drop it; then alter the table.")
    assert connection.execute("SELECT count(*) > 0 FROM team.notes").fetchall() == [(True,)]


@pytest.mark.parametrize(
    ("statement", "named"),
    [
        ("CREATE TABLE team.rows (kept team.last)", "column kept of table team.rows"),
        (
            (
                "CREATE TABLE team.guarded (n bigint);"
                " CREATE POLICY known ON team.guarded USING (n IN (SELECT b.n FROM team.by_day AS b))"
            ),
            "policy known on table team.guarded",
        ),
        (
            "CREATE TABLE team.defaults (n bigint DEFAULT team.counted(1))",
            "default value for column n of table team.defaults",
        ),
        (
            "CREATE TABLE team.checked (n bigint CONSTRAINT few CHECK (n < team.counted(1)))",
            "constraint few on table team.checked",
        ),
        ("CREATE DOMAIN team.narrow AS team.last", "type team.narrow"),
        (
            (
                "CREATE TABLE team.ruled (n bigint);"
                " CREATE RULE r AS ON INSERT TO team.ruled DO ALSO SELECT * FROM team.by_day"
            ),
            "rule r on table team.ruled",
        ),
        (
            "CREATE AGGREGATE team.most(team.last) (SFUNC = team.larger, STYPE = bigint)",
            "function team.most(team.last)",
        ),
    ],
)
def test_what_cannot_be_carried_stops_it_before_anything_changes(
    database: str, connect: Connect, statement: str, named: str
) -> None:
    """Whatever else uses a view that would go is named, and nothing is locked or changed."""
    connection = connect(database)
    connection.execute(
        "CREATE FUNCTION team.larger(s bigint, one team.last) RETURNS bigint"
        " LANGUAGE plpgsql AS 'BEGIN RETURN s; END'"
    )
    connection.execute(statement.encode())
    before = fingerprint(connection)

    with pytest.raises(CommandError) as caught, migration(database) as op, ledgerviews.released(op, EVENTS):
        pytest.fail("the block is not run")

    assert str(caught.value).startswith("Nothing was released, because this depends on it: ")
    assert f"{named} uses what would be taken off, and cannot be carried along" in str(caught.value)
    assert fingerprint(connection) == before


def test_another_sessions_temporary_view_stops_it(database: str, connect: Connect) -> None:
    """Nobody could put it back."""
    other = connect(database)
    other.execute(f"CREATE TEMPORARY VIEW mine AS SELECT id FROM {EVENTS}")

    with (
        pytest.raises(CommandError, match="mine is temporary"),
        migration(database) as op,
        ledgerviews.released(op, EVENTS),
    ):
        pytest.fail("the block is not run")


def test_a_stranger_is_refused_by_name(database: str, connect: Connect, roles: tuple[str, str]) -> None:
    """A role that does not own a view cannot take it off, and is told whose it is."""
    connection = connect(database)
    connection.execute(f"GRANT USAGE ON SCHEMA ledgerviews TO {roles[0]}".encode())
    connection.execute(f"GRANT ALL ON ALL TABLES IN SCHEMA ledgerviews TO {roles[0]}".encode())

    with (
        pytest.raises(CommandError, match=r"view public\.stg_suggestion_events belongs to postgres"),
        migration(database.replace("://postgres@", f"://{roles[0]}@")) as op,
        ledgerviews.released(op, EVENTS),
    ):
        pytest.fail("the block is not run")


def test_offline_it_is_a_script_that_psql_runs(database: str, connect: Connect) -> None:
    """``--sql`` prints release and restore around the block, and psql leaves the same database behind."""
    connection = connect(database)
    before, figures = fingerprint(connection), rows(connection, *MARTS)
    printed = io.StringIO()
    op = Operations(
        MigrationContext.configure(
            dialect_name="postgresql", opts={"as_sql": True, "output_buffer": printed, "literal_binds": True}
        )
    )

    with ledgerviews.released(op, EVENTS, 'public."suggestion_feedback"'):
        op.alter_column("suggestion_events", "mode", type_=sqlalchemy.String(99), schema="public")
        op.alter_column("suggestion_feedback", "reason", type_=sqlalchemy.String(), schema="public")
        op.alter_column("suggestion_events", "mode", type_=sqlalchemy.String(), schema="public")
        op.alter_column("suggestion_feedback", "reason", type_=sqlalchemy.Text(), schema="public")
    subprocess.run(
        ["psql", "-X", "-q", "-1", "-v", "ON_ERROR_STOP=1", database],
        input=printed.getvalue(),
        text=True,
        check=True,
        timeout=60,
    )

    assert fingerprint(connection) == before
    assert rows(connection, *MARTS) == figures
    _refresh_and_compare(connection)


def test_without_our_engine_the_block_just_runs(empty_url: str, connect: Connect) -> None:
    """The application's own history runs from nothing, where our views are not there yet."""
    with migration(empty_url) as op:
        op.execute("CREATE TABLE public.plain (a integer)")
        with ledgerviews.released(op, "public.plain"):
            op.execute("ALTER TABLE public.plain ALTER COLUMN a TYPE bigint")

    assert connect(empty_url).execute("SELECT pg_typeof(a) FROM public.plain").fetchall() == []


def test_an_older_engine_says_what_it_needs(application_url: str) -> None:
    """Its views are in the way, and it cannot take them off: that is said before anything is done."""
    commands.upgrade(Settings(database_url=application_url), "0004")

    with (
        pytest.raises(CommandError, match="older than released"),
        migration(application_url) as op,
        ledgerviews.released(op, EVENTS),
    ):
        pytest.fail("the block is not run")


@pytest.mark.parametrize(
    ("tables", "says"),
    [
        ((), "Name the tables"),
        (("suggestion_events",), "Say the schema of suggestion_events"),
        (("public.nothing",), "No table by this name, so nothing was released: public.nothing"),
        (("public.stg_suggestion_events",), "No table by this name"),
    ],
)
def test_a_name_that_is_none_is_refused(database: str, tables: tuple[str, ...], says: str) -> None:
    """With what to write instead."""
    with (
        pytest.raises(CommandError, match=says),
        migration(database) as op,
        ledgerviews.released(op, *tables),
    ):
        pytest.fail("the block is not run")


def test_without_a_transaction_it_is_refused(database: str, connect: Connect) -> None:
    """A connection that commits each statement could not take back what was taken off."""
    connection = connect(database)
    before = fingerprint(connection)

    with (
        pytest.raises(CommandError, match="needs a transaction"),
        migration(database, isolation_level="AUTOCOMMIT") as op,
        ledgerviews.released(op, EVENTS),
    ):
        pytest.fail("the block is not run")

    assert fingerprint(connection) == before


def test_readers_in_the_way_are_waited_for(database: str, connect: Connect) -> None:
    """A reader that ends after a moment only delays it; other readers of that view never wait long."""
    reader, watcher = connect(database), connect(database)
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM public.stg_suggestion_events")
    threading.Timer(1, lambda: reader.execute("COMMIT")).start()
    waits = []

    done = threading.Event()

    def watch() -> None:
        while not done.is_set():
            began = time.monotonic()
            watcher.execute(
                "SELECT count(*) FROM ledgerviews.mart_suggestions_daily_rollup_whole WHERE false"
            )
            waits.append(time.monotonic() - began)
            time.sleep(0.01)

    watching = threading.Thread(target=watch)
    watching.start()
    began = time.monotonic()
    try:
        with migration(database) as op, ledgerviews.released(op, EVENTS):
            took = time.monotonic() - began
            done.set()
    finally:
        done.set()
        watching.join()

    assert took > 0.8
    assert max(waits[:-1], default=0) < 0.6


def test_a_reader_that_stays_is_named(database: str, connect: Connect) -> None:
    """After the attempts it gives up, with what was in use; nothing has changed."""
    reader = connect(database)
    before = fingerprint(reader)
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM public.stg_suggestion_events")

    with (
        pytest.raises(CommandError, match=r"public.\w+ was in use at each of 3 attempts"),
        migration(database) as op,
        ledgerviews.released(op, EVENTS, attempts=3),
    ):
        pytest.fail("the block is not run")
    reader.execute("COMMIT")

    assert fingerprint(reader) == before


def test_a_killed_migration_leaves_everything_as_it_was(database: str, connect: Connect) -> None:
    """The server ends the session between release and restore: nothing of it is there."""
    connection = connect(database)
    before, figures = fingerprint(connection), rows(connection, *MARTS)

    with (
        contextlib.suppress(CommandError, sqlalchemy.exc.DBAPIError),
        migration(database) as op,
        ledgerviews.released(op, EVENTS),
    ):
        op.execute(f"ALTER TABLE {EVENTS} ALTER COLUMN mode TYPE text")
        pid = op.get_bind().exec_driver_sql("SELECT pg_backend_pid()").scalar()
        connection.execute("SELECT pg_terminate_backend(%s, 5000)", [pid])

    assert fingerprint(connection) == before
    assert rows(connection, *MARTS) == figures


ENV = """
from alembic import context
from sqlalchemy import create_engine, pool

url = context.config.get_main_option("sqlalchemy.url")
with create_engine(url, poolclass=pool.NullPool).connect() as connection:
    context.configure(
        connection=connection, transaction_per_migration={per_migration}, version_table="its_version"
    )
    with context.begin_transaction():
        context.run_migrations()
"""
REVISION = """
from alembic import op
import sqlalchemy as sa
import ledgerviews

revision = "{revision}"
down_revision = {down}


def upgrade():
    with ledgerviews.released(op, "public.suggestion_events"):
        op.alter_column("suggestion_events", "{column}", type_={type})


def downgrade():
    with ledgerviews.released(op, "public.suggestion_events"):
        op.alter_column("suggestion_events", "{column}", type_=sa.String())
"""


@pytest.mark.parametrize("per_migration", [True, False])
def test_any_env_py_needs_one_import(
    database: str, connect: Connect, tmp_path: Any, *, per_migration: bool
) -> None:
    """Two revisions of an application with an env.py of its own: up, down, and everything is as before."""
    connection = connect(database)
    before, figures = fingerprint(connection), rows(connection, *MARTS)
    (tmp_path / "versions").mkdir()
    (tmp_path / "env.py").write_text(ENV.format(per_migration=per_migration))
    for revision, down, column, kind in (
        ("a1", "None", "mode", "sa.Text()"),
        ("a2", '"a1"', "model_id", "sa.Text()"),
    ):
        (tmp_path / "versions" / f"{revision}.py").write_text(
            REVISION.format(revision=revision, down=down, column=column, type=kind)
        )
    config = Config()
    config.set_main_option("script_location", str(tmp_path))
    url = database.replace("postgresql://", "postgresql+psycopg://").replace("%", "%%")
    config.set_main_option("sqlalchemy.url", url)

    command.upgrade(config, "head")
    types = connection.execute(
        "SELECT DISTINCT pg_typeof(mode)::text, pg_typeof(model_id)::text FROM public.stg_suggestion_events"
    ).fetchall()
    command.downgrade(config, "base")
    connection.execute("DROP TABLE public.its_version")

    assert types == [("text", "text")]
    assert fingerprint(connection) == before
    assert rows(connection, *MARTS) == figures


def _refresh_and_compare(connection: psycopg.Connection) -> list[tuple[Any, ...]]:
    """Refresh; what is published is what the models' SELECTs give now. Gives what was recomputed, and why."""
    row = connection.execute("CALL ledgerviews.refresh(scrub => false)").fetchone()
    assert row is not None
    for mart in MARTS[:2]:
        rollup = f"ledgerviews.{mart.partition('.')[2]}_rollup_whole"
        assert list(rows(connection, mart).values()) == list(rows(connection, rollup).values())
    ((kpis,),) = connection.execute(
        "SELECT definition FROM ledgerviews.relation WHERE relation_name = 'mart_suggestions_kpis'"
    ).fetchall()
    assert (
        sorted(connection.execute(kpis.encode()).fetchall(), key=repr) == rows(connection, MARTS[2])[MARTS[2]]
    )
    return connection.execute(
        "SELECT relation_name, scope, reason FROM ledgerviews.run_relation"
        " WHERE run_id = %s ORDER BY position",
        [row[0]],
    ).fetchall()
