"""Calls the engine in the database and reports what it did. What a refresh is, the engine alone says."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import psycopg

from ledgerviews import db
from ledgerviews.errors import InterruptedRunError, UsageError
from ledgerviews.queries import query

from .preflight import require_current

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from ledgerviews.config import Settings

_CALL = "CALL ledgerviews.refresh(%s::text[], %s::text, %s::boolean, %s::boolean)"


@dataclass(frozen=True, kw_only=True)
class RelationResult:
    """What a run did to one relation; ``updated`` is None where the server does not count."""

    schema: str
    name: str
    method: str
    rows_before: int
    rows_after: int
    inserted: int
    updated: int | None
    deleted: int
    seconds: float


@dataclass(frozen=True, kw_only=True)
class RunResult:
    """A finished run, as the run log has it."""

    run_id: int
    state: str
    mode: str
    started_at: datetime
    seconds: float
    relations: tuple[RelationResult, ...]


@dataclass(frozen=True, kw_only=True)
class Request:
    """What to refresh, and how.

    Attributes:
        names: relations, each with all published ones that it reads; none is all.
        selection: expressions (see ``selection``) that name exactly what to refresh.
        blocking: a plain REFRESH, which keeps readers out until the commit.
        wait: wait for a running refresh instead of leaving with a LockedError.
    """

    names: Sequence[str] = ()
    selection: Sequence[str] = ()
    blocking: bool = False
    wait: bool = True


def refresh(settings: Settings, request: Request, *, progress: Callable[[str], None]) -> RunResult:
    """Refresh in one transaction and one snapshot; ``progress`` gets a line as each relation is begun.

    Raises DriftError before anything is done where a migration is pending, LockedError where another refresh
    runs and ``wait`` is false, and the translated driver error otherwise; then nothing has changed.
    """
    relations = _relations(settings, request)
    with closing(db.connect(settings)) as connection, db.translated(target=db.describe_target(settings)):
        require_current(connection, settings)
        db.set_timeouts(
            connection,
            lock_timeout_ms=settings.lock_timeout_ms,
            statement_timeout_ms=settings.statement_timeout_ms,
        )
        connection.execute("SET client_min_messages = notice")
        connection.add_notice_handler(lambda diag: progress(diag.message_primary or ""))
        mode = "blocking" if request.blocking else "incremental"
        try:
            rows = connection.execute(
                _CALL, [relations, mode, not request.selection, request.wait]
            ).fetchall()
        except psycopg.errors.UndefinedTable as exc:
            if exc.diag.message_primary and exc.diag.message_primary.startswith("Refreshing "):
                raise
            raise UsageError(exc.diag.message_primary or str(exc), hint=exc.diag.message_hint) from exc
        run_id: int = rows[0][0]
        try:
            return _result(connection, run_id=run_id, mode=mode)
        except KeyboardInterrupt:
            raise InterruptedRunError(
                f"Interrupted when run {run_id} had been committed: the relations are refreshed."
            ) from None


def _relations(settings: Settings, request: Request) -> list[str] | None:
    if request.names and request.selection:
        raise UsageError("Give NAMEs or --select, not both.")
    if "" in request.names:
        raise UsageError("A NAME is empty.", hint="Leave it out to refresh all.")
    if not request.selection:
        return list(request.names) or None
    # Only a selection needs the models, and every refresh would pay for their import.
    from ledgerviews.catalog import Kind, load  # noqa: PLC0415

    from .selection import select  # noqa: PLC0415

    catalog = load(settings.models)
    chosen = [
        f"{settings.schema}.{name}"
        for name in select(catalog, request.selection, schema=settings.schema)
        if catalog[name].kind is Kind.MATERIALIZED_VIEW
    ]
    if not chosen:
        raise UsageError("The selection holds no materialized view, so there is nothing to refresh.")
    return chosen


def _result(connection: psycopg.Connection, *, run_id: int, mode: str) -> RunResult:
    parameters: dict[str, Any] = {"run_id": run_id}
    started_at, seconds, state = connection.execute(query("run"), parameters).fetchall()[0]
    return RunResult(
        run_id=run_id,
        state=state,
        mode=mode,
        started_at=started_at,
        seconds=seconds,
        relations=tuple(
            RelationResult(
                schema=schema,
                name=name,
                method=method,
                rows_before=before,
                rows_after=after,
                inserted=inserted,
                updated=updated,
                deleted=deleted,
                seconds=took,
            )
            for schema, name, method, before, after, inserted, updated, deleted, took in connection.execute(
                query("run_relations"), parameters
            )
        ),
    )
