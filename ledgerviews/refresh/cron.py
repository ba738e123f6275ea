"""Has the database refresh itself: two jobs of pg_cron, one that refreshes and one that prunes their history.

pg_cron lives in one database of a server. Where that is another than ours, its functions are called there.
"""

from __future__ import annotations

import re
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from ledgerviews import db
from ledgerviews.db import Task
from ledgerviews.errors import DatabaseError, UnreachableError, UsageError
from ledgerviews.queries import query

from . import engine

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from ledgerviews.config import Settings

COMMAND = "CALL ledgerviews.refresh()"
"""One statement a job: a procedure that commits may share its string with nothing."""
_PRUNING = sql.SQL(
    "DELETE FROM cron.job_run_details AS d USING cron.job AS j WHERE d.jobid = j.jobid"
    " AND j.jobname IN ({}, {})"
    " AND COALESCE(d.end_time, d.start_time) < pg_catalog.now() - interval '7 days'"
)
_PRUNE_AT = "17 3 * * *"
_NAMED, _ELSEWHERE = (1, 3), (1, 4)


@dataclass(frozen=True, kw_only=True)
class Job:
    """A job of ours.

    Attributes:
        name: as pg_cron knows it.
        schedule: when it runs, in GMT.
        command: its statement.
        database: where it runs.
        username: as whom.
        active: whether it runs at all.
        status: of its latest run: ``succeeded``, ``failed``, ``running`` and so on; None before the first.
        message: what that run said.
        started_at: when it began.
        finished_at: when it ended.
    """

    name: str
    schedule: str
    command: str
    database: str
    username: str
    active: bool
    status: str | None
    message: str | None
    started_at: datetime | None
    finished_at: datetime | None


@dataclass(frozen=True, kw_only=True)
class Cron:
    """pg_cron on a server: where it lives, its version, and our jobs for a database."""

    database: str
    version: str
    jobs: tuple[Job, ...]


@dataclass(frozen=True, kw_only=True)
class _Door:
    """A connection to the database that pg_cron lives in, and ours."""

    connection: psycopg.Connection
    version: str
    ours: str

    @property
    def names(self) -> tuple[str, str]:
        return f"ledgerviews refresh {self.ours}", f"ledgerviews prune {self.ours}"

    def jobs(self) -> tuple[Job, ...]:
        rows = self.connection.execute(query("cron_jobs"), {"names": list(self.names)}).fetchall()
        return tuple(Job(**dict(zip(Job.__dataclass_fields__, row, strict=True))) for row in rows)


def install(settings: Settings, schedule: str, *, cron_database: str | None = None) -> Cron:
    """Schedule the refresh, and the pruning of its history; jobs that are there get the new schedule.

    Raises UsageError for a schedule that pg_cron refuses, DatabaseError where pg_cron is missing, too old, or
    out of this role's reach.
    """
    with _door(settings, cron_database) as door:
        refresh, prune = door.names
        pruning = _PRUNING.format(sql.Literal(refresh), sql.Literal(prune)).as_string(door.connection)
        with door.connection.transaction():
            try:
                _schedule(door, refresh, schedule, COMMAND)
            except psycopg.errors.InvalidParameterValue as exc:
                raise _refused(door, schedule) from exc
            except psycopg.errors.InternalError_ as exc:
                if "schedule" not in str(exc):
                    raise
                raise _refused(door, schedule) from exc
            door.connection.execute("SELECT cron.schedule(%s, %s, %s)", [prune, _PRUNE_AT, pruning])
        return Cron(database=door.connection.info.dbname, version=door.version, jobs=door.jobs())


def read(settings: Settings, *, cron_database: str | None = None) -> Cron:
    """Our jobs for the database, as far as this role sees them."""
    with _door(settings, cron_database, task=Task.LOOK) as door:
        return Cron(database=door.connection.info.dbname, version=door.version, jobs=door.jobs())


def remove(settings: Settings, *, cron_database: str | None = None) -> list[str]:
    """Take this role's jobs for the database away with their history; gives their names."""
    with _door(settings, cron_database) as door, door.connection.transaction():
        user = door.connection.execute("SELECT CURRENT_USER::text").fetchall()[0][0]
        names = [job.name for job in door.jobs() if job.username == user]
        for name in names:
            door.connection.execute(
                "DELETE FROM cron.job_run_details AS d USING cron.job AS j"
                " WHERE d.jobid = j.jobid AND j.jobname = %s AND j.username = CURRENT_USER",
                [name],
            )
            door.connection.execute("SELECT cron.unschedule(%s::text)", [name])
        return names


