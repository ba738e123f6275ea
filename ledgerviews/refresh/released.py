"""Take off tables what depends on them, and put it back, for migration tools of any kind."""

from __future__ import annotations

from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

from ledgerviews import db, revisions
from ledgerviews.errors import DriftError, UsageError
from ledgerviews.queries import query

from .preflight import RELEASING_ENGINE, engine_version

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import psycopg

    from ledgerviews.config import Settings


def release(settings: Settings, tables: Sequence[str], *, attempts: int) -> int:
    """Take off tables (``schema.table``) all that depends on them; gives how many objects that were.

    Raises UsageError for a name without a schema, and DatabaseError or LockedError, nothing being changed,
    where something cannot be carried, is in use, or a table is released already.
    """
    for table in tables:
        if "." not in table:
            raise UsageError(f"Say the schema of {table}, as in public.{table}.")
    with _session(settings) as connection:
        row = connection.execute(
            "SELECT ledgerviews.release(%s::text[], %s::integer)", [list(tables), attempts]
        ).fetchall()
    return int(row[0][0])


def restore(settings: Settings, *, warn: Callable[[str], None]) -> int:
    """Put back all that is off, in one transaction; gives how many objects that were, 0 where none was.

    Args:
        settings: where the database is.
        warn: is told what comes back otherwise than it was: empty, or untracked.

    Raises DatabaseError where a definition no longer fits: it names the object, the line and the column, and
    everything stays released.
    """
    with _session(settings) as connection:
        connection.add_notice_handler(
            lambda diag: (
                warn(f"Warning: {diag.message_primary}") if diag.severity_nonlocalized == "WARNING" else None
            )
        )
        row = connection.execute("SELECT ledgerviews.restore()").fetchall()
    return int(row[0][0])


@contextmanager
def _session(settings: Settings) -> Iterator[psycopg.Connection]:
    """One transaction on an engine that knows this; the package's revision does not matter."""
    with (
        closing(db.connect(settings, autocommit=True)) as connection,
        db.translated(target=db.describe_target(settings), connection=connection, task=db.Task.OWN),
    ):
        with db.asking(connection, settings):
            _require_releasing(connection, settings)
        yield connection


def _require_releasing(connection: psycopg.Connection, settings: Settings) -> None:
    """Raise DriftError unless an engine is installed that can release."""
    engine, _ = connection.execute(query("installed")).fetchall()[0]
    if not engine:
        raise revisions.not_installed(connection.info.dbname, settings.migrations)
    if (version := engine_version(connection)) < RELEASING_ENGINE:
        raise DriftError(
            f"The engine in database {connection.info.dbname!r} is version {version}; releasing needs"
            f" {RELEASING_ENGINE}.",
            hint="Run `ledgerviews db upgrade`.",
        )
