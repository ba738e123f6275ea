"""What an incremental refresh recomputes, what it skips, and what makes it start over."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from ledgerviews.config import Settings
from ledgerviews.schema import commands
from tests import histories
from tests.mutants import rewrite

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import LiteralString

    Connect = Callable[[str], psycopg.Connection]

DAILY, FEEDBACK, KPIS = "mart_suggestions_daily", "mart_suggestions_feedback_daily", "mart_suggestions_kpis"
MARTS = (DAILY, FEEDBACK, KPIS)
EVENTS = "public.suggestion_events"
UNKNOWN: LiteralString = "00000000-0000-0000-0000-0000000000aa"


@pytest.fixture
def connection(installed_url: str, connect: Connect) -> psycopg.Connection:
    """An open session on a filled database: three events in March, one of them answered, all refreshed."""
    session = connect(installed_url)
    session.execute(
        "INSERT INTO public.transactions (id, user_id, date, amount, month)"
        " SELECT n, 1, '2026-01-01', 1, '2026-01' FROM generate_series(1, 50) AS n"
    )
    for day in (1, 2, 3):
        add_event(session, f"2026-03-0{day} 12:00", number=day)
    answer(session, event=1, at="2026-03-01 13:00")
    refresh(session)
    return session


def uuid_of(number: int) -> str:
    """The id of an event."""
    return f"00000000-0000-0000-0000-{number:012d}"


def add_event(session: psycopg.Connection, at: str | None, *, number: int, model: str = "m@1") -> None:
    """One event of a transaction of its own."""
    session.execute(
        "INSERT INTO public.suggestion_events (id, txn_id, model_id, candidates, mode, created_at)"
        " VALUES (%s, %s, %s, '[{\"label\": \"Food\"}]', 'auto', %s)",
        [uuid_of(number), number, model, at],
    )


def answer(session: psycopg.Connection, *, event: int | str | None, at: str, action: str = "accept") -> None:
    """One answer to an event, to none, or to one that may not exist."""
    key = uuid_of(event) if isinstance(event, int) else event
    session.execute(
        "INSERT INTO public.suggestion_feedback (event_id, txn_id, action, label, created_at)"
        " VALUES (%s, 0, %s, 'Food', %s::timestamp AT TIME ZONE 'UTC')",
        [key, action, at],
    )


def refresh(session: psycopg.Connection, relation: str | None = None, *, mode: str = "incremental") -> int:
    """Refresh without the scrub and give the run's id."""
    row = session.execute(
        "CALL ledgerviews.refresh(%s::text, %s, scrub => false)", [relation, mode]
    ).fetchone()
    assert row is not None
    return int(row[0])


def steps(session: psycopg.Connection, run_id: int) -> dict[str, tuple[Any, ...]]:
    """Scope, method and reason of each relation of a run."""
    rows = session.execute(
        "SELECT relation_name, scope, method, reason FROM ledgerviews.run_relation"
        " WHERE run_id = %s ORDER BY position",
        [run_id],
    )
    return {name: rest for name, *rest in rows.fetchall()}  # type: ignore[misc]


def scopes(session: psycopg.Connection, run_id: int) -> list[str]:
    """The scopes of the three marts."""
    found = steps(session, run_id)
    return [found[mart][0] for mart in MARTS]


def changed_days(session: psycopg.Connection, run_id: int) -> set[str]:
    """How many closed days a run found changed, in its words."""
    return {reason.partition(",")[0] for _, _, reason in steps(session, run_id).values()}


def differing(session: psycopg.Connection) -> int:
    """Rows that differ between what is published and a recompute of everything."""
    query: LiteralString = (
        "SELECT count(*) FROM ((TABLE public.{0} EXCEPT ALL TABLE ledgerviews.{0}_rollup_whole)"
        " UNION ALL (TABLE ledgerviews.{0}_rollup_whole EXCEPT ALL TABLE public.{0})) AS d"
    )
    total = 0
    for mart in (DAILY, FEEDBACK):
        row = session.execute(query.format(mart)).fetchone()
        assert row is not None
        total += row[0]
    return total


def exact(session: psycopg.Connection, run_id: int) -> bool:
    """Whether the run recomputed no more than days, and what is published is right."""
    return "all" not in scopes(session, run_id)[:2] and differing(session) == 0


# What changed ---------------------------------------------------------------------------------------------


def take_for_many(session: psycopg.Connection, *, many: bool) -> None:
    """Have one orphan looked for as a thousand are, or leave it."""
    if many:
        function = "ledgerviews.suggestion_feedback_taken(boolean)"
        rewrite(session, function, ("(count(*) > 1000)", "(count(*) > 0)"))


def remembered(session: psycopg.Connection) -> list[str]:
    """The days of the answers that are remembered as having no event."""
    rows = session.execute(
        "SELECT day::text FROM ledgerviews.suggestion_feedback_orphan ORDER BY day"
    ).fetchall()
    return [day for (day,) in rows]


def test_a_late_answer_changes_the_day_of_its_event(connection: psycopg.Connection) -> None:
    """An answer of today to an event of March changes March, by one recomputed day in one mart."""
    answer(connection, event=2, at="2026-06-01 00:00")

    run_id = refresh(connection)

    assert exact(connection, run_id)
    assert steps(connection, run_id)[FEEDBACK][2].startswith("1 day changed, and days from ")
    assert steps(connection, run_id)[DAILY][2].startswith("days from ")
    assert connection.execute(
        f"SELECT accepts FROM public.{FEEDBACK} WHERE created_date = '2026-03-02'"
    ).fetchall() == [(1,)]


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE public.suggestion_events SET created_at = '2026-02-01' WHERE txn_id = 1",
        "UPDATE public.suggestion_events SET created_at = now() AT TIME ZONE 'UTC' WHERE txn_id = 1",
        "UPDATE public.suggestion_events SET created_at = NULL WHERE txn_id = 1",
        "UPDATE public.suggestion_events SET created_at = 'infinity' WHERE txn_id = 1",
        "UPDATE public.suggestion_events SET mode = 'model' WHERE txn_id < 3",
        "DELETE FROM public.suggestion_events WHERE txn_id = 1",
        "DELETE FROM public.transactions WHERE id = 1",
        "UPDATE public.suggestion_feedback SET event_id = NULL",
        (
            "UPDATE public.suggestion_feedback SET event_id = (SELECT id FROM public.suggestion_events"
            " WHERE txn_id = 3)"
        ),
        "DELETE FROM public.suggestion_feedback",
        (
            "COPY public.suggestion_events (txn_id, candidates, mode, created_at) FROM PROGRAM"
            " 'echo \"7,[],auto,2025-12-31 23:59:59.999999\"' (FORMAT csv)"
        ),
        (
            "INSERT INTO public.suggestion_events (id, txn_id, candidates, mode, created_at)"
            " SELECT id, 9, '[]', 'auto', '2026-01-05' FROM public.suggestion_events WHERE txn_id = 2"
            " ON CONFLICT (id) DO UPDATE SET created_at = excluded.created_at"
        ),
        (
            "MERGE INTO public.suggestion_events AS e USING (VALUES (3)) AS s (n) ON e.txn_id = s.n"
            " WHEN MATCHED THEN UPDATE SET model_id = 'other@1', created_at = '2026-03-09'"
        ),
        (
            "SET session_replication_role = replica; DELETE FROM public.suggestion_events WHERE txn_id = 1;"
            " RESET session_replication_role"
        ),
    ],
)
def test_every_way_to_write_is_seen(connection: psycopg.Connection, statement: LiteralString) -> None:
    """However rows of closed days are changed, the next refresh recomputes their days and no more."""
    connection.execute(statement)

    assert exact(connection, refresh(connection))


