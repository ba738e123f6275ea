"""What a person is told while somebody else holds a lock: who, and on what."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

import psycopg
import pytest

from ledgerviews.models import demo
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
