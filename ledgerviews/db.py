"""The one door to PostgreSQL: connecting, time-outs, and driver errors turned into ours."""

from __future__ import annotations

import json
import os
import re
from contextlib import contextmanager, suppress
from dataclasses import replace
from string import whitespace
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg import errors as pg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from .errors import (
    CheckError,
    DatabaseError,
    DifferenceError,
    InterruptedRunError,
    LedgerviewsError,
    LockedError,
    UnreachableError,
    UsageError,
)
from .queries import query

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from .config import Settings

MINIMUM_SERVER = 150000
CONNECT_TIMEOUT_S = 10
KEEPALIVES = {"keepalives_idle": 60, "keepalives_interval": 10, "keepalives_count": 6}
"""Seconds, and how often: Linux asks after two hours, when a firewall has long forgotten a connection."""

LOOK_LOCK_TIMEOUT_MS = 5_000
"""How long what only looks waits for a lock that keeps it out, where nothing is set."""

END_IF_IDLE = "SET LOCAL idle_in_transaction_session_timeout = '30s'"
"""For a transaction that no client leaves idle: a server may learn hours later that one is gone."""

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
_PORTS = re.compile(r"[0-9,]*")
_ROWS = {"LV001": CheckError, "LV002": DifferenceError}
_UNFIT = "LV003"  # the engine's own, too: what was released no longer fits
_ROLE = re.compile(r'role "(.+?)" does not exist')
_STATEMENT = re.compile(r'^SQL statement "(.+?)"$', re.MULTILINE)
_BESIDE = re.compile(r'"?ledgerviews_next_[0-9a-f]{8}"?\.')
_LACKING = {
    "permission denied for database (.+)": "Have its owner run GRANT CREATE ON DATABASE {0} {me}.",
    "permission denied for schema (.+)": "Have its owner run GRANT USAGE, CREATE ON SCHEMA {0} {me}; USAGE is"
    " enough to read.",
    "must be owner of (.+)": "Connect as the owner of {0}, or have it granted {me}: GRANT the owner's role.",
    'must be able to SET ROLE "(.+)"': "Run GRANT {0} {me}, or declare another owner.",
    'must be member of role "(.+)"': "Run GRANT {0} {me}, or declare another owner.",
}
"""What gives a right, by what PostgreSQL says where it lacks."""
_BROKEN = ("08", "25P03", "25P04", "28", "57P")
"""Classes of SQLSTATE that say that there is no connection, or none any more."""


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
        "The database URL in LEDGERVIEWS_DATABASE_URL or DATABASE_URL cannot be read.",
        hint="Write postgresql://user:password@host:5432/database, with %XX for special characters such as "
        "@ (%40) and / (%2F) in the password; it is not repeated here because it may hold one.",
    )


def connect(
    settings: Settings, *, autocommit: bool = True, application: str = "ledgerviews"
) -> psycopg.Connection:
    """Open a connection that reads times and text as we do, whatever the role or environment prefers.

    Raises UnreachableError, and UsageError for a server older than PostgreSQL 15.
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
        # The driver reads times in ISO only, and a database or role may have another default.
        connection.execute("SET datestyle = 'ISO'")
        connection.autocommit = autocommit
    if connection.info.server_version < MINIMUM_SERVER:
        version = connection.info.server_version
        connection.close()
        raise UsageError(f"The server is PostgreSQL {version // 10000}; ledgerviews needs 15 or later.")
    return connection


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


def look_only(connection: psycopg.Connection, settings: Settings) -> None:
    """Bound a transaction that only looks: how long it waits for a lock, runs, and stays idle."""
    connection.execute(END_IF_IDLE)
    set_timeouts(
        connection,
        lock_timeout_ms=looking(settings).lock_timeout_ms,
        statement_timeout_ms=settings.statement_timeout_ms,
        local=True,
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


@contextmanager
def translated(
    *, target: str = "the database", connection: psycopg.Connection | None = None
) -> Iterator[None]:
    """Turn a driver's error inside the block into one of ours, with the cause and the mend.

    Of a lock that was not had on the connection it says who has it.
    """
    try:
        yield
    except psycopg.Error as exc:
        raise translate(exc, target=target, connection=connection) from exc


def translate(
    exc: psycopg.Error, *, target: str = "the database", connection: psycopg.Connection | None = None
) -> LedgerviewsError:
    """One of our errors for a driver's error; ``connection`` is rolled back on a lock time-out."""
    diag = exc.diag
    message = diag.message_primary or str(exc).strip()
    parts = [part for part in (diag.message_detail, diag.message_hint) if part]
    hint = " ".join(parts) or None
    if diag.sqlstate in _ROWS:
        # The engine's own two: the detail is not for people, and holds the rows.
        found = json.loads(diag.message_detail or "[]")
        return _ROWS[diag.sqlstate](message, hint=diag.message_hint, found=found)
    if diag.sqlstate == _UNFIT:
        return DatabaseError(message, hint="\n  ".join(line for part in parts for line in part.splitlines()))
    if error := _refused(exc, message, hint, target):
        return _named(error, connection) if isinstance(exc, pg.LockNotAvailable) and hint is None else error
    if diag.sqlstate is None and not isinstance(exc, psycopg.OperationalError):
        return DatabaseError(message)  # the driver's own refusal; no server was asked
    if diag.sqlstate is None or diag.sqlstate.startswith(_BROKEN):
        cause = _connection_cause(exc)
        return UnreachableError(f"Cannot reach {target}: {cause}", hint=_connection_hint(exc))
    return DatabaseError(f"{message} (SQLSTATE {diag.sqlstate})", hint=hint)


