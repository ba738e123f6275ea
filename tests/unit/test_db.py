"""The door to PostgreSQL: URLs of every style, no password in any text, and errors with their exit codes."""

from __future__ import annotations

import socket
import time
from string import whitespace
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote

import psycopg
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from psycopg import errors as pg
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.pq import DiagnosticField

from ledgerviews import db
from ledgerviews.config import Settings
from ledgerviews.errors import (
    DatabaseError,
    InterruptedRunError,
    LedgerviewsError,
    LockedError,
    SessionEndedError,
    UnreachableError,
    UsageError,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

# An environment variable holds no NUL, and libpq's text ends at one.
PASSWORDS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1) | st.text(
    "@:/#?%& '\\=+[],ab19", min_size=1
)
SCHEMES = [
    "postgres",
    "postgresql",
    "postgresql+psycopg",
    "postgresql+psycopg2",
    "postgres+asyncpg",
    "POSTGRESQL",
]
TARGET = "database 'orders' at db.example:5432 as 'reader'"


@pytest.fixture(autouse=True)
def _no_libpq_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HOST", "HOSTADDR", "PORT", "USER", "PASSWORD", "DATABASE", "SERVICE", "CONNECT_TIMEOUT"):
        monkeypatch.delenv(f"PG{name}", raising=False)


def _refusal(url: str) -> str:
    with pytest.raises(UsageError) as caught:
        db.conninfo(url)
    assert caught.value.exit_code == 2
    # Nothing that a traceback or a logger would add repeats the URL either.
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None
    return str(caught.value)


def _read(url: str) -> dict[str, object] | None:
    """What the URL says, or None where it is refused in the words that any other is refused in.

    Of what is written in it no more is told than that a % stands for itself.
    """
    try:
        return dict(conninfo_to_dict(db.conninfo(url)))
    except UsageError:
        pass
    assert _refusal(url) in {_refusal("postgresql://u:p@ss@h/db"), _refusal("postgresql://u:%@h/db")}
    return None


UNREADABLE = "The database URL in LEDGERVIEWS_DATABASE_URL or DATABASE_URL cannot be read"


def _error(code: str, message: str = "it failed", *, detail: str = "", hint: str = "") -> psycopg.Error:
    """The error that the driver raises for an answer of the server."""
    info: Mapping[int, bytes | None] = {
        DiagnosticField.SQLSTATE: code.encode(),
        DiagnosticField.MESSAGE_PRIMARY: message.encode(),
        DiagnosticField.MESSAGE_DETAIL: detail.encode() or None,
        DiagnosticField.MESSAGE_HINT: hint.encode() or None,
    }
    return pg.lookup(code)(message, info=dict(info))


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_url_of_any_style_reaches_the_same_database(scheme: str) -> None:
    """Plain and SQLAlchemy's schemes, whatever the driver, mean the same."""
    text = db.conninfo(f"  {scheme}://reader:s%40crt@db.example:5433/orders?sslmode=require\n")

    assert conninfo_to_dict(text) == {
        "user": "reader",
        "password": "s@crt",
        "host": "db.example",
        "port": "5433",
        "dbname": "orders",
        "sslmode": "require",
    }


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("postgresql://", {}),
        ("postgresql:///orders", {"dbname": "orders"}),
        (
            "postgresql://reader@/orders?host=/run/pg",
            {"user": "reader", "dbname": "orders", "host": "/run/pg"},
        ),
        ("postgresql://%2Frun%2Fpg/orders", {"host": "/run/pg", "dbname": "orders"}),
        ("postgresql://[::1]:5433/orders", {"host": "::1", "port": "5433", "dbname": "orders"}),
        (
            "postgresql://u:p@[fe80::1]/orders",
            {"user": "u", "password": "p", "host": "fe80::1", "dbname": "orders"},
        ),
        ("postgresql://a:1,b:2/orders", {"host": "a,b", "port": "1,2", "dbname": "orders"}),
        ("postgresql://a,b:2/orders", {"host": "a,b", "port": ",2", "dbname": "orders"}),
        (
            "postgresql://me%40corp:p@h/orders",
            {"user": "me@corp", "password": "p", "host": "h", "dbname": "orders"},
        ),
        ("postgresql://u:a?b:c#d@h", {"user": "u", "password": "a?b:c#d", "host": "h"}),
        ("postgresql://?service=shop", {"service": "shop"}),
        ("service=shop", {"service": "shop"}),
        (
            "host=h dbname='or ders' password='it\\'s @/'",
            {"host": "h", "dbname": "or ders", "password": "it's @/"},
        ),
        ("", {}),
    ],
)
def test_every_form_that_libpq_reads_is_read(url: str, expected: dict[str, str]) -> None:
    """Sockets, IPv6, several hosts, services and keyword strings arrive as libpq means them."""
    assert conninfo_to_dict(db.conninfo(url)) == expected