@pytest.mark.parametrize("many", [False, True])
def test_an_orphan_finds_its_event_and_loses_it_again(connection: psycopg.Connection, *, many: bool) -> None:
    """Without the foreign key, an answer moves to the day of an event that comes, and back when it goes."""
    histories.lift_constraints(connection)
    take_for_many(connection, many=many)
    refresh(connection)
    answer(connection, event=7, at="2026-05-05 10:00", action="reject")
    orphaned = exact(connection, refresh(connection))
    add_event(connection, "2026-04-04 10:00", number=7)
    adopted = exact(connection, refresh(connection))
    connection.execute("UPDATE public.suggestion_events SET id = gen_random_uuid() WHERE txn_id = 7")
    rekeyed = exact(connection, refresh(connection))
    connection.execute("UPDATE public.suggestion_events SET id = %s WHERE txn_id = 7", [uuid_of(7)])
    again = exact(connection, refresh(connection))
    connection.execute("DELETE FROM public.suggestion_events WHERE txn_id = 7")
    left = exact(connection, refresh(connection))

    assert (orphaned, adopted, rekeyed, again, left) == (True,) * 5
    assert connection.execute(
        f"SELECT created_date::text, rejects FROM public.{FEEDBACK} WHERE rejects > 0"
    ).fetchall() == [("2026-05-05", 1)]


@pytest.mark.parametrize("many", [False, True])
def test_an_orphan_of_long_ago_is_adopted_by_an_event_of_today(
    connection: psycopg.Connection, *, many: bool
) -> None:
    """An event of an open day, which nothing logs, still takes an old answer off the answer's own day."""
    histories.lift_constraints(connection)
    take_for_many(connection, many=many)
    refresh(connection)
    answer(connection, event=8, at="2026-01-01 10:00")
    refresh(connection)
    connection.execute(
        "INSERT INTO public.suggestion_events (id, txn_id, candidates, mode) VALUES (%s, 8, '[]', 'auto')",
        [uuid_of(8)],
    )

    assert exact(connection, refresh(connection))
    assert connection.execute(
        f"SELECT count(*) FROM public.{FEEDBACK} WHERE created_date = '2026-01-01'"
    ).fetchone() == (0,)


@pytest.mark.parametrize("many", [False, True])
@pytest.mark.parametrize("tracking", ["closed days", "every write"])
def test_only_orphans_that_stand_are_remembered(
    connection: psycopg.Connection, tracking: str, *, many: bool
) -> None:
    """An answer that went with its event, was deleted, moved or given an event is remembered no more."""
    histories.lift_constraints(connection)
    take_for_many(connection, many=many)
    connection.execute(
        "SELECT ledgerviews.track(ARRAY[%s, 'public.suggestion_feedback'], %s)", [EVENTS, tracking]
    )
    refresh(connection)
    connection.execute(
        "DELETE FROM public.suggestion_feedback USING public.suggestion_events AS e WHERE event_id = e.id"
    )
    connection.execute("DELETE FROM public.suggestion_events")
    together = exact(connection, refresh(connection))
    after_both = remembered(connection)
    for number in (60, 61, 62, 63):
        answer(connection, event=number, at=f"2026-02-0{number - 59} 10:00")
    orphaned = exact(connection, refresh(connection))
    four = remembered(connection)
    connection.execute("DELETE FROM public.suggestion_feedback WHERE event_id = %s", [uuid_of(60)])
    connection.execute(
        "UPDATE public.suggestion_feedback SET created_at = '2026-06-06 UTC' WHERE event_id = %s",
        [uuid_of(61)],
    )
    connection.execute(
        "INSERT INTO public.suggestion_events (id, txn_id, candidates, mode) VALUES (%s, 8, '[]', 'auto')",
        [uuid_of(62)],
    )
    left = exact(connection, refresh(connection))

    assert (together, orphaned, left) == (True,) * 3
    assert after_both == []
    assert four == ["2026-02-01", "2026-02-02", "2026-02-03", "2026-02-04"]
    assert remembered(connection) == ["2026-02-04", "2026-06-06"]


def test_what_commits_late_is_not_missed(
    installed_url: str, connect: Connect, connection: psycopg.Connection
) -> None:
    """A transaction that wrote before a refresh and commits after it is in the next one."""
    writer = connect(installed_url)
    writer.execute("BEGIN")
    add_event(writer, None, number=20)
    add_event(writer, "2026-03-02 08:00", number=21)
    writer.execute(
        "INSERT INTO public.suggestion_events (id, txn_id, candidates, mode) VALUES (%s, 22, '[]', 'auto')",
        [uuid_of(22)],
    )
    refresh(connection)
    refresh(connection)
    writer.execute("COMMIT")

    assert exact(connection, refresh(connection))


def test_a_refresh_of_one_leaves_the_days_of_the_others(connection: psycopg.Connection) -> None:
    """What a refresh of one mart takes from the log, the others still recompute when their turn comes."""
    add_event(connection, "2026-03-02 08:00", number=20)
    refresh(connection, DAILY)
    between = differing(connection)
    last = refresh(connection)

    assert between > 0
    assert exact(connection, last)
    assert steps(connection, last)[DAILY][2].startswith("days from ")
    assert steps(connection, last)[FEEDBACK][2].startswith("1 day changed")
    assert scopes(connection, last)[2] == "all"