def _refused(  # noqa: PLR0911 (one for each that we know)
    exc: psycopg.Error, message: str, hint: str | None, target: str
) -> LedgerviewsError | None:
    """Our error for what the server refused and we know the mend of."""
    match exc:
        case pg.LockNotAvailable():
            again = "Try again, or raise the lock time-out (--lock-timeout, LEDGERVIEWS_LOCK_TIMEOUT)."
            return LockedError(message, hint=hint or again)
        case pg.DeadlockDetected():
            return LockedError(f"{message}: another session needs the same relations.", hint="Try again.")
        case pg.QueryCanceled():
            return _cancelled(message)
        case pg.ReadOnlySqlTransaction():
            return DatabaseError(
                f"{message}: {target} is a standby, or default_transaction_read_only is on.",
                hint="Connect to the primary, as a role that may write.",
            )
        case pg.DependentObjectsStillExist() if message.endswith("."):
            return DatabaseError(message, hint=hint)  # a sentence of the engine's, with its own mend
        case pg.DependentObjectsStillExist():
            mend = (
                "Drop or change what depends on it first, of ours by a revision whose models do without it."
            )
            detail = (exc.diag.message_detail or "").replace("\n", "; ")
            return DatabaseError(f"{message}: {detail}", hint=mend)
        case pg.FeatureNotSupported() if "used by a view" in message or "used in a function" in message:
            return DatabaseError(
                f"{message}: {exc.diag.message_detail}.",
                hint='Alter it in `with ledgerviews.released(op, "schema.table"):`, or between `ledgerviews'
                " release` and `ledgerviews restore`.",
            )
        case pg.InsufficientPrivilege():
            return DatabaseError(f"{message} ({target}).", hint=hint or _grant(message))
        case pg.UndefinedObject() if role := _ROLE.search(message):
            # The engine names the relation where it has built it; else the statement does.
            bare = role[0] == message
            return DatabaseError(
                f"{message}{_statement(exc)}; nothing was changed." if bare else message,
                hint=f"Run CREATE ROLE {role[1]}, or take it out of what is declared, and of the revision.",
            )
        case _:
            return None


def _named(error: LedgerviewsError, connection: psycopg.Connection | None) -> LedgerviewsError:
    """A lock that was not had in time, with who has locked what, if anybody still has."""
    if connection is None:
        return error
    try:
        connection.rollback()
        rows = connection.execute(query("lock_holders")).fetchall()
    except psycopg.Error:
        return error
    holders = [f"{relation} is locked by {session(*row)}" for relation, *row in rows]
    return LockedError(f"{error.message}: {'; '.join(holders)}.", hint=error.hint) if holders else error


def session(pid: int, application: str, role: str) -> str:
    """A session in words, as pg_stat_activity knows it."""
    return ", ".join([f"process {pid}", *(word for word in (application, role) if word)])


def _grant(message: str) -> str:
    """What gives the right that lacked, in the server's English words; else where to look."""
    me = "to the role that you connect as"
    for pattern, mend in _LACKING.items():
        if found := re.search(pattern, message):
            return mend.format(*found.groups(), me=me)
    return "Grant it, or connect as the owner."


def _statement(exc: psycopg.Error) -> str:
    """The statement of the engine that failed, where there is one."""
    found = _STATEMENT.search(exc.diag.context or "")
    return f" ({_BESIDE.sub('', found[1])})" if found else ""


def _cancelled(message: str) -> LedgerviewsError:
    if "statement timeout" in message:
        return DatabaseError(
            "The statement time-out passed; everything was rolled back.",
            hint="Raise --statement-timeout, or LEDGERVIEWS_STATEMENT_TIMEOUT (0 is no limit).",
        )
    return InterruptedRunError("Cancelled; everything was rolled back.")


def _connection_cause(exc: psycopg.Error) -> str:
    lines = [line.strip() for line in str(exc).splitlines() if line.strip()]
    return lines[0] if lines else type(exc).__name__


def _connection_hint(exc: psycopg.Error) -> str:
    text = str(exc)
    if "timeout" in text or "timed out" in text:
        return "The server did not answer: check the host, the port and the firewall between."
    if "password authentication failed" in text or "no password supplied" in text:
        return "Check the user and the password in LEDGERVIEWS_DATABASE_URL, DATABASE_URL or PGPASSWORD."
    if "does not exist" in text:
        return "Check the name in LEDGERVIEWS_DATABASE_URL, DATABASE_URL or PGDATABASE."
    if "translate host name" in text or "resolve host" in text:
        return "Check the host in LEDGERVIEWS_DATABASE_URL, DATABASE_URL or PGHOST."
    return "Set LEDGERVIEWS_DATABASE_URL, DATABASE_URL or PG* variables, and check that the server runs."
