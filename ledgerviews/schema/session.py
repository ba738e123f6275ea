"""The session's settings: ours for what we ask, make and compute, the role's for what a revision runs itself.

On the role's search_path anybody may have put operators of exactly the types that a query compares, which
PostgreSQL prefers to its own; and under its time zone a literal, or a cast, may be another day.
"""

from __future__ import annotations

from contextlib import contextmanager, suppress
from functools import wraps
from typing import TYPE_CHECKING, Any

import psycopg

from ledgerviews import db

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from alembic.runtime.migration import MigrationContext

_OURS = {"search_path": "pg_catalog, pg_temp", **db.READ_ALIKE}
_READING = ("standard_conforming_strings", "backslash_quote")
"""What a text is read by as a whole, when it is sent."""
_OF_THE_ROLE = ("search_path", "TimeZone", "IntervalStyle", "extra_float_digits", "bytea_output")
"""What a revision's own code may depend on; psycopg reads dates in ISO only."""

THEIR_PATH = "pg_catalog.current_setting('ledgerviews.their_search_path')"
"""An expression, between OURS and THEIRS."""


def _set(name: str, value: str) -> str:
    return f"pg_catalog.set_config('{name}', {value}, true)"


def _select(values: Iterable[str]) -> str:
    return "SELECT\n    {};\n".format(",\n    ".join(values))


OURS = _select(
    _set(f"ledgerviews.their_{name}", f"pg_catalog.current_setting('{name}')") for name in _OURS
) + _select(_set(name, f"'{value}'") for name, value in _OURS.items())
"""Has what follows in a transaction run under our settings, and remembers the others."""
THEIRS = _select(_set(name, f"pg_catalog.current_setting('ledgerviews.their_{name}')") for name in _OURS)
"""Puts them back."""


@contextmanager
def read_alike(cursor: Any) -> Iterator[None]:
    """Have a text that is sent inside read as PostgreSQL does by default."""
    # Where each statement is a transaction of its own, that of this one would end with it.
    local = "false" if cursor.connection.autocommit else "true"
    cursor.execute(f"SELECT {', '.join(['pg_catalog.current_setting(%s)'] * len(_READING))}", list(_READING))
    (were,) = cursor.fetchall()
    values = ", ".join(f"pg_catalog.set_config('{name}', '{_OURS[name]}', {local})" for name in _READING)
    cursor.execute(f"SELECT {values}")
    back = ", ".join([f"pg_catalog.set_config(%s, %s, {local})"] * len(_READING))
    given = [part for pair in zip(_READING, were, strict=True) for part in pair]
    try:
        yield
    except BaseException:
        # In a transaction they went with it.
        if cursor.connection.autocommit:
            with suppress(Exception):
                cursor.execute(f"SELECT {back}", given)
        raise
    cursor.execute(f"SELECT {back}", given)


def revisions_under_theirs(
    migration: MigrationContext, raw: psycopg.Connection
) -> Callable[..., Iterable[Any]]:
    """Alembic's walk over the revisions, of which each is run under the role's own settings.

    Whatever Alembic and SQLAlchemy ask beside them stays under those of the connection.
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
        raw.execute("; ".join(f"RESET {name}" for name in _OF_THE_ROLE))
        try:
            revision(**given)
        except BaseException:
            # What it committed has kept the role's; nobody asks anything more under those.
            with suppress(psycopg.Error):
                raw.rollback()
                raw.execute(_back())
                raw.commit()
            raise
        raw.execute(_back())

    return run


def _back() -> str:
    # All of them: a revision may say RESET ALL.
    settings = (f"pg_catalog.set_config('{name}', '{value}', false)" for name, value in _OURS.items())
    return f"SELECT {', '.join(settings)}"
