"""The engine: CALL ledgerviews.refresh(), as psql, pg_cron and the command use it."""

from __future__ import annotations

import json
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, LiteralString

import psycopg
import pytest
from psycopg import sql

from ledgerviews.models import demo

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Connect = Callable[[str], psycopg.Connection]

MARTS = ("mart_suggestions_daily", "mart_suggestions_feedback_daily", "mart_suggestions_kpis")
TOTALS: LiteralString = """
    SELECT
        (SELECT coalesce(sum(events), 0) FROM public.mart_suggestions_daily)::int,
        (SELECT coalesce(sum(events), 0) FROM public.mart_suggestions_feedback_daily)::int,
        (SELECT coalesce(sum(events_total), 0) FROM public.mart_suggestions_kpis)::int
"""


def add_events(
    connection: psycopg.Connection, count: int, *, day: str = "2026-03-01", mode: str = "auto"
) -> None:
    """Insert events of one day, each with one candidate."""
    connection.execute(
        "WITH t AS (INSERT INTO public.transactions (id, user_id, date, amount, month)"
        " SELECT coalesce((SELECT max(id) FROM public.transactions), 0) + i, 1, %(day)s::date, 1, '2026-03'"
        " FROM generate_series(1, %(count)s::int) AS i RETURNING id)"
        " INSERT INTO public.suggestion_events (id, txn_id, model_id, candidates, mode, created_at)"
        """ SELECT gen_random_uuid(), id, 'heuristic@v1', '[{"label": "Food", "confidence": 0.5}]',"""
        " %(mode)s, %(day)s::timestamp + interval '12 hours' FROM t",
        {"count": count, "day": day, "mode": mode},
    )


def refresh(connection: psycopg.Connection, **arguments: Any) -> int:
    """Call the engine with named arguments and give back the run's id."""
    call = sql.SQL("CALL ledgerviews.refresh({})").format(
        sql.SQL(", ").join(
            sql.SQL("{} => {}").format(sql.Identifier(name), sql.Placeholder(name)) for name in arguments
        )
    )
    row = connection.execute(call, arguments).fetchone()
    assert row is not None
    return int(row[0])


def run_row(connection: psycopg.Connection, run_id: int | None = None) -> tuple[Any, ...]:
    """State, SQLSTATE, error and failed relation of a run, or of the latest one."""
    row = connection.execute(
        "SELECT state, sqlstate, error, failed_relation FROM ledgerviews.run"
        " WHERE run_id = coalesce(%s, (SELECT max(run_id) FROM ledgerviews.run))",
        [run_id],
    ).fetchone()
    assert row is not None
    return row


def figures(connection: psycopg.Connection, run_id: int) -> dict[str, tuple[Any, ...]]:
    """Method, rows before and after, inserted, updated and deleted, for each relation of a run."""
    rows = connection.execute(
        "SELECT relation_name, method, rows_before, rows_after, rows_inserted, rows_updated, rows_deleted"
        " FROM ledgerviews.run_relation WHERE run_id = %s ORDER BY position",
        [run_id],
    )
    return {row[0]: row[1:] for row in rows}


def publish(connection: psycopg.Connection, name: str, select: LiteralString, *, unique: bool = True) -> None:
    """Publish one more materialized view, as a team's own migration would."""
    relation = sql.Identifier("public", name)
    connection.execute(
        sql.SQL("CREATE MATERIALIZED VIEW {} AS {} WITH NO DATA").format(relation, sql.SQL(select))
    )
    if unique:
        connection.execute(sql.SQL("CREATE UNIQUE INDEX ON {} (k)").format(relation))
    connection.execute(
        "INSERT INTO ledgerviews.relation (schema_name, relation_name, kind, definition, unique_key)"
        " VALUES ('public', %s, 'materialized view', %s, '{k}')",
        [name, select],
    )


