"""What a person is told while somebody else holds a lock: who, and on what."""

from __future__ import annotations

from contextlib import closing, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING
from uuid import uuid4

import psycopg
import pytest

from ledgerviews import db
from ledgerviews.config import Settings
from ledgerviews.db import connecting
from ledgerviews.errors import LockedError
from ledgerviews.models import demo
from ledgerviews.refresh import engine, log, released
from ledgerviews.schema import commands, environment
from tests.waiting import waiting_refresh

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests import servers as pg

    Connect = Callable[[str], psycopg.Connection]

FEEDBACK = "public.suggestion_feedback"


@pytest.fixture
def altering(installed_url: str, connect: Connect) -> Iterator[psycopg.Connection]:
    """Another session, which holds the feedback as ALTER TABLE does; an answer to it is not yet refreshed."""
    connection = connect(installed_url)
    demo.reference_rows(connection)
    connection.execute("CALL ledgerviews.refresh()")
    connection.execute(
        "INSERT INTO public.suggestion_feedback (event_id, txn_id, action, label)"
        " SELECT f.event_id, f.txn_id, f.action, f.label FROM public.suggestion_feedback AS f LIMIT 1"
    )
    with closing(psycopg.connect(installed_url, application_name="deploy")) as other:
        other.execute(f"LOCK TABLE {FEEDBACK} IN ACCESS EXCLUSIVE MODE")
        yield other


def _said(other: psycopg.Connection) -> str:
    return f"{FEEDBACK} is locked by process {other.info.backend_pid}, deploy, postgres"


@pytest.fixture
def restoring(installed_url: str, connect: Connect) -> Iterator[psycopg.Connection]:
    """Another session, older than what follows, which holds tables that nothing of ours reads."""
    names = [f"public.unrelated{number}" for number in range(4)]
    for name in names:
        connect(installed_url).execute(f"CREATE TABLE {name} (a integer)".encode())
    with closing(psycopg.connect(installed_url, application_name="pg_restore")) as other:
        other.execute(f"LOCK TABLE {', '.join(names)} IN ACCESS EXCLUSIVE MODE".encode())
        yield other


@pytest.mark.parametrize(
    "words", [("diff",), ("index", "status"), ("refresh",), ("refresh", "--dry-run"), ("verify",)]
)
def test_who_holds_a_table_is_told(
    altering: psycopg.Connection, installed_url: str, run_cli: pg.RunCli, words: tuple[str, ...]
) -> None:
    """Where the lock time-out passes, the table is named, and the session that holds it; exit code 5."""
    done = run_cli(*words, url=installed_url, env={"LEDGERVIEWS_LOCK_TIMEOUT": "100ms"})

    assert done.returncode == 5, done.stderr
    assert _said(altering) in done.stderr
    assert "--lock-timeout" in done.stderr


def test_who_has_nothing_to_do_with_it_is_not_told(
    restoring: psycopg.Connection, altering: psycopg.Connection, installed_url: str, run_cli: pg.RunCli
) -> None:
    """Of all that is locked in the database, only what refreshes read is named."""
    done = run_cli("refresh", url=installed_url, env={"LEDGERVIEWS_LOCK_TIMEOUT": "100ms"})

    assert done.returncode == 5, done.stderr
    assert f"{_said(altering)}." in done.stderr
    assert "unrelated" not in done.stderr


def test_a_partition_of_a_source_is_told(
    restoring: psycopg.Connection, installed_url: str, connect: Connect, run_cli: pg.RunCli
) -> None:
    """A refresh that a child of a source keeps out names that child."""
    connect(installed_url).execute("CREATE TABLE public.archive () INHERITS (public.suggestion_events)")
    with _upgrading(installed_url, "public.archive") as said:
        done = run_cli("refresh", url=installed_url, env={"LEDGERVIEWS_LOCK_TIMEOUT": "100ms"})

    assert done.returncode == 5, done.stderr
    assert f"{said}." in done.stderr


