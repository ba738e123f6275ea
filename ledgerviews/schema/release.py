"""``ledgerviews.released``: the application's own migrations alter a table that our views read.

Nothing is configured, and nothing of this package's env.py is needed: it works through the connection that
the running migration has, whatever its driver, and prints its part of the script for ``--sql``. In a
database without our engine it does nothing, so the application's history still runs from nothing.
"""

from __future__ import annotations

from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import sqlalchemy
from alembic.util import CommandError
from psycopg import sql
from sqlalchemy import exc as sqlalchemy_errors

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

# Late bound, so that psql runs it also where there is no engine.
_CALL = """\
DO $ledgerviews$
BEGIN
    IF pg_catalog.to_regprocedure('ledgerviews.restore()') IS NOT NULL THEN
        PERFORM {call};
    ELSIF pg_catalog.to_regclass('ledgerviews.engine') IS NOT NULL THEN
        RAISE EXCEPTION 'The engine in schema ledgerviews is older than released() needs.'
            USING HINT = 'Run `ledgerviews db upgrade` before this migration: version 3 is needed.';
    END IF;
END
$ledgerviews$"""
_PROBE = "ledgerviews.in_transaction"
_SAVEPOINT = "ledgerviews_released"


@contextmanager
def released(operations: Any, *tables: str, attempts: int = 100) -> Iterator[None]:
    """Free tables of what depends on them, for the statements of the block; then put it back.

    Inside the block, alter the tables as if no view read them. What was taken off comes back in the same
    transaction: views, functions, triggers, grants, comments, indexes, and the rows. Where a definition no
    longer fits, the migration fails with its name, the line and the column, and nothing is changed. Where the
    block raises, all of it is undone before the error goes on.

    Args:
        operations: Alembic's ``op``.
        tables: each as ``schema.table``, quoted where PostgreSQL would want quotes.
        attempts: how often to try for a tenth of a second each, where what depends on them is in use.

    Raises:
        CommandError: nothing was changed; the text says why.
    """
    if not tables:
        raise CommandError('Name the tables that are altered: released(op, "public.orders").')
    literals = sql.SQL(", ").join(map(sql.Literal, map(_qualified, tables)))
    release = sql.SQL("ledgerviews.release(ARRAY[{}], {})").format(literals, sql.Literal(attempts))
    context = operations.get_context()
    if context.as_sql:
        context.impl.static_output(_statement(release.as_string(None)) + ";")
        try:
            yield
        finally:
            context.impl.static_output(_statement("ledgerviews.restore()") + ";")
        return
    connection = operations.get_bind()
    _require_transaction(connection)
    # Who catches an error of the block outside of it, and commits, commits what was before. Nobody releases
    # the savepoint: there is none any more where the block itself has committed.
    _run(connection, f"SAVEPOINT {_SAVEPOINT}")
    _run(connection, _statement(release.as_string(None)))
    try:
        yield
    except BaseException:
        with suppress(CommandError):
            _run(connection, f"ROLLBACK TO SAVEPOINT {_SAVEPOINT}")
        raise
    _run(connection, _statement("ledgerviews.restore()"))


def _statement(call: str) -> str:
    return _CALL.replace("{call}", call)


def _qualified(table: str) -> str:
    """The name as it was given; one without a schema could be any table."""
    if "." not in table:
        raise CommandError(f'Say the schema of {table}, as in released(op, "public.{table}").')
    return table


def _require_transaction(connection: sqlalchemy.Connection) -> None:
    """Raise CommandError where each statement would be a transaction of its own."""
    _scalar(connection, f"SELECT pg_catalog.set_config('{_PROBE}', 'yes', true)")
    if _scalar(connection, f"SELECT pg_catalog.current_setting('{_PROBE}', true)") != "yes":
        raise CommandError(
            "released() needs a transaction, and this connection commits each statement. Take it out of"
            " autocommit_block(), or run `ledgerviews release` before the migration and `ledgerviews restore`"
            " after it."
        )


def _scalar(connection: sqlalchemy.Connection, statement: str) -> Any:
    # As it is written: no driver then takes a percent sign for a placeholder.
    return connection.exec_driver_sql(statement, execution_options={"no_parameters": True}).scalar()


def _run(connection: sqlalchemy.Connection, statement: str) -> None:
    try:
        connection.exec_driver_sql(statement, execution_options={"no_parameters": True})
    except sqlalchemy_errors.DBAPIError as exc:
        raise CommandError("\n  ".join(_parts(exc.orig))) from exc


def _parts(error: BaseException | None) -> Sequence[str]:
    """Message, detail and hint of a driver's error: each driver keeps them in its own way."""
    found: tuple[object, ...]
    diag = getattr(error, "diag", None)
    if diag is not None:  # psycopg, psycopg2
        found = (diag.message_primary, diag.message_detail, diag.message_hint)
    elif error is not None and error.args and isinstance(error.args[0], dict):  # pg8000
        found = tuple(error.args[0].get(key) for key in "MDH")
    else:  # asyncpg keeps its own error as the cause
        cause = getattr(error, "__cause__", None) or error
        message = getattr(cause, "message", None) or str(cause)
        found = (message, getattr(cause, "detail", None), getattr(cause, "hint", None))
    return [part for text in found if text for part in str(text).splitlines()]
