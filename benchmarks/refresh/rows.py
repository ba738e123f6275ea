"""The rows that the benchmarks run on: a small seed, multiplied inside the server."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ledgerviews.models import demo

if TYPE_CHECKING:
    import datetime as dt

    import psycopg

SEED_EVENTS, SEED_DAYS = 20_000, 365

_PREPARE = """
ALTER TABLE public.suggestion_events RENAME TO seed_events;
ALTER TABLE public.suggestion_feedback RENAME TO seed_feedback;
CREATE TABLE public.suggestion_events (LIKE public.seed_events INCLUDING DEFAULTS);
CREATE TABLE public.suggestion_feedback (LIKE public.seed_feedback INCLUDING DEFAULTS)
"""
# The demo's days follow the week and grow threefold, and what the last one holds would depend on the
# weekday of the run: each event keeps its hour, and moves to the day of its turn, with its feedback.
_EVEN = """
CREATE TEMPORARY TABLE moved AS
SELECT
    e.id,
    pg_catalog.make_interval(hours => 24 * (
        %(until)s::date - %(days)s + 1
        + ((pg_catalog.row_number() OVER (ORDER BY e.created_at, e.id) - 1) * %(days)s
            / pg_catalog.count(*) OVER ())::integer
        - e.created_at::date
    )) AS later
FROM public.suggestion_events AS e;
UPDATE public.suggestion_events AS e SET created_at = e.created_at + m.later
FROM pg_temp.moved AS m WHERE e.id = m.id;
UPDATE public.suggestion_feedback AS f SET created_at = f.created_at + m.later
FROM pg_temp.moved AS m WHERE f.event_id = m.id;
DROP TABLE pg_temp.moved
"""
# In the order of time, as an application writes. md5 gives an event's copy the same new key in both tables.
_EVENTS = """
INSERT INTO public.suggestion_events (id, txn_id, model_id, features_hash, candidates, mode, created_at)
SELECT
    pg_catalog.md5(e.id::text || '/' || c.n || '/' || %(back)s::integer)::uuid,
    (e.txn_id + c.n * 7919) %% t.most + 1, e.model_id, e.features_hash, e.candidates, e.mode,
    e.created_at - pg_catalog.make_interval(days => %(back)s)
FROM (SELECT * FROM public.seed_events ORDER BY created_at OFFSET 0) AS e
CROSS JOIN (SELECT pg_catalog.max(id) AS most FROM public.transactions) AS t
CROSS JOIN LATERAL pg_catalog.generate_series(1, %(copies)s) AS c (n)
"""
_FEEDBACK = """
INSERT INTO public.suggestion_feedback
    (id, event_id, txn_id, action, label, confidence, reason, user_id, created_at)
SELECT
    pg_catalog.gen_random_uuid(),
    pg_catalog.md5(f.event_id::text || '/' || c.n || '/' || %(back)s::integer)::uuid,
    f.txn_id, f.action, f.label, f.confidence, f.reason, f.user_id,
    f.created_at - pg_catalog.make_interval(days => %(back)s)
FROM (SELECT * FROM public.seed_feedback ORDER BY created_at OFFSET 0) AS f
CROSS JOIN LATERAL pg_catalog.generate_series(1, %(copies)s) AS c (n)
"""
_FINISH = """
DROP TABLE public.seed_feedback, public.seed_events;
ALTER TABLE public.suggestion_events ADD PRIMARY KEY (id);
ALTER TABLE public.suggestion_events
    ADD FOREIGN KEY (txn_id) REFERENCES public.transactions (id) ON DELETE CASCADE;
CREATE INDEX ON public.suggestion_events (txn_id);
CREATE INDEX ON public.suggestion_events (created_at);
ALTER TABLE public.suggestion_feedback ADD PRIMARY KEY (id);
ALTER TABLE public.suggestion_feedback
    ADD FOREIGN KEY (event_id) REFERENCES public.suggestion_events (id) ON DELETE SET NULL;
