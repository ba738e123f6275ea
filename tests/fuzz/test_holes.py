"""What the fuzz, or thinking about it, found wrong once: each as small as it can be."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.fuzz.worlds import EVENTS, FEEDBACK

if TYPE_CHECKING:
    from collections.abc import Callable

    import psycopg

    Connect = Callable[[str], psycopg.Connection]

_ROWS = """
INSERT INTO public.transactions (id, user_id, date, amount, month) VALUES (1, 1, '2026-01-01', 1, '2026-01');
INSERT INTO public.suggestion_events (txn_id, candidates, mode, created_at)
SELECT 1, '[]', 'auto', timestamp '2026-01-01 12:00' + i * interval '1 day' FROM generate_series(0, 4) AS i;
INSERT INTO public.suggestion_feedback (txn_id, action, label, created_at)
VALUES (1, 'accept', 'a', '2025-12-01 12:00+00');
CALL ledgerviews.refresh();
"""


def run(connection: psycopg.Connection, *statements: str) -> None:
    """Execute statements one by one."""
    for statement in statements:
        for one in statement.strip().split(";\n"):
            if one.strip():
                connection.execute(one.encode())


def verify(connection: psycopg.Connection) -> None:
    """Compare all marts with a full recompute."""
    connection.execute("CALL ledgerviews.refresh(mode => 'verify', scrub => false)")


@pytest.mark.parametrize("tracking", ["closed days", "every write"])
def test_a_log_that_is_given_up_forgets_no_day(installed_url: str, connect: Connect, tracking: str) -> None:
    """A day that lost all its rows before the triggers were taken off is not kept."""
    connection = connect(installed_url)
    run(connection, f"SELECT ledgerviews.track('{EVENTS}', '{tracking}')", _ROWS)
    run(
        connection,
        "DELETE FROM public.suggestion_events WHERE created_at::date = '2026-01-03'",
        f"SELECT ledgerviews.untrack('{EVENTS}')",
        "CALL ledgerviews.refresh(scrub => false)",
    )

    verify(connection)


def test_the_log_of_a_child_that_is_scanned_for_its_parent_forgets_no_day(
    installed_url: str, connect: Connect
) -> None:
    """Feedback that was deleted before its parent's triggers were taken off does not count any more."""
    connection = connect(installed_url)
    run(connection, _ROWS)
    run(
        connection,
        "DELETE FROM public.suggestion_feedback",
        f"SELECT ledgerviews.untrack('{EVENTS}')",
        "CALL ledgerviews.refresh(scrub => false)",
    )

    verify(connection)


def test_a_scan_does_not_remember_an_earlier_time_of_scanning(installed_url: str, connect: Connect) -> None:
    """What was scanned, then tracked, then scanned again, is not compared with what the first scans saw."""
    connection = connect(installed_url)
    run(connection, _ROWS, f"SELECT ledgerviews.untrack('{EVENTS}')", "CALL ledgerviews.refresh()")
    run(
        connection,
        f"SELECT ledgerviews.track('{EVENTS}')",
        "INSERT INTO public.suggestion_feedback (txn_id, action, label, created_at)"
        " VALUES (1, 'reject', 'b', '2025-12-01 13:00+00')",
        "CALL ledgerviews.refresh()",
        "DELETE FROM public.suggestion_feedback WHERE label = 'b'",
        f"SELECT ledgerviews.untrack('{EVENTS}')",
        "CALL ledgerviews.refresh(scrub => false)",
    )

    verify(connection)


def test_a_number_that_a_caller_drew_is_older_than_its_mark(installed_url: str, connect: Connect) -> None:
    """Called in a block that wrote before, a run is marked with a time before its transaction's number.

    Else a writer that came in between, and runs on over midnight, would have written to a day that the next
    refresh but one takes for closed.
    """
    connection = connect(installed_url)
    connection.execute("CREATE TABLE public.drawn (at timestamptz)")
    connection.execute(
        "DO $$ DECLARE run bigint; BEGIN"
        " INSERT INTO public.drawn SELECT pg_catalog.clock_timestamp(); PERFORM pg_catalog.pg_sleep(0.1);"
        " CALL ledgerviews.refresh(run_id => run); END $$"
    )

    assert connection.execute(
        "SELECT r.marked_at <= d.at FROM ledgerviews.run AS r CROSS JOIN public.drawn AS d"
    ).fetchall() == [(True,)]


def test_the_scrub_has_nothing_to_do_while_all_days_are_open(installed_url: str, connect: Connect) -> None:
    """A transaction older than every run makes all days open; the refresh succeeds all the same."""
    connection, writer = connect(installed_url), connect(installed_url)
    writer.autocommit = False
    writer.execute("SELECT pg_catalog.pg_current_xact_id()")
    run(connection, _ROWS)
    writer.rollback()

    verify(connection)


@pytest.mark.parametrize("source", [EVENTS, FEEDBACK])
def test_an_unlogged_source_is_not_tracked(installed_url: str, connect: Connect, source: str) -> None:
    """A crash empties an unlogged table, and no trigger and no file tells: it is rebuilt each time."""
    connection = connect(installed_url)
    run(
        connection,
        _ROWS,
        "ALTER TABLE public.suggestion_feedback SET UNLOGGED",
        *(["ALTER TABLE public.suggestion_events SET UNLOGGED"] if source == EVENTS else []),
    )
    problem = connection.execute(
        "SELECT problem FROM ledgerviews.source_now WHERE source = %s", [source]
    ).fetchone()

    assert problem == ("it is unlogged, and a crash empties it in silence",)