def test_a_migration_tells_of_a_reader(
    restoring: psycopg.Connection, installed_url: str, run_cli: pg.RunCli
) -> None:
    """Where only a reader keeps a migration out, the reader is named, and nobody else."""
    with closing(psycopg.connect(installed_url, application_name="report")) as other:
        other.execute("LOCK TABLE ledgerviews.refresh_lock IN ACCESS SHARE MODE")
        pid = other.info.backend_pid
        limit = {"LEDGERVIEWS_LOCK_TIMEOUT": "100ms"}
        done = run_cli("db", "downgrade", "base", url=installed_url, env=limit)

    assert done.returncode == 5, done.stderr
    assert f": ledgerviews.refresh_lock is locked by process {pid}, report, postgres." in done.stderr


def test_without_the_engine_who_holds_what_is_told(application_url: str) -> None:
    """Where nothing of ours stands, or it cannot be asked which that is, anything locked is named."""
    with (
        closing(psycopg.connect(application_url, application_name="deploy")) as other,
        closing(db.connect(Settings(database_url=application_url, lock_timeout_ms=100))) as connection,
    ):
        other.execute(f"LOCK TABLE {FEEDBACK} IN ACCESS EXCLUSIVE MODE")
        db.set_timeouts(connection, lock_timeout_ms=100, statement_timeout_ms=None)
        with pytest.raises(LockedError, match=_said(other)), db.translated(connection=connection):
            connection.execute(f"SELECT FROM {FEEDBACK}")


@pytest.mark.parametrize("relation", ["ledgerviews.source", "ledgerviews.relation"])
def test_what_is_asked_for_the_holder_may_be_locked(
    restoring: psycopg.Connection, installed_url: str, run_cli: pg.RunCli, relation: str
) -> None:
    """Where the lists of what is ours are locked themselves, they are named, and soon."""
    with _upgrading(installed_url, relation) as said:
        limit = {"LEDGERVIEWS_LOCK_TIMEOUT": "100ms"}
        done = run_cli("status", url=installed_url, env=limit, timeout=20)

    assert done.returncode == 5, done.stderr
    assert f"{said}." in done.stderr


def test_status_shows_what_it_may_see(
    altering: psycopg.Connection, installed_url: str, run_cli: pg.RunCli
) -> None:
    """Status waits a moment for what it compares, and then shows all else, and who holds the table."""
    done = run_cli("status", url=installed_url, env={"LEDGERVIEWS_LOCK_TIMEOUT": "100ms"})

    assert done.returncode == 0, done.stderr
    assert "mart_suggestions_daily" in done.stdout
    assert _said(altering) in done.stderr


def test_status_tells_who_holds_a_mart(installed_url: str, run_cli: pg.RunCli) -> None:
    """Without the rows of one of ours there is nothing to show: exit code 5, and who holds it."""
    with closing(psycopg.connect(installed_url, application_name="deploy")) as other:
        other.execute("REFRESH MATERIALIZED VIEW public.mart_suggestions_daily")
        pid = other.info.backend_pid
        done = run_cli("status", url=installed_url, env={"LEDGERVIEWS_LOCK_TIMEOUT": "100ms"})

    assert done.returncode == 5
    assert f"public.mart_suggestions_daily is locked by process {pid}, deploy, postgres" in done.stderr


@pytest.mark.parametrize("words", [("upgrade",), ("downgrade", "0002")])
def test_a_migration_tells_who_holds_a_lock(
    application_url: str, connect: Connect, run_cli: pg.RunCli, words: tuple[str, ...]
) -> None:
    """A migration that a lock keeps out names who holds what; exit code 5, and it runs after."""
    assert run_cli("db", "upgrade", "0004", url=application_url).returncode == 0
    with closing(psycopg.connect(application_url, application_name="report")) as other:
        other.execute("LOCK TABLE ledgerviews.refresh_lock IN EXCLUSIVE MODE")
        pid = other.info.backend_pid
        done = run_cli("db", *words, url=application_url, env={"LEDGERVIEWS_LOCK_TIMEOUT": "100ms"})

    assert done.returncode == 5, done.stderr
    assert f"ledgerviews.refresh_lock is locked by process {pid}, report, postgres" in done.stderr
    assert "Traceback" not in done.stderr
    assert run_cli("db", *words, url=application_url).returncode == 0


def test_what_only_looks_does_not_wait_for_ever(
    altering: psycopg.Connection, installed_url: str, run_cli: pg.RunCli
) -> None:
    """Without any time-out set, diff leaves by itself."""
    assert run_cli("diff", url=installed_url).returncode == 5


