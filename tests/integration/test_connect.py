"""A session on a real server: what it calls itself, and the time-outs that it gets."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from ledgerviews import db
from ledgerviews.config import Settings
from ledgerviews.errors import DatabaseError, LockedError, UnreachableError

if TYPE_CHECKING:
    from collections.abc import Callable

    import psycopg


def _shown(connection: psycopg.Connection, setting: str) -> str:
    return str(connection.execute("SELECT current_setting(%s)", [setting]).fetchall()[0][0])


@pytest.mark.parametrize(
    ("variable", "parameter", "expected"),
    [
        (None, "", "ledgerviews migrate"),
        ("nightly", "", "nightly"),
        ("nightly", "application_name=deploy", "deploy"),
    ],
)
def test_a_session_is_called_as_the_user_calls_it(
    empty_url: str, monkeypatch: pytest.MonkeyPatch, variable: str | None, parameter: str, expected: str
) -> None:
    """The URL's application_name, else PGAPPNAME, else our own name stands in pg_stat_activity."""
    monkeypatch.delenv("PGAPPNAME", raising=False)
    if variable is not None:
        monkeypatch.setenv("PGAPPNAME", variable)
    url = empty_url + ("&" if "?" in empty_url else "?") + parameter if parameter else empty_url
    with closing(db.connect(Settings(database_url=url), application="ledgerviews migrate")) as connection:
        found = _shown(connection, "application_name")

    assert found == expected


@pytest.mark.parametrize(("parameter", "expected"), [("", "60"), ("keepalives_idle=300", "300")])
def test_a_silent_network_is_noticed_within_minutes(empty_url: str, parameter: str, expected: str) -> None:
    """Keepalives begin after a minute instead of Linux's two hours, unless the URL says when."""
    with closing(db.connect(Settings(database_url=f"{empty_url}&{parameter}".rstrip("&")))) as connection:
        found = connection.info.get_parameters()

    assert found["keepalives_idle"] == expected
    assert (found["keepalives_interval"], found["keepalives_count"]) == ("10", "6")
    assert found["tcp_user_timeout"] == "120000"


def test_the_timeouts_are_the_settings(empty_url: str) -> None:
    """Each time-out that is given holds for the session; the other stays the server's."""
    with closing(db.connect(Settings(database_url=empty_url))) as connection:
        before = _shown(connection, "statement_timeout")
        db.set_timeouts(connection, lock_timeout_ms=1_500, statement_timeout_ms=None)
        lock, statement = _shown(connection, "lock_timeout"), _shown(connection, "statement_timeout")

    assert lock == "1500ms"
    assert statement == before


def test_a_statement_that_takes_too_long_names_its_setting(empty_url: str) -> None:
    """The time-out that passed is told as such, by a real server, with the option that goes before."""
    with closing(db.connect(Settings(database_url=empty_url))) as connection:
        db.set_timeouts(connection, lock_timeout_ms=None, statement_timeout_ms=10)
        with pytest.raises(DatabaseError, match="time-out passed") as caught, db.translated():
            connection.execute("SELECT pg_sleep(5)")

    assert "Raise --statement-timeout, or LEDGERVIEWS_STATEMENT_TIMEOUT" in str(caught.value.hint)


def test_a_lock_that_somebody_holds_is_exit_code_five(
    empty_url: str, connect: Callable[[str], psycopg.Connection]
) -> None:
    """The lock time-out of a real server becomes the documented error."""
    holder = connect(empty_url)
    holder.execute("CREATE TABLE orders ()")
    holder.execute("BEGIN; LOCK TABLE orders")
    with closing(db.connect(Settings(database_url=empty_url))) as connection:
        db.set_timeouts(connection, lock_timeout_ms=10, statement_timeout_ms=None)
        with pytest.raises(LockedError) as caught, db.translated():
            connection.execute("SELECT FROM public.orders")

    assert caught.value.exit_code == 5


def test_a_session_that_an_administrator_ends_is_unreachable(
    empty_url: str, connect: Callable[[str], psycopg.Connection]
) -> None:
    """A server that goes away in the middle is exit code 3, not a refused statement."""
    with closing(db.connect(Settings(database_url=empty_url))) as connection:
        connect(empty_url).execute("SELECT pg_terminate_backend(%s, 5000)", [connection.info.backend_pid])
        with (
            pytest.raises(UnreachableError, match="was ended: terminating connection") as caught,
            db.translated(),
        ):
            connection.execute("SELECT 1")

    assert caught.value.exit_code == 3
