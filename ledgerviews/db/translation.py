"""Driver errors turned into ours: the object, the cause, and the next command."""

from __future__ import annotations

import json
import re
from contextlib import contextmanager
from typing import TYPE_CHECKING

import psycopg
from psycopg import errors as pg

from ledgerviews.errors import (
    CheckError,
    DatabaseError,
    DifferenceError,
    DriftError,
    InterruptedRunError,
    LedgerviewsError,
    LockedError,
    SessionEndedError,
    UnreachableError,
)
from ledgerviews.queries import query

from .rights import Task, mend

if TYPE_CHECKING:
    from collections.abc import Iterator

_ROWS = {"LV001": CheckError, "LV002": DifferenceError}
_UNFIT = "LV003"  # the engine's own, too: what was released no longer fits
_RELEASED = "Released and not restored: "  # as the engine's revisions begin to tell it
_ROLE = re.compile(r'role "(.+?)" does not exist')
_STATEMENT = re.compile(r'^SQL statement "(.+?)"$', re.MULTILINE)
_BESIDE = re.compile(r'"?ledgerviews_next_[0-9a-f]{8}"?\.')
_BROKEN = ("08", "25P03", "25P04", "28", "57P")
"""Classes of SQLSTATE that say that there is no connection, or none any more."""
_ENDED = {"25P03", "25P04", "57P01", "57P02", "57P04", "57P05"}
"""Of these, those with which the server ends a session that stood."""


@contextmanager
def translated(
    *,
    target: str = "the database",
    connection: psycopg.Connection | None = None,
    task: Task = Task.MIGRATE,
) -> Iterator[None]:
    """Turn a driver's error inside the block into one of ours, with the cause and the mend.

    Of a lock that was not had on the connection it says who has it, of a right that lacks what gives it for
    the task.
    """
    try:
        yield
    except psycopg.Error as exc:
        raise translate(exc, target=target, connection=connection, task=task) from exc


def translate(
    exc: psycopg.Error,
    *,
    target: str = "the database",
    connection: psycopg.Connection | None = None,
    task: Task = Task.MIGRATE,
) -> LedgerviewsError:
    """One of our errors for a driver's; ``connection`` is rolled back where a lock or a right lacks."""
    diag = exc.diag
    message = diag.message_primary or str(exc).strip()
    parts = [part for part in (diag.message_detail, diag.message_hint) if part]
    hint = " ".join(parts) or None
    if told := _of_engine(diag, message, hint):
        return told
    if isinstance(exc, pg.InsufficientPrivilege):
        hint = hint or mend(message, connection, task)
    if error := _refused(exc, message, hint, target):
        return _named(error, connection) if isinstance(exc, pg.LockNotAvailable) else error
    if diag.sqlstate is None and not isinstance(exc, psycopg.OperationalError):
        return DatabaseError(message)  # the driver's own refusal; no server was asked
    if diag.sqlstate is None or diag.sqlstate.startswith(_BROKEN):
        lost = diag.sqlstate is None and connection is not None and connection.closed
        return _ended(exc, target) if lost or diag.sqlstate in _ENDED else _unreachable(exc, target)
    return DatabaseError(f"{message} (SQLSTATE {diag.sqlstate})", hint=hint)


def _of_engine(diag: psycopg.errors.Diagnostic, message: str, hint: str | None) -> LedgerviewsError | None:
    """Our error for one that the engine raises by a code, or with words, of its own."""
    if message.startswith(_RELEASED):
        return DriftError(message, hint=hint)
    if diag.sqlstate in _ROWS:
        # The detail is not for people, and holds the rows.
        found = json.loads(diag.message_detail or "[]")
        return _ROWS[diag.sqlstate](message, hint=diag.message_hint, found=found)
    if diag.sqlstate == _UNFIT:
        parts = [part for part in (diag.message_detail, diag.message_hint) if part]
        return DatabaseError(message, hint="\n  ".join(line for part in parts for line in part.splitlines()))
    return None