def test_nothing_new_refreshes_no_view(connection: psycopg.Connection) -> None:
    """Without news no view is refreshed, and with the log of every write nothing is recomputed."""
    open_days = refresh(connection)
    for source in (EVENTS, "public.suggestion_feedback"):
        connection.execute("SELECT ledgerviews.track(%s, 'every write')", [source])
    refresh(connection)
    nothing = refresh(connection)

    assert {method for _, method, _ in steps(connection, open_days).values()} == {"unchanged"}
    assert scopes(connection, open_days) == ["days", "days", "none"]
    assert scopes(connection, nothing) == ["none", "none", "none"]


@pytest.mark.parametrize("stem", ["suggestion_events", "suggestion_feedback"])
def test_a_log_in_which_nothing_stands_is_not_emptied(connection: psycopg.Connection, stem: str) -> None:
    """What empties a log, and takes long to plan, is called only where something stands in one."""
    refresh(connection)
    connection.execute(
        f"CREATE OR REPLACE FUNCTION ledgerviews.{stem}_taken(fresh boolean)"
        " RETURNS TABLE (source text, day date) LANGUAGE plpgsql AS $$BEGIN RAISE 'emptied'; END$$".encode()
    )
    nothing = refresh(connection)
    add_event(connection, "2026-04-04 10:00", number=7)

    assert {method for _, method, _ in steps(connection, nothing).values()} == {"unchanged"}
    with pytest.raises(psycopg.errors.RaiseException, match="emptied"):
        refresh(connection)


def test_days_that_turn_out_the_same_refresh_no_view(connection: psycopg.Connection) -> None:
    """A write that changes no figure costs the recomputing of its day and no refresh of a view."""
    connection.execute("UPDATE public.suggestion_events SET features_hash = 'x' WHERE txn_id = 1")

    run_id = refresh(connection)

    assert changed_days(connection, run_id) == {"1 day changed", "nothing that it reads changed"}
    assert {method for _, method, _ in steps(connection, run_id).values()} == {"unchanged"}


def test_many_days_are_recomputed_as_a_whole(connection: psycopg.Connection) -> None:
    """Past two fifths of all days, the whole is recomputed instead, and the reason says so."""
    connection.execute(
        "INSERT INTO public.suggestion_events (txn_id, candidates, mode, created_at)"
        " SELECT 1, '[]', 'auto', timestamp '2026-04-01' + n * interval '1 day'"
        " FROM generate_series(1, 20) AS n"
    )

    run_id = refresh(connection)

    assert scopes(connection, run_id)[:2] == ["all", "all"]
    assert steps(connection, run_id)[DAILY][2] == "20 of 20 days changed"
    assert differing(connection) == 0


# What cannot be sure --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("statement", "reason"),
    [
        ("TRUNCATE public.suggestion_events CASCADE", "truncated or rewritten"),
        ("VACUUM FULL public.suggestion_events", "truncated or rewritten"),
        ("ALTER TABLE public.suggestion_events DISABLE TRIGGER ledgerviews_insert", "not ENABLE ALWAYS"),
        (
            (
                "ALTER TABLE public.suggestion_events DISABLE TRIGGER ALL;"
                " ALTER TABLE public.suggestion_events ENABLE TRIGGER ALL"
            ),
            "not ENABLE ALWAYS",
        ),
        (
            (
                "ALTER TABLE public.suggestion_events DISABLE TRIGGER ledgerviews_insert;"
                " ALTER TABLE public.suggestion_events ENABLE ALWAYS TRIGGER ledgerviews_insert"
            ),
            "its triggers were altered",
        ),
        ("DROP TRIGGER ledgerviews_delete ON public.suggestion_events", "a trigger of ours is missing"),
        ("TRUNCATE ledgerviews.suggestion_events_change", "its log was emptied or rewritten"),
        ("CREATE TABLE public.more () INHERITS (public.suggestion_events)", "tables inherit from it"),
    ],
)
def test_any_doubt_rebuilds_and_says_why(connection: psycopg.Connection, statement: str, reason: str) -> None:
    """What may have hidden a write makes the next refresh recompute everything, with the reason."""
    for one in statement.split(";"):
        connection.execute(one.encode())

    run_id = refresh(connection)

    assert scopes(connection, run_id)[:2] == ["all", "all"]
    assert steps(connection, run_id)[DAILY][2].startswith(f"{EVENTS}: ")
    assert reason in steps(connection, run_id)[DAILY][2]
    assert differing(connection) == 0


@pytest.mark.parametrize("tracking", ["closed days", "none"])
def test_a_renamed_label_of_an_enumerated_type_rebuilds(
    older_installed_url: str, connect: Connect, tracking: str
) -> None:
    """Renaming what an enumerated type calls an action changes figures without a write, and is found."""
    session = connect(older_installed_url)
    session.execute(
        "SELECT ledgerviews.track(ARRAY[%s, 'public.suggestion_feedback'], %s)", [EVENTS, tracking]
    )
    session.execute("INSERT INTO public.transactions (id, date) VALUES (1, '2026-01-01')")
    add_event(session, "2026-03-01", number=1)
    session.execute(
        "INSERT INTO public.suggestion_feedback (event_id, txn_id, action, label)"
        " VALUES (%s, 1, 'accept', 'Food')",
        [uuid_of(1)],
    )
    refresh(session)
    session.execute("ALTER TYPE public.suggestion_action RENAME VALUE 'accept' TO 'taken'")

    run_id = refresh(session)

    assert steps(session, run_id)[FEEDBACK][2].endswith("an enumerated type that it uses was altered")
    assert differing(session) == 0


def test_a_day_that_triggers_are_not_given_rebuilds(application_url: str, connect: Connect) -> None:
    """Where a virtual generated column tells the day, all is recomputed: no trigger sees it. A scan does."""
    session = connect(application_url)
    if session.info.server_version < 180000:
        pytest.skip("virtual generated columns are new in PostgreSQL 18")
    session.execute(
        "ALTER TABLE public.suggestion_events ADD COLUMN made_at timestamptz, DROP COLUMN created_at;"
        "ALTER TABLE public.suggestion_events"
        " ADD COLUMN created_at timestamp GENERATED ALWAYS AS (made_at AT TIME ZONE 'UTC') VIRTUAL"
    )
    session.execute("INSERT INTO public.transactions (id, date) VALUES (1, '2026-01-01')")
    commands.upgrade(Settings(database_url=application_url))
    refresh(session)
    insert: LiteralString = (
        "INSERT INTO public.suggestion_events (txn_id, candidates, mode, made_at)"
        " VALUES (1, '[]', 'auto', '2026-03-01 12:00Z')"
    )
    session.execute(insert)
    tracked = refresh(session)
    found = differing(session)
    session.execute("SELECT ledgerviews.track(%s, 'none')", [EVENTS])
    refresh(session)
    session.execute(insert)
    scanned = refresh(session)

    assert steps(session, tracked)[DAILY][2] == (
        f"{EVENTS}: its day or its key is a virtual generated column, which no trigger sees"
    )
    assert (found, differing(session)) == (0, 0)
    assert steps(session, scanned)[DAILY][2].endswith("1 day changed")


