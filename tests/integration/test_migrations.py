"""The migrations, by Alembic's own command and by ``ledgerviews db``, beside an application's own."""

from __future__ import annotations

import os
import re
import subprocess
import threading
from contextlib import closing
from typing import TYPE_CHECKING, LiteralString

import psycopg
import pytest

from ledgerviews.catalog import load
from ledgerviews.config import Settings
from ledgerviews.errors import LedgerviewsError, LockedError, UsageError
from ledgerviews.models import demo
from ledgerviews.schema import commands, environment
from ledgerviews.schema.contract import ContractError
from tests import programs
from tests import servers as pg

if TYPE_CHECKING:
    from collections.abc import Callable

    Connect = Callable[[str], psycopg.Connection]

REVISIONS = list((pg.ROOT / "migrations" / "versions").glob("0*.py"))
RELATIONS: LiteralString = """
    SELECT c.relname, c.relkind, c.relispopulated
    FROM pg_class AS c
    JOIN pg_namespace AS n ON n.oid = c.relnamespace
    WHERE n.nspname = %s AND c.relkind IN ('v', 'm')
    ORDER BY c.relname
"""


def alembic(*args: str, url: str, **env: str) -> subprocess.CompletedProcess[str]:
    """Run Alembic's own command in the checkout, as a deploy does."""
    return programs.run(
        "alembic",
        args,
        cwd=pg.ROOT,
        env={**pg.clean_environment(), "PYTHONPATH": str(pg.ROOT), "LEDGERVIEWS_DATABASE_URL": url, **env},
    )


def dump(server: pg.PgServer, url: str) -> str:
    """The database's schema as pg_dump writes it, without its random key."""
    assert server.bin_dir is not None
    done = subprocess.run(
        [server.bin_dir / "pg_dump", "--schema-only", "--dbname", url],
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, "LC_ALL": "C"},
    )
    return re.sub(r"^\\(un)?restrict .*$", "", done.stdout, flags=re.MULTILINE)


def test_a_missing_table_stops_everything(empty_url: str, connect: Connect) -> None:
    """Without the application's tables the upgrade lists both at once, a line each, and creates nothing."""
    done = alembic("upgrade", "head", url=empty_url)

    schemas = (
        connect(empty_url)
        .execute("SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'ledger%'")
        .fetchone()
    )
    assert done.returncode != 0
    assert "Traceback" not in done.stdout + done.stderr
    said = done.stdout + done.stderr
    assert said.count("public.suggestion_events: expected a table with id uuid, ") == 1
    assert said.count("public.suggestion_feedback: expected a table with event_id uuid, ") == 1
    assert "found no such table in schema public" in said
    assert "nothing was created" in said
    assert "Run the application's own migrations first" in said
    assert schemas == (0,)


def test_every_fault_is_said_at_once(application_url: str, connect: Connect) -> None:
    """A missing column, an unusable type and a table in another schema stand in one error."""
    connection = connect(application_url)
    connection.execute(
        """ALTER TABLE public.suggestion_events
               DROP COLUMN features_hash, ALTER COLUMN mode TYPE integer USING 1;
           CREATE SCHEMA app;
           ALTER TABLE public.suggestion_feedback SET SCHEMA app"""
    )

    with pytest.raises(ContractError) as caught:
        commands.upgrade(Settings(database_url=application_url))

    lines = [line.strip() for line in str(caught.value).splitlines() if line.startswith("  - ")]
    assert lines == [
        "- public.suggestion_events.features_hash: expected text; found no such column",
        "- public.suggestion_events.mode: expected text; found integer",
        (
            "- public.suggestion_feedback: expected a table with event_id uuid, action text or enum, label"
            " text, created_at timestamptz or timestamp; found no such table in schema public; there is one"
            " in schema app"
        ),
    ]
    assert (
        "or mend what the Sources public.suggestion_events, public.suggestion_feedback declare and write the"
        " revision anew; then upgrade again" in str(caught.value.hint)
    )
    assert connection.execute("SELECT to_regnamespace('ledgerviews')").fetchone() == (None,)