def wait_until_blocked(connection: psycopg.Connection, backend: int) -> None:
    """Return once the backend waits for a lock."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        row = connection.execute("SELECT cardinality(pg_blocking_pids(%s)) > 0", [backend]).fetchone()
        if row is not None and row[0]:
            return
        time.sleep(0.01)
    pytest.fail("the backend never waited for a lock")


@contextmanager
def in_background(
    url: str, call: LiteralString = "CALL ledgerviews.refresh()"
) -> Iterator[tuple[int, list[psycopg.Error | None]]]:
    """Run a refresh in another session; gives its backend and a list that gets its error, or None."""
    outcome: list[psycopg.Error | None] = []
    with psycopg.connect(url, autocommit=True) as connection:

        def run() -> None:
            try:
                connection.execute(call)
                outcome.append(None)
            except psycopg.Error as exc:
                outcome.append(exc)

        thread = threading.Thread(target=run)
        thread.start()
        try:
            yield connection.info.backend_pid, outcome
        finally:
            thread.join(60)
            assert not thread.is_alive()


FEEDBACK: LiteralString = (
    "LOCK TABLE ledgerviews.mart_suggestions_feedback_daily_rollup IN ACCESS EXCLUSIVE MODE"
)
"""Stops a refresh in its middle: its second mart is recomputed into it, after the first is refreshed."""

VERIFY: LiteralString = "CALL ledgerviews.refresh(mode => 'verify')"

REFRESH_LOCK: LiteralString = "LOCK TABLE ledgerviews.refresh_lock IN EXCLUSIVE MODE"
"""Stops a refresh before its snapshot, as another refresh does."""


@contextmanager
def stopped_refresh(
    url: str, observer: psycopg.Connection, lock: LiteralString
) -> Iterator[tuple[int, list[psycopg.Error | None], Callable[[], None]]]:
    """Run a refresh in another session that waits for a lock until the block ends.

    Gives its backend, a list that gets its error, or None, when it is over, and a function that lets the
    lock go before the block ends.
    """
    with psycopg.connect(url) as holder:
        holder.execute(lock)
        with in_background(url) as (backend, outcome):
            try:
                wait_until_blocked(observer, backend)
                yield backend, outcome, holder.rollback
            finally:
                holder.rollback()


@contextmanager
def held(url: str, statement: LiteralString) -> Iterator[None]:
    """Keep what a statement locked until the block ends."""
    with psycopg.connect(url) as connection:
        connection.execute(statement)
        yield
        connection.rollback()


def test_the_first_refresh_fills_and_the_next_is_concurrent(installed_url: str, connect: Connect) -> None:
    """The first refresh fills plainly, the next leaves all as it is, one that finds news is concurrent."""
    connection = connect(installed_url)
    notices: list[str] = []
    connection.add_notice_handler(lambda diag: notices.append(diag.message_primary or ""))
    add_events(connection, 3)
    with pytest.raises(psycopg.errors.ObjectNotInPrerequisiteState):
        connection.execute("SELECT * FROM public.mart_suggestions_kpis")

    first, second = refresh(connection), refresh(connection)
    add_events(connection, 1)
    third = refresh(connection)

    assert figures(connection, first) == dict.fromkeys(MARTS, ("first fill", 0, 1, 1, 0, 0))
    assert figures(connection, second) == dict.fromkeys(MARTS, ("unchanged", 1, 1, 0, 0, 0))
    assert figures(connection, third) == dict.fromkeys(MARTS, ("concurrently", 1, 1, 0, 1, 0))
    assert notices[0] == "[1/3] public.mart_suggestions_daily: first fill (it was never filled)"
    assert notices[5] == "[3/3] public.mart_suggestions_kpis: unchanged (nothing that it reads changed)"


@pytest.mark.parametrize(
    ("mode", "method"), [("incremental", "concurrently"), ("full", "concurrently"), ("blocking", "blocking")]
)
def test_rows_are_counted_by_key(installed_url: str, connect: Connect, mode: str, method: str) -> None:
    """Inserted, updated and deleted rows are counted by key, in every mode."""
    connection = connect(installed_url)
    add_events(connection, 1, day="2026-03-01")
    add_events(connection, 1, day="2026-03-02")
    add_events(connection, 1, day="2026-03-03")
    refresh(connection)
    connection.execute("DELETE FROM public.suggestion_events WHERE created_at::date = '2026-03-01'")
    add_events(connection, 4, day="2026-03-02")
    add_events(connection, 1, day="2026-03-04")
    add_events(connection, 1, day="2026-03-04", mode="model")

    run_id = refresh(connection, mode=mode)

    assert figures(connection, run_id) == {
        "mart_suggestions_daily": (method, 3, 4, 2, 1, 1),
        "mart_suggestions_feedback_daily": (method, 3, 4, 2, 1, 1),
        "mart_suggestions_kpis": (method, 3, 3, 1, 1, 1),
    }


def test_readers_neither_wait_nor_see_half(installed_url: str, connect: Connect) -> None:
    """In the middle of a refresh readers get the old figures of all marts at once, then the new."""
    connection, reader = connect(installed_url), connect(installed_url)
    add_events(connection, 2)
    refresh(connection)
    add_events(connection, 5)
    reader.execute("SET lock_timeout = '250ms'")

    with stopped_refresh(installed_url, connection, FEEDBACK) as (_, outcome, _release):
        during = reader.execute(TOTALS).fetchone()
    after = reader.execute(TOTALS).fetchone()

    assert outcome == [None]
    assert during == (2, 2, 2)
    assert after == (7, 7, 7)


def test_readers_under_a_stream_of_refreshes(installed_url: str, connect: Connect) -> None:
    """A reader that polls while events arrive and refreshes follow each other never sees marts disagree."""
    connection, reader = connect(installed_url), connect(installed_url)
    add_events(connection, 1)
    refresh(connection)
    reader.execute("SET lock_timeout = '2s'")
    stop, seen = threading.Event(), set[tuple[Any, ...]]()

    def poll() -> None:
        while not stop.is_set():
            seen.add(tuple(reader.execute(TOTALS).fetchone() or ()))

    thread = threading.Thread(target=poll)
    thread.start()
    for _ in range(15):
        add_events(connection, 1)
        refresh(connection)
    stop.set()
    thread.join(30)

    assert len(seen) > 1
    assert {row for row in seen if len(set(row)) != 1} == set()


def test_all_marts_come_from_one_snapshot(installed_url: str, connect: Connect) -> None:
    """What is committed while a refresh runs is in none of its marts."""
    connection = connect(installed_url)
    add_events(connection, 2)
    refresh(connection)
    with stopped_refresh(installed_url, connection, FEEDBACK) as (_, outcome, _release):
        add_events(connection, 3)
    between = connection.execute(TOTALS).fetchone()
    refresh(connection)

    assert outcome == [None]
    assert between == (2, 2, 2)
    assert connection.execute(TOTALS).fetchone() == (5, 5, 5)


def test_a_mart_refreshed_by_hand_meanwhile_begins_it_again(installed_url: str, connect: Connect) -> None:
    """When somebody refreshes a mart by hand after the snapshot, the run begins again instead of failing."""
    connection = connect(installed_url)
    publish(connection, "zz_count", "SELECT 1 AS k, count(*) AS n FROM public.transactions")
    refresh(connection)
    add_events(connection, 2)
    with stopped_refresh(installed_url, connection, FEEDBACK) as (_, outcome, _release):
        add_events(connection, 3)
        connection.execute("REFRESH MATERIALIZED VIEW CONCURRENTLY public.zz_count")

    assert outcome == [None]
    assert connection.execute("SELECT n FROM public.zz_count").fetchone() == (5,)
    assert connection.execute(TOTALS).fetchone() == (5, 5, 5)
    assert figures(connection, 2)["zz_count"] == ("concurrently", 1, 1, 0, 0, 0)
    assert connection.execute("SELECT state FROM ledgerviews.run ORDER BY run_id").fetchall() == [
        ("succeeded",),
        ("succeeded",),
    ]


def test_new_rows_of_a_mart_refreshed_by_hand_begin_it_again(installed_url: str, connect: Connect) -> None:
    """A row that another session's refresh put into a mart is no duplicate key that fails the run."""
    connection = connect(installed_url)
    publish(connection, "zz_days", "SELECT DISTINCT created_at::date AS k FROM public.suggestion_events")
    refresh(connection)
    add_events(connection, 2)
    with stopped_refresh(installed_url, connection, FEEDBACK) as (_, outcome, _release):
        connection.execute("REFRESH MATERIALIZED VIEW CONCURRENTLY public.zz_days")

    assert outcome == [None]
    assert connection.execute("SELECT count(*) FROM public.zz_days").fetchone() == (1,)
    assert connection.execute(TOTALS).fetchone() == (2, 2, 2)