def test_repaired_triggers_are_trusted_again(connection: psycopg.Connection) -> None:
    """After tracking is installed anew one refresh is full, and the next is by day."""
    connection.execute("DROP TRIGGER ledgerviews_delete ON public.suggestion_events")
    broken = scopes(connection, refresh(connection)), scopes(connection, refresh(connection))
    connection.execute("SELECT ledgerviews.track('public.suggestion_events')")
    first = refresh(connection)

    assert [scope[:2] for scope in broken] == [["all", "all"]] * 2
    assert steps(connection, first)[DAILY][2] == f"{EVENTS}: tracking begins"
    assert exact(connection, refresh(connection))


def test_a_source_that_nothing_tells_of_is_no_silence(connection: psycopg.Connection) -> None:
    """A mart whose source was never made known is recomputed as a whole each time, and says so."""
    connection.execute(
        "UPDATE ledgerviews.relation SET sources = sources || '{public.transactions}'"
        " WHERE relation_name = %s",
        [DAILY],
    )

    run_id = refresh(connection)

    assert steps(connection, run_id)[DAILY][0] == "all"
    assert steps(connection, run_id)[DAILY][2].startswith("public.transactions: its days are not told")


def test_without_triggers_a_scan_finds_what_changed(connection: psycopg.Connection) -> None:
    """A source without triggers is scanned: late rows, deletes and adopted answers are all found."""
    histories.lift_constraints(connection)
    for source in (EVENTS, "public.suggestion_feedback"):
        connection.execute("SELECT ledgerviews.untrack(%s)", [source])
    refresh(connection)
    idle = refresh(connection)
    answer(connection, event=30, at="2026-01-01 10:00")
    orphaned = exact(connection, refresh(connection))
    add_event(connection, "2026-03-07 10:00", number=30)
    adopted = exact(connection, refresh(connection))
    connection.execute("DELETE FROM public.suggestion_events WHERE txn_id IN (1, 30)")
    deleted = exact(connection, refresh(connection))
    connection.execute("UPDATE public.suggestion_events SET mode = 'model' WHERE txn_id = 3")
    updated = refresh(connection)

    assert scopes(connection, idle) == ["none", "none", "none"]
    assert (orphaned, adopted, deleted, exact(connection, updated)) == (True,) * 4
    assert changed_days(connection, updated) >= {"1 day changed"}


@pytest.mark.parametrize("children", ["public.suggestion_feedback", EVENTS])
def test_one_source_without_triggers_beside_one_with(connection: psycopg.Connection, children: str) -> None:
    """Where only one of the two is tracked, what either of them changes is still found."""
    histories.lift_constraints(connection)
    connection.execute("SELECT ledgerviews.untrack(%s)", [children])
    refresh(connection)
    answer(connection, event=30, at="2026-01-01 10:00")
    add_event(connection, "2026-03-07 10:00", number=31)
    first = exact(connection, refresh(connection))
    add_event(connection, "2026-03-08 10:00", number=30)
    second = exact(connection, refresh(connection))
    connection.execute("DELETE FROM public.suggestion_events WHERE txn_id IN (1, 30)")

    assert (first, second) == (True, True)
    assert exact(connection, refresh(connection))


def test_a_partitioned_source(application_url: str, connect: Connect) -> None:
    """Writes to the parent and to partitions are tracked; a new partition rebuilds once."""
    session = connect(application_url)
    session.execute(
        """DROP TABLE public.suggestion_feedback, public.suggestion_events;
           CREATE TABLE public.suggestion_events (id uuid DEFAULT gen_random_uuid(), txn_id integer NOT NULL,
               model_id varchar, features_hash varchar, candidates jsonb NOT NULL, mode varchar NOT NULL,
               created_at timestamp) PARTITION BY RANGE (created_at);
           CREATE TABLE public.events_march PARTITION OF public.suggestion_events
               FOR VALUES FROM ('2026-03-01') TO ('2026-04-01');
           CREATE TABLE public.events_else PARTITION OF public.suggestion_events DEFAULT;
           CREATE TABLE public.suggestion_feedback (event_id uuid, txn_id integer, action varchar,
               label varchar, created_at timestamptz)"""
    )
    commands.upgrade(Settings(database_url=application_url))
    for day in range(1, 8):
        add_event(session, f"2026-03-0{day}", number=day)
    refresh(session)
    add_event(session, "2026-03-05 10:00", number=40)
    session.execute("UPDATE public.events_march SET mode = 'model' WHERE txn_id = 1")
    session.execute("UPDATE public.suggestion_events SET created_at = '2026-05-01' WHERE txn_id = 3")
    by_day = exact(session, refresh(session))
    session.execute(
        "CREATE TABLE public.events_june PARTITION OF public.suggestion_events"
        " FOR VALUES FROM ('2026-06-01') TO ('2026-07-01')"
    )
    grown = refresh(session)
    session.execute(
        "INSERT INTO public.events_june (txn_id, candidates, mode, created_at)"
        " VALUES (1, '[]', 'auto', '2026-06-02')"
    )

    assert by_day
    assert steps(session, grown)[DAILY][2] == f"{EVENTS}: it was made anew, or its partitions are others"
    assert exact(session, refresh(session))


# What must never break the application --------------------------------------------------------------------


def test_a_column_that_is_read_cannot_be_dropped(connection: psycopg.Connection) -> None:
    """Dropping or retyping a column that the marts read is refused at once; one that nobody reads goes."""
    for statement in (
        "ALTER TABLE public.suggestion_feedback DROP COLUMN label",
        "ALTER TABLE public.suggestion_events ALTER COLUMN created_at TYPE date",
    ):
        with pytest.raises(psycopg.Error) as caught:
            connection.execute(statement.encode())
        assert caught.value.sqlstate in {"2BP01", "0A000"}
    connection.execute("ALTER TABLE public.suggestion_feedback DROP COLUMN reason")

    assert exact(connection, refresh(connection))


