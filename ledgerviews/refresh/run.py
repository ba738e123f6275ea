"""Calls the engine in the database and reports what it did. What a refresh is, the engine alone says."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from ledgerviews import db
from ledgerviews.config import Settings
from ledgerviews.errors import InterruptedRunError, UsageError
from ledgerviews.queries import query

from . import engine

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    import psycopg


@dataclass(frozen=True, kw_only=True)
class RelationResult:
    """What a run did to one relation.

    Attributes:
        schema: where it stands.
        name: its name.
        method: ``concurrently``, ``first fill``, ``blocking``, or ``unchanged``.
        scope: what was recomputed: ``none``, ``days`` or ``all``.
        days: how many days; None where not by day.
        reason: why that much.
        rows_before: rows in it before the run.
        rows_after: and after.
        inserted: rows by key, as are the next two.
        updated: None where the server does not count.
        deleted: rows that are gone.
        seconds: how long it took.
    """

    schema: str
    name: str
    method: str
    scope: str
    days: int | None
    reason: str | None
    rows_before: int
    rows_after: int
    inserted: int
    updated: int | None
    deleted: int
    seconds: float


@dataclass(frozen=True, kw_only=True)
class FailedCheck:
    """A check that failed in a run, with some of the rows."""

    schema: str
    relation: str
    check: str
    severity: str
    failed_rows: int
    sample: list[dict[str, Any]]


@dataclass(frozen=True, kw_only=True)
class RunResult:
    """A run as the run log has it.

    Attributes:
        run_id: its number.
        state: how it ended.
        mode: ``incremental``, ``full``, ``blocking`` or ``verify``.
        requested: the names asked for; None is all.
        requested_by: the role.
        application_name: from what.
        started_at: when it was called.
        seconds: how long it took, waiting included and the scrub not; None while it runs.
        failed_relation: where it failed.
        error: why it failed.
        drift: what the scrub found after the publication.
        scrub_seconds: how long the scrub took.
        relations: what it did to each.
        checks: those that failed; of a run that succeeded, warnings.
    """

    run_id: int
    state: str
    mode: str
    requested: tuple[str, ...] | None
    requested_by: str
    application_name: str
    started_at: datetime
    seconds: float | None
    failed_relation: str | None
    error: str | None
    drift: str | None
    scrub_seconds: float | None
    relations: tuple[RelationResult, ...] = ()
    checks: tuple[FailedCheck, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Request:
    """What to refresh, and how.

    Attributes:
        names: relations, each with all published ones that it reads; none is all.
        selection: expressions (see ``selection``) that name exactly what to refresh.
        full: recompute all days, and renew every view.
        blocking: a plain REFRESH, which keeps readers out until the commit.
        wait: wait for a running refresh instead of leaving with a LockedError.
        scrub: verify one day of each relation after the publication.
    """

    names: Sequence[str] = ()
    selection: Sequence[str] = field(default=())
    full: bool = False
    blocking: bool = False
    wait: bool = True
    scrub: bool = True

    @property
    def mode(self) -> str:
        """The engine's word."""
        if self.full and self.blocking:
            raise UsageError("Give --full or --blocking, not both.")
        return "full" if self.full else "blocking" if self.blocking else "incremental"


def refresh(settings: Settings, request: Request, *, progress: Callable[[str], None]) -> RunResult:
    """Refresh in one transaction and one snapshot; ``progress`` gets a line as each relation is begun.

    Raises DriftError before anything is done where a migration is pending, LockedError where another refresh
    runs and ``wait`` is false, CheckError with the rows that fail a check, and the translated driver error
    otherwise; then nothing has changed.
    """
    arguments = engine.Call(
        relations=relations(settings, request),
        mode=request.mode,
        upstream=not request.selection,
        wait=request.wait,
        scrub=request.scrub,
    )
    with engine.session(settings, progress=progress, wait=request.wait) as connection:
        _warn_of_schema(connection, settings, progress)
        run_id = engine.call(connection, settings, arguments, progress=progress)
        return _committed(connection, run_id, "the relations are refreshed", progress)


def verify(
    settings: Settings, names: Sequence[str], *, wait: bool, progress: Callable[[str], None]
) -> RunResult:
    """Refresh, and then compare what is published row by row with a full recompute in the same snapshot.

    Raises DifferenceError with the rows that differ, and then nothing has changed; else as ``refresh``.
    """
    request = Request(names=names, wait=wait)
    # The scrub would compare a part of the same once more.
    arguments = engine.Call(relations=relations(settings, request), mode="verify", wait=wait, scrub=False)
    with engine.session(settings, progress=progress, wait=wait) as connection:
        _warn_of_schema(connection, settings, progress)
        run_id = engine.call(connection, settings, arguments, progress=progress)
        return _committed(connection, run_id, "all is equal", progress)


def _warn_of_schema(
    connection: psycopg.Connection, settings: Settings, progress: Callable[[str], None]
) -> None:
    """Say that nothing can stand where the relations are to be: what stands elsewhere is refreshed."""
    # That of the default is not asked for: each refresh would pay for it.
    if settings.schema != Settings.schema and (missing := db.missing_schema(connection, settings.schema)):
        progress(f"Warning: {missing.message} {missing.hint}")


def relations(settings: Settings, request: Request) -> list[str] | None:
    """The names that a request means; None for all."""
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


def _committed(
    connection: psycopg.Connection, run_id: int, outcome: str, progress: Callable[[str], None]
) -> RunResult:
    try:
        result = read(connection, run_id)
        for line in engine.warnings(connection, [asdict(check) for check in result.checks]):
            progress(line)
    except KeyboardInterrupt:
        raise InterruptedRunError(f"Interrupted when run {run_id} had been committed: {outcome}.") from None
    return result


def read(connection: psycopg.Connection, run_id: int) -> RunResult:
    """One run from the log, with its relations and the checks that failed."""
    parameters: dict[str, Any] = {"run_id": run_id}
    found = connection.execute(query("run"), parameters).fetchall()
    if not found:
        raise UsageError(
            f"There is no run {run_id} in the log.", hint="`ledgerviews runs` lists those that are."
        )
    columns = list(RunResult.__dataclass_fields__)[: len(found[0])]
    values = dict(zip(columns, found[0], strict=True))
    values["requested"] = None if values["requested"] is None else tuple(values["requested"])
    done = connection.execute(query("run_relations"), parameters).fetchall()
    failed = connection.execute(query("run_checks"), parameters).fetchall()
    return RunResult(
        **values,
        relations=tuple(
            RelationResult(**dict(zip(RelationResult.__dataclass_fields__, row, strict=True))) for row in done
        ),
        checks=tuple(
            FailedCheck(**dict(zip(FailedCheck.__dataclass_fields__, row, strict=True))) for row in failed
        ),
    )