@pytest.mark.parametrize(
    "statement",
    [
        "TRUNCATE public.suggestion_feedback",
        "ALTER TABLE public.suggestion_feedback ADD COLUMN noise double precision DEFAULT random()",
    ],
)
def test_a_source_rewritten_meanwhile_is_read_again(
    installed_url: str, connect: Connect, statement: LiteralString
) -> None:
    """TRUNCATE and a rewriting ALTER TABLE hide rows from older snapshots; no mart is emptied by it."""
    connection = connect(installed_url)
    demo.reference_rows(connection)
    refresh(connection)
    answers: LiteralString = """
        SELECT (SELECT count(*) FROM public.suggestion_feedback),
               (SELECT coalesce(sum(accepts + rejects), 0)::int FROM public.mart_suggestions_feedback_daily)
    """
    with psycopg.connect(installed_url) as other:
        other.execute("LOCK TABLE public.suggestion_feedback IN ACCESS EXCLUSIVE MODE")
        with in_background(installed_url) as (backend, outcome):
            wait_until_blocked(connection, backend)
            other.execute("CREATE TEMPORARY TABLE kept AS TABLE public.suggestion_feedback")
            other.execute(statement)
            if statement.startswith("TRUNCATE"):
                other.execute("INSERT INTO public.suggestion_feedback TABLE kept")
            other.commit()

    assert outcome == [None]
    assert connection.execute(answers).fetchone() == (8, 8)