def test_a_renamed_column_stops_no_write(connection: psycopg.Connection) -> None:
    """After the application renames columns that are read, its writes go on, and refreshes are full.

    Once the triggers are put on again they are by day.
    """
    connection.execute(
        "ALTER TABLE public.suggestion_events RENAME COLUMN created_at TO made_at;"
        "ALTER TABLE public.suggestion_events RENAME COLUMN id TO event_key;"
        "ALTER TABLE public.suggestion_feedback RENAME COLUMN event_id TO about"
    )
    refresh(connection)
    connection.execute(
        "UPDATE public.suggestion_events SET made_at = '2026-03-09' WHERE txn_id = 1;"
        "DELETE FROM public.suggestion_events WHERE txn_id = 2;"
        "INSERT INTO public.suggestion_feedback (about, txn_id, action, label)"
        " SELECT event_key, 0, 'reject', 'Food' FROM public.suggestion_events WHERE txn_id = 3"
    )
    renamed = refresh(connection)
    found = differing(connection)
    connection.execute(
        "SELECT ledgerviews.follow_renames();"
        "SELECT ledgerviews.track(ARRAY(SELECT s.source FROM ledgerviews.source AS s))"
    )
    refresh(connection)
    connection.execute(
        "UPDATE public.suggestion_events SET made_at = '2026-03-11' WHERE txn_id = 1;"
        "DELETE FROM public.suggestion_feedback WHERE txn_id = 0"
    )

    assert steps(connection, renamed)[DAILY][2] == f"{EVENTS}: a column that its triggers log was renamed"
    assert found == 0
    assert exact(connection, refresh(connection))


@pytest.mark.parametrize("tracking", ["closed days", "every write"])
@pytest.mark.parametrize(
    "alteration",
    [
        "ALTER TABLE public.suggestion_events ADD COLUMN made uuid DEFAULT gen_random_uuid()",
        "ALTER TABLE public.suggestion_feedback ADD COLUMN made timestamptz DEFAULT clock_timestamp()",
        "ALTER TABLE public.suggestion_feedback ALTER COLUMN confidence TYPE numeric",
    ],
)
def test_the_application_alters_what_we_do_not_read(
    connection: psycopg.Connection, alteration: str, tracking: str
) -> None:
    """An ALTER TABLE that rewrites a tracked table is not refused, and what follows it is exact."""
    connection.execute("SELECT ledgerviews.track(source, %s) FROM ledgerviews.source", [tracking])
    refresh(connection)

    connection.execute(alteration.encode())
    rewritten = refresh(connection)
    answer(connection, event=2, at="2026-03-02 13:00")
    after = refresh(connection)

    assert "all" in scopes(connection, rewritten)
    assert exact(connection, after)
    assert changed_days(connection, after) >= {"1 day changed"}


@pytest.mark.parametrize("type_name", ["timestamptz", "text"])
def test_a_name_that_another_column_took_misleads_no_refresh(
    connection: psycopg.Connection, type_name: str
) -> None:
    """Where a new column gets the name of the day's, writes go on, and refreshes are full."""
    connection.execute("ALTER TABLE public.suggestion_events RENAME COLUMN created_at TO made_at")
    added = f"ADD COLUMN created_at {type_name} DEFAULT '2026-01-01'"
    connection.execute(f"ALTER TABLE public.suggestion_events {added}".encode())
    connection.execute("UPDATE public.suggestion_events SET made_at = '2026-03-09' WHERE txn_id = 1")
    first = refresh(connection)
    found = differing(connection)
    connection.execute("UPDATE public.suggestion_events SET made_at = '2026-03-10' WHERE txn_id = 2")
    second = refresh(connection)
    found += differing(connection)
    connection.execute("DELETE FROM public.suggestion_events WHERE txn_id = 3")
    # As it was at first; the delete was logged under another day.
    connection.execute(
        "ALTER TABLE public.suggestion_events DROP COLUMN created_at;"
        "ALTER TABLE public.suggestion_events RENAME COLUMN made_at TO created_at"
    )
    third = refresh(connection)
    found += differing(connection)
    fourth = refresh(connection)

    assert found == 0
    assert steps(connection, first)[DAILY][2] == steps(connection, second)[DAILY][2]
    assert steps(connection, second)[DAILY][2] == f"{EVENTS}: a column that its triggers log was renamed"
    assert scopes(connection, third)[0] == "all"
    assert exact(connection, fourth)


def test_a_rename_there_and_back_is_seen(connection: psycopg.Connection) -> None:
    """What was logged under another column's day, between two refreshes, is not missed."""
    connection.execute(
        "ALTER TABLE public.suggestion_events RENAME COLUMN created_at TO made_at;"
        "ALTER TABLE public.suggestion_events ADD COLUMN created_at timestamp DEFAULT '2026-01-01'"
    )
    connection.execute("UPDATE public.suggestion_events SET made_at = '2026-03-09' WHERE txn_id = 1")
    # The default of a constant rewrote nothing, so that no file tells.
    connection.execute(
        "ALTER TABLE public.suggestion_events DROP COLUMN created_at;"
        "ALTER TABLE public.suggestion_events RENAME COLUMN made_at TO created_at"
    )
    first = refresh(connection)
    found = differing(connection)
    second = refresh(connection)

    assert steps(connection, first)[DAILY][2] == f"{EVENTS}: a column that its triggers log was altered"
    assert found == 0
    assert exact(connection, second)


def test_tracking_that_is_installed_anew_knows_the_new_names(connection: psycopg.Connection) -> None:
    """After a rename that misleads, installing the triggers again is all that it takes."""
    connection.execute(
        "ALTER TABLE public.suggestion_events RENAME COLUMN created_at TO made_at;"
        "ALTER TABLE public.suggestion_events ADD COLUMN created_at timestamptz"
    )
    misled = refresh(connection)
    connection.execute(
        "SELECT ledgerviews.follow_renames(); SELECT ledgerviews.track('public.suggestion_events')"
    )
    refresh(connection)
    connection.execute("UPDATE public.suggestion_events SET made_at = '2026-03-09' WHERE txn_id = 1")
    after = refresh(connection)

    assert scopes(connection, misled)[0] == "all"
    assert exact(connection, after)
    assert changed_days(connection, after) >= {"2 days changed"}


