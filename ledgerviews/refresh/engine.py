"""The engine's procedure, called: time-outs, notices, and its errors with the rows in readable order."""

from __future__ import annotations

import re
import time
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import psycopg

from ledgerviews import db
from ledgerviews.db import Task
from ledgerviews.errors import (
    CheckError,
    DriftError,
    InterruptedRunError,
    LedgerviewsError,
    LockedError,
    RowsError,
    SessionEndedError,
    UsageError,
    row_in_words,
)
from ledgerviews.queries import query

from .preflight import CREATE_AGAIN, require_current, require_readable
from .waiting import lock_holder, tell_of_the_queue, watched

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from ledgerviews.config import Settings

# How the engine begins to tell that the lock of refreshes is held, by whomever.
ANOTHER = "Another refresh is running"
_UNKNOWN = " is no published materialized view"
_RELEASED = "Nothing can be refreshed while "
_CHECK = re.compile(r"Check .+ fails for \d+ rows?, the first: ")
_CALL = "CALL ledgerviews.refresh(%s::text[], %s::text, %s::boolean, %s::boolean, %s::boolean)"


@dataclass(frozen=True, kw_only=True)
class Call:
    """The arguments of the procedure."""

    relations: Sequence[str] | None
    mode: str
    upstream: bool = True
    wait: bool = True
    scrub: bool = True


@contextmanager
def session(
    settings: Settings,
    *,
    progress: Callable[[str], None] | None = None,
    reading: bool = False,
    wait: bool = True,
    task: Task = Task.REFRESH,
) -> Iterator[psycopg.Connection]:
    """A connection to a database that is at this package's revision, with the time-outs of the settings.

    Of a right that lacks it says what gives it for the ``task``. For ``reading`` the engine's version is
    enough, so that the log can be read while a migration is pending. What is asked here waits a moment for a
    lock where nothing is set, and no longer without ``wait``.
    """
    with (
        closing(db.connect(settings)) as connection,
        db.translated(target=db.describe_target(settings), connection=connection, task=task),
    ):
        with db.asking(connection, settings, wait=wait):
            (require_readable if reading else require_current)(connection, settings)
        if progress is not None:
            connection.execute("SET client_min_messages = notice")
            connection.add_notice_handler(
                lambda diag: None if _of_a_check(diag) else progress(_told(diag)),
            )
        yield connection


def call(
    connection: psycopg.Connection, settings: Settings, arguments: Call, *, progress: Callable[[str], None]
) -> int:
    """Call the procedure, and give the run's number; its errors are translated, their rows put in order.

    ``progress`` gets a line where it has to wait for somebody. What checks warn of is in the log where it
    succeeds, and is told from there, once.
    """
    values = [
        list(arguments.relations) if arguments.relations is not None else None,
        arguments.mode,
        arguments.upstream,
        arguments.wait,
        arguments.scrub,
    ]
    warned: list[str] = []
    connection.add_notice_handler(lambda diag: warned.append(_told(diag)) if _of_a_check(diag) else None)
    pid, begun = connection.info.backend_pid, time.monotonic()
    try:
        with watched(settings, connection, progress):
            if arguments.wait:
                tell_of_the_queue(connection, progress)
            rows = connection.execute(_CALL, values).fetchall()
    except psycopg.Error as exc:
        task = Task.VERIFY if arguments.mode == "verify" else Task.REFRESH
        error = explained(connection, settings, exc, task=task)
        if not isinstance(error, CheckError):  # which tells the checks that only warn, too
            for line in warned:
                progress(line)
        if isinstance(error, SessionEndedError):
            error.hint = _left(settings, error, arguments.mode, pid=pid, seconds=time.monotonic() - begun)
        raise error from exc
    except KeyboardInterrupt:
        raise InterruptedRunError(
            "Interrupted: cancelled on the server, everything was rolled back."
        ) from None
    run_id: int = rows[0][0]
    return run_id


def _left(settings: Settings, error: SessionEndedError, mode: str, *, pid: int, seconds: float) -> str:
    """What a run whose session is gone left behind, as the log tells it, and what to run next."""
    command = "verify" if mode == "verify" else "refresh"
    again = f"Run `ledgerviews {command}` again"
    try:
        with closing(db.connect(settings)) as connection:
            rows = connection.execute(query("run_of_session"), {"pid": pid, "seconds": seconds}).fetchall()
    except (LedgerviewsError, psycopg.Error):
        return (
            f"Nothing was published by it, unless its commit came first. {again} once the server runs;"
            " `ledgerviews runs` shows what became of this one."
        )
    if not rows:
        return f"Nothing was published by it. {again}."
    run_id, state, lives = rows[0]
    if state == "succeeded":
        # The publication is committed before the scrub begins.
        cut = "" if mode == "verify" else ", and only its scrub was cut off"
        return f"Run {run_id} had succeeded before{cut}: `ledgerviews runs {run_id}` shows it."
    if lives and not error.by_server:
        return (
            f"Run {run_id} may be going on there (process {pid}): `ledgerviews runs` shows what became of it."
            f" {again} if it failed."
        )
    return f"Nothing of run {run_id} was published. {again}; `ledgerviews runs` shows what became of each."


