"""Is the database at the state that this package knows? Asked before a refresh and by ``status``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ledgerviews import revisions
from ledgerviews.config import ENGINE_VERSION
from ledgerviews.errors import DriftError, EngineRowError
from ledgerviews.queries import query

if TYPE_CHECKING:
    import psycopg

    from ledgerviews.config import Settings

INCREMENTAL_ENGINE = 2
RELEASING_ENGINE = 3
CREATE_AGAIN = "`ledgerviews db revision -m TEXT` writes the revision that creates it again."


def engine_version(connection: psycopg.Connection) -> int:
    """The version of the installed engine; EngineRowError where that is gone."""
    ((version, shown),) = connection.execute(query("engine_version")).fetchall()
    if version is None:
        raise EngineRowError(shown=shown)
    return int(version)


def require_current(connection: psycopg.Connection, settings: Settings) -> None:
    """Raise DriftError unless the database is at the packaged revision, with an engine that we can call."""
    if problem := drift(connection, settings):
        raise problem


def require_readable(connection: psycopg.Connection, settings: Settings) -> None:
    """Raise DriftError unless what is installed is what this package reads, whatever the revision."""
    problem = drift(connection, settings)
    if problem is None:
        return
    ((engine, _),) = connection.execute(query("installed")).fetchall()
    if not engine or engine_version(connection) < ENGINE_VERSION:
        raise problem


def drift(connection: psycopg.Connection, settings: Settings) -> DriftError | None:
    """What keeps the database from being at this package's revision, or None."""
    database = connection.info.dbname
    engine, version_table = connection.execute(query("installed")).fetchall()[0]
    if not engine:
        return revisions.not_installed(database, settings.migrations)
    version = engine_version(connection)
    # An upgrade is refused while something is released.
    return (
        _released(connection, version)
        or _revision(connection, settings, version_table=version_table)
        or _engine(database, version)
        or _stateless(connection, version)
    )


def _engine(database: str, version: int) -> DriftError | None:
    """Another team's revisions say themselves which version of the engine they install."""
    if version >= ENGINE_VERSION:
        return None
    return DriftError(
        f"The engine in database {database!r} is version {version}; this package calls version "
        f"{ENGINE_VERSION}.",
        hint=f"Write a revision with op.ledgerviews_engine(version={ENGINE_VERSION}), and upgrade.",
    )


def _stateless(connection: psycopg.Connection, version: int) -> DriftError | None:
    """What is registered without a state, so that the engine's refreshes pass it over."""
    if version < INCREMENTAL_ENGINE:
        return None
    ((relations,),) = connection.execute(query("stateless")).fetchall()
    if relations is None:
        return None
    return DriftError(
        f"No entry in ledgerviews.relation_state is left of {relations}: no refresh and no verification would"
        " look at it.",
        hint="Put it back: INSERT INTO ledgerviews.relation_state (schema_name, relation_name)"
        " SELECT schema_name, relation_name FROM ledgerviews.relation WHERE kind = 'materialized view'"
        " ON CONFLICT DO NOTHING; the next refresh recomputes what is put back as a whole.",
    )


def _released(connection: psycopg.Connection, version: int) -> DriftError | None:
    """What reads a released table is off until it is restored."""
    if version < RELEASING_ENGINE:
        return None
    ((tables,),) = connection.execute(query("released")).fetchall()
    if tables is None:
        return None
    return DriftError(
        f"In database {connection.info.dbname!r} {tables} is released: what reads it is off.",
        hint="Run `ledgerviews restore` (or SELECT ledgerviews.restore()) once it is altered.",
    )


def _revision(
    connection: psycopg.Connection, settings: Settings, *, version_table: bool
) -> DriftError | None:
    if settings.migrations is None:
        return None
    installed = (
        frozenset(row[0] for row in connection.execute(query("database_heads")))
        if version_table
        else frozenset()
    )
    return revisions.behind(connection.info.dbname, installed, settings.migrations)
