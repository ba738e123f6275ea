"""What an Alembic env.py runs: our revisions beside the application's, safely.

In order: the time-outs; the source contract of all pending revisions, read-only; the lock and CREATE SCHEMA,
committed; one transaction for each revision. Whatever goes wrong is a CommandError, which Alembic prints in a
line, a mistake in a revision's own code, too (``alembic --raiseerr`` shows the traceback).
"""

from __future__ import annotations

import logging
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
import sqlalchemy
from alembic import context
from alembic.util import CommandError
from sqlalchemy import exc as sqlalchemy_errors

from ledgerviews import db, revisions
from ledgerviews.catalog import load
from ledgerviews.config import MIGRATION_LOCK_TIMEOUT_MS, PACKAGED_MIGRATIONS, Settings
from ledgerviews.errors import LedgerviewsError, LockedError, UsageError
from ledgerviews.queries import query

from . import contract
from .declare import INFO, declare
from .engine_versions import SCHEMA
from .execute import SETTINGS
from .mistakes import failed, mistake
from .session import revisions_under_theirs

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from types import ModuleType

    from alembic.runtime.migration import MigrationContext

QUEUE_TIMEOUT_MS = 60_000
"""How long a deploy waits for another one that is migrating, in milliseconds."""

ADVISORY_LOCK = 7883955017441862001  # any constant; shown by pg_locks while a migration runs
CONTRACT = "source_contract"
"""The name in a revision's module that holds its frozen source contract."""

NO_EMPTY_REVISION = "ledgerviews_no_empty_revision"
"""The key under which a Config's attributes say that a revision in which nothing stands is not written."""


LOG = "alembic.runtime.migration"
"""The logger that tells each revision, and what PostgreSQL warns of in it."""


def run_migrations(*, target_metadata: sqlalchemy.MetaData | None = None) -> None:
    """Run the command that Alembic was given; the whole body of an env.py.

    The version table is ``ledgerviews.alembic_version``; tables that are not ours are never looked at.
    ``alembic check`` and ``alembic revision --autogenerate`` compare the models of the settings, or what
    ``declare`` has put on the metadata.
    """
    options: dict[str, Any] = {
        "target_metadata": target_metadata if target_metadata is not None else sqlalchemy.MetaData(),
        "version_table_schema": SCHEMA,
        "include_name": lambda _name, kind, _parents: kind == "schema",
        "transaction_per_migration": True,
        "process_revision_directives": _only_what_differs,
    }
    try:
        settings = context.config.attributes.get(SETTINGS) or Settings.from_environment()
        context.config.attributes[SETTINGS] = settings
        if context.is_offline_mode():
            _offline(options)
        else:
            _online(settings, options)
    except LedgerviewsError as exc:
        raise CommandError(str(exc)) from exc
    except Exception as exc:
        if (wrong := mistake(exc, Path(context.script.dir))) is None:
            raise
        raise CommandError(str(wrong)) from wrong


def _only_what_differs(_context: object, _revision: object, directives: list[Any]) -> None:
    """Write no revision where nothing differs, if that was asked for."""
    if context.config.attributes.get(NO_EMPTY_REVISION) and directives[0].upgrade_ops.is_empty():
        directives[:] = []


def _offline(options: dict[str, Any]) -> None:
    context.configure(dialect_name="postgresql", literal_binds=True, **options)
    migration = context.get_context()
    if not migration.get_current_heads():
        migration.impl.static_output(f"CREATE SCHEMA IF NOT EXISTS {SCHEMA};\n")
    with context.begin_transaction():
        context.run_migrations()


def _online(settings: Settings, options: dict[str, Any]) -> None:
    target = db.describe_target(settings)
    with (
        closing(db.connect(settings, autocommit=False, application="ledgerviews migrate")) as raw,
        _translated(raw, target=target),
    ):
        _limit(raw, settings)
        engine = sqlalchemy.create_engine(
            "postgresql+psycopg://",
            creator=lambda: raw,
            poolclass=sqlalchemy.StaticPool,
            # It would log a traceback where the connection is lost; what is open ends with the connection.
            pool_reset_on_return=None,
        )
        with engine.connect() as connection:
            connection.rollback()  # what SQLAlchemy asked the server at the start
            raw.add_notice_handler(_warn)
            context.configure(connection=connection, **options)
            migration = context.get_context()
            context.configure(connection=connection, fn=revisions_under_theirs(migration, raw), **options)
            migration = context.get_context()
            if migration.opts.get("destination_rev") is not None:
                db.require_trusted_schema(raw)
            _require_own(raw, settings)
            if "revision_context" in migration.opts and INFO not in options["target_metadata"].info:
                declare(options["target_metadata"], settings=settings)
            if migration.opts.get("destination_rev") is None:
                # A command that only looks (check, current, revision) creates no version table.
                migration.opts["dont_mutate"] = True
                _require_schema(raw, options["target_metadata"], migration)
            elif not _anything(raw, migration):
                # Nor does a downgrade of what was never installed.
                migration.opts["dont_mutate"] = True
            else:
                _prepare(raw, migration, settings)
            connection.rollback()
            with (
                _told(connection, migration, raw, target=target),
                context.begin_transaction(),
            ):
                context.run_migrations()


@contextmanager
def _translated(raw: psycopg.Connection, *, target: str) -> Iterator[None]:
    """Turn the driver's errors into ours, bare or as SQLAlchemy wraps them."""
    try:
        yield
    except (psycopg.Error, sqlalchemy_errors.DBAPIError) as exc:
        driver = _first(exc) if raw.closed else getattr(exc, "orig", exc)
        if not isinstance(driver, psycopg.Error):
            raise
        raise db.translate(driver, target=target, connection=raw) from exc