@contextmanager
def _upgrading(url: str, relation: str) -> Iterator[str]:
    """Another session, which holds one of the engine's tables as an upgrade does, in words."""
    with closing(psycopg.connect(url, application_name="deploy")) as other:
        other.execute(f"LOCK TABLE {relation} IN ACCESS EXCLUSIVE MODE".encode())
        yield f"{relation} is locked by process {other.info.backend_pid}, deploy, postgres"


@pytest.mark.parametrize("relation", ["ledgerviews.engine", "ledgerviews.alembic_version"])
def test_no_command_hangs_during_an_upgrade(installed_url: str, run_cli: pg.RunCli, relation: str) -> None:
    """The lock time-out applies to the questions before the work, too: exit code 5, and who holds what."""
    commands = (
        ("refresh",),
        ("refresh", "--dry-run"),
        ("verify",),
        ("runs",),
        ("tracking", "status"),
        ("tracking", "install"),
        ("index", "status"),
        ("grant", "reader", "postgres"),
    )
    releasing = (("release", FEEDBACK), ("restore",)) if relation == "ledgerviews.engine" else ()
    with _upgrading(installed_url, relation) as said:
        for words in (*commands, *releasing):
            done = run_cli(*words, url=installed_url, env={"LEDGERVIEWS_LOCK_TIMEOUT": "100ms"}, timeout=20)

            assert done.returncode == 5, (words, done.stderr)
            assert said in done.stderr, words