def _refused(  # noqa: PLR0911 (one for each that we know)
    exc: psycopg.Error, message: str, hint: str | None, target: str
) -> LedgerviewsError | None:
    """Our error for what the server refused and we know the mend of."""
    match exc:
        case pg.LockNotAvailable():
            again = "Try again, or raise LEDGERVIEWS_LOCK_TIMEOUT (--lock-timeout where there is such)."
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
            return DatabaseError(f"{message} ({target}).", hint=hint)
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
        rows = connection.execute(query("lock_holders"), {"ours": _ours(connection)}).fetchall()
    except psycopg.Error:
        return error
    if not rows:
        return error
    holders = "; ".join(f"{relation} is locked by {session_in_words(*row)}" for relation, *row in rows)
    mends = dict.fromkeys(mend for *_, gid in rows if (mend := end_of_prepared(gid)))
    return LockedError(
        f"{error.message.rstrip('.')}: {holders}.", hint=" ".join([*mends, error.hint or ""]).strip()
    )


def _ours(connection: psycopg.Connection) -> list[int]:
    """The relations of the application that we know of; none where the engine is older, or kept from us."""
    try:
        with connection.transaction():
            # What is asked here may be what is locked.
            connection.execute("SET LOCAL lock_timeout = '100ms'")
            return [row[0] for row in connection.execute(query("own_relations")).fetchall()]
    except psycopg.Error:
        return []


def session_in_words(pid: int | None, application: str, role: str, gid: str | None) -> str:
    """A session in words, as pg_stat_activity knows it, or a prepared transaction, which is none."""
    prepared = "a prepared transaction" if gid is None else f"a prepared transaction ({gid})"
    who = f"process {pid}" if pid else prepared
    words = ", ".join([who, *(word for word in (application, role) if word)])
    # Whoever made a role or prepared a transaction chose its name, and a terminal obeys what stands in it.
    return "".join(character if character.isprintable() else "?" for character in words)


def end_of_prepared(gid: str | None) -> str | None:
    """What ends a prepared transaction, which no session shows; None where it is none."""
    if gid is None:
        return None
    if not gid.isprintable():
        return "ROLLBACK PREPARED or COMMIT PREPARED ends it; pg_prepared_xacts has its name."
    name = gid.replace("'", "''")
    return f"ROLLBACK PREPARED '{name}', or COMMIT PREPARED '{name}', ends it."


def _statement(exc: psycopg.Error) -> str:
    """The statement of the engine that failed, where there is one."""
    found = _STATEMENT.search(exc.diag.context or "")
    return f" ({_BESIDE.sub('', found[1])})" if found else ""


def _cancelled(message: str) -> LedgerviewsError:
    if "statement timeout" in message:
        return DatabaseError(
            "The statement time-out passed; the transaction was rolled back.",
            hint="Raise --statement-timeout, or LEDGERVIEWS_STATEMENT_TIMEOUT (0 is no limit).",
        )
    return InterruptedRunError("Cancelled; the transaction was rolled back.")


def _ended(exc: psycopg.Error, target: str) -> SessionEndedError:
    """A connection that stood, and is gone: no setting is wrong."""
    by_server = exc.diag.sqlstate is not None
    what = f"The session on {target} was ended" if by_server else f"The connection to {target} was lost"
    cause = exc.diag.message_primary or _connection_cause(exc)
    return SessionEndedError(
        f"{what}: {cause.rstrip('.')}.",
        hint="What it had not committed is undone. Run the command again, once the server runs.",
        by_server=by_server,
    )


def _unreachable(exc: psycopg.Error, target: str) -> UnreachableError:
    """No connection was made."""
    return UnreachableError(f"Cannot reach {target}: {_connection_cause(exc)}", hint=_connection_hint(exc))


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
        return "Check the name in LEDGERVIEWS_DATABASE_URL, DATABASE_URL, PGDATABASE or PGUSER."
    if "translate host name" in text or "resolve host" in text:
        return "Check the host in LEDGERVIEWS_DATABASE_URL, DATABASE_URL or PGHOST."
    return "Set LEDGERVIEWS_DATABASE_URL, DATABASE_URL or PG* variables, and check that the server runs."
