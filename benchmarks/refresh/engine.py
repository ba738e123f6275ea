"""Calling the engine from an open session, and reading from its log what the time went into."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from .results import timed

if TYPE_CHECKING:
    import psycopg

_CALL = "CALL ledgerviews.refresh(NULL::text[], %s, scrub => %s)"
_PHASES = """
SELECT
    COALESCE(pg_catalog.sum(EXTRACT(EPOCH FROM p.recomputed_at - p.started_at)), 0)::double precision,
    COALESCE(
        pg_catalog.sum(EXTRACT(EPOCH FROM p.finished_at - COALESCE(p.recomputed_at, p.started_at))), 0
    )::double precision,
    COALESCE(pg_catalog.max(r.scrub_seconds), 0),
    pg_catalog.string_agg(p.scope || COALESCE(' ' || p.days, '') || '/' || p.method, ', ' ORDER BY p.position)
FROM ledgerviews.run AS r
JOIN ledgerviews.run_relation AS p USING (run_id)
WHERE r.run_id = %s
"""


_BY_DAY = "SELECT r.schema_name, r.relation_name FROM ledgerviews.relation AS r WHERE r.rollup IS NOT NULL"
_RECOMPUTE = """
EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON)
SELECT ledgerviews.recompute(
    %s, %s, 'days', pg_catalog.datemultirange(pg_catalog.daterange(%s::date, %s::date, '[]'))
)
"""


def call(
    connection: psycopg.Connection,
    into: list[float] | None = None,
    *,
    mode: str = "incremental",
    scrub: bool = False,
) -> int:
    """Refresh all marts; returns the run's number."""
    with timed([] if into is None else into):
        found = connection.execute(_CALL, [mode, scrub]).fetchall()
    return int(found[0][0])


def phases(connection: psycopg.Connection, run_id: int) -> tuple[float, float, float, str]:
    """Seconds of recomputing, of refreshing the views and of the scrub, and what was done, in words."""
    found: Any = connection.execute(_PHASES, [run_id]).fetchall()[0]
    return found[0], found[1], found[2], found[3]


def pages(connection: psycopg.Connection, day: str) -> int:
    """How many pages it touches to recompute a day of the marts by day; nothing of it stays."""
    touched = 0
    connection.execute("BEGIN")
    for schema, relation in connection.execute(_BY_DAY).fetchall():
        # The first one fills the catalog's caches.
        for _ in range(2):
            found: Any = connection.execute(_RECOMPUTE, [schema, relation, day, day]).fetchall()[0][0]
        touched += found[0]["Plan"]["Shared Hit Blocks"] + found[0]["Plan"]["Shared Read Blocks"]
    connection.execute("ROLLBACK")
    return touched


def cpu(connection: psycopg.Connection) -> float:
    """Seconds that the session's server process has computed; parallel workers are not in it."""
    return int(Path(f"/proc/{connection.info.backend_pid}/schedstat").read_text().split()[0]) / 1e9


def track(connection: psycopg.Connection, tracking: str) -> None:
    """Track both sources that way, and have the refresh that begins it done."""
    for source in ("public.suggestion_events", "public.suggestion_feedback"):
        connection.execute("SELECT ledgerviews.track(%s, %s)", [source, tracking])
    call(connection)
    call(connection)