def test_no_url_leaves_all_to_libpq() -> None:
    """Without a URL the PG* variables and service files decide alone."""
    assert db.conninfo(None) == ""


@given(PASSWORDS)
def test_a_percent_encoded_password_arrives_whole(password: str) -> None:
    """Any password works once it is encoded, and is not shown."""
    url = f"postgresql+psycopg://reader:{quote(password, safe='')}@db.example/orders"

    assert conninfo_to_dict(db.conninfo(url))["password"] == password
    assert db.describe_target(Settings(database_url=url)) == TARGET


@given(PASSWORDS)
@example("p@ss")
@example("pa/ss")
@example("1/2@x")
@example("5432/x?user=y")
@example("5432?password=se@cret")
@example("%zz")
@example("%41")
@example("%80")
@example("a b")
@example("[::1")
def test_a_password_that_is_not_encoded_is_read_whole_or_refused_unseen(password: str) -> None:
    """No part of it is ever taken for a host, a port, a user or a database, and none is repeated.

    Blanks around it are libpq's business.
    """
    url = f"postgresql://reader:{password}@db.example/orders"
    found = _read(url)

    if found is not None:
        kept = str(found.pop("password")).strip(whitespace)
        assert kept == unquote(password, errors="strict").strip(whitespace)
        assert found == {"user": "reader", "host": "db.example", "dbname": "orders"}
        assert db.describe_target(Settings(database_url=url)) == TARGET


@given(PASSWORDS.filter(lambda text: "&" not in text))
@example("%80")
def test_a_password_among_the_parameters_is_not_shown(password: str) -> None:
    """A URL with ?password= is read whole or refused unseen as well."""
    url = f"postgresql://db.example/orders?user=reader&password={password}"
    found = _read(url)

    if found is not None:
        kept = str(found.pop("password")).strip(whitespace)
        assert kept == unquote(password, errors="strict").strip(whitespace)
        assert found == {"user": "reader", "host": "db.example", "dbname": "orders"}
        assert db.describe_target(Settings(database_url=url)) == TARGET


