"""What a refresh would do, told by the engine in a transaction that is rolled back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg import errors as pg

from ledgerviews import db
from ledgerviews.queries import query

from . import engine
from .run import relations

if TYPE_CHECKING:
    from ledgerviews.config import Settings

    from .run import Request

_ATTEMPTS = 3
_AGAIN = (pg.SerializationFailure, pg.DeadlockDetected, pg.UniqueViolation)
"""What a refresh begins again on, as often; a scrub, which holds no lock of a refresh, may be the cause."""


@dataclass(frozen=True, kw_only=True)
class DayRange:
    """Days from the first to the last, both included; None is an open end."""

    first: str
    last: str | None


@dataclass(frozen=True, kw_only=True)
class Step:
    """What a refresh would do to one relation.

    Attributes:
        schema: where it stands.
        name: its name.
        scope: what would be recomputed: ``none``, ``days`` or ``all``.
        days: how many days, those from an open range's first on counted as one; None where not by day.
        reason: why that much.
        tentative: only if what it reads turns out to have changed.
        ranges: the days; what lies behind an open end is whatever rows stand there.
    """

    schema: str
    name: str
    scope: str
    days: int | None
    reason: str
    tentative: bool
    ranges: tuple[DayRange, ...]


def dry_run(settings: Settings, request: Request) -> tuple[Step, ...]:
    """Plan a refresh as the engine would do it now; changes nothing.

    Raises LockedError where another refresh runs and ``request.wait`` is false.
    """
    parameters = {
        "relations": relations(settings, request),
        "mode": request.mode,
        "upstream": not request.selection,
    }
    with engine.session(settings, wait=request.wait) as connection:
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                rows = _plan(connection, parameters, wait=request.wait)
                break
            except psycopg.Error as exc:
                if attempt == _ATTEMPTS or not isinstance(exc, _AGAIN):
                    raise engine.explained(connection, settings, exc) from exc
    return tuple(
        Step(
            schema=schema,
            name=name,
            scope=scope,
            days=days,
            reason=reason,
            tentative=tentative,
            ranges=tuple(DayRange(first=first, last=last) for first, last in zip(lows, highs, strict=True)),
        )
        for schema, name, scope, days, reason, tentative, lows, highs in rows
    )


def _plan(connection: psycopg.Connection, parameters: dict[str, Any], *, wait: bool) -> list[tuple[Any, ...]]:
    """The engine's plan, in a transaction that is rolled back."""
    # The plan empties the logs and scans; the lock, taken before the snapshot, is that of a refresh.
    lock = "LOCK TABLE ledgerviews.refresh_lock IN EXCLUSIVE MODE"
    try:
        connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
        connection.execute(db.END_IF_IDLE)
        try:
            connection.execute(lock if wait else lock + " NOWAIT")
        except pg.LockNotAvailable as exc:
            hint = "Wait for it (--wait, --lock-timeout), or look at it: ledgerviews status."
            connection.execute("ROLLBACK")
            passed = " and the lock time-out passed" if wait else ""
            raise engine.locked(connection, f"{engine.ANOTHER}{passed}.", hint=hint) from exc
        connection.execute("SET LOCAL search_path = pg_catalog, pg_temp")
        return connection.execute(query("plan"), parameters).fetchall()
    finally:
        if not connection.closed:
            connection.execute("ROLLBACK")