def explained(
    connection: psycopg.Connection, settings: Settings, exc: psycopg.Error, *, task: Task = Task.REFRESH
) -> Exception:
    """One of our errors for an error of the engine, met in a task."""
    message, hint = exc.diag.message_primary or str(exc), exc.diag.message_hint
    match exc:
        case psycopg.errors.UndefinedTable() if message.startswith("Installed by a migration, but no longer"):
            return UsageError(message, hint=CREATE_AGAIN)
        case psycopg.errors.UndefinedTable() if not message.startswith("Refreshing "):
            return UsageError(_plain_view(connection, message) or message, hint=hint)
        case psycopg.errors.ObjectNotInPrerequisiteState() if message.startswith(_RELEASED):
            return DriftError(message, hint=hint)
        case _:
            # Who holds the lock of refreshes is told below, in other words.
            named = None if message.startswith(ANOTHER) else connection
            error = db.translate(exc, target=db.describe_target(settings), connection=named, task=task)
    if isinstance(error, RowsError) and not connection.closed:
        _put_in_order(connection, error)
    if isinstance(error, LockedError) and message.startswith(ANOTHER):
        return locked(connection, message, hint=error.hint)
    return error


def _plain_view(connection: psycopg.Connection, message: str) -> str | None:
    """That what the engine does not know as a materialized view is a plain one, if it is."""
    name, found, _ = message.partition(_UNKNOWN)
    if not found or not connection.execute(query("plain_view"), {"name": name}).fetchall():
        return None
    return (
        f"{name} is a plain view: it is always as its sources are, and nothing of it is stored that could be"
        " refreshed."
    )


def locked(connection: psycopg.Connection, message: str, *, hint: str | None) -> LockedError:
    """The error of a refresh that another session keeps out, with who that is, if it still does."""
    holder = lock_holder(connection)
    if holder is None:
        return LockedError(message, hint=hint)
    if holder.run_id is not None:
        said = f"{ANOTHER} (run {holder.run_id}, {holder.who})"
        return LockedError(message.replace(ANOTHER, said, 1), hint=hint)
    if holder.mend is not None:
        said = f"The lock of refreshes is held by {holder.who}"
        return LockedError(message.replace(ANOTHER, said, 1), hint=holder.mend)
    said = f"A migration, or somebody's session, holds the lock of refreshes ({holder.who})"
    return LockedError(
        message.replace(ANOTHER, said, 1),
        hint="Let it end (--wait, --lock-timeout): pg_stat_activity shows it.",
    )


def _put_in_order(connection: psycopg.Connection, error: RowsError) -> None:
    """Give the rows' columns the order of the relation's, which jsonb does not keep."""
    for one in error.found:
        names = {"schema": one["schema"], "relation": one["relation"]}
        columns, key = connection.execute(query("relation_columns"), names).fetchall()[0]
        error.keys["{schema}.{relation}".format(**names)] = key
        order = {column: position for position, column in enumerate(columns or [])}
        one["sample"] = [_sorted(row, order) for row in one["sample"] or []]


def _sorted(row: dict[str, object], order: dict[str, int]) -> dict[str, object]:
    if row and all(isinstance(value, dict) for value in row.values()) and row.keys() <= {"missing", "wrong"}:
        return {state: _sorted(inner, order) for state, inner in row.items() if isinstance(inner, dict)}
    return dict(sorted(row.items(), key=lambda item: order.get(item[0], len(order))))


def warnings(connection: psycopg.Connection, found: Sequence[dict[str, Any]]) -> list[str]:
    """A line on each check that only warns, with its first row as errors show it."""
    error = CheckError("", found=found)
    _put_in_order(connection, error)
    return [
        f"Warning: Check {one['check']} of {one['schema']}.{one['relation']} fails for"
        f" {one['failed_rows']:,} row{'' if one['failed_rows'] == 1 else 's, the first'}:"
        f" {row_in_words(one['sample'][0]) if one['sample'] else '-'}"
        for one in error.found
    ]


def _of_a_check(diag: psycopg.errors.Diagnostic) -> bool:
    """Whether the engine warns of a check's rows, which an error or the log tells, too."""
    warned = diag.severity_nonlocalized == "WARNING"
    return warned and _CHECK.match(diag.message_primary or "") is not None


def _told(diag: psycopg.errors.Diagnostic) -> str:
    warning = "Warning: " if diag.severity_nonlocalized == "WARNING" else ""
    return f"{warning}{diag.message_primary or ''}"