def test_the_application_needs_no_right_of_ours(
    installed_url: str, connect: Connect, connection: psycopg.Connection
) -> None:
    """A role that may write the tables and nothing else writes closed days, even where EXECUTE is taken."""
    connection.execute(
        """REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA ledgerviews FROM PUBLIC;
           DROP ROLE IF EXISTS lv_application;
           CREATE ROLE lv_application;
           GRANT INSERT, UPDATE, DELETE, SELECT ON public.suggestion_events, public.suggestion_feedback
               TO lv_application"""
    )
    writer = connect(installed_url)
    try:
        writer.execute("SET ROLE lv_application")
        add_event(writer, "2026-03-05", number=33)
        answer(writer, event=33, at="2026-03-05")
        writer.execute("UPDATE public.suggestion_events SET mode = 'model' WHERE txn_id = 33")
        writer.execute("DELETE FROM public.suggestion_feedback WHERE label = 'Food'")
        writer.execute("RESET ROLE")

        assert exact(connection, refresh(connection))
    finally:
        connection.execute("DROP OWNED BY lv_application; DROP ROLE lv_application")


def test_installing_triggers_gives_way_to_writers(
    installed_url: str, connect: Connect, connection: psycopg.Connection
) -> None:
    """While a transaction holds the table, tracking is not installed, writers go on, and it says so."""
    holder, writer = connect(installed_url), connect(installed_url)
    holder.execute("BEGIN; LOCK public.suggestion_events IN ROW EXCLUSIVE MODE")
    writer.execute("SET statement_timeout = '5s'")

    with pytest.raises(psycopg.errors.LockNotAvailable, match="in use at each of 3 attempts"):
        connection.execute("SELECT ledgerviews.track('public.suggestion_events', 'every write', 3)")
    add_event(writer, "2026-03-05", number=34)
    holder.execute("ROLLBACK")
    connection.execute("SELECT ledgerviews.track('public.suggestion_events', 'every write', 3)")

    assert connection.execute(
        "SELECT tracking FROM ledgerviews.source WHERE source = 'public.suggestion_events'"
    ).fetchone() == ("every write",)
    refresh(connection)
    assert differing(connection) == 0


@pytest.mark.parametrize("busy", ["suggestion_events", "suggestion_feedback"])
def test_an_upgrade_does_not_lock_one_table_while_it_waits_for_another(
    application_url: str, connect: Connect, busy: str
) -> None:
    """While a transaction holds one source, the upgrade waits, and writes to both tables go on."""
    settings = Settings(database_url=application_url)
    commands.upgrade(settings, "0002")
    holder, writer = connect(application_url), connect(application_url)
    writer.execute("INSERT INTO public.transactions (id, date) VALUES (1, '2026-01-01'), (2, '2026-01-01')")
    holder.execute(f"BEGIN; LOCK public.{busy} IN ROW EXCLUSIVE MODE".encode())
    upgrade = threading.Thread(target=commands.upgrade, args=[settings, "0003"])
    upgrade.start()
    waits = []
    for _ in range(8):
        time.sleep(0.3)
        started = time.monotonic()
        writer.execute(
            "INSERT INTO public.suggestion_events (txn_id, candidates, mode) VALUES (1, '[]', 'auto')"
        )
        answer(writer, event=None, at="2026-03-01")
        waits.append(time.monotonic() - started)
    holder.execute("ROLLBACK")
    upgrade.join(60)
    refresh(writer)

    assert max(waits) < 2
    assert writer.execute("SELECT DISTINCT tracking FROM ledgerviews.source").fetchall() == [("closed days",)]
    assert differing(writer) == 0


# Checks, verify and scrub ---------------------------------------------------------------------------------


def fail_a_check(session: psycopg.Connection, *, severity: str) -> None:
    """Declare that no mart row may have more than one event, and write what breaks it."""
    session.execute(
        "INSERT INTO ledgerviews.relation_check"
        " (schema_name, relation_name, check_name, kind, expression, severity)"
        " VALUES ('public', %s, 'one_event', 'expression', 'events <= 1', %s)",
        [FEEDBACK, severity],
    )
    add_event(session, "2026-03-02 08:00", number=20)


def test_a_failing_check_publishes_nothing(connection: psycopg.Connection) -> None:
    """An error-level check that fails leaves all marts as they were, says which rows, and loses no change."""
    fail_a_check(connection, severity="error")
    before = connection.execute(f"SELECT sum(events) FROM public.{DAILY}").fetchone()

    with pytest.raises(psycopg.Error, match=r"these checks fail: one_event \(1 row\)") as caught:
        refresh(connection)
    after = connection.execute(f"SELECT sum(events) FROM public.{DAILY}").fetchone()
    run = connection.execute(
        "SELECT r.state, r.sqlstate, r.failed_relation, c.check_name, c.failed_rows,"
        " c.sample -> 0 ->> 'events'"
        " FROM ledgerviews.run AS r JOIN ledgerviews.run_check AS c USING (run_id)"
    ).fetchall()
    connection.execute("DELETE FROM ledgerviews.relation_check WHERE check_name = 'one_event'")

    assert caught.value.sqlstate == "LV001"
    assert after == before
    assert run == [("failed", "LV001", f"public.{FEEDBACK}", "one_event", 1, "2")]
    assert exact(connection, refresh(connection))


def test_a_warning_is_published(connection: psycopg.Connection) -> None:
    """A warn-level check that fails is told and written down, and the figures are published."""
    fail_a_check(connection, severity="warn")
    told: list[str] = []
    connection.add_notice_handler(lambda diag: told.append(diag.message_primary or ""))

    run_id = refresh(connection)

    assert exact(connection, run_id)
    assert any("Check one_event of public." in line for line in told)
    assert connection.execute(
        "SELECT run_id, severity, failed_rows FROM ledgerviews.run_check"
    ).fetchall() == [(run_id, "warn", 1)]


def test_checks_look_at_what_was_recomputed(connection: psycopg.Connection) -> None:
    """A check that warned once does not warn of rows that stay as they are; a full refresh runs it on all."""
    connection.execute(
        "INSERT INTO ledgerviews.relation_check"
        " (schema_name, relation_name, check_name, kind, columns, severity)"
        " VALUES ('public', %(mart)s, 'a', 'not_null', '{accept_rate}', 'warn')",
        {"mart": FEEDBACK},
    )
    runs = [refresh(connection), refresh(connection), refresh(connection, mode="full")]

    assert connection.execute(
        "SELECT run_id, failed_rows FROM ledgerviews.run_check ORDER BY run_id"
    ).fetchall() == [(runs[0], 2), (runs[2], 2)]


