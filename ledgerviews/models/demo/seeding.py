"""Fills the application's tables with made-up rows, streamed through COPY."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from ledgerviews.errors import UsageError

from .history import TENANTS, Batch, History
from .rhythm import MODELS, hours
from .tables import shape_of

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Callable, Iterator

    import psycopg

_COLUMNS = {
    "transactions": "id, user_id, tenant_id, date, amount, merchant, merchant_canonical, category, "
    "description, month, pending, is_demo, created_at, updated_at, deleted_at",
    "suggestion_events": "id, txn_id, model_id, features_hash, candidates, mode, created_at",
    "suggestion_feedback": "id, event_id, txn_id, action, label, confidence, reason, user_id, created_at",
}

# What tells a filled database from an empty one and from what it was before, by way of primary keys.
_STATE = """
SELECT
    COALESCE((SELECT MAX(t.id) FROM public.transactions AS t), 0),
    (SELECT e.id::text FROM public.suggestion_events AS e ORDER BY e.id DESC LIMIT 1),
    (SELECT f.id::text FROM public.suggestion_feedback AS f ORDER BY f.id DESC LIMIT 1)
"""
_EMPTY = (0, None, None)

_FOREIGN_KEYS = """
SELECT
    pg_catalog.format('ALTER TABLE %s DROP CONSTRAINT %I', c.oid::pg_catalog.regclass, k.conname),
    pg_catalog.format(
        'ALTER TABLE %s ADD CONSTRAINT %I %s',
        c.oid::pg_catalog.regclass, k.conname, pg_catalog.pg_get_constraintdef(k.oid)
    )
FROM pg_catalog.pg_constraint AS k
JOIN pg_catalog.pg_class AS c ON k.conrelid = c.oid
WHERE
    k.contype = 'f'
    AND c.oid IN (
        'public.suggestion_events'::pg_catalog.regclass, 'public.suggestion_feedback'::pg_catalog.regclass
    )
    AND pg_catalog.pg_has_role(c.relowner, 'USAGE')
ORDER BY c.oid::pg_catalog.regclass::text
"""
_NUMBERED = """
SELECT pg_catalog.setval(s.name::pg_catalog.regclass, GREATEST(%s, 1))
FROM (SELECT pg_catalog.pg_get_serial_sequence('public.transactions', 'id')) AS s (name)
WHERE s.name IS NOT NULL
"""


def seed(  # noqa: PLR0913 (keyword-only, and each is a dial of the history)
    connection: psycopg.Connection,
    *,
    events: int,
    days: int,
    seed: int,
    until: dt.date,
    progress: Callable[[str, int, int], None] | None = None,
) -> dict[str, int]:
    """Add ``events`` suggestion events on the ``days`` UTC days that end with ``until``, and all around them.

    The same arguments give the same rows on an empty database; on a filled one, the same rows under new
    ids. All of it is one transaction. ``progress`` is called with a table, the events so far and all events.

    Returns:
        The number of rows added to each table.
    """
    if events < 0 or days < 1:
        raise UsageError(f"Cannot seed {events} events on {days} days: events is 0 or more, days 1 or more.")
    shape = shape_of(connection)
    midnight = datetime.combine(until, datetime.min.time(), tzinfo=UTC)
    with connection.transaction():
        connection.execute("LOCK TABLE public.transactions IN SHARE ROW EXCLUSIVE MODE")
        state: tuple[Any, ...] = connection.execute(_STATE).fetchone() or _EMPTY
        rng = random.Random(f"{seed} {events} {days} {until}")  # noqa: S311 (made-up rows)
        ids = random.Random(f"{seed} {events} {days} {until} {state}")  # noqa: S311
        end = midnight + timedelta(days=1)
        history = History(rng=rng, ids=ids, shape=shape, first_txn=state[0] + 1, end=end)
        added = _around(connection, midnight - timedelta(days=days - 1)) | dict.fromkeys(_COLUMNS, 0)
        with _foreign_keys_later(connection) if state == _EMPTY else nullcontext():
            for batch in _ahead(history.batches(hours(rng, events=events, days=days, until=until))):
                _write(connection, batch, added)
                if progress is not None:
                    progress("suggestion_events", batch.done, events)
        connection.execute(_NUMBERED, [state[0] + added["transactions"]])
        connection.execute(f"ANALYZE {', '.join(f'public.{table}' for table in added)}".encode())
    return added


@contextmanager
def _foreign_keys_later(connection: psycopg.Connection) -> Iterator[None]:
    """Check foreign keys once at the end, which halves the time; row by row where the tables are not ours."""
    keys = connection.execute(_FOREIGN_KEYS).fetchall()
    for drop, _ in keys:
        connection.execute(drop.encode())
    yield
    for _, add in keys:
        connection.execute(add.encode())


def _around(connection: psycopg.Connection, first: datetime) -> dict[str, int]:
    """Add the tenants and the registered models that are not there yet."""
    tenants = connection.execute(
        "INSERT INTO public.tenants (id, name, created_at, suggest_canary_pct) "
        "SELECT n, 'Tenant ' || n, %s::timestamp, (n * 7) %% 101 FROM generate_series(1, %s) AS n "
        "ON CONFLICT DO NOTHING",
        [first.replace(tzinfo=None), TENANTS],
    )
    models = [
        connection.execute(
            "INSERT INTO public.model_registry (model_id, phase, created_at, commit_sha) "
            "VALUES (%s, %s, %s::timestamp, %s) ON CONFLICT DO NOTHING",
            [
                model.name,
                "live" if model.gone > 1 else None,
                first.replace(tzinfo=None),
                model.name.partition("@")[2] if model.family == "model" else None,
            ],
        ).rowcount
        for model in MODELS
    ]
    return {"tenants": tenants.rowcount, "model_registry": sum(models)}


def _ahead(batches: Iterator[Batch]) -> Iterator[Batch]:
    """Make the next batch while the server takes in the one before; no more than two exist at a time."""
    with ThreadPoolExecutor(max_workers=1) as pool:
        coming = pool.submit(next, batches, None)
        while (batch := coming.result()) is not None:
            coming = pool.submit(next, batches, None)
            yield batch


def _write(connection: psycopg.Connection, batch: Batch, added: dict[str, int]) -> None:
    for (table, columns), rows in zip(_COLUMNS.items(), batch.lines, strict=True):
        statement = f"COPY public.{table} ({columns}) FROM STDIN".encode()
        with connection.cursor() as cursor, cursor.copy(statement) as copy:
            copy.write("".join(rows))
        added[table] += len(rows)
