"""Connecting: URLs of either style, what a session begins with, and its time-outs."""

from __future__ import annotations

import os
import re
from contextlib import contextmanager, suppress
from dataclasses import replace
from string import whitespace
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from ledgerviews.errors import UsageError

from .rights import require_trusted_schema
from .translation import translated

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from ledgerviews.config import Settings

MINIMUM_SERVER = 150000
CONNECT_TIMEOUT_S = 10
KEEPALIVES = {
    "keepalives_idle": 60,
    "keepalives_interval": 10,
    "keepalives_count": 6,
    "tcp_user_timeout": 120_000,
}
"""Seconds, how often, and milliseconds: Linux asks after two hours, when a firewall has long forgotten a
connection, and does not ask at all while something that it sent is not acknowledged."""

LOOK_LOCK_TIMEOUT_MS = 5_000
"""How long what only looks waits for a lock that keeps it out, where nothing is set."""

END_IF_IDLE = "SET LOCAL idle_in_transaction_session_timeout = '30s'"
"""For a transaction that no client leaves idle: a server may learn hours later that one is gone."""

READ_ALIKE = {
    "standard_conforming_strings": "on",
    "backslash_quote": "safe_encoding",
    "quote_all_identifiers": "off",
    "TimeZone": "UTC",
    "DateStyle": "ISO, MDY",
    "IntervalStyle": "postgres",
    "extra_float_digits": "1",
    "bytea_output": "hex",
}
"""What declared SQL means, how it is printed, and the rows that it gives must not depend on; the engine's own
functions compute under the same."""

_SCHEME = re.compile(r"^postgres(?:ql)?(?:\+[a-z0-9_]+)?://", re.IGNORECASE)
# libpq takes a URL apart at the first @ or /, so a password in which they stand as they are would end up
# in part as a host, a port or a database name, and be shown as one.
_PLAIN_URL = re.compile(
    r"""
    postgresql://
    (?: [^@/:?]* (?: : (?: (?!\?\w+=) [^@/] )* )? @ )?   # user:password
    [^@/?]*                                              # hosts and ports
    (?: / [^@?]* )?                                      # database
    (?: \? [^@]* )?                                      # parameters
    """,
    re.VERBOSE,
)
_OTHER = re.compile(r"[a-z][a-z0-9+]{1,20}://", re.IGNORECASE)
_PERCENT = re.compile(r"%(?![0-9a-f]{2})", re.IGNORECASE)
_VARIABLES = ("LEDGERVIEWS_DATABASE_URL", "DATABASE_URL")
_PORTS = re.compile(r"[0-9,]*")


def conninfo(url: str | None) -> str:
    """A libpq connection string for a URL of either style, a keyword string, or None (libpq's own PG*).

    Raises UsageError without repeating the text, which may hold a password.
    """
    if url is None:
        return ""
    text, is_url = _SCHEME.subn("postgresql://", url.strip(whitespace))
    if not is_url or _PLAIN_URL.fullmatch(text):
        with suppress(psycopg.ProgrammingError, UnicodeError):
            given = conninfo_to_dict(text)
            if _PORTS.fullmatch(str(given.get("port", ""))):
                return make_conninfo("", **given)
    raise UsageError(
        f"The database URL in {_variable(url)} cannot be read{_unreadable(text, is_url=bool(is_url))}.",
        hint="Write postgresql://user:password@host:5432/database, with %XX for special characters such as "
        "@ (%40) and / (%2F) in the password; it is not repeated here because it may hold one.",
    )


def _variable(url: str) -> str:
    """The variable that a URL came from, as far as that can be told."""
    named = (name for name in _VARIABLES if os.environ.get(name) == url)
    return next(named, " or ".join(_VARIABLES))


def _unreadable(text: str, *, is_url: bool) -> str:
    """What is wrong with a URL, where no word of it can be a part of a password; else nothing."""
    if not is_url:
        scheme = _OTHER.match(text)
        return f": it begins with {scheme[0]}, which is no PostgreSQL" if scheme else ""
    if not _PLAIN_URL.fullmatch(text):
        return ""
    if _PERCENT.search(text):
        return ": a % in it is not followed by two hexadecimal digits, and is written %25"
    parameters = [one.partition("=")[0] for one in text.partition("?")[2].split("&") if one]
    known = {option.keyword.decode() for option in psycopg.pq.Conninfo.get_defaults()} | {"ssl"}
    strange = [name for name in parameters if name not in known and name.isidentifier()]
    if strange and "password" not in parameters:
        return f": there is no parameter {strange[0]}"
    return ""


def connect(
    settings: Settings, *, autocommit: bool = True, application: str = "ledgerviews"
) -> psycopg.Connection:
    """Open a connection that reads times and text as we do, whatever the role or environment prefers.

    Raises UnreachableError, and UsageError for a server older than PostgreSQL 15, and where a superuser would
    run what somebody else has put into the schema ledgerviews.
    """
    text = conninfo(settings.database_url)
    given = conninfo_to_dict(text)
    _refuse_misplaced(given)
    keepalives: dict[str, Any] = {name: given.get(name) or value for name, value in KEEPALIVES.items()}
    with translated(target=describe_target(settings)):
        try:
            connection = psycopg.connect(
                text,
                autocommit=True,
                connect_timeout=given.get("connect_timeout")
                or os.environ.get("PGCONNECT_TIMEOUT")
                or CONNECT_TIMEOUT_S,
                fallback_application_name=application,
                client_encoding="utf8",
                **keepalives,
            )
        except (psycopg.ProgrammingError, UnicodeError, ValueError) as exc:
            raise UsageError(f"The connection's settings cannot be used: {exc}") from None
        try:
            _begin(connection)
            connection.autocommit = autocommit
        except BaseException:
            connection.close()
            raise
    return connection


