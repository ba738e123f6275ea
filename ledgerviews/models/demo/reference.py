"""The twelve events whose figures the specification states."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import psycopg

_EVENTS = 12
_ACTIONS = ("accept",) * 4 + ("reject",) * 4
_FIRST = datetime(2025, 11, 4, 9, 30, tzinfo=UTC)
_NAMESPACE = uuid.UUID("0d6a3c1e-7b54-4f0e-9a55-2f6f6a0c1104")
_CANDIDATES = '[{"label": "groceries", "confidence": 0.82, "reasons": ["merchant rule"]}]'


def reference_rows(connection: psycopg.Connection) -> None:
    """Add twelve events of 2025-11-04 (auto, heuristic@v1, one candidate each) with 4 accepts and 4 rejects.

    Their ids are fixed: on a database that has them, nothing happens.
    """
    with connection.transaction():
        if connection.execute(
            "SELECT FROM public.suggestion_events WHERE id = %s", [_identity("event", 0)]
        ).rowcount:
            return
        rows = connection.execute(
            "INSERT INTO public.transactions (id, user_id, tenant_id, date, amount, merchant, category) "
            "SELECT t.last + n, 1001, 1, DATE '2025-11-04', -12.5, 'CORNER GROCERIES', 'groceries' "
            "FROM (SELECT COALESCE(MAX(id), 0) AS last FROM public.transactions) AS t "
            "CROSS JOIN generate_series(1, %s) AS n "
            "RETURNING id",
            [_EVENTS],
        ).fetchall()
        for number, (txn,) in enumerate(sorted(rows)):
            asked = _FIRST + timedelta(minutes=5 * number)
            connection.execute(
                "INSERT INTO public.suggestion_events (id, txn_id, model_id, candidates, mode, created_at) "
                "VALUES (%s, %s, 'heuristic@v1', %s, 'auto', %s)",
                [_identity("event", number), txn, _CANDIDATES, asked.replace(tzinfo=None)],
            )
            if number < len(_ACTIONS):
                connection.execute(
                    "INSERT INTO public.suggestion_feedback "
                    "(id, event_id, txn_id, action, label, confidence, user_id, created_at) "
                    "VALUES (%s, %s, %s, %s, 'groceries', 0.82, '1001', %s)",
                    [
                        _identity("feedback", number),
                        _identity("event", number),
                        txn,
                        _ACTIONS[number],
                        # As text with its zone, which a column without one leaves aside: UTC in both forms.
                        f"{asked + timedelta(minutes=2):%Y-%m-%d %H:%M:%S}+00",
                    ],
                )


def _identity(kind: str, number: int) -> uuid.UUID:
    return uuid.uuid5(_NAMESPACE, f"{kind} {number}")