def test_what_asks_first_waits_a_moment_where_nothing_is_set(
    installed_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without any time-out, and with --no-wait whatever is set, the questions before the work end."""
    monkeypatch.setattr(connecting, "LOOK_LOCK_TIMEOUT_MS", 100)
    unset = Settings(database_url=f"{installed_url}&options=-c%20statement_timeout%3D20s")
    endless = replace(unset, lock_timeout_ms=0)
    with _upgrading(installed_url, "ledgerviews.engine") as said:
        with pytest.raises(LockedError, match=said), engine.session(unset):
            pass
        with pytest.raises(LockedError, match=said), engine.session(endless, wait=False):
            pass
        with pytest.raises(LockedError, match=said):
            released.restore(unset, warn=print)
    with _upgrading(installed_url, "ledgerviews.run") as said, pytest.raises(LockedError, match=said):
        log.runs(unset, limit=1)


@pytest.mark.parametrize("relation", ["public.suggestion_events", "ledgerviews.alembic_version"])
@pytest.mark.parametrize(
    "words", [("check",), ("current",), ("revision", "-m", "x"), ("upgrade",), ("downgrade", "-1")]
)
def test_no_command_of_migrations_hangs(
    installed_url: str, run_cli: pg.RunCli, relation: str, words: tuple[str, ...]
) -> None:
    """What asks for a locked table, before any revision or without one, leaves with 5 and says who has it."""
    with _upgrading(installed_url, relation) as said:
        limit = {"LEDGERVIEWS_LOCK_TIMEOUT": "100ms"}
        done = run_cli("db", *words, url=installed_url, env=limit, timeout=20)

    if relation.startswith("public.") and words[0] in {"current", "upgrade"}:  # asks for none of it
        assert done.returncode == 0, done.stderr
    else:
        assert done.returncode == 5, done.stderr
        assert said in done.stderr


def test_a_migration_that_only_looks_waits_a_moment(
    installed_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where nothing is set, the time-out of migrations bounds what asks where the database is."""
    monkeypatch.setattr(environment, "MIGRATION_LOCK_TIMEOUT_MS", 100)
    settings = Settings(database_url=f"{installed_url}&options=-c%20statement_timeout%3D20s")
    with _upgrading(installed_url, "ledgerviews.alembic_version") as said:
        with pytest.raises(LockedError, match=said):
            commands.current(settings)
        with pytest.raises(LockedError, match=said):
            commands.upgrade(settings)


@pytest.mark.parametrize("lock_timeout_ms", [None, 0, 7000])
def test_the_work_itself_waits_as_it_is_set(installed_url: str, lock_timeout_ms: int | None) -> None:
    """What bounds the questions is gone when the work begins: the settings' time-out, else the role's own."""
    settings = Settings(
        database_url=f"{installed_url}&options=-c%20lock_timeout%3D9s", lock_timeout_ms=lock_timeout_ms
    )
    with engine.session(settings, wait=False) as connection:
        found = connection.execute("SHOW lock_timeout").fetchall()

    assert found == [({None: "9s", 0: "0", 7000: "7s"}[lock_timeout_ms],)]


def test_a_release_tells_who_holds_the_lock(installed_url: str, run_cli: pg.RunCli) -> None:
    """A release that a session keeps from the lock of refreshes names that session."""
    with closing(psycopg.connect(installed_url, application_name="deploy")) as other:
        other.execute("LOCK TABLE ledgerviews.refresh_lock IN EXCLUSIVE MODE")
        pid = other.info.backend_pid
        done = run_cli("release", FEEDBACK, "--lock-timeout", "100ms", url=installed_url)

    assert done.returncode == 5
    assert f"ledgerviews.refresh_lock is locked by process {pid}, deploy, postgres" in done.stderr


def test_a_refresh_that_waits_says_for_whom(installed_url: str, connect: Connect) -> None:
    """The line comes at once, and the refresh ends well when it may."""
    connection = connect(installed_url)
    with closing(psycopg.connect(installed_url, application_name="deploy")) as other:
        other.execute("LOCK TABLE ledgerviews.refresh_lock IN EXCLUSIVE MODE")
        with waiting_refresh(connection, installed_url) as process:
            assert process.stderr is not None
            pid = other.info.backend_pid
            first = process.stderr.readline()
            other.rollback()
            process.communicate(timeout=60)

    assert first == (
        "Waiting for a migration, or somebody's session, that holds the lock of refreshes"
        f" (process {pid}, deploy, postgres).\n"
    )
    assert process.returncode == 0


def test_a_refresh_that_waits_for_a_table_says_so(
    altering: psycopg.Connection, installed_url: str, connect: Connect
) -> None:
    """After some seconds the table is named, and who holds it, once; then the refresh ends well."""
    with waiting_refresh(connect(installed_url), installed_url) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith("Waiting"):
                break
        altering.rollback()
        _, rest = process.communicate(timeout=60)

    pid = altering.info.backend_pid
    assert line == f"Waiting for {FEEDBACK}, which is held by process {pid}, deploy, postgres.\n"
    assert "Waiting" not in rest
    assert process.returncode == 0


def test_the_last_run_is_none_that_was_kept_out(
    installed_url: str, connect: Connect, run_cli: pg.RunCli
) -> None:
    """Status shows the last run that ran, whatever was turned away since."""
    connect(installed_url).execute("CALL ledgerviews.refresh()")
    with closing(psycopg.connect(installed_url)) as other:
        other.execute("LOCK TABLE ledgerviews.refresh_lock IN EXCLUSIVE MODE")
        turned_away = run_cli("refresh", "--no-wait", url=installed_url)

    status = run_cli("status", url=installed_url)

    assert turned_away.returncode == 5
    assert "Last run: 1, succeeded" in status.stdout


@contextmanager
def _prepared(url: str, relation: str, *, gid: str | None = None, role: str | None = None) -> Iterator[str]:
    """A transaction of a role that holds a table, prepared and then left alone; its name."""
    # All databases share these names.
    gid = gid or f"it's {uuid4()}"
    name = gid.replace("'", "''")
    with closing(psycopg.connect(url, autocommit=True)) as other:
        if other.execute("SHOW max_prepared_transactions").fetchall() == [("0",)]:
            pytest.skip("This server prepares no transactions.")
        other.execute("BEGIN")
        if role is not None:
            other.execute(f'SET LOCAL ROLE "{role}"'.encode())
        other.execute(f"LOCK TABLE {relation} IN ACCESS EXCLUSIVE MODE".encode())
        other.execute(f"PREPARE TRANSACTION '{name}'".encode())
        try:
            yield gid
        finally:
            other.execute(f"ROLLBACK PREPARED '{name}'".encode())


def _mend(gid: str) -> str:
    name = gid.replace("'", "''")
    return f"ROLLBACK PREPARED '{name}', or COMMIT PREPARED '{name}', ends it."


@pytest.mark.parametrize("words", [("diff",), ("index", "status"), ("refresh",), ("db", "downgrade", "-1")])
def test_a_prepared_transaction_that_holds_a_table_is_told(
    installed_url: str, connect: Connect, run_cli: pg.RunCli, words: tuple[str, ...]
) -> None:
    """It is named by its own name, with what ends it; no process is."""
    connect(installed_url).execute("CALL ledgerviews.refresh()")
    with _prepared(installed_url, "public.suggestion_events") as gid:
        done = run_cli(*words, url=installed_url, env={"LEDGERVIEWS_LOCK_TIMEOUT": "100ms"})

    assert done.returncode == 5, done.stderr
    held = f"public.suggestion_events is locked by a prepared transaction ({gid}), postgres."
    assert held in done.stderr
    assert _mend(gid) in done.stderr
    assert "process" not in done.stderr


@pytest.mark.parametrize("words", [("--no-wait",), ("--lock-timeout", "100ms"), ("--dry-run", "--no-wait")])
def test_a_prepared_transaction_that_holds_the_lock_is_told(
    installed_url: str, run_cli: pg.RunCli, words: tuple[str, ...]
) -> None:
    """A refresh that it keeps out names it, and where it waits says so before; no session shows it."""
    with _prepared(installed_url, "ledgerviews.refresh_lock") as gid:
        done = run_cli("refresh", *words, url=installed_url)

    assert done.returncode == 5, done.stderr
    held = f"ledgerviews: The lock of refreshes is held by a prepared transaction ({gid}), postgres"
    assert held in done.stderr
    assert done.stderr.rstrip().endswith(_mend(gid))
    assert "session" not in done.stderr
    assert "pg_stat_activity" not in done.stderr
    waits = f"Waiting for a prepared transaction ({gid}), postgres, that holds the lock of refreshes."
    assert (f"{waits} {_mend(gid)}\n" in done.stderr) == (words[0] == "--lock-timeout")


def test_a_refresh_that_waits_for_a_prepared_transaction_says_so(
    installed_url: str, connect: Connect
) -> None:
    """After some seconds the table is named, and the prepared transaction that holds it."""
    connection = connect(installed_url)
    demo.reference_rows(connection)
    connection.execute("CREATE TABLE public.unrelated (a integer)")
    with (
        _prepared(installed_url, "public.unrelated"),
        _prepared(installed_url, FEEDBACK) as gid,
        waiting_refresh(connection, installed_url) as process,
    ):
        assert process.stderr is not None
        line = next(line for line in process.stderr if line.startswith("Waiting"))
        process.terminate()

    held = f"which is held by a prepared transaction ({gid}), postgres. {_mend(gid)}"
    assert line == f"Waiting for {FEEDBACK}, {held}\n"


def test_what_a_terminal_would_obey_is_not_printed(
    installed_url: str, connect: Connect, run_cli: pg.RunCli
) -> None:
    """Of a role's name, and of a prepared transaction's, control characters are shown as question marks."""
    connection = connect(installed_url)
    number = uuid4().hex
    role, gid = f"\x1b[31m{number}", f"\x1b]0;{number}"
    connection.execute(f'CREATE ROLE "{role}" SUPERUSER'.encode())
    try:
        with _prepared(installed_url, FEEDBACK, gid=gid, role=role):
            done = run_cli("diff", url=installed_url, env={"LEDGERVIEWS_LOCK_TIMEOUT": "100ms"})
    finally:
        connection.execute(f'DROP ROLE "{role}"'.encode())

    assert done.returncode == 5, done.stderr
    assert f"a prepared transaction (?]0;{number}), ?[31m{number}." in done.stderr
    assert "ROLLBACK PREPARED or COMMIT PREPARED ends it" in done.stderr
    assert "\x1b" not in done.stderr


def test_a_release_while_a_refresh_waits(installed_url: str, connect: Connect) -> None:
    """A refresh that waits while a table is released says so, and leaves with the code of what is pending."""
    connection = connect(installed_url)
    with closing(psycopg.connect(installed_url)) as other:
        other.execute("LOCK TABLE ledgerviews.refresh_lock IN EXCLUSIVE MODE")
        with waiting_refresh(connection, installed_url) as process:
            other.execute("SELECT ledgerviews.release(ARRAY['public.suggestion_events'])")
            other.commit()
            _, told = process.communicate(timeout=60)

    assert process.returncode == 4
    assert "Nothing can be refreshed while public.suggestion_events is released." in told
    assert "ledgerviews restore" in told