def test_a_role_that_may_not_read_is_told(
    server: pg.PgServer, application_url: str, connect: Connect
) -> None:
    """A role without SELECT on a source learns each column that it may not read."""
    connection = connect(application_url)
    role = "lv_reader_" + application_url.split("/")[3].split("?", maxsplit=1)[0]
    connection.execute(f"CREATE ROLE {role} LOGIN")
    try:
        connection.execute(f"GRANT SELECT (id, txn_id, mode) ON public.suggestion_events TO {role}")
        with pytest.raises(ContractError) as caught:
            commands.upgrade(Settings(database_url=application_url.replace("postgres@", f"{role}@")))
    finally:
        connection.execute(f"DROP OWNED BY {role}; DROP ROLE {role}")

    assert [line for line in str(caught.value).splitlines() if "GRANT" in line] == [
        (
            "  - public.suggestion_events: this role may not SELECT model_id, features_hash, candidates,"
            " created_at (GRANT SELECT ON public.suggestion_events)"
        ),
        (
            "  - public.suggestion_feedback: this role may not SELECT event_id, action, label, created_at"
            " (GRANT SELECT ON public.suggestion_feedback)"
        ),
    ]
    assert "application's own migrations" not in str(caught.value)


def test_up_down_and_up_again_end_in_the_same_schema(server: pg.PgServer, application_url: str) -> None:
    """Upgrade, downgrade to base and upgrade again give the same database, byte for byte in a schema dump."""
    settings = Settings(database_url=application_url)
    bare = dump(server, application_url)
    commands.upgrade(settings)
    first = dump(server, application_url)
    commands.downgrade(settings, "base")
    down = dump(server, application_url)
    commands.upgrade(settings)

    assert dump(server, application_url) == first
    assert "MATERIALIZED VIEW" in first
    leftovers = set(down.splitlines()) - set(bare.splitlines())
    assert {line for line in leftovers if line.startswith("CREATE ")} == {
        "CREATE SCHEMA ledgerviews;",
        "CREATE TABLE ledgerviews.alembic_version (",
    }


@pytest.mark.parametrize("revision", ["0002", "0004"])
def test_a_step_back_leaves_what_stood_before(
    server: pg.PgServer, application_url: str, revision: str
) -> None:
    """A downgrade to an older engine gives its schema as the upgrade to it left it, functions included."""
    settings = Settings(database_url=application_url)
    commands.upgrade(settings, revision)
    before = dump(server, application_url)
    commands.upgrade(settings)
    commands.downgrade(settings, revision)

    assert sorted(dump(server, application_url).splitlines()) == sorted(before.splitlines())