CREATE INDEX ON public.suggestion_feedback (created_at);
CREATE INDEX ON public.suggestion_feedback (event_id)
"""

_NEW = """
CREATE TEMPORARY TABLE added AS
SELECT
    pg_catalog.gen_random_uuid() AS id,
    e.txn_id, e.model_id, e.features_hash, e.candidates, e.mode, e.created_at
FROM public.suggestion_events AS e
CROSS JOIN pg_catalog.generate_series(1, 4)
WHERE e.created_at >= %(day)s::date AND e.created_at < %(day)s::date + 1
ORDER BY pg_catalog.random()
LIMIT %(events)s
"""
_NEW_EVENTS = "INSERT INTO public.suggestion_events SELECT * FROM pg_temp.added"
_NEW_FEEDBACK = """
INSERT INTO public.suggestion_feedback (event_id, txn_id, action, label, created_at)
SELECT a.id, a.txn_id, CASE WHEN pg_catalog.random() < 0.7 THEN 'accept' ELSE 'reject' END, 'fuel',
    a.created_at AT TIME ZONE 'UTC' + interval '5 minutes'
FROM pg_temp.added AS a
WHERE pg_catalog.random() < 0.34
"""

_SIZE = """
SELECT pg_catalog.format(
    '%%s events and %%s feedback rows on %%s days, %%s; mart rows: %%s',
    (SELECT pg_catalog.count(*) FROM public.suggestion_events),
    (SELECT pg_catalog.count(*) FROM public.suggestion_feedback),
    (SELECT pg_catalog.count(*) FROM public.mart_suggestions_kpis),
    pg_catalog.pg_size_pretty(pg_catalog.pg_database_size(pg_catalog.current_database())),
    (SELECT pg_catalog.string_agg(t.row_count::text, ', ' ORDER BY t.relation_name)
     FROM ledgerviews.relation_state AS t)
)
"""


def fill(connection: psycopg.Connection, *, events: int, days: int, until: dt.date, growing: bool) -> None:
    """Create the application's tables with about that many events, a third of them with feedback.

    Each day has as many events as any other, or, growing, as the demo gives it.
    """
    demo.create_tables(connection)
    demo.seed(connection, events=SEED_EVENTS, days=SEED_DAYS, seed=1, until=until)
    if not growing:
        for statement in _EVEN.split(";"):
            connection.execute(statement.encode(), {"until": until, "days": SEED_DAYS})
    spans = max(1, days // SEED_DAYS)
    copies = max(1, events // (SEED_EVENTS * spans))
    connection.execute(_PREPARE)
    for span in reversed(range(spans)):
        for statement in (_EVENTS, _FEEDBACK):
            connection.execute(statement, {"back": span * SEED_DAYS, "copies": copies})
    for statement in _FINISH.split(";"):
        connection.execute(statement.encode())
    connection.execute("VACUUM (ANALYZE)")


def add(connection: psycopg.Connection, *, events: int, day: str) -> None:
    """Write new events on a day, a third of them with feedback."""
    connection.execute(_NEW, {"events": events, "day": day})
    connection.execute(_NEW_EVENTS)
    connection.execute(_NEW_FEEDBACK)


def take_back(connection: psycopg.Connection) -> None:
    """Delete what ``add`` wrote last in this session."""
    connection.execute("DELETE FROM public.suggestion_feedback USING pg_temp.added WHERE event_id = added.id")
    connection.execute(
        "DELETE FROM public.suggestion_events USING pg_temp.added WHERE suggestion_events.id = added.id"
    )
    connection.execute("DROP TABLE pg_temp.added")
    # No application writes and deletes a thousandth of its history on one day, again and again.
    connection.execute("VACUUM public.suggestion_events, public.suggestion_feedback")


def size(connection: psycopg.Connection) -> str:
    """How many rows there are, in words."""
    return str(connection.execute(_SIZE, {}).fetchall()[0][0])