def test_what_a_truncate_hides_is_no_finding_of_a_verification(installed_url: str, connect: Connect) -> None:
    """A verification that waits behind a TRUNCATE begins again, and finds what is there then."""
    connection = connect(installed_url)
    demo.reference_rows(connection)
    connection.execute("SELECT ledgerviews.track(source, 'every write') FROM ledgerviews.source")
    refresh(connection)
    with psycopg.connect(installed_url) as other:
        other.execute("LOCK TABLE public.suggestion_feedback IN ACCESS EXCLUSIVE MODE")
        with in_background(installed_url, VERIFY) as (backend, outcome):
            wait_until_blocked(connection, backend)
            other.execute("TRUNCATE public.suggestion_feedback")
            other.commit()

    assert outcome == [None]
    assert connection.execute("SELECT state, error FROM ledgerviews.run WHERE run_id = 2").fetchall() == [
        ("succeeded", None)
    ]
    assert connection.execute("SELECT DISTINCT rebuild FROM ledgerviews.relation_state").fetchall() == [
        (None,)
    ]


def test_what_a_truncate_hides_is_no_drift(installed_url: str, connect: Connect) -> None:
    """A TRUNCATE that waits for a refresh, and holds up its scrub, has it tell of no drift."""
    connection = connect(installed_url)
    demo.reference_rows(connection)
    refresh(connection)
    connection.execute(
        "UPDATE public.suggestion_feedback SET label = 'other';"
        "UPDATE ledgerviews.relation_state SET scrubbed_to = NULL"
    )
    with psycopg.connect(installed_url) as other, psycopg.connect(installed_url, autocommit=True) as waiting:
        other.execute("LOCK TABLE ledgerviews.mart_suggestions_feedback_daily_rollup IN SHARE MODE")
        with in_background(installed_url) as (backend, outcome):
            wait_until_blocked(connection, backend)
            truncating = threading.Thread(
                target=lambda: waiting.execute(
                    "BEGIN; TRUNCATE public.suggestion_feedback; SELECT pg_sleep(2); COMMIT"
                )
            )
            truncating.start()
            wait_until_blocked(connection, waiting.info.backend_pid)
            other.rollback()
            truncating.join(60)

    assert outcome == [None]
    assert connection.execute("SELECT drift FROM ledgerviews.run").fetchall() == [(None,), (None,)]
    assert connection.execute("SELECT DISTINCT rebuild FROM ledgerviews.relation_state").fetchall() == [
        (None,)
    ]


def test_a_run_whose_call_failed_is_closed_while_its_session_lives(
    installed_url: str, connect: Connect
) -> None:
    """A call that failed where nothing could be written down is closed by the next."""
    connection, other = connect(installed_url), connect(installed_url)
    other.execute(
        "INSERT INTO ledgerviews.run (mode, state, backend_started_at)"
        " SELECT 'incremental', 'running', backend_start FROM pg_stat_activity WHERE pid = pg_backend_pid()"
    )

    refresh(connection)

    assert connection.execute("SELECT state FROM ledgerviews.run ORDER BY run_id").fetchall() == [
        ("crashed",),
        ("succeeded",),
    ]


def test_a_temporary_table_of_the_session_is_no_hindrance(installed_url: str, connect: Connect) -> None:
    """A session can refresh as often as it likes, whatever an earlier call left in it."""
    connection = connect(installed_url)
    connection.execute("CREATE TEMPORARY TABLE ledgerviews_before (x int)")

    refresh(connection)
    refresh(connection)

    assert run_row(connection)[0] == "succeeded"


def test_a_waiter_sees_what_was_committed_while_it_waited(installed_url: str, connect: Connect) -> None:
    """The lock is taken before the snapshot: a refresh that waited publishes what came meanwhile."""
    connection = connect(installed_url)
    with stopped_refresh(installed_url, connection, REFRESH_LOCK) as (_, outcome, _release):
        add_events(connection, 4)

    assert outcome == [None]
    assert connection.execute(TOTALS).fetchone() == (4, 4, 4)


def test_a_waiter_that_is_overtaken_sees_all_as_well(installed_url: str, connect: Connect) -> None:
    """A refresh that finds another in between, after it queued, still takes its snapshot after its lock."""
    connection, overtaker = connect(installed_url), connect(installed_url)
    overtaker.autocommit = False
    with stopped_refresh(installed_url, connection, REFRESH_LOCK) as (backend, outcome, release):
        # Queued behind the refresh, so it gets the lock in the moment that the refresh lets it go.
        thread = threading.Thread(target=lambda: overtaker.execute(REFRESH_LOCK))
        thread.start()
        wait_until_blocked(connection, overtaker.info.backend_pid)
        release()
        thread.join(30)
        wait_until_blocked(connection, backend)
        add_events(connection, 4)
        overtaker.rollback()

    assert outcome == [None]
    assert connection.execute(TOTALS).fetchone() == (4, 4, 4)


