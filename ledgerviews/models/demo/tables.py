"""The application's tables, in the two forms that the field has."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ledgerviews.errors import UsageError

if TYPE_CHECKING:
    import psycopg

_HERE = Path(__file__).parent
FORMS = ("current", "older")

_SHAPE = """
SELECT
    pg_catalog.to_regclass('public.transactions') IS NOT NULL,
    pg_catalog.bool_or(a.attname = 'candidates' AND a.atttypid = 'pg_catalog.json'::pg_catalog.regtype),
    pg_catalog.bool_or(a.attname = 'event_id' AND NOT a.attnotnull),
    pg_catalog.bool_or(a.attname = 'action' AND t.typtype <> 'e')
FROM pg_catalog.pg_attribute AS a
JOIN pg_catalog.pg_type AS t ON a.atttypid = t.oid
WHERE
    a.attrelid IN (
        pg_catalog.to_regclass('public.suggestion_events'),
        pg_catalog.to_regclass('public.suggestion_feedback')
    )
    AND NOT a.attisdropped
"""


@dataclass(frozen=True, kw_only=True)
class Shape:
    """What a database's form of the tables can hold.

    Attributes:
        raw_json: candidates is json, so text that jsonb refuses can stand in it.
        unlinked: feedback may have no event.
        any_action: action is text; otherwise only accept and reject.
    """

    raw_json: bool
    unlinked: bool
    any_action: bool


def create_tables(connection: psycopg.Connection, *, form: str = "current") -> None:
    """Create the tables that are not there yet, in the form ``current`` or ``older``."""
    if form not in FORMS:
        raise UsageError(
            f"There is no form {form!r} of the tables.", hint=f"The forms are {' and '.join(FORMS)}."
        )
    with connection.transaction():
        connection.execute((_HERE / "tables.sql").read_bytes())
        connection.execute((_HERE / f"{form}.sql").read_bytes())


def shape_of(connection: psycopg.Connection) -> Shape:
    """Which form the database has; a UsageError when it has none."""
    row = connection.execute(_SHAPE).fetchone()
    if row is None or not row[0] or row[1] is None or row[3] is None:
        raise UsageError(
            f"Database {connection.info.dbname!r} lacks the application's tables in schema public.",
            hint="Create them first: ledgerviews.models.demo.create_tables.",
        )
    return Shape(raw_json=row[1], unlinked=row[2], any_action=row[3])
