"""The search_path: ours for what we ask and make, the role's own for what a revision runs as it is.

On the role's path anybody may have put operators of exactly the types that a query compares, which PostgreSQL
prefers to its own.
"""

from __future__ import annotations

from functools import wraps
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    import psycopg
    from alembic.runtime.migration import MigrationContext

OURS = """\
SELECT pg_catalog.set_config('ledgerviews.path', pg_catalog.current_setting('search_path'), true);
SET LOCAL search_path = pg_catalog, pg_temp;
"""
"""Turns to ours within a transaction, and remembers the other one."""
THEIRS = (
    "SELECT pg_catalog.set_config('search_path', pg_catalog.current_setting('ledgerviews.path'), true);\n"
)
"""Turns back."""


def revisions_under_theirs(
    migration: MigrationContext, raw: psycopg.Connection
) -> Callable[..., Iterable[Any]]:
    """Alembic's walk over the revisions, of which each is run under the role's own path.

    Whatever Alembic and SQLAlchemy ask beside them stays under that of the connection.
    """
    walk: Callable[..., Iterable[Any]] = migration.opts["fn"]

    @wraps(walk)
    def steps(*given: Any) -> Iterator[Any]:
        for step in walk(*given):
            if getattr(step, "revision", None) is not None:
                step.migration_fn = _under_theirs(step.migration_fn, raw)
            yield step

    return steps


def _under_theirs(revision: Callable[..., None], raw: psycopg.Connection) -> Callable[..., None]:
    @wraps(revision)
    def run(**given: Any) -> None:
        ours = raw.execute("SHOW search_path").fetchall()[0][0]
        raw.execute("RESET search_path")
        revision(**given)
        raw.execute("SELECT pg_catalog.set_config('search_path', %s, false)", [ours])

    return run