def test_who_does_not_wait_leaves(installed_url: str, connect: Connect) -> None:
    """With wait => false a second refresh fails at once, changes nothing, and its run says locked."""
    connection = connect(installed_url)
    with (
        held(installed_url, "LOCK TABLE ledgerviews.refresh_lock IN EXCLUSIVE MODE"),
        pytest.raises(psycopg.errors.LockNotAvailable, match="Another refresh is running"),
    ):
        refresh(connection, wait=False)

    assert run_row(connection)[0] == "locked"


def test_a_failure_rolls_back_everything(installed_url: str, connect: Connect) -> None:
    """When the last relation fails, readers keep the old figures of all, and the run names it."""
    connection = connect(installed_url)
    connection.execute("CREATE TABLE public.divisor AS SELECT 1 AS n")
    publish(
        connection,
        "zz_ratio",
        "SELECT m.created_date AS k, 1 / d.n AS r FROM public.mart_suggestions_kpis m, public.divisor d",
    )
    add_events(connection, 2)
    refresh(connection)
    add_events(connection, 3)
    connection.execute("UPDATE public.divisor SET n = 0")

    with pytest.raises(psycopg.errors.DivisionByZero, match=r"Refreshing public\.zz_ratio: division by zero"):
        refresh(connection)

    assert connection.execute(TOTALS).fetchone() == (2, 2, 2)
    assert run_row(connection) == ("failed", "22012", "division by zero", "public.zz_ratio")
    connection.execute("UPDATE public.divisor SET n = 1")
    refresh(connection)
    assert connection.execute(TOTALS).fetchone() == (5, 5, 5)


def test_a_cancelled_refresh_changes_nothing(installed_url: str, connect: Connect) -> None:
    """Cancelling on the server rolls back, gives the lock back, and the run says cancelled."""
    connection = connect(installed_url)
    add_events(connection, 2)
    refresh(connection)
    add_events(connection, 3)
    with stopped_refresh(installed_url, connection, FEEDBACK) as (backend, outcome, _release):
        connection.execute("SELECT pg_cancel_backend(%s)", [backend])
        deadline = time.monotonic() + 30
        while not outcome and time.monotonic() < deadline:
            time.sleep(0.01)

    assert isinstance(outcome[0], psycopg.errors.QueryCanceled)
    assert run_row(connection)[0] == "cancelled"
    assert connection.execute(TOTALS).fetchone() == (2, 2, 2)
    refresh(connection, wait=False)
    assert connection.execute(TOTALS).fetchone() == (5, 5, 5)


def test_a_killed_refresh_is_closed_by_the_next(installed_url: str, connect: Connect) -> None:
    """A backend that is terminated leaves the old figures; the next refresh closes its run as crashed."""
    connection = connect(installed_url)
    add_events(connection, 2)
    refresh(connection)
    add_events(connection, 3)
    with stopped_refresh(installed_url, connection, FEEDBACK) as (backend, outcome, _release):
        connection.execute("SELECT pg_terminate_backend(%s, 10000)", [backend])
    killed = connection.execute("SELECT max(run_id) FROM ledgerviews.run").fetchall()[0][0]
    before = (run_row(connection, killed)[0], connection.execute(TOTALS).fetchone())
    refresh(connection, wait=False)

    assert isinstance(outcome[0], psycopg.OperationalError)
    assert before == ("running", (2, 2, 2))
    assert run_row(connection, killed)[0] == "crashed"
    assert connection.execute(TOTALS).fetchone() == (5, 5, 5)


def test_a_running_refresh_is_not_taken_for_a_crashed_one(installed_url: str, connect: Connect) -> None:
    """While one refresh waits, another that ends leaves its run alone."""
    connection = connect(installed_url)
    with stopped_refresh(installed_url, connection, REFRESH_LOCK) as (_, outcome, _release):
        with pytest.raises(psycopg.errors.LockNotAvailable):
            refresh(connection, wait=False)
        states = connection.execute("SELECT state FROM ledgerviews.run ORDER BY run_id").fetchall()

    assert outcome == [None]
    assert states == [("waiting",), ("locked",)]


def test_a_name_takes_its_upstream_along(installed_url: str, connect: Connect) -> None:
    """A name, bare or qualified, is refreshed after all that it reads; upstream => false leaves that out."""
    connection = connect(installed_url)

    kpis = refresh(connection, relation="mart_suggestions_kpis")
    daily = refresh(connection, relation="public.mart_suggestions_daily")
    alone = refresh(connection, relations=["mart_suggestions_kpis"], upstream=False)

    assert tuple(figures(connection, kpis)) == MARTS
    assert tuple(figures(connection, daily)) == MARTS[:1]
    assert tuple(figures(connection, alone)) == MARTS[2:]