def _begin(connection: psycopg.Connection) -> None:
    """Have the session read as we do, and refuse a server, or a schema, that we must not work with."""
    # The driver reads times in ISO only, and a database or role may have another default.
    # On the role's own path anybody may have put operators.
    connection.execute(f"SET search_path = pg_catalog, pg_temp; {read_alike(local=False)}")
    if (version := connection.info.server_version) < MINIMUM_SERVER:
        raise UsageError(f"The server is PostgreSQL {version // 10000}; ledgerviews needs 15 or later.")
    if connection.info.parameter_status("is_superuser") == "on":
        require_trusted_schema(connection)


def read_alike(*, local: bool) -> str:
    """The statement that makes READ_ALIKE so, for the session or for the transaction."""
    until = "true" if local else "false"
    settings = (f"pg_catalog.set_config('{name}', '{value}', {until})" for name, value in READ_ALIKE.items())
    return f"SELECT {', '.join(settings)}"


def _refuse_misplaced(given: Mapping[str, Any]) -> None:
    """Raise UsageError where a name holds what looks like a URL or a password, before anything repeats it."""
    for name in ("host", "dbname", "user"):
        variable = {"host": "PGHOST", "dbname": "PGDATABASE", "user": "PGUSER"}[name]
        value = str(given.get(name) or os.environ.get(variable) or "")
        if any(mark in value for mark in ("://", "password=", ";")):
            raise UsageError(
                f"The {name} of the database holds what looks like a URL or a password; it is not repeated.",
                hint="Write postgresql://user:password@host:5432/database in LEDGERVIEWS_DATABASE_URL.",
            )


def set_timeouts(
    connection: psycopg.Connection,
    *,
    lock_timeout_ms: int | None,
    statement_timeout_ms: int | None,
    local: bool = False,
) -> None:
    """Set the session's time-outs, or the transaction's, in milliseconds; None leaves the server's own."""
    for name, value in (("lock_timeout", lock_timeout_ms), ("statement_timeout", statement_timeout_ms)):
        if value is not None:
            connection.execute("SELECT pg_catalog.set_config(%s, %s, %s)", [name, str(value), local])


def looking(settings: Settings) -> Settings:
    """The settings of what only looks: it waits a moment for a lock where nothing else is set."""
    if settings.lock_timeout_ms is None:
        return replace(settings, lock_timeout_ms=LOOK_LOCK_TIMEOUT_MS)
    return settings


@contextmanager
def asking(connection: psycopg.Connection, settings: Settings, *, wait: bool = True) -> Iterator[None]:
    """Have the settings' time-outs apply to a session from here on, and bound the block's waits for locks.

    Without ``wait`` the block waits no longer than what only looks, whatever is set.
    """
    within = looking(settings).lock_timeout_ms
    if not wait:
        within = min(within or LOOK_LOCK_TIMEOUT_MS, LOOK_LOCK_TIMEOUT_MS)
    set_timeouts(connection, lock_timeout_ms=within, statement_timeout_ms=settings.statement_timeout_ms)
    yield
    if within != settings.lock_timeout_ms:
        connection.execute("RESET lock_timeout")
        set_timeouts(connection, lock_timeout_ms=settings.lock_timeout_ms, statement_timeout_ms=None)


def look_only(connection: psycopg.Connection, settings: Settings) -> None:
    """Bound a transaction that only looks: how long it waits for a lock, runs, and stays idle."""
    connection.execute(END_IF_IDLE)
    set_timeouts(
        connection,
        lock_timeout_ms=looking(settings).lock_timeout_ms,
        statement_timeout_ms=settings.statement_timeout_ms,
        local=True,
    )


def missing_schema(connection: psycopg.Connection, schema: str, *, kept: str = "") -> UsageError | None:
    """The error where the target schema is missing, which is the team's to create and to grant on."""
    if connection.execute("SELECT FROM pg_catalog.pg_namespace WHERE nspname = %s", [schema]).fetchall():
        return None
    return UsageError(
        f'The target schema "{schema}" does not exist in database {connection.info.dbname!r}{kept}.',
        hint=f'Run CREATE SCHEMA "{schema}", or set LEDGERVIEWS_SCHEMA to one that is there.',
    )


def describe_target(settings: Settings) -> str:
    """Where a connection would go, for messages: host, port, database and user; never a password."""
    # libpq reads the PG* variables itself; this only tells the user.
    given: dict[str, Any] = conninfo_to_dict(conninfo(settings.database_url))
    host = given.get("host") or given.get("hostaddr") or os.environ.get("PGHOST") or "the local socket"
    port = given.get("port") or os.environ.get("PGPORT") or "5432"
    user = given.get("user") or os.environ.get("PGUSER")
    database = given.get("dbname") or os.environ.get("PGDATABASE") or user
    service = given.get("service") or os.environ.get("PGSERVICE")
    if service and not given.get("host"):
        return f"service {service!r}"
    text = f"database {database!r} at {host}:{port}" if database else f"the server at {host}:{port}"
    return f"{text} as {user!r}" if user else text