def test_a_new_check_is_run_on_all_rows(connection: psycopg.Connection) -> None:
    """The first refresh after a check was added or made another finds rows that stay."""
    connection.execute(
        "INSERT INTO ledgerviews.relation_check"
        " (schema_name, relation_name, check_name, kind, columns, severity)"
        " VALUES ('public', %(mart)s, 'a', 'not_null', '{accept_rate}', 'error'),"
        " ('public', %(mart)s, 'b', 'unique', '{mode}', 'error'),"
        " ('public', %(mart)s, 'c', 'not_null', '{mode}', 'error')",
        {"mart": FEEDBACK},
    )
    for _ in range(2):
        with pytest.raises(psycopg.Error, match=r"these checks fail: a \(2 rows\), b \(1 row\)"):
            refresh(connection)
    connection.execute("DELETE FROM ledgerviews.relation_check WHERE check_name IN ('a', 'b')")
    passed = refresh(connection)
    connection.execute(
        "UPDATE ledgerviews.relation_check SET columns = '{accept_rate}' WHERE check_name = 'c'"
    )

    assert steps(connection, passed)[FEEDBACK][1] == "unchanged"
    with pytest.raises(psycopg.Error, match=r"these checks fail: c \(2 rows\)"):
        refresh(connection)


def test_verify_finds_one_changed_cell(connection: psycopg.Connection) -> None:
    """A cell changed in a rollup is found, nothing is published, and the next refresh mends it."""
    clean = refresh(connection, mode="verify")
    connection.execute(f"UPDATE ledgerviews.{DAILY}_rollup SET events = 99 WHERE created_date = '2026-03-02'")
    connection.execute(f"REFRESH MATERIALIZED VIEW public.{DAILY}")

    with pytest.raises(psycopg.Error, match=rf"public\.{DAILY} \(2 rows\)") as caught:
        refresh(connection, mode="verify")
    mended = refresh(connection)

    assert clean > 0
    assert steps(connection, mended)[DAILY][2].startswith("verify (run ")
    assert caught.value.sqlstate == "LV002"
    assert '"events": 99' in (caught.value.diag.message_detail or "")
    assert differing(connection) == 0


def test_verify_finds_what_is_not_published_yet(connection: psycopg.Connection) -> None:
    """A rollup that somebody changed is found before a refresh publishes it."""
    connection.execute(f"UPDATE ledgerviews.{DAILY}_rollup SET events = 99")

    told = rf"would publish are not what the sources give: public\.{DAILY} \(6 rows of its rollup\)"
    with pytest.raises(psycopg.Error, match=told):
        refresh(connection, mode="verify")


def test_an_emptied_rollup_is_rebuilt(connection: psycopg.Connection) -> None:
    """After somebody truncates a rollup the next refresh recomputes all, and counts right."""
    connection.execute(f"TRUNCATE ledgerviews.{DAILY}_rollup")
    add_event(connection, "2026-03-02 08:00", number=20)

    run_id = refresh(connection)

    assert steps(connection, run_id)[DAILY][2] == "its rollup was emptied or rewritten"
    assert differing(connection) == 0
    assert connection.execute(
        "SELECT rows_after FROM ledgerviews.run_relation WHERE run_id = %s AND position = 1", [run_id]
    ).fetchone() == (3,)


@pytest.mark.parametrize("expression", ["nothing > 0", "events", "events > 0; SELECT 1"])
def test_a_check_that_cannot_be_run_is_refused_at_once(
    connection: psycopg.Connection, expression: str
) -> None:
    """An expression that is no condition over the columns is refused when it is installed, by its name."""
    with pytest.raises(psycopg.Error, match=r"Check odd of public\.") as caught:
        connection.execute(
            "INSERT INTO ledgerviews.relation_check"
            " (schema_name, relation_name, check_name, kind, expression, severity)"
            " VALUES ('public', %s, 'odd', 'expression', %s, 'error')",
            [DAILY, expression],
        )

    assert caught.value.diag.message_hint == "An expression is one condition over the relation's columns."


def test_a_check_may_end_in_a_comment_and_names_itself_when_it_breaks(connection: psycopg.Connection) -> None:
    """A comment at the end of an expression is none of the query's; an error in it names the check."""
    connection.execute(
        "INSERT INTO ledgerviews.relation_check"
        " (schema_name, relation_name, check_name, kind, expression, severity)"
        " VALUES ('public', %s, 'odd', 'expression', '1 / (events - 1) > 0 -- never', 'error')",
        [DAILY],
    )
    add_event(connection, "2026-03-05 08:00", number=20)

    with pytest.raises(psycopg.Error, match=r"Check odd of public\.mart_suggestions_daily cannot be run"):
        refresh(connection)


def test_the_scrub_comes_round_to_every_day(connection: psycopg.Connection) -> None:
    """Refresh by refresh the scrub verifies day after day; drift is told, logged, and mended by the next."""
    connection.execute(f"DELETE FROM ledgerviews.{DAILY}_rollup WHERE created_date = '2026-03-02'")
    connection.execute(f"REFRESH MATERIALIZED VIEW public.{DAILY}")
    told: list[str] = []
    connection.add_notice_handler(lambda diag: told.append(f"{diag.severity}: {diag.message_primary}"))
    runs = 0
    while not any("Drift" in line for line in told) and runs < 6:
        connection.execute("CALL ledgerviews.refresh()")
        runs += 1
    drift = connection.execute("SELECT drift FROM ledgerviews.run WHERE drift IS NOT NULL").fetchall()
    mended = refresh(connection)

    assert runs <= 3
    assert [line for line in told if line.startswith("WARNING: Drift: public.mart_suggestions_daily, days ")]
    assert len(drift) == 1
    assert steps(connection, mended)[DAILY][2].startswith("the scrub found rows of ")
    assert differing(connection) == 0


@pytest.mark.parametrize("known", ["from the first", "since the scrub"])
def test_days_that_are_not_those_of_the_whole_are_refused(connection: psycopg.Connection, known: str) -> None:
    """Where single days come out otherwise than within the whole, nothing is published, and why is told."""
    rewrite(
        connection,
        f"ledgerviews.{DAILY}_rollup_days(date,date)",
        ("count(*) AS events", "count(*) + 1 AS events"),
    )
    before = connection.execute(f"TABLE public.{DAILY}".encode()).fetchall()
    mode = "full"
    if known == "since the scrub":
        mode = "incremental"
        connection.execute("CALL ledgerviews.refresh()")
        assert connection.execute("SELECT drift FROM ledgerviews.run WHERE drift IS NOT NULL").fetchall()

    for _ in range(2):
        with pytest.raises(psycopg.errors.DataException) as refused:
            refresh(connection, mode=mode)

    message = str(refused.value)
    assert f"public.{DAILY} is not the same computed by day: of " in message
    assert " 2 rows differ, the first only where it is computed as a whole: {" in message
    assert "or the day_rows of a source, are not what is declared" in str(refused.value.diag.message_hint)
    assert connection.execute(f"TABLE public.{DAILY}".encode()).fetchall() == before