def test_offline_gives_the_same_schema(
    server: pg.PgServer, application_url: str, installed_url: str, run_cli: pg.RunCli
) -> None:
    """The script of ``db upgrade --sql`` runs in psql and ends in the same database as the upgrade itself."""
    done = run_cli("db", "upgrade", "--sql", url=application_url)
    assert server.bin_dir is not None

    played = subprocess.run(
        [server.bin_dir / "psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "--dbname", application_url],
        check=False,
        input=done.stdout,
        capture_output=True,
        text=True,
    )

    assert (done.returncode, played.returncode) == (0, 0), done.stderr + played.stderr
    assert dump(server, application_url) == dump(server, installed_url)
    commands.check(Settings(database_url=application_url))


def test_the_migrations_install_what_the_models_declare(installed_url: str, connect: Connect) -> None:
    """Names, kinds, SQL, columns in order, comments and keys in the database are as declared."""
    connection = connect(installed_url)
    catalog = load("ledgerviews.models")
    registered = {
        name: (kind, definition.strip(), tuple(key))
        for name, kind, definition, key in connection.execute(
            "SELECT relation_name, kind, definition, unique_key FROM ledgerviews.relation"
        )
    }
    described = {
        name: (comment, dict(zip(columns, comments, strict=True)))
        for name, comment, columns, comments in connection.execute(
            """SELECT c.relname, obj_description(c.oid, 'pg_class'),
                      array_agg(a.attname::text ORDER BY a.attnum),
                      array_agg(col_description(c.oid, a.attnum) ORDER BY a.attnum)
               FROM pg_class AS c JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0
               WHERE c.relkind IN ('v', 'm') AND c.relnamespace = 'public'::regnamespace
               GROUP BY c.oid"""
        )
    }
    keys = {
        name: tuple(columns)
        for name, columns in connection.execute(
            """SELECT c.relname, array_agg(a.attname::text ORDER BY k.n)
               FROM pg_index AS i
               JOIN pg_class AS c ON c.oid = i.indrelid AND c.relkind = 'm'
               CROSS JOIN LATERAL unnest(i.indkey::int2[]) WITH ORDINALITY AS k (attnum, n)
               JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum = k.attnum
               WHERE i.indisunique AND c.relnamespace = 'public'::regnamespace
               GROUP BY c.relname"""
        )
    }

    models = catalog.models.values()
    assert registered == {m.name: (str(m.kind), m.sql.strip(), m.unique_key) for m in models}
    assert described == {m.name: (m.description, dict(m.columns)) for m in models}
    assert [list(described[m.name][1]) for m in models] == [list(m.columns) for m in models]
    assert keys == {m.name: m.unique_key for m in models if m.unique_key}


def test_a_first_install_is_unpopulated(installed_url: str, connect: Connect) -> None:
    """A deploy reads no rows: the materialized views stand there unpopulated."""
    rows = connect(installed_url).execute(RELATIONS, ["public"]).fetchall()

    assert rows == [
        ("mart_suggestions_daily", "m", False),
        ("mart_suggestions_feedback_daily", "m", False),
        ("mart_suggestions_kpis", "m", False),
        ("stg_suggestion_events", "v", True),
    ]


def test_a_setting_populates_at_once(application_url: str, connect: Connect) -> None:
    """With LEDGERVIEWS_POPULATE=1 the marts can be read as soon as the upgrade ends."""
    done = alembic("upgrade", "head", url=application_url, LEDGERVIEWS_POPULATE="1")

    rows = connect(application_url).execute("SELECT * FROM public.mart_suggestions_kpis").fetchall()
    assert done.returncode == 0, done.stderr
    assert rows == []


def test_another_schema_holds_the_relations(
    application_url: str, connect: Connect, run_cli: pg.RunCli
) -> None:
    """With LEDGERVIEWS_SCHEMA the relations stand there, read the application's public, and refresh."""
    connection = connect(application_url)
    connection.execute('CREATE SCHEMA "Analytics"')
    env = {"LEDGERVIEWS_SCHEMA": "Analytics"}

    upgraded = alembic("upgrade", "head", url=application_url, **env)
    refreshed = run_cli("refresh", "--select", "+mart_suggestions_kpis", url=application_url, env=env)
    status = run_cli("status", url=application_url, env=env)

    assert upgraded.returncode == 0, upgraded.stderr
    assert refreshed.returncode == 0, refreshed.stderr
    assert status.returncode == 0, status.stdout
    assert len(connection.execute(RELATIONS, ["Analytics"]).fetchall()) == 4
    assert connection.execute(RELATIONS, ["public"]).fetchall() == []


def test_a_missing_target_schema_is_named(application_url: str, connect: Connect) -> None:
    """A target schema that is not there stops the upgrade with its name and the mend; nothing is created."""
    with pytest.raises(UsageError, match='target schema "nowhere" does not exist') as caught:
        commands.upgrade(Settings(database_url=application_url, schema="nowhere"))

    assert 'CREATE SCHEMA "nowhere"' in str(caught.value)
    assert connect(application_url).execute("SELECT to_regnamespace('ledgerviews')").fetchone() == (None,)


def test_a_schema_of_a_stranger_is_not_used(application_url: str, connect: Connect) -> None:
    """A schema ledgerviews that another role made, and could fill with triggers, stops the upgrade."""
    connection = connect(application_url)
    role = "lv_stranger_" + application_url.split("/")[3].split("?", maxsplit=1)[0]
    connection.execute(f"CREATE ROLE {role}; CREATE SCHEMA ledgerviews AUTHORIZATION {role}")
    try:
        with pytest.raises(UsageError, match=f"belongs to '{role}'"):
            commands.upgrade(Settings(database_url=application_url))
    finally:
        connection.execute(f"DROP OWNED BY {role}; DROP ROLE {role}")


def test_another_team_s_models_never_get_our_revisions(application_url: str) -> None:
    """With other models and no place for their revisions ``db upgrade`` says what to set."""
    settings = Settings(database_url=application_url, models="shop.analytics", migrations=None)

    with pytest.raises(UsageError, match=r"revisions of shop\.analytics") as caught:
        commands.upgrade(settings)

    assert "LEDGERVIEWS_MIGRATIONS" in str(caught.value)


def test_one_step_down(installed_url: str, connect: Connect, run_cli: pg.RunCli) -> None:
    """``db downgrade -1`` takes the newest revision back."""
    done = run_cli("db", "downgrade", "-1", url=installed_url)

    assert done.returncode == 0, done.stderr
    version = "SELECT version_num FROM ledgerviews.alembic_version"
    assert connect(installed_url).execute(version).fetchall() == [(f"{len(REVISIONS) - 1:04}",)]


def test_the_application_s_history_is_left_alone(application_url: str, connect: Connect) -> None:
    """public.alembic_version keeps its rows; ours is in the schema ledgerviews."""
    connection = connect(application_url)
    before = connection.execute("SELECT * FROM public.alembic_version").fetchall()

    commands.upgrade(Settings(database_url=application_url))

    assert before != []
    assert connection.execute("SELECT * FROM public.alembic_version").fetchall() == before
    version = "SELECT version_num FROM ledgerviews.alembic_version"
    assert connection.execute(version).fetchall() == [(f"{len(REVISIONS):04}",)]


def test_check_passes_and_proposes_nothing(installed_url: str, connect: Connect) -> None:
    """``alembic check`` passes on an up-to-date database, whatever other tables it holds."""
    connect(installed_url).execute(
        "CREATE TABLE public.stranger (id int); CREATE SCHEMA other; CREATE TABLE other.t (id int)"
    )

    done = alembic("check", url=installed_url)

    assert done.returncode == 0, done.stderr
    assert "No new upgrade operations detected." in done.stdout


@pytest.mark.parametrize("command", [("check",), ("current",), ("history",)])
def test_commands_that_only_look_create_nothing(
    empty_url: str, connect: Connect, command: tuple[str, ...]
) -> None:
    """On a database without ledgerviews, looking leaves no schema and shows no traceback."""
    done = alembic(*command, url=empty_url)

    assert "Traceback" not in done.stdout + done.stderr
    assert connect(empty_url).execute("SELECT to_regnamespace('ledgerviews')").fetchone() == (None,)


@pytest.mark.parametrize(
    ("arguments", "theirs_says", "ours_says"),
    [
        (("upgrade", "nope"), *("Can't locate revision identified by 'nope'",) * 2),
        (
            ("downgrade", "-7"),
            "Relative revision -7 didn't produce 7 migrations",
            "-7 is further than the revisions go from there.",
        ),
    ],
)
def test_a_mistake_is_a_line_and_no_traceback(
    installed_url: str, run_cli: pg.RunCli, arguments: tuple[str, ...], theirs_says: str, ours_says: str
) -> None:
    """An unknown revision is told in a line, by Alembic's command and by ours."""
    theirs = alembic(*arguments, url=installed_url)
    ours = run_cli("db", arguments[0], "--", arguments[1], url=installed_url)

    for done, said in ((theirs, theirs_says), (ours, ours_says)):
        assert done.returncode != 0
        assert said in done.stdout + done.stderr
        assert "Traceback" not in done.stdout + done.stderr


def test_two_deploys_at_once(application_url: str, connect: Connect) -> None:
    """Of two upgrades that start together one migrates and the other finds it done; both succeed."""
    results: list[subprocess.CompletedProcess[str]] = []
    threads = [
        threading.Thread(target=lambda: results.append(alembic("upgrade", "head", url=application_url)))
        for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)

    assert [done.returncode for done in results] == [0, 0, 0], [done.stderr for done in results]
    assert sum(done.stderr.count("Running upgrade") for done in results) == len(REVISIONS)
    assert connect(application_url).execute(
        "SELECT count(*) FROM ledgerviews.alembic_version"
    ).fetchone() == (1,)


def test_a_deploy_that_queues_too_long_leaves(
    application_url: str, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When another migration does not end, the upgrade says so and has changed nothing."""
    monkeypatch.setattr(environment, "QUEUE_TIMEOUT_MS", 200)
    connection = connect(application_url)
    connection.execute("SELECT pg_advisory_lock(%s)", [environment.ADVISORY_LOCK])

    with pytest.raises(LockedError, match="Another migration"):
        commands.upgrade(Settings(database_url=application_url))

    assert connection.execute("SELECT to_regnamespace('ledgerviews')").fetchone() == (None,)


def test_a_lock_of_the_application_is_not_waited_for(application_url: str, connect: Connect) -> None:
    """While the application alters a table the upgrade gives up in time and undone; a retry ends."""
    settings = Settings(database_url=application_url, lock_timeout_ms=200)
    with closing(psycopg.connect(application_url)) as application:
        application.execute("LOCK TABLE public.suggestion_feedback IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(LockedError, match="lock timeout"):
            commands.upgrade(settings)
    connection = connect(application_url)
    after = connection.execute(RELATIONS, ["public"]).fetchall()

    commands.upgrade(settings)

    assert after == []
    assert len(connection.execute(RELATIONS, ["public"]).fetchall()) == 4


def test_a_killed_upgrade_is_finished_by_the_next(application_url: str, connect: Connect) -> None:
    """A backend that is terminated in the middle of a revision leaves none of it; the next upgrade ends."""
    connection = connect(application_url)
    with closing(psycopg.connect(application_url)) as application:
        application.execute("LOCK TABLE public.suggestion_feedback IN ACCESS EXCLUSIVE MODE")
        failed: list[LedgerviewsError] = []

        def upgrade() -> None:
            try:
                commands.upgrade(Settings(database_url=application_url, lock_timeout_ms=60_000))
            except LedgerviewsError as exc:
                failed.append(exc)

        thread = threading.Thread(target=upgrade)
        thread.start()
        while not connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database()"
            " AND application_name = 'ledgerviews migrate' AND wait_event_type = 'Lock'"
        ).fetchall():
            pass
        thread.join(60)
    after = connection.execute(RELATIONS, ["public"]).fetchall()

    commands.upgrade(Settings(database_url=application_url))

    assert len(failed) == 1
    assert after == []
    assert len(connection.execute(RELATIONS, ["public"]).fetchall()) == 4


def test_a_view_of_the_team_s_own_stops_the_downgrade_by_name(installed_url: str, connect: Connect) -> None:
    """What a team built on a mart is never dropped with it: the downgrade names it and changes nothing."""
    connection = connect(installed_url)
    connection.execute("CREATE VIEW public.board AS SELECT created_date FROM public.mart_suggestions_kpis")

    with pytest.raises(LedgerviewsError, match="board"):
        commands.downgrade(Settings(database_url=installed_url), "base")

    assert len(connection.execute(RELATIONS, ["public"]).fetchall()) == 5


def test_a_relation_that_is_already_there_is_named(application_url: str, connect: Connect) -> None:
    """A table of a mart's name, from an earlier tool, stops the upgrade with its name; it is not touched."""
    connection = connect(application_url)
    connection.execute("CREATE TABLE public.mart_suggestions_kpis AS SELECT 1 AS kept")

    with pytest.raises(LedgerviewsError, match='relation "mart_suggestions_kpis" already exists'):
        commands.upgrade(Settings(database_url=application_url))

    assert connection.execute("SELECT * FROM public.mart_suggestions_kpis").fetchall() == [(1,)]
    assert connection.execute("SELECT version_num FROM ledgerviews.alembic_version").fetchall() == [("0001",)]


@pytest.mark.parametrize("program", ["alembic", "ledgerviews"])
def test_a_password_is_never_shown(program: str, run_cli: pg.RunCli) -> None:
    """When the server cannot be reached, or the URL cannot be read, no output holds the password."""
    for url in (
        "postgresql+psycopg://app:s3cr3t-word@127.0.0.1:1/db",
        "postgresql://app:s3cr3t-word@127.0.0.1:s3cr3t-word/db",
        "postgresql://app:s3cr3t-word@[bad/db",
    ):
        done = (
            alembic("upgrade", "head", url=url) if program == "alembic" else run_cli("db", "upgrade", url=url)
        )

        assert done.returncode != 0
        assert "s3cr3t" not in done.stdout + done.stderr
        assert "Traceback" not in done.stdout + done.stderr
        assert "LEDGERVIEWS_DATABASE_URL" in done.stdout + done.stderr


def test_a_restored_dump_is_whole(
    server: pg.PgServer, installed_url: str, empty_url: str, connect: Connect, run_cli: pg.RunCli
) -> None:
    """A database restored from pg_dump has the same figures at once, and is refreshed like the first."""
    connection = connect(installed_url)
    demo.reference_rows(connection)
    connection.execute("CALL ledgerviews.refresh()")
    assert server.bin_dir is not None
    dumped = subprocess.run(
        [server.bin_dir / "pg_dump", "--dbname", installed_url], check=True, capture_output=True, text=True
    )
    subprocess.run(
        [server.bin_dir / "psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "--dbname", empty_url],
        check=True,
        input=dumped.stdout,
        capture_output=True,
        text=True,
    )
    query: LiteralString = "SELECT k::text FROM public.mart_suggestions_kpis AS k"

    done = run_cli("refresh", url=empty_url)

    assert connect(empty_url).execute(query).fetchall() == connection.execute(query).fetchall() != []
    assert done.returncode == 0, done.stderr
    assert "restored or copied" in done.stderr
    assert run_cli("status", url=empty_url).returncode == 0


def test_an_operator_of_a_search_path_is_not_installed(application_url: str, connect: Connect) -> None:
    """What a session's search_path puts in front of pg_catalog is in no definition that is installed."""
    connection = connect(application_url)
    connection.execute(
        """CREATE SCHEMA evil;
           CREATE FUNCTION evil.none(double precision, bigint) RETURNS double precision
           LANGUAGE sql AS 'SELECT 42.0';
           CREATE OPERATOR evil./ (LEFTARG = double precision, RIGHTARG = bigint, FUNCTION = evil.none)"""
    )

    done = alembic("upgrade", "head", url=application_url, PGOPTIONS="-c search_path=evil,public")

    assert done.returncode == 0, done.stderr
    definitions = connection.execute(
        "SELECT pg_get_viewdef(oid) FROM pg_class"
        " WHERE relkind IN ('v', 'm') AND relnamespace = 'public'::regnamespace"
    ).fetchall()
    assert len(definitions) == 4
    assert [text for (text,) in definitions if "evil" in text] == []


def test_a_migration_beside_a_refresh_waits_its_turn(installed_url: str, connect: Connect) -> None:
    """While a refresh runs a downgrade leaves with LockedError instead of a deadlock; nothing is changed."""
    settings = Settings(database_url=installed_url, lock_timeout_ms=200)
    with closing(psycopg.connect(installed_url)) as other:
        other.execute("LOCK TABLE ledgerviews.refresh_lock IN EXCLUSIVE MODE")
        with pytest.raises(LockedError):
            commands.downgrade(settings, "base")

    assert len(connect(installed_url).execute(RELATIONS, ["public"]).fetchall()) == 4


def test_queueing_obeys_no_statement_time_out(
    application_url: str, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A role's statement_timeout does not cut the wait for another deploy short: that ends as LockedError."""
    monkeypatch.setattr(environment, "QUEUE_TIMEOUT_MS", 600)
    connection = connect(application_url)
    connection.execute("SELECT pg_advisory_lock(%s)", [environment.ADVISORY_LOCK])
    monkeypatch.setenv("PGOPTIONS", "-c statement_timeout=100")

    with pytest.raises(LockedError, match="Another migration"):
        commands.upgrade(Settings(database_url=application_url))


def test_events_with_a_time_zone_give_the_same_figures(application_url: str, connect: Connect) -> None:
    """The contract takes timestamptz for the events' time, too: the UTC days are the same in any session."""
    connection = connect(application_url)
    connection.execute(
        """ALTER TABLE public.suggestion_events ALTER created_at DROP DEFAULT,
           ALTER created_at TYPE timestamptz USING created_at AT TIME ZONE 'UTC'"""
    )
    connection.execute("SET TimeZone = 'UTC'")
    demo.reference_rows(connection)
    commands.upgrade(Settings(database_url=application_url))
    connection.execute("SET TimeZone = 'Asia/Kolkata'")
    connection.execute(
        "UPDATE public.suggestion_events SET created_at = '2025-11-04 23:59:59.999999+00'"
        " WHERE id = (SELECT min(id::text)::uuid FROM public.suggestion_events)"
    )

    connection.execute("CALL ledgerviews.refresh()")

    assert connection.execute(
        "SELECT created_date::text, events_total, accept_rate_overall FROM public.mart_suggestions_kpis"
    ).fetchall() == [("2025-11-04", 12, 0.5)]


def test_each_model_runs_in_psql_as_it_is(server: pg.PgServer, installed_url: str, connect: Connect) -> None:
    """Every model's file is one statement that psql runs, and gives the columns that are declared."""
    connect(installed_url).execute("CALL ledgerviews.refresh()")
    assert server.bin_dir is not None
    for model in load("ledgerviews.models").models.values():
        file = model.path.with_suffix(".sql")
        done = subprocess.run(
            [
                server.bin_dir / "psql",
                "-X",
                "--csv",
                "-v",
                "ON_ERROR_STOP=1",
                "-d",
                installed_url,
                "-f",
                file,
            ],
            check=False,
            capture_output=True,
            text=True,
        )

        assert done.returncode == 0, done.stderr
        assert done.stdout.splitlines()[0].split(",") == list(model.columns)


def test_status_leaves_nothing_in_a_pooled_session(
    installed_url: str, run_cli: pg.RunCli, connect: Connect
) -> None:
    """Status reads in one read-only transaction, and works for a role that may only read."""
    done = run_cli("status", url=installed_url, env={"PGOPTIONS": "-c default_transaction_read_only=on"})

    assert done.returncode == 0, done.stderr