@given(PASSWORDS)
def test_a_password_in_a_keyword_string_is_not_shown(password: str) -> None:
    """Quoted as libpq wants it, it arrives whole and stays unseen."""
    text = make_conninfo(host="db.example", dbname="orders", user="reader", password=password)

    assert conninfo_to_dict(db.conninfo(text))["password"] == password
    assert db.describe_target(Settings(database_url=text)) == TARGET


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://reader:s3cret",
        "postgresql://h:5432?password=s3@cret",
        "postgresql://h?password=s3@cret",
        "postgresql://u:p@s3cret@h/db",
        "postgresql://u:p/s3cret@h/db",
        "postgresql://u:1/s3cret@h/db",
        "postgresql://u:s3%cret@h/db",
        "postgresql://u:p@h/db?nonsense=s3cret",
        "mysql://u:s3cret@h/db",
        "jdbc:postgresql://h/db?password=s3cret",
        "u:s3cret@h/db",
        "password=s3cret=x host",
        "host=h password='s3cret",
        "host=h port=s3cret",
        "postgresql://u:s3%80cret@h/db",
        "postgresql://u:s3\udc80cret@h/db",
    ],
)
def test_an_unreadable_url_is_refused_without_being_repeated(url: str) -> None:
    """The message names the two variables and the form to write, and nothing of what was written."""
    refusal = _refusal(url)

    assert refusal.startswith(UNREADABLE)
    assert "s3" not in refusal
    assert "cret" not in refusal
    assert "%40" in refusal


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("mysql://u:s3cret@h/db", "cannot be read: it begins with mysql://, which is no PostgreSQL."),
        ("postgresql://u:s3cret@h/db?foo=bar", "cannot be read: there is no parameter foo."),
        ("postgresql://u:s3%cret@h/db", "cannot be read: a % in it is not followed by two hexadecimal"),
        ("postgresql://h/db?password=s3&cret=x", "cannot be read."),
        ("postgresql://u:s3?cret=1@h/db", "cannot be read."),
        ("postgresql://u:s3@cret@h/db", "cannot be read."),
    ],
)
@pytest.mark.parametrize("variable", ["LEDGERVIEWS_DATABASE_URL", "DATABASE_URL"])
def test_an_unreadable_url_is_told_by_its_variable_and_its_fault(
    monkeypatch: pytest.MonkeyPatch, variable: str, url: str, told: str
) -> None:
    """The variable that holds it, and what is wrong, where that shows no part of a password."""
    monkeypatch.setenv(variable, url)

    refusal = _refusal(Settings.from_environment().database_url or "")

    assert refusal.startswith(f"The database URL in {variable} cannot be read")
    assert told in refusal
    assert "s3" not in refusal
    assert "cret" not in refusal


@pytest.mark.parametrize(
    ("environment", "url", "expected"),
    [
        ({}, None, "the server at the local socket:5432"),
        ({"PGHOST": "h", "PGUSER": "u"}, None, "database 'u' at h:5432 as 'u'"),
        ({"PGDATABASE": "d", "PGPORT": "1", "PGHOST": "h"}, None, "database 'd' at h:1"),
        ({"PGHOST": "h", "PGUSER": "u"}, "postgresql://other/d", "database 'd' at other:5432 as 'u'"),
        ({"PGSERVICE": "shop"}, None, "service 'shop'"),
        ({}, "service=shop password=s3cret", "service 'shop'"),
        ({"PGPASSWORD": "s3cret"}, "postgresql://u:s3cret@h:1/d", "database 'd' at h:1 as 'u'"),
    ],
)
def test_the_target_is_described_as_libpq_would_find_it(
    monkeypatch: pytest.MonkeyPatch, environment: Mapping[str, str], url: str | None, expected: str
) -> None:
    """What the URL leaves open comes from the PG* variables; a password from neither."""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)

    assert db.describe_target(Settings(database_url=url)) == expected


def test_a_server_that_is_not_there_is_told_by_place_and_cause() -> None:
    """Exit code 3 with host, port, database and user, the cause, the mend, and no password."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))  # bound and not listening: nobody else can answer here
        port = held.getsockname()[1]
        settings = Settings(database_url=f"postgresql://reader:s3cret@127.0.0.1:{port}/orders")
        with pytest.raises(UnreachableError) as caught:
            db.connect(settings)

    assert caught.value.exit_code == 3
    assert f"Cannot reach database 'orders' at 127.0.0.1:{port} as 'reader': " in caught.value.message
    assert "refused" in caught.value.message
    assert "check that the server runs" in str(caught.value.hint)
    assert "s3cret" not in f"{caught.value} {caught.value.__cause__!r}"


def test_libpqs_own_connect_timeout_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """PGCONNECT_TIMEOUT decides how long a silent server is waited for, and the hint tells where to look."""
    monkeypatch.setenv("PGCONNECT_TIMEOUT", "2")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        begun = time.monotonic()
        with pytest.raises(UnreachableError, match="timeout") as caught:
            db.connect(Settings(database_url=f"postgresql://u@127.0.0.1:{port}/d"))

    assert time.monotonic() - begun < db.CONNECT_TIMEOUT_S - 2
    assert "firewall" in str(caught.value.hint)


@pytest.mark.parametrize(
    ("code", "kind", "exit_code"),
    [
        ("55P03", LockedError, 5),
        ("57014", InterruptedRunError, 130),
        ("57P01", SessionEndedError, 3),
        ("57P02", SessionEndedError, 3),
        ("57P03", UnreachableError, 3),
        ("08006", UnreachableError, 3),
        ("08P01", UnreachableError, 3),
        ("28000", UnreachableError, 3),
        ("28P01", UnreachableError, 3),
        ("42501", DatabaseError, 1),
        ("42P01", DatabaseError, 1),
        ("23505", DatabaseError, 1),
        ("40P01", LockedError, 5),
        ("40001", DatabaseError, 1),
        ("53100", DatabaseError, 1),
    ],
)
def test_each_class_of_error_has_its_exit_code(
    code: str, kind: type[LedgerviewsError], exit_code: int
) -> None:
    """The documented table: 5 lock held, 130 cancelled, 3 no connection (any more), 1 all else."""
    error = db.translate(_error(code), target="the place")

    assert type(error) is kind
    assert error.exit_code == exit_code


def test_a_refused_statement_shows_the_servers_words() -> None:
    """The message with its SQLSTATE, and the server's detail and hint as the hint."""
    error = db.translate(_error("23505", "duplicate key", detail="Key (day) exists.", hint="Look at it."))

    assert error.message == "duplicate key (SQLSTATE 23505)"
    assert error.hint == "Key (day) exists. Look at it."


