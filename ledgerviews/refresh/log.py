"""Reads the run log."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ledgerviews import db
from ledgerviews.db import Task
from ledgerviews.queries import query

from . import engine, run

if TYPE_CHECKING:
    from datetime import datetime

    from ledgerviews.config import Settings


@dataclass(frozen=True, kw_only=True)
class LoggedRun:
    """A run in a line.

    Attributes:
        run_id: its number.
        state: how it ended, or that it runs.
        mode: as asked for.
        requested_by: the role.
        application_name: from what.
        started_at: when it was called.
        seconds: how long it took; None while it runs.
        relations: how many it looked at; 0 where it failed.
        changed: how many of them changed.
        rows: inserted, updated and deleted, all together.
        days: the most days that it recomputed of one relation, or ``all``.
        failed_relation: where it failed.
        error: why it failed.
        drift: what its scrub found.
    """

    run_id: int
    state: str
    mode: str
    requested_by: str
    application_name: str
    started_at: datetime
    seconds: float | None
    relations: int
    changed: int
    rows: int | None
    days: str
    failed_relation: str | None
    error: str | None
    drift: str | None


def runs(settings: Settings, *, limit: int) -> tuple[LoggedRun, ...]:
    """The latest runs, newest first."""
    with engine.session(db.looking(settings), reading=True, task=Task.LOOK) as connection:
        rows = connection.execute(query("runs"), {"most": limit}).fetchall()
    return tuple(LoggedRun(**dict(zip(LoggedRun.__dataclass_fields__, row, strict=True))) for row in rows)


def one(settings: Settings, run_id: int) -> run.RunResult:
    """One run with its relations and failed checks; UsageError where the log has none of that number."""
    with engine.session(db.looking(settings), reading=True, task=Task.LOOK) as connection:
        return run.read(connection, run_id)