def test_the_order_follows_the_graph_through_plain_views(installed_url: str, connect: Connect) -> None:
    """A mart that reads another through a plain view is refreshed after it, whatever their names."""
    connection = connect(installed_url)
    publish(connection, "zz_base", "SELECT 1 AS k")
    connection.execute("CREATE VIEW public.between AS SELECT k FROM public.zz_base")
    publish(connection, "aa_top", "SELECT k FROM public.between")

    run_id = refresh(connection, relation="aa_top")

    assert tuple(figures(connection, run_id)) == ("zz_base", "aa_top")


def test_a_circle_is_refused_by_name(installed_url: str, connect: Connect) -> None:
    """Two marts that read each other through a replaced view stop the refresh with both names."""
    connection = connect(installed_url)
    connection.execute("CREATE VIEW public.between AS SELECT 1 AS k")
    publish(connection, "ring_a", "SELECT k FROM public.between")
    publish(connection, "ring_b", "SELECT k FROM public.ring_a")
    connection.execute("CREATE OR REPLACE VIEW public.between AS SELECT k FROM public.ring_b")

    with pytest.raises(psycopg.errors.InvalidRecursion, match=r"public\.ring_a, public\.ring_b"):
        refresh(connection)


def test_without_a_unique_index_nothing_is_refreshed_in_silence(installed_url: str, connect: Connect) -> None:
    """No usable unique index is an error with the mend; only mode => 'blocking' goes without."""
    connection = connect(installed_url)
    publish(connection, "no_index", "SELECT 1 AS k", unique=False)
    connection.execute("CREATE UNIQUE INDEX ON public.no_index ((k + 1))")
    connection.execute("CREATE UNIQUE INDEX ON public.no_index (k) WHERE k > 0")

    with pytest.raises(psycopg.errors.ObjectNotInPrerequisiteState) as caught:
        refresh(connection, relation="no_index")
    run_id = refresh(connection, relation="no_index", mode="blocking")
    again = refresh(connection, relation="no_index", mode="blocking")

    assert "Cannot refresh public.no_index concurrently" in str(caught.value)
    assert caught.value.diag.message_hint == (
        "Run CREATE UNIQUE INDEX ON public.no_index (k), or pass --blocking (mode => 'blocking')."
    )
    assert figures(connection, run_id) == {"no_index": ("first fill", 0, 1, 1, 0, 0)}
    assert figures(connection, again) == {"no_index": ("blocking", 1, 1, 0, 0, 0)}


def test_an_unknown_name_lists_what_there_is(installed_url: str, connect: Connect) -> None:
    """A name that is not published is refused with those that are; nothing is refreshed."""
    connection = connect(installed_url)

    with pytest.raises(psycopg.errors.UndefinedTable, match="mart_sugestions is no published") as caught:
        refresh(connection, relations=["mart_suggestions_daily", "mart_sugestions"])

    assert "public.mart_suggestions_kpis" in (caught.value.diag.message_hint or "")
    assert connection.execute("SELECT count(*) FROM ledgerviews.run_relation").fetchone() == (0,)


def test_a_relation_dropped_by_hand_is_named(installed_url: str, connect: Connect) -> None:
    """A mart that is gone stops the refresh with its name instead of being left out in silence."""
    connection = connect(installed_url)
    connection.execute("DROP MATERIALIZED VIEW public.mart_suggestions_kpis")

    with pytest.raises(psycopg.errors.UndefinedTable, match=r"public\.mart_suggestions_kpis"):
        refresh(connection)


def test_names_that_need_quoting(installed_url: str, connect: Connect) -> None:
    """Names, keys and values with quotes, dots and capitals are refreshed and counted like others."""
    connection = connect(installed_url)
    connection.execute(
        """CREATE TABLE public.raw AS SELECT 'it''s "x"' AS v;
           CREATE MATERIALIZED VIEW public."Odd ""Name" AS SELECT v AS "Key; --" FROM public.raw WITH NO DATA;
           CREATE UNIQUE INDEX ON public."Odd ""Name" ("Key; --");
           INSERT INTO ledgerviews.relation (schema_name, relation_name, kind, definition, unique_key)
           VALUES ('public', 'Odd "Name', 'materialized view', '', '{}')"""
    )

    refresh(connection, relation='Odd "Name')
    connection.execute("INSERT INTO public.raw VALUES ('second')")
    run_id = refresh(connection, relation='Odd "Name')

    assert figures(connection, run_id) == {'Odd "Name': ("concurrently", 1, 2, 1, 0, 0)}


def test_a_null_in_a_key_is_counted_as_rewritten(installed_url: str, connect: Connect) -> None:
    """A row whose key is NULL is deleted and inserted by CONCURRENTLY each time, and the log says so."""
    connection = connect(installed_url)
    publish(connection, "with_null", "SELECT * FROM (VALUES (1), (NULL)) AS v (k)")

    refresh(connection, relation="with_null")
    run_id = refresh(connection, relation="with_null")

    assert figures(connection, run_id) == {"with_null": ("concurrently", 2, 2, 1, 0, 1)}


