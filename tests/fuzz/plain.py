"""The published marts against the plain Python oracle, which shares no SQL with the engine."""

from __future__ import annotations

from collections import Counter
from datetime import datetime
from typing import TYPE_CHECKING, Any

from tests import oracle
from tests.fuzz.refreshes import compare
from tests.fuzz.worlds import MARTS

if TYPE_CHECKING:
    import psycopg


def compare_with_oracle(connection: psycopg.Connection) -> int:
    """Raise DifferenceError unless every mart is what the oracle makes of the tables; returns how many."""
    with connection.transaction():
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        events: list[oracle.Event] = [
            oracle.Event(
                id=row[0], txn_id=row[1], model_id=row[2], features_hash=row[3], candidates=row[4],
                mode=row[5],                 created_at=_time(row[6]),
            )
            for row in connection.execute(
                "SELECT id, txn_id, model_id, features_hash, candidates::text, mode,"
                " fuzz.utc_text(created_at) FROM public.suggestion_events"
            )
        ]  # fmt: skip
        answers: list[oracle.Feedback] = [
            oracle.Feedback(event_id=row[0], action=row[1], label=row[2], created_at=_time(row[3]))
            for row in connection.execute(
                "SELECT event_id, action::text, label, fuzz.utc_text(created_at)"
                " FROM public.suggestion_feedback"
            )
        ]
        published = {mart: Counter(connection.execute(f"TABLE public.{mart}".encode())) for mart in MARTS}
    if len({event["id"] for event in events}) < len(events):
        return 0  # the oracle's events have one id each
    expected: tuple[list[Any], ...] = (
        oracle.daily(events), oracle.feedback_daily(events, answers), oracle.kpis(events, answers),
    )  # fmt: skip
    return compare(
        {mart: Counter(tuple(row) for row in rows) for mart, rows in zip(MARTS, expected, strict=True)},
        published,
    )


def _time(text: str | None) -> oracle.type_of_time:
    """A datetime where there is one of these years, else the text."""
    if text is None or "infinity" in text or text.endswith("BC"):
        return text
    year = text.partition("-")[0]
    return datetime.fromisoformat(text) if len(year) == 4 else text