def test_a_missing_right_says_where() -> None:
    """The place is named, because the same name may be granted in another database."""
    error = db.translate(_error("42501", "permission denied for table orders"), target="database 'd'")

    assert error.message == "permission denied for table orders (database 'd')."
    assert str(error.hint).startswith(
        "Connect as the owner of orders, or have it run GRANT SELECT ON orders to"
    )


def test_a_lock_that_is_held_names_the_setting() -> None:
    """Where the server gives no hint, ours names the variable; where it does, its own stands."""
    bare = db.translate(_error("55P03", "canceling statement due to lock timeout"))
    ours = db.translate(_error("55P03", "Another refresh runs.", hint="Wait for run 7."))

    assert "LEDGERVIEWS_LOCK_TIMEOUT" in str(bare.hint)
    assert ours.hint == "Wait for run 7."


def test_the_statement_timeout_is_no_interruption() -> None:
    """A time-out that passed is a failure that names its setting, unlike a cancel by somebody."""
    error = db.translate(_error("57014", "canceling statement due to statement timeout"))

    assert type(error) is DatabaseError
    assert "LEDGERVIEWS_STATEMENT_TIMEOUT" in str(error.hint)


def test_the_drivers_own_refusal_is_not_taken_for_a_lost_connection() -> None:
    """A value that the driver cannot send says so, and blames no server."""
    error = db.translate(psycopg.DataError("PostgreSQL text fields cannot contain NUL (0x00) bytes"))

    assert type(error) is DatabaseError
    assert error.message == "PostgreSQL text fields cannot contain NUL (0x00) bytes"


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("connection timeout expired", "firewall"),
        ('FATAL:  password authentication failed for user "u"', "PGPASSWORD"),
        ("fe_sendauth: no password supplied", "PGPASSWORD"),
        ("the connection is lost", "check that the server runs"),
    ],
)
def test_a_failed_connection_gets_the_hint_that_fits(text: str, hint: str) -> None:
    """Time-outs, passwords and the rest are mended in different places."""
    error = db.translate(psycopg.OperationalError(text + "\n\tsecond line"), target="the place")

    assert type(error) is UnreachableError
    assert error.message == f"Cannot reach the place: {text}"
    assert hint in str(error.hint)


def test_an_error_without_words_still_says_something() -> None:
    """An empty driver error is named by its kind."""
    assert db.translate(psycopg.OperationalError()).message == "Cannot reach the database: OperationalError"


def test_only_the_drivers_errors_are_translated() -> None:
    """Inside the block a driver's error becomes ours with the original as cause; any other passes."""
    original = _error("55P03")
    with pytest.raises(LockedError) as caught, db.translated():
        raise original
    with pytest.raises(KeyboardInterrupt), db.translated():
        raise KeyboardInterrupt

    assert caught.value.__cause__ is original
