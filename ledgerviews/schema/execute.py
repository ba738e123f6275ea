"""How an operation runs its SQL: as it is written, in the driver, or printed for psql."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import psycopg
from alembic.util import CommandError
from psycopg import sql

from ledgerviews import db
from ledgerviews.config import Settings
from ledgerviews.errors import EngineRowError, LedgerviewsError
from ledgerviews.queries import query

from . import session
from .mistakes import unrun_check

if TYPE_CHECKING:
    from collections.abc import Iterator

    from alembic.operations import Operations
    from alembic.runtime.migration import MigrationContext

SETTINGS = "ledgerviews_settings"
"""The key under which an Alembic Config's attributes carry the Settings."""

CHECKING = "ledgerviews_checking"
"""The key under which an Alembic Config's attributes say that code and database are only compared."""


def settings_of(operations: Operations) -> Settings:
    """The settings of this run; from the environment where another env.py runs the revision."""
    return _given(operations) or Settings.from_environment()


def _given(operations: Operations) -> Settings | None:
    config = operations.get_context().config
    settings = config.attributes.get(SETTINGS) if config is not None else None
    return settings if isinstance(settings, Settings) else None


def writing(context: MigrationContext | None) -> bool:
    """Whether a revision is to be written of what differs; ``alembic check`` compares only."""
    config = context.config if context is not None else None
    if config is None:
        return True
    command = getattr(config.cmd_opts, "cmd", None) or (None,)
    return not config.attributes.get(CHECKING) and getattr(command[0], "__name__", "") != "check"


def tell_direction(operations: Operations) -> str:
    """The statement after which the engine knows that a revision is taken back, if it is."""
    # Alembic names the function that walks the revisions as the command.
    back = getattr(operations.get_context().opts.get("fn"), "__name__", "") == "downgrade"
    return "SELECT pg_catalog.set_config('ledgerviews.backwards', 'on', true);\n" if back else ""


def offline(operations: Operations) -> bool:
    """Whether the script is printed (``--sql``) instead of run."""
    return bool(operations.get_context().as_sql)


def version_table(context: MigrationContext | None) -> str:
    """The name of the table that this history of revisions counts in, as it is looked up."""
    assert context is not None  # noqa: S101 (Alembic runs nothing without one)
    names = [name for name in (context.version_table_schema, context.version_table) if name]
    return sql.Identifier(*names).as_string(None)


def remember_history(operations: Operations) -> str:
    """The statement after which the registry notes who installs: under the search_path of the run."""
    return sql.SQL(_HISTORY).format(sql.Literal(version_table(operations.get_context()))).as_string(None)


@contextmanager
def command_errors(operations: Operations) -> Iterator[None]:
    """Under another env.py, whatever is refused inside is a line of Alembic's; ours sees to that itself."""
    if _given(operations) is not None:
        yield
        return
    try:
        with db.translated(target=_target(operations)):
            yield
    except LedgerviewsError as exc:
        raise CommandError(str(exc)) from exc


def _target(operations: Operations) -> str:
    if offline(operations):
        return "the database"
    return in_words(operations.get_bind().connection.driver_connection)


def in_words(raw: Any) -> str:
    """The database and role of a driver's connection, for messages."""
    return f"database {raw.info.dbname!r} as {raw.info.user!r}"


def installed_version(operations: Operations) -> int:
    """The version of the engine that stands in the database; 0 for none."""
    cursor = _cursor(operations)
    cursor.execute(query("installed"))
    if not cursor.fetchone()[0]:
        return 0
    cursor.execute(query("engine_version"))
    ((version, shown),) = cursor.fetchall()
    if version is None:
        raise EngineRowError(shown=shown)
    return int(version)


_HISTORY = """\
SELECT pg_catalog.set_config('ledgerviews.history', COALESCE((
    SELECT pg_catalog.format('%s.%s', n.nspname, c.relname)
    FROM pg_catalog.pg_class AS c
    JOIN pg_catalog.pg_namespace AS n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
    WHERE c.oid OPERATOR(pg_catalog.=) pg_catalog.to_regclass({})::pg_catalog.oid
), ''), true);
"""
"""Under the path of the run, on which anybody may have put operators: each is named in full."""
_GUARD = """\
DO $body$
DECLARE
    v_released text;
BEGIN
    IF pg_catalog.to_regclass('ledgerviews.refresh_lock') IS NOT NULL THEN
        LOCK TABLE ledgerviews.refresh_lock IN EXCLUSIVE MODE;
    END IF;
    IF pg_catalog.to_regprocedure('ledgerviews.released_tables()') IS NOT NULL THEN
        EXECUTE 'SELECT ledgerviews.released_tables()' INTO v_released;
    END IF;
    IF v_released IS NOT NULL THEN
        RAISE EXCEPTION USING
            ERRCODE = 'object_not_in_prerequisite_state',
            MESSAGE = 'Released and not restored: ' || v_released || '; nothing was changed.',
            HINT = 'Put back what reads it: ledgerviews restore, or SELECT ledgerviews.restore().';
    END IF;
END
$body$;
"""
"""No refresh or release is under way."""


def run(operations: Operations, script: str) -> None:
    """Run a script of any number of statements as it is written, or print it offline."""
    if not script:
        return
    text = remember_history(operations) + session.OURS + _GUARD + script + session.THEIRS
    if offline(operations):
        operations.get_context().impl.static_output(text)
        return
    # The driver's own cursor: SQLAlchemy would read :name and %% in the text.
    cursor = _cursor(operations)
    with command_errors(operations), session.read_alike(cursor):
        try:
            cursor.execute(text)
        except psycopg.Error as exc:
            if error := unrun_check(exc):
                raise error from exc
            raise


def _cursor(operations: Operations) -> Any:
    connection = operations.get_bind()
    return connection.connection.cursor()