def test_inside_a_transaction_block_it_is_refused(installed_url: str, connect: Connect) -> None:
    """Called inside BEGIN … COMMIT the engine fails and leaves nothing behind."""
    connection = connect(installed_url)

    with pytest.raises(psycopg.errors.InvalidTransactionTermination), connection.transaction():
        connection.execute("CALL ledgerviews.refresh()")

    assert connection.execute("SELECT count(*) FROM ledgerviews.run").fetchone() == (0,)


def test_an_unknown_mode_is_refused(installed_url: str, connect: Connect) -> None:
    """A mode that is none names those that there are."""
    with pytest.raises(psycopg.errors.InvalidParameterValue, match="no refresh mode 'quick'"):
        refresh(connect(installed_url), mode="quick")


def test_a_hostile_search_path_changes_nothing(installed_url: str, connect: Connect) -> None:
    """Tables, functions and operators that a search_path puts in front are not what a refresh uses."""
    connection = connect(installed_url)
    add_events(connection, 2)
    connection.execute(
        """CREATE SCHEMA evil;
           CREATE TABLE evil.suggestion_events (LIKE public.suggestion_events);
           CREATE TABLE evil.run (run_id bigint);
           CREATE FUNCTION evil.count() RETURNS bigint LANGUAGE sql AS 'SELECT 99::bigint';
           CREATE FUNCTION evil.format(text, text) RETURNS text LANGUAGE sql AS $$ SELECT 'SELECT 1/0' $$;
           CREATE FUNCTION evil.raises(text, text) RETURNS boolean LANGUAGE sql AS 'SELECT 1 / 0 > 0';
           CREATE FUNCTION evil.raises(bigint, bigint) RETURNS boolean LANGUAGE sql AS 'SELECT 1 / 0 > 0';
           CREATE OPERATOR evil.= (LEFTARG = text, RIGHTARG = text, FUNCTION = evil.raises);
           CREATE OPERATOR evil.<> (LEFTARG = text, RIGHTARG = text, FUNCTION = evil.raises);
           CREATE OPERATOR evil.= (LEFTARG = bigint, RIGHTARG = bigint, FUNCTION = evil.raises);
           SET search_path = evil, public, pg_catalog"""
    )

    refresh(connection)
    refresh(connection)

    connection.execute("RESET search_path")
    assert connection.execute(TOTALS).fetchone() == (2, 2, 2)


def test_a_false_process_is_a_crash(installed_url: str, connect: Connect) -> None:
    """An open run whose process is gone, is this very session, or began at another time is closed."""
    connection, other = connect(installed_url), connect(installed_url)
    with stopped_refresh(installed_url, other, REFRESH_LOCK) as (backend, _, _release):
        connection.execute(
            "INSERT INTO ledgerviews.run (mode, state, backend_pid, backend_started_at) VALUES"
            " ('gone', 'running', 99999999, now()), ('self', 'running', pg_backend_pid(), NULL),"
            " ('reused', 'running', %(pid)s, now() - interval '1 year')",
            {"pid": backend},
        )
        with pytest.raises(psycopg.errors.LockNotAvailable):
            refresh(connection, wait=False)
        states: dict[str, str] = dict(
            connection.execute("SELECT mode, state FROM ledgerviews.run ORDER BY run_id DESC").fetchall()
        )

    assert states == {"gone": "crashed", "self": "crashed", "reused": "crashed", "incremental": "waiting"}


def test_an_invalid_index_does_not_serve(installed_url: str, connect: Connect) -> None:
    """A unique index that a failed CREATE INDEX CONCURRENTLY left is not taken for one."""
    connection = connect(installed_url)
    publish(connection, "half", "SELECT 1 AS k")
    connection.execute(
        "UPDATE pg_index SET indisvalid = false WHERE indrelid = 'public.half'::regclass AND indisunique"
    )

    with pytest.raises(psycopg.errors.ObjectNotInPrerequisiteState, match="no unique index"):
        refresh(connection, relation="half")


def test_a_name_in_two_schemas_must_be_qualified(installed_url: str, connect: Connect) -> None:
    """A bare name that is published twice is refused; the qualified one is refreshed."""
    connection = connect(installed_url)
    publish(connection, "twin", "SELECT 1 AS k")
    connection.execute(
        """CREATE SCHEMA two;
           CREATE MATERIALIZED VIEW two.twin AS SELECT 1 AS k WITH NO DATA;
           CREATE UNIQUE INDEX ON two.twin (k);
           INSERT INTO ledgerviews.relation (schema_name, relation_name, kind, definition, unique_key)
           VALUES ('two', 'twin', 'materialized view', '', '{k}')"""
    )

    with pytest.raises(psycopg.errors.UndefinedTable, match="twin is published in more than one schema"):
        refresh(connection, relation="twin")
    run_id = refresh(connection, relation="two.twin")

    assert connection.execute(
        "SELECT schema_name FROM ledgerviews.run_relation WHERE run_id = %s", [run_id]
    ).fetchall() == [("two",)]