def test_rows_that_a_day_gives_for_another_are_refused(connection: psycopg.Connection) -> None:
    """One row for the wrong day is told in the singular, and publishes nothing."""
    rewrite(
        connection,
        f"ledgerviews.{DAILY}_rollup_days(date,date)",
        ("s.created_date,\n", "(s.created_date + 1),\n"),
    )
    add_event(connection, "2026-03-02 08:00", number=20)

    with pytest.raises(
        psycopg.errors.DataException,
        match=r"computes 1 row for some days that stands on other days: \{.*\"created_date\": \"2026-03-03\"",
    ):
        refresh(connection)


def test_a_scrub_is_no_false_alarm(
    installed_url: str, connect: Connect, connection: psycopg.Connection
) -> None:
    """What was committed between the refresh's snapshot and the scrub's is no drift."""
    writer = connect(installed_url)
    for number in range(3):
        writer.execute("BEGIN")
        add_event(writer, f"2026-03-0{number + 1} 09:00", number=20 + number)
        refresh(connection)
        writer.execute("COMMIT")
        connection.execute("SELECT ledgerviews.scrub(1)")

    assert connection.execute("SELECT drift FROM ledgerviews.run WHERE drift IS NOT NULL").fetchall() == []


def test_a_scrub_makes_way_for_a_refresh(
    installed_url: str, connect: Connect, connection: psycopg.Connection
) -> None:
    """Beside another refresh it neither waits nor writes what that one would begin again for."""
    connection.execute("CALL ledgerviews.refresh(scrub => false)")
    verified = "SELECT scrubbed_at FROM ledgerviews.relation_state WHERE scrubbed_at IS NOT NULL"
    other = connect(installed_url)
    with other.transaction():
        other.execute("LOCK TABLE ledgerviews.refresh_lock IN EXCLUSIVE MODE")
        connection.execute("SELECT ledgerviews.scrub(1)")
        beside = connection.execute(verified).fetchall()
    connection.execute("SELECT ledgerviews.scrub(1)")
    held = connection.execute(
        "SELECT FROM pg_catalog.pg_locks WHERE relation = 'ledgerviews.refresh_lock'::pg_catalog.regclass"
        " AND database = (SELECT d.oid FROM pg_catalog.pg_database AS d WHERE d.datname = current_database())"
    ).fetchall()

    assert beside == []
    assert len(connection.execute(verified).fetchall()) == 2
    assert held == []


def test_a_grain_that_is_none_is_told(connection: psycopg.Connection) -> None:
    """Two rows with one key are an error that names the relation and the key, after a single attempt."""
    connection.execute(
        "UPDATE ledgerviews.relation SET unique_key = '{created_date,mode}' WHERE relation_name = %s", [DAILY]
    )
    add_event(connection, "2026-03-02 08:00", number=20, model="other@2")

    with pytest.raises(psycopg.errors.CardinalityViolation, match="more than one row with the same key"):
        refresh(connection)


# Installing -----------------------------------------------------------------------------------------------


def test_the_upgrade_keeps_rows_and_grants(application_url: str, connect: Connect) -> None:
    """Upgrading a database that was refreshed before, and downgrading it, keeps figures and grants."""
    settings = Settings(database_url=application_url)
    session = connect(application_url)
    commands.upgrade(settings, "0002")
    session.execute("INSERT INTO public.transactions (id, date) VALUES (1, '2026-01-01')")
    add_event(session, "2026-03-01", number=1)
    session.execute("CALL ledgerviews.refresh()")
    session.execute(f"GRANT SELECT ON public.{DAILY}, public.{KPIS} TO PUBLIC")
    query: LiteralString = (
        "SELECT d.events, k.events_total,"
        " has_table_privilege('pg_monitor', 'public.mart_suggestions_kpis', 'SELECT')"
        " FROM public.mart_suggestions_daily AS d, public.mart_suggestions_kpis AS k"
    )
    seen = [session.execute(query).fetchall()]
    commands.upgrade(settings)
    seen.append(session.execute(query).fetchall())
    first = refresh(session)
    commands.downgrade(settings, "0002")
    seen.append(session.execute(query).fetchall())
    session.execute("CALL ledgerviews.refresh()")
    seen.append(session.execute(query).fetchall())
    commands.upgrade(settings)

    assert seen == [[(1, 1, True)]] * 4
    assert refresh(session) > first
    assert differing(session) == 0


def test_a_downgrade_takes_everything_along(installed_url: str, connect: Connect) -> None:
    """Going back to revision 0002 leaves no trigger, rollup, log or function of engine 2."""
    session = connect(installed_url)
    query: LiteralString = (
        "SELECT proname FROM pg_proc WHERE pronamespace = 'ledgerviews'::regnamespace"
        " UNION SELECT relname FROM pg_class WHERE relnamespace = 'ledgerviews'::regnamespace"
        " UNION SELECT tgname FROM pg_trigger WHERE tgrelid = 'public.suggestion_events'::regclass"
        " AND NOT tgisinternal ORDER BY 1"
    )
    settings = Settings(database_url=installed_url)
    commands.downgrade(settings, "0002")
    went_back = session.execute(query).fetchall()
    commands.downgrade(settings, "base")
    commands.upgrade(settings, "0002")

    assert went_back == session.execute(query).fetchall()


@pytest.mark.parametrize("tracking", ["closed days", "every write", "none"])
def test_tracking_is_chosen_at_the_upgrade(application_url: str, connect: Connect, tracking: str) -> None:
    """LEDGERVIEWS_TRACKING decides how the sources are tracked; every way is exact."""
    session = connect(application_url)
    commands.upgrade(Settings(database_url=application_url, tracking=tracking))
    session.execute("INSERT INTO public.transactions (id, date) VALUES (1, '2026-01-01')")
    add_event(session, "2026-03-01", number=1)
    refresh(session)
    answer(session, event=1, at="2026-03-05")
    refresh(session)

    assert session.execute("SELECT DISTINCT tracking FROM ledgerviews.source").fetchall() == [(tracking,)]
    assert differing(session) == 0