def _first(exc: BaseException) -> BaseException:
    """What ended the connection: whatever is rolled back after that raises an error of its own."""
    found, one = exc, exc.__context__
    while one is not None:
        found = one if isinstance(one, psycopg.Error) else found
        one = one.__context__
    return getattr(found, "orig", found)


def _warn(diag: psycopg.errors.Diagnostic) -> None:
    """Tell a warning with its hint; SQLAlchemy would tell it beneath what anybody has shown."""
    if diag.severity_nonlocalized == "WARNING":
        hint = f"\n  {diag.message_hint}" if diag.message_hint else ""
        logging.getLogger(LOG).warning("Warning: %s%s", diag.message_primary, hint)


@contextmanager
def _told(
    connection: sqlalchemy.Connection, migration: MigrationContext, raw: psycopg.Connection, *, target: str
) -> Iterator[None]:
    """Say of what a revision's own code raises where that is, and where it leaves the database."""
    try:
        yield
    except Exception as exc:
        if migration.opts.get("destination_rev") is None:
            raise
        at = None
        with suppress(sqlalchemy_errors.SQLAlchemyError):
            connection.rollback()
            at = migration.get_current_heads()
        error = failed(exc, Path(context.script.dir), at=at, target=target, connection=raw)
        if error is None:
            raise
        raise error from exc


def _prepare(raw: psycopg.Connection, migration: MigrationContext, settings: Settings) -> None:
    """Check the pending contracts, then queue behind other deploys and make the schema."""
    pending = _pending(migration)
    contract.check(raw, (wanted for module in pending if (wanted := getattr(module, CONTRACT, None))))
    if pending and (missing := db.missing_schema(raw, settings.schema, kept="; nothing was created")):
        raise missing
    raw.rollback()
    db.set_timeouts(raw, lock_timeout_ms=QUEUE_TIMEOUT_MS, statement_timeout_ms=0)
    try:
        raw.execute("SELECT pg_catalog.pg_advisory_lock(%s)", [ADVISORY_LOCK])
    except psycopg.errors.LockNotAvailable:
        raise LockedError(
            f"Another migration of {raw.info.dbname!r} has been running for {QUEUE_TIMEOUT_MS // 1000} s; "
            "nothing was changed.",
            hint="Let it end, or find it in pg_stat_activity (application_name 'ledgerviews migrate').",
        ) from None
    raw.execute("RESET statement_timeout")
    _limit(raw, settings)
    if not db.require_trusted_schema(raw):
        raw.execute(f"CREATE SCHEMA {SCHEMA}")
    raw.commit()


def _anything(raw: psycopg.Connection, migration: MigrationContext) -> bool:
    """Whether our schema is there, or the command has a step to take, for which it is made."""
    found = db.require_trusted_schema(raw)
    raw.rollback()
    return found or bool(list(_steps(migration)))


def _require_own(raw: psycopg.Connection, settings: Settings) -> None:
    """Raise UsageError where the packaged revisions meet a project's, which may be called the same."""
    # Alembic's own command tells no settings where it found the revisions.
    if Path(context.script.dir).resolve() != revisions.location(PACKAGED_MIGRATIONS).resolve():
        return
    there: list[tuple[str, str]] = []
    # Who may not read the registry is told by what reads it next.
    with suppress(psycopg.errors.InsufficientPrivilege):
        if raw.execute(query("installed")).fetchall()[0][0]:
            history = {"history": f"{SCHEMA}.alembic_version"}
            there = raw.execute(query("installed_here"), history).fetchall()
    raw.rollback()
    if there and {name for _, name in there}.isdisjoint(load(settings.models).models):
        one = ".".join(there[0])
        raise UsageError(
            f"Database {raw.info.dbname!r} holds relations of other revisions than these, {one} for one;"
            " nothing was changed.",
            hint=revisions.elsewhere(PACKAGED_MIGRATIONS),
        )


def _require_schema(
    raw: psycopg.Connection, target_metadata: sqlalchemy.MetaData, migration: MigrationContext
) -> None:
    """Raise UsageError where models are compared, and the schema that they are to stand in is missing."""
    declared = target_metadata.info.get(INFO)
    if "revision_context" not in migration.opts or declared is None or declared.catalog is None:
        return
    if missing := db.missing_schema(raw, declared.schema):
        raise missing
    raw.rollback()


def _limit(raw: psycopg.Connection, settings: Settings) -> None:
    """Have the settings' time-outs apply from here on, whatever is rolled back."""
    lock_timeout_ms = settings.lock_timeout_ms
    db.set_timeouts(
        raw,
        lock_timeout_ms=MIGRATION_LOCK_TIMEOUT_MS if lock_timeout_ms is None else lock_timeout_ms,
        statement_timeout_ms=settings.statement_timeout_ms,
    )
    raw.commit()


def _steps(migration: MigrationContext) -> Iterable[Any]:
    """What the command is going to do, revision by revision."""
    # What is purged may name a revision that is lost.
    heads = () if migration.purge else migration.get_current_heads()
    steps: Iterable[Any] = migration.opts["fn"](heads, migration)
    return steps


def _pending(migration: MigrationContext) -> list[ModuleType]:
    """The modules of the revisions that this command is going to apply."""
    return [
        step.revision.module
        for step in _steps(migration)
        if getattr(step, "is_upgrade", False) and getattr(step, "revision", None) is not None
    ]