def test_without_counters_updates_are_unknown(installed_url: str, connect: Connect) -> None:
    """With track_counts off the updated rows are NULL, but for a mart that is computed by day."""
    connection = connect(installed_url)
    add_events(connection, 1)
    refresh(connection)
    add_events(connection, 1)
    connection.execute("SET track_counts = off")

    run_id = refresh(connection, relation="mart_suggestions_kpis")

    assert figures(connection, run_id) == {
        "mart_suggestions_daily": ("concurrently", 1, 1, 0, 1, 0),
        "mart_suggestions_feedback_daily": ("concurrently", 1, 1, 0, 1, 0),
        "mart_suggestions_kpis": ("concurrently", 1, 1, 0, None, 0),
    }


def test_columns_of_any_name_are_counted(installed_url: str, connect: Connect) -> None:
    """A mart with columns named like the engine's own aliases is counted like others, in either mode."""
    connection = connect(installed_url)
    connection.execute("CREATE TABLE public.raw AS SELECT 1 AS k, 1 AS m, 1 AS o, 1 AS n, 1 AS whole")
    publish(connection, "odd", "SELECT * FROM public.raw")
    refresh(connection, relation="odd")
    for mode, method in (("blocking", "blocking"), ("incremental", "concurrently")):
        connection.execute("UPDATE public.raw SET o = o + 1")

        assert figures(connection, refresh(connection, relation="odd", mode=mode)) == {
            "odd": (method, 1, 1, 0, 1, 0)
        }


def test_a_deeply_nested_document_is_no_hindrance(older_installed_url: str, connect: Connect) -> None:
    """A json document nested as deep as the server takes, and one of many lone surrogates, are refreshed."""
    connection = connect(older_installed_url)
    connection.execute(
        "INSERT INTO public.transactions (id, user_id, date, amount, month)"
        " VALUES (1, 1, '2026-01-01', 1, '2026-01')"
    )
    documents = [
        "[" * 5000 + "]" * 5000,
        '["\\ud800' + "\\udc00" * 100_000 + '"]',
        '["' + "\\u0000" * 50_000 + '"]',
    ]
    for document in documents:
        connection.execute(
            "INSERT INTO public.suggestion_events (id, txn_id, candidates, mode, created_at)"
            " VALUES (gen_random_uuid(), 1, %s, 'auto', '2026-03-01')",
            [document],
        )
    connection.execute("SET statement_timeout = '60s'")

    refresh(connection)

    assert connection.execute(
        "SELECT events, candidates_total FROM public.mart_suggestions_daily"
    ).fetchall() == [(3, 3)]


def test_a_number_that_nothing_holds_leaves_strings_alone(older_installed_url: str, connect: Connect) -> None:
    """Beside a number too large for jsonb, what looks like one in a string is kept as it stands."""
    connection = connect(older_installed_url)
    connection.execute(
        "INSERT INTO public.transactions (id, user_id, date, amount, month)"
        " VALUES (1, 1, '2026-01-01', 1, '2026-01')"
    )
    label = 'lot 1e99999, "1e-99999" \\ 0.' + "1" * 300
    candidate = f'{{"label": {json.dumps(label)}, "rank": 1e999999, "confidence": 0.{"5" * 300}}}'
    connection.execute(
        "INSERT INTO public.suggestion_events (id, txn_id, candidates, mode, created_at)"
        " VALUES (gen_random_uuid(), 1, %s, 'auto', '2026-03-01')",
        [f"[{candidate}]"],
    )

    assert connection.execute(
        "SELECT candidate_count, top_label, top_confidence FROM public.stg_suggestion_events"
    ).fetchall() == [(1, label, 5 / 9)]


@pytest.mark.parametrize(("late_by", "late"), [("24 hours", 0), ("24 hours 1 microsecond", 1)])
def test_late_is_more_than_a_day(installed_url: str, connect: Connect, late_by: str, late: int) -> None:
    """Feedback exactly 24 hours after its event is not late; a microsecond more is."""
    connection = connect(installed_url)
    add_events(connection, 1)
    connection.execute(
        "INSERT INTO public.suggestion_feedback (id, event_id, txn_id, action, label, created_at)"
        " SELECT gen_random_uuid(), id, txn_id, 'accept', 'Food',"
        " (created_at + %s::interval) AT TIME ZONE 'UTC' FROM public.suggestion_events",
        [late_by],
    )

    refresh(connection)

    assert connection.execute(
        "SELECT accepts, feedback_late FROM public.mart_suggestions_feedback_daily"
    ).fetchall() == [(1, late)]