def _schedule(door: _Door, name: str, schedule: str, command: str) -> None:
    if door.connection.info.dbname == door.ours:
        door.connection.execute("SELECT cron.schedule(%s, %s, %s)", [name, schedule, command])
        return
    if _number(door.version) < _ELSEWHERE:
        raise DatabaseError(
            f"pg_cron {door.version} runs jobs only in its own database, {door.connection.info.dbname!r}.",
            hint="Update it to 1.4 or later (ALTER EXTENSION pg_cron UPDATE), or have it live in"
            " ours (its setting cron.database_name).",
        )
    door.connection.execute(
        "SELECT cron.schedule_in_database(%s, %s, %s, %s)", [name, schedule, command, door.ours]
    )


def _refused(door: _Door, schedule: str) -> UsageError:
    hint = "Write five fields, minute hour day month weekday, in GMT: '*/15 * * * *'."
    if _number(door.version) >= (1, 5):
        hint += " Or '30 seconds'."
    return UsageError(f"pg_cron {door.version} takes {schedule!r} for no schedule.", hint=hint)


@contextmanager
def _door(settings: Settings, cron_database: str | None, *, task: Task = Task.REFRESH) -> Iterator[_Door]:
    """The way to pg_cron, or a DatabaseError that says what is missing."""
    with engine.session(settings, task=task) as connection:
        ours = connection.info.dbname
        version, available, readable, found = connection.execute(query("cron_here")).fetchall()[0]
    if version is None and cron_database is None:
        if not available:
            raise DatabaseError(
                f"pg_cron is not installed on the server of database {ours!r}.",
                hint="Install its package (Debian: postgresql-NN-cron), set shared_preload_libraries ="
                " 'pg_cron', restart, CREATE EXTENSION pg_cron; or run `ledgerviews refresh` from a scheduler"
                " of yours.",
            )
        if found is None:
            raise DatabaseError(
                "pg_cron is not loaded: there is no setting cron.database_name."
                if readable
                else "This role may not see which database pg_cron lives in.",
                hint="Set shared_preload_libraries = 'pg_cron' and restart the server."
                if readable
                else "Say it: --cron-database NAME (postgres, unless cron.database_name says another).",
            )
    target = settings
    if version is None or cron_database not in {None, ours}:
        name = cron_database or found
        target = replace(
            settings, database_url=make_conninfo(db.conninfo(settings.database_url), dbname=name)
        )
    with (
        closing(_connected(target, settings)) as connection,
        db.translated(target=db.describe_target(target)),
    ):
        version = connection.execute(query("cron_here")).fetchall()[0][0]
        if version is None:
            raise DatabaseError(
                f"The extension pg_cron is not in database {connection.info.dbname!r}.",
                hint="As a superuser there: CREATE EXTENSION pg_cron.",
            )
        if _number(version) < _NAMED:
            raise DatabaseError(
                f"pg_cron {version} knows no names of jobs.",
                hint="Update it to 1.3 or later: ALTER EXTENSION pg_cron UPDATE.",
            )
        try:
            yield _Door(connection=connection, version=version, ours=ours)
        except psycopg.errors.InsufficientPrivilege as exc:
            user = connection.info.user
            raise DatabaseError(
                f"{exc.diag.message_primary} (database {connection.info.dbname!r} as {user!r}).",
                hint="As a superuser there: GRANT USAGE ON SCHEMA cron TO the role"
                + (
                    "."
                    if connection.info.dbname == ours
                    else ", and GRANT EXECUTE ON FUNCTION cron.schedule_in_database TO it."
                ),
            ) from exc


def _connected(target: Settings, settings: Settings) -> psycopg.Connection:
    """A connection to the database of pg_cron; whoever named it is told so where there is none."""
    try:
        return db.connect(target)
    except UnreachableError as exc:
        # Ours was reached before, by the same URL but for the name.
        if target is not settings and "does not exist" in exc.message:
            exc.hint = (
                "Check the name: --cron-database, else LEDGERVIEWS_CRON_DATABASE, else the server's setting"
                " cron.database_name."
            )
        raise


def _number(version: str) -> tuple[int, int]:
    """Major and minor of a version such as 1.4-1."""
    numbers = [int(number) for number in re.findall(r"\d+", version)][:2]
    return (numbers[0], numbers[1] if len(numbers) > 1 else 0)
