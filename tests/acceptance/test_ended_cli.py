"""What a person is told whose session was ended while a command ran: by whom, what is left, what to run."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from ledgerviews import db
from ledgerviews.config import Settings
from ledgerviews.errors import SessionEndedError
from ledgerviews.refresh import engine
from tests.waiting import waiting_refresh

if TYPE_CHECKING:
    from collections.abc import Callable

    import psycopg

    from tests import servers as pg

    Connect = Callable[[str], psycopg.Connection]

TERMINATE = (
    "SELECT pg_terminate_backend(a.pid, 5000) FROM pg_stat_activity AS a"
    " WHERE a.datname = current_database() AND a.application_name = 'ledgerviews'"
    " AND a.wait_event_type = 'Lock'"
)
GONE = "postgresql://u@127.0.0.1:1/orders"


def _left(url: str, pid: int, mode: str, *, by_server: bool = True) -> str:
    error = SessionEndedError("It was ended.", by_server=by_server)
    return engine._left(Settings(database_url=url), error, mode, pid=pid, seconds=1.0)


def test_a_refresh_whose_session_an_administrator_ends(
    installed_url: str, connect: Connect, run_cli: pg.RunCli
) -> None:
    """In the server's words, with what was not published and the next command; no setting is blamed."""
    other = connect(installed_url)
    other.execute("BEGIN; LOCK TABLE public.suggestion_events IN ACCESS EXCLUSIVE MODE")
    # Within one transaction a session would see who is at work as it was at first.
    looking = connect(installed_url)
    with waiting_refresh(looking, installed_url) as process:
        looking.execute(TERMINATE)
        _, told = process.communicate(timeout=30)

    assert process.returncode == 3
    assert "was ended: terminating connection due to administrator command.\n" in told
    assert "Nothing of run 1 was published. Run `ledgerviews refresh` again; `ledgerviews runs` shows" in told
    assert "LEDGERVIEWS_DATABASE_URL" not in told
    other.execute("ROLLBACK")
    assert run_cli("refresh", url=installed_url).returncode == 0
    assert "crashed" in run_cli("runs", "1", url=installed_url).stdout


@pytest.mark.parametrize("words", [("db", "check"), ("db", "downgrade", "base")])
def test_a_migration_whose_session_is_ended_says_so_in_two_lines(
    installed_url: str, connect: Connect, run_cli: pg.RunCli, words: tuple[str, ...]
) -> None:
    """Nor does what SQLAlchemy would clean up afterwards show a traceback."""
    other, looking = connect(installed_url), connect(installed_url)
    other.execute("BEGIN; LOCK TABLE public.suggestion_events, ledgerviews.refresh_lock")
    with ThreadPoolExecutor(1) as pool:
        ending = pool.submit(run_cli, *words, url=installed_url)
        deadline = time.monotonic() + 30
        while not looking.execute(TERMINATE.replace("= 'ledgerviews'", "= 'ledgerviews migrate'")).fetchall():
            assert time.monotonic() < deadline
            time.sleep(0.02)
        told = ending.result()

    assert told.returncode == 3
    assert "was ended: terminating connection due to administrator command" in told.stderr
    assert "Traceback" not in told.stderr
    assert "Exception" not in told.stderr


@pytest.mark.parametrize("words", [("refresh",), ("status",), ("restore",), ("db", "check")])
def test_the_first_question_may_fail_as_any_other(
    installed_url: str, run_cli: pg.RunCli, words: tuple[str, ...]
) -> None:
    """A server that answers no such question, on a session for replication, say, is told in a line."""
    told = run_cli(*words, url=f"{installed_url}&replication=database")

    assert told.returncode in {1, 3}
    assert told.stderr.startswith("ledgerviews: ")
    assert "Traceback" not in told.stderr


def test_a_session_that_ends_in_the_scrub_has_published(installed_url: str, connect: Connect) -> None:
    """The log knows that the run succeeded, so nobody is told that nothing was published."""
    session = connect(installed_url)
    session.execute("CALL ledgerviews.refresh()")

    told = _left(installed_url, session.info.backend_pid, "incremental")

    assert told.startswith("Run 1 had succeeded before, and only its scrub was cut off:")
    assert "`ledgerviews runs 1`" in told


def test_a_connection_that_is_lost_may_leave_a_run_at_work(installed_url: str, connect: Connect) -> None:
    """Where the server said nothing and its process is there, that is told, with its number."""
    session = connect(installed_url)
    session.execute("CALL ledgerviews.refresh()")
    session.execute("UPDATE ledgerviews.run SET state = 'running'")

    told = _left(installed_url, session.info.backend_pid, "verify", by_server=False)

    assert f"Run 1 may be going on there (process {session.info.backend_pid})" in told
    assert "Run `ledgerviews verify` again if it failed." in told


def test_another_session_s_run_is_not_taken_for_this_one(installed_url: str, connect: Connect) -> None:
    """A process that got no further than its first question has no run."""
    session = connect(installed_url)

    told = _left(installed_url, session.info.backend_pid, "incremental")

    assert told == "Nothing was published by it. Run `ledgerviews refresh` again."


def test_a_server_that_was_stopped_is_told_so() -> None:
    """Whether the commit came first cannot be known until it runs, and that is said."""
    told = _left(GONE, 1, "incremental")

    assert "Nothing was published by it, unless its commit came first." in told
    assert "Run `ledgerviews refresh` again once the server runs; `ledgerviews runs` shows" in told


@pytest.mark.parametrize("silent", [False, True])
def test_any_other_command_says_what_to_run(installed_url: str, connect: Connect, *, silent: bool) -> None:
    """The session was ended by the server, or the connection was lost: never that it cannot be reached."""
    connection = db.connect(Settings(database_url=installed_url))
    connect(installed_url).execute("SELECT pg_terminate_backend(%s, 5000)", [connection.info.backend_pid])
    if silent:
        with pytest.raises(SessionEndedError), db.translated(connection=connection):
            connection.execute("SELECT 1")
    with pytest.raises(SessionEndedError) as caught, db.translated(target="d", connection=connection):
        connection.execute("SELECT 1")

    assert caught.value.exit_code == 3
    expected = "The connection to d was lost: " if silent else "The session on d was ended: "
    assert caught.value.message.startswith(expected)
    assert "Run the command again" in str(caught.value.hint)
