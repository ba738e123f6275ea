"""What changes a source's rows, or who may write them, while no row is written: seen all the same."""

from __future__ import annotations

import os
import threading
import time
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from psycopg import sql

from ledgerviews.config import Settings
from ledgerviews.schema import commands

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import LiteralString

    Connect = Callable[[str], psycopg.Connection]

EVENTS, FEEDBACK = "public.suggestion_events", "public.suggestion_feedback"
DAILY = "mart_suggestions_daily"
GENERATED_VIRTUAL = 180000
FILL: LiteralString = """
    INSERT INTO public.transactions (id, date) SELECT n, '2026-01-01' FROM generate_series(1, 40) AS n;
    INSERT INTO public.suggestion_events (id, txn_id, candidates, mode, created_at)
    SELECT
        ('00000000-0000-0000-0000-' || lpad(n::text, 12, '0'))::uuid, n, '[]',
        CASE WHEN n % 2 = 0 THEN 'auto' ELSE 'model' END,
        timestamp '2026-03-01 12:00' + n % 4 * interval '1 day'
    FROM generate_series(1, 40) AS n;
    INSERT INTO public.suggestion_feedback (event_id, txn_id, action, label, created_at)
    SELECT e.id, e.txn_id, 'accept', 'x', e.created_at FROM public.suggestion_events AS e
"""
COMPARED: LiteralString = """
    SELECT
        (SELECT count(*) FROM (TABLE public.mart_suggestions_daily
            EXCEPT ALL TABLE ledgerviews.mart_suggestions_daily_rollup_whole) AS d)
        + (SELECT count(*) FROM (TABLE ledgerviews.mart_suggestions_daily_rollup_whole
            EXCEPT ALL TABLE public.mart_suggestions_daily) AS d)
        + (SELECT count(*) FROM (TABLE public.mart_suggestions_feedback_daily
            EXCEPT ALL TABLE ledgerviews.mart_suggestions_feedback_daily_rollup_whole) AS d)
        + (SELECT count(*) FROM (TABLE ledgerviews.mart_suggestions_feedback_daily_rollup_whole
            EXCEPT ALL TABLE public.mart_suggestions_feedback_daily) AS d)
"""
PARTITIONED: LiteralString = """
    DROP TABLE public.suggestion_feedback, public.suggestion_events;
    CREATE TABLE public.suggestion_events (
        id uuid NOT NULL DEFAULT gen_random_uuid(), txn_id integer, model_id varchar, features_hash varchar,
        candidates jsonb NOT NULL, mode varchar, created_at timestamp, part integer NOT NULL DEFAULT 1
    ) PARTITION BY LIST (part);
    CREATE TABLE public.events_1 PARTITION OF public.suggestion_events FOR VALUES IN (1);
    CREATE TABLE public.events_2 PARTITION OF public.suggestion_events FOR VALUES IN (2);
    CREATE TABLE public.suggestion_feedback (
        id uuid DEFAULT gen_random_uuid(), event_id uuid, txn_id integer, action varchar NOT NULL,
        label varchar(128) NOT NULL, created_at timestamptz
    )
"""


def refresh(session: psycopg.Connection, *, mode: str = "incremental") -> dict[str, Any]:
    """Refresh without the scrub; the reason of each relation."""
    found = session.execute("CALL ledgerviews.refresh(NULL::text[], %s, scrub => false)", [mode]).fetchone()
    assert found is not None
    rows = session.execute(
        "SELECT relation_name, reason FROM ledgerviews.run_relation WHERE run_id = %s", [found[0]]
    )
    return dict(rows.fetchall())


def differing(session: psycopg.Connection) -> int:
    """Rows that differ between what is published and a recompute of everything."""
    found = session.execute(COMPARED).fetchone()
    assert found is not None
    return int(found[0])


def installed(url: str, session: psycopg.Connection, *, fill: bool = True) -> None:
    """Migrate, fill and refresh twice, so that the next refresh is by day."""
    commands.upgrade(Settings(database_url=url))
    if fill:
        session.execute(FILL)
    refresh(session)
    refresh(session)


@dataclass(frozen=True)
class Application:
    """A superuser's session and URL, and a role that owns the application's tables and no more."""

    session: psycopg.Connection
    url: str
    role: sql.Identifier
    its_url: str

    def owns(self, *tables: str) -> None:
        """Give tables of public to the role."""
        for table in tables:
            self.session.execute(
                sql.SQL("ALTER TABLE {} OWNER TO {}").format(sql.Identifier("public", table), self.role)
            )
        self.session.execute(sql.SQL("GRANT ALL ON ALL TABLES IN SCHEMA public TO {}").format(self.role))


@pytest.fixture
def application(application_url: str, connect: Connect) -> Iterator[Application]:
    """A role of its own for the application's tables."""
    session = connect(application_url)
    name = f"application_{os.getpid()}_{session.info.backend_pid}"
    role = sql.Identifier(name)
    session.execute(sql.SQL("CREATE ROLE {0} LOGIN; GRANT ALL ON SCHEMA public TO {0}").format(role))
    try:
        its_url = application_url.replace("//postgres@", f"//{name}@", 1)
        yield Application(session, application_url, role, its_url)
    finally:
        session.execute(sql.SQL("DROP OWNED BY {0} CASCADE; DROP ROLE {0}").format(role))


def test_a_label_below_a_domain_is_seen(application_url: str, connect: Connect) -> None:
    """Where a column is a domain over an enumerated type, a renamed label rebuilds: tracked, and scanned."""
    session = connect(application_url)
    session.execute(
        "CREATE TYPE public.act AS ENUM ('accept', 'reject', 'undo');"
        "CREATE DOMAIN public.acted AS public.act;"
        "ALTER TABLE public.suggestion_feedback"
        " ALTER COLUMN action TYPE public.acted USING action::public.act"
    )
    installed(application_url, session)

    session.execute("ALTER TYPE public.act RENAME VALUE 'accept' TO 'taken'")
    tracked = refresh(session)["mart_suggestions_feedback_daily"]
    found = differing(session)
    session.execute("SELECT ledgerviews.track(ARRAY(SELECT source FROM ledgerviews.source), 'none')")
    refresh(session)
    session.execute("ALTER TYPE public.act RENAME VALUE 'taken' TO 'accept'")
    scanned = refresh(session)["mart_suggestions_feedback_daily"]

    assert (tracked, scanned) == (f"{FEEDBACK}: an enumerated type that it uses was altered",) * 2
    assert (found, differing(session)) == (0, 0)


def test_another_expression_of_a_virtual_column_is_seen(application_url: str, connect: Connect) -> None:
    """It gives every row another value and writes none; tracked, and scanned."""
    session = connect(application_url)
    if session.info.server_version < GENERATED_VIRTUAL:
        pytest.skip("virtual generated columns are new in PostgreSQL 18")
    session.execute(
        "ALTER TABLE public.suggestion_events ADD COLUMN raw varchar, DROP COLUMN model_id;"
        "ALTER TABLE public.suggestion_events ADD COLUMN model_id varchar GENERATED ALWAYS AS (mode) VIRTUAL"
    )
    installed(application_url, session)

    session.execute(
        "ALTER TABLE public.suggestion_events ALTER COLUMN model_id SET EXPRESSION AS ('b' || mode)"
    )
    tracked = refresh(session)[DAILY]
    found = differing(session)
    session.execute("SELECT ledgerviews.track(ARRAY(SELECT source FROM ledgerviews.source), 'none')")
    refresh(session)
    session.execute(
        "ALTER TABLE public.suggestion_events ALTER COLUMN model_id SET EXPRESSION AS ('c' || mode)"
    )
    scanned = refresh(session)[DAILY]

    assert (tracked, scanned) == (f"{EVENTS}: a generated column that it has was altered",) * 2
    assert (found, differing(session)) == (0, 0)


@pytest.mark.parametrize(
    "alteration",
    [
        (
            "ALTER TABLE public.suggestion_events RENAME mode TO other;"
            "ALTER TABLE public.suggestion_events RENAME features_hash TO mode;"
            "ALTER TABLE public.suggestion_events RENAME other TO features_hash"
        ),
        (
            "ALTER TABLE public.suggestion_events DROP COLUMN mode;"
            "ALTER TABLE public.suggestion_events ADD COLUMN mode varchar NOT NULL DEFAULT 'fast'"
        ),
    ],
    ids=["names exchanged", "a column made anew"],
)
def test_what_a_release_lets_happen_is_seen_without_triggers(
    installed_url: str, connect: Connect, alteration: LiteralString
) -> None:
    """After a restore the next refresh recomputes all, though a scan finds no row that was written."""
    session = connect(installed_url)
    session.execute(FILL)
    session.execute("UPDATE public.suggestion_events SET features_hash = 'zz'")
    session.execute("SELECT ledgerviews.track(ARRAY(SELECT source FROM ledgerviews.source), 'none')")
    refresh(session)
    refresh(session)
    with session.transaction():
        session.execute("SELECT ledgerviews.release(ARRAY['public.suggestion_events'])")
        session.execute(alteration)
        session.execute("SELECT ledgerviews.restore()")

    reasons = refresh(session)

    assert reasons[DAILY] == "a table that it reads was altered"
    assert differing(session) == 0


def test_a_child_that_was_gone_is_known_anew(installed_url: str, connect: Connect) -> None:
    """What lost its parent while the child was away is remembered, and finds its parent again."""
    session = connect(installed_url)
    session.execute(FILL)
    session.execute(
        "ALTER TABLE public.suggestion_feedback DROP CONSTRAINT suggestion_feedback_event_id_fkey"
    )
    refresh(session)
    refresh(session)
    first: LiteralString = "00000000-0000-0000-0000-000000000001"
    session.execute("ALTER TABLE public.suggestion_feedback RENAME TO away")
    session.execute("DELETE FROM public.suggestion_events WHERE id = %s", [first])
    gone = refresh(session)["mart_suggestions_feedback_daily"]
    session.execute("ALTER TABLE public.away RENAME TO suggestion_feedback")
    back = refresh(session)["mart_suggestions_feedback_daily"]
    session.execute(
        "INSERT INTO public.suggestion_events (id, txn_id, candidates, mode, created_at)"
        " VALUES (%s, 1, '[]', 'auto', now() AT TIME ZONE 'UTC')",
        [first],
    )
    refresh(session)

    assert (gone, back) == (f"{FEEDBACK}: it is gone", f"{FEEDBACK}: tracking begins")
    assert differing(session) == 0


def test_rows_that_a_policy_hides_rebuild(application: Application) -> None:
    """Where row level security holds for the engine's owner, each refresh is full, and one after it."""
    session = application.session
    application.owns("suggestion_events", "suggestion_feedback")
    session.execute(
        sql.SQL("GRANT CREATE ON DATABASE {} TO {}").format(
            sql.Identifier(session.info.dbname), application.role
        )
    )
    session.execute(FILL)
    commands.upgrade(Settings(database_url=application.its_url))
    with closing(psycopg.connect(application.its_url, autocommit=True)) as owner:
        refresh(owner)
        refresh(owner)
        owner.execute(
            "CREATE POLICY shown ON public.suggestion_events USING (mode <> 'auto');"
            "ALTER TABLE public.suggestion_events ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY"
        )
        hidden = refresh(owner)[DAILY]
        while_hidden = differing(owner)
        owner.execute("ALTER TABLE public.suggestion_events DISABLE ROW LEVEL SECURITY")
        shown = refresh(owner)[DAILY]
        later = refresh(owner)[DAILY]
        after = differing(owner)

    assert hidden.startswith(f"{EVENTS}: row level security may hide rows of it from the owner of the engine")
    assert shown == f"{EVENTS}: tracking begins"
    assert later.startswith("days from ")
    assert (while_hidden, after) == (0, 0)


@pytest.mark.parametrize("partitions", [(), ("events_1", "events_2")])
def test_rows_that_a_policy_hides_meanwhile(application: Application, partitions: tuple[str, ...]) -> None:
    """Row level security that comes on between a refresh's snapshot and its reading has it begin again."""
    session = application.session
    if partitions:
        session.execute(PARTITIONED)
    application.owns("suggestion_events", "suggestion_feedback", *partitions)
    session.execute(
        sql.SQL("GRANT CREATE ON DATABASE {} TO {}").format(
            sql.Identifier(session.info.dbname), application.role
        )
    )
    session.execute(FILL)
    commands.upgrade(Settings(database_url=application.its_url))
    with (
        closing(psycopg.connect(application.its_url, autocommit=True)) as owner,
        closing(psycopg.connect(application.its_url)) as altering,
    ):
        refresh(owner)
        refresh(owner)
        owner.execute("UPDATE public.suggestion_events SET mode = 'model' WHERE txn_id = 1")
        altering.execute("LOCK TABLE public.suggestion_events IN ACCESS EXCLUSIVE MODE")
        reasons: list[str] = []
        thread = threading.Thread(target=lambda: reasons.append(refresh(owner)[DAILY]))
        thread.start()
        waiting: LiteralString = (
            "SELECT FROM pg_locks WHERE NOT granted AND relation = 'public.suggestion_events'::regclass"
        )
        deadline = time.monotonic() + 60
        while not session.execute(waiting).fetchall() and time.monotonic() < deadline:
            time.sleep(0.05)
        altering.execute(
            "CREATE POLICY shown ON public.suggestion_events USING (mode <> 'auto');"
            "ALTER TABLE public.suggestion_events ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY"
        )
        altering.commit()
        thread.join(60)
        owner.execute("ALTER TABLE public.suggestion_events DISABLE ROW LEVEL SECURITY")
        shown = refresh(owner)[DAILY]
        after = differing(owner)

    assert reasons[0].startswith(f"{EVENTS}: row level security may hide rows of it")
    assert shown == f"{EVENTS}: tracking begins"
    assert after == 0


def test_a_cast_of_the_table_s_owner_does_not_run_with_our_rights(application: Application) -> None:
    """A column of another type under the name that the triggers log: the write goes on, no cast is called."""
    session = application.session
    application.owns("suggestion_events", "suggestion_feedback")
    installed(application.url, session)
    with closing(psycopg.connect(application.its_url, autocommit=True)) as owner:
        owner.execute(
            "CREATE TABLE public.told (who text); GRANT INSERT ON public.told TO public;"
            "CREATE TYPE public.own AS (x integer);"
            "CREATE FUNCTION public.cast_own(public.own) RETURNS timestamp LANGUAGE plpgsql AS"
            " 'BEGIN INSERT INTO public.told VALUES (CURRENT_USER); RETURN now(); END';"
            "CREATE CAST (public.own AS timestamp) WITH FUNCTION public.cast_own(public.own) AS ASSIGNMENT;"
            "ALTER TABLE public.suggestion_events RENAME created_at TO moved;"
            "ALTER TABLE public.suggestion_events ADD COLUMN created_at public.own"
        )
        owner.execute(
            "INSERT INTO public.suggestion_events (txn_id, candidates, mode, moved, created_at)"
            " VALUES (1, '[]', 'auto', '2026-03-02', ROW(1))"
        )

    assert session.execute("SELECT who FROM public.told").fetchall() == []
    assert refresh(session)[DAILY] == f"{EVENTS}: a column that its triggers log was renamed"
    assert differing(session) == 0


def test_the_owner_of_a_partitioned_source_gives_it_partitions(application: Application) -> None:
    """One that is made and one that is attached, with our triggers, by a role that has nothing of ours."""
    session = application.session
    session.execute(PARTITIONED)
    application.owns("suggestion_events", "events_1", "events_2", "suggestion_feedback")
    installed(application.url, session)
    with closing(psycopg.connect(application.its_url, autocommit=True)) as owner:
        owner.execute("CREATE TABLE public.events_3 PARTITION OF public.suggestion_events FOR VALUES IN (3)")
        owner.execute("CREATE TABLE public.events_4 (LIKE public.suggestion_events)")
        owner.execute(
            "ALTER TABLE public.suggestion_events ATTACH PARTITION public.events_4 FOR VALUES IN (4)"
        )
        refresh(session)
        for part in (3, 4):
            owner.execute(
                "INSERT INTO public.suggestion_events (txn_id, candidates, mode, created_at, part)"
                " VALUES (1, '[]', 'auto', '2026-03-02', %s)",
                [part],
            )

    assert refresh(session)[DAILY].startswith("1 day changed")
    assert differing(session) == 0


def test_a_partition_that_is_being_detached_is_none(application_url: str, connect: Connect) -> None:
    """While DETACH … CONCURRENTLY waits for a reader, no query reads it, and the figures follow."""
    session = connect(application_url)
    session.execute(PARTITIONED)
    installed(application_url, session)
    session.execute("UPDATE public.suggestion_events SET part = 2 WHERE mode = 'auto'")
    refresh(session)
    pending: LiteralString = "SELECT count(*) FROM pg_inherits WHERE inhdetachpending"
    detach: LiteralString = (
        "ALTER TABLE public.suggestion_events DETACH PARTITION public.events_2 CONCURRENTLY"
    )
    with (
        psycopg.connect(application_url) as reader,
        closing(psycopg.connect(application_url, autocommit=True)) as ddl,
    ):
        reader.execute("SELECT count(*) FROM public.suggestion_events")
        thread = threading.Thread(target=ddl.execute, args=[detach])
        thread.start()
        deadline = time.monotonic() + 60
        while session.execute(pending).fetchone() == (0,) and time.monotonic() < deadline:
            time.sleep(0.05)
        refresh(session)
        found = differing(session), session.execute(pending).fetchone()
        reader.rollback()
        thread.join(60)

    assert found == (0, (1,))
    refresh(session)
    assert differing(session) == 0


@pytest.mark.parametrize("mode", ["incremental", "verify"])
def test_partitions_of_then_and_of_now_begin_it_again(
    application_url: str, connect: Connect, mode: str
) -> None:
    """A partition attached between two marts of one refresh is in both, and no finding of a verify."""
    session = connect(application_url)
    session.execute(PARTITIONED)
    installed(application_url, session)
    session.execute("CREATE TABLE public.events_3 (LIKE public.suggestion_events)")
    session.execute(
        "INSERT INTO public.events_3 (id, txn_id, candidates, mode, created_at, part)"
        " SELECT gen_random_uuid(), 1, '[]', 'auto', '2026-03-02 12:00', 3 FROM generate_series(1, 5)"
    )
    session.execute(
        "INSERT INTO public.suggestion_events (txn_id, candidates, mode, created_at)"
        " VALUES (1, '[]', 'auto', '2026-03-02')"
    )
    # Held before its second mart, or, where it verifies after it, before its last.
    held = DAILY if mode == "incremental" else "mart_suggestions_kpis"
    lock = sql.SQL("COMMENT ON MATERIALIZED VIEW {} IS 'x'").format(sql.Identifier("public", held))
    outcome: list[str | None] = []

    def run() -> None:
        with closing(psycopg.connect(application_url, autocommit=True)) as other:
            try:
                other.execute("CALL ledgerviews.refresh(NULL::text[], %s, scrub => false)", [mode])
            except psycopg.Error as exc:
                outcome.append(str(exc))
            else:
                outcome.append(None)

    waiting: LiteralString = (
        "SELECT count(*) FROM pg_stat_activity"
        " WHERE wait_event_type = 'Lock' AND datname = current_database()"
    )
    with psycopg.connect(application_url) as holder:
        holder.execute(lock)
        thread = threading.Thread(target=run)
        thread.start()
        deadline = time.monotonic() + 60
        while session.execute(waiting).fetchone() == (0,) and time.monotonic() < deadline:
            time.sleep(0.05)
        session.execute(
            "ALTER TABLE public.suggestion_events ATTACH PARTITION public.events_3 FOR VALUES IN (3)"
        )
        holder.rollback()
        thread.join(60)
    disagreeing = session.execute(
        "SELECT count(*) FROM (SELECT created_date, sum(events) FROM public.mart_suggestions_daily GROUP BY 1"
        " EXCEPT SELECT created_date, sum(events) FROM public.mart_suggestions_feedback_daily"
        " WHERE mode <> '(unlinked)' GROUP BY 1) AS d"
    ).fetchone()

    assert outcome == [None]
    assert disagreeing == (0,)


def test_the_triggers_name_no_type_of_the_application_s(installed_url: str, connect: Connect) -> None:
    """A type that is renamed or moved stops no write: the key's is that of our own column."""
    session = connect(installed_url)
    body = session.execute(
        "SELECT prosrc FROM pg_proc WHERE oid = 'ledgerviews.suggestion_feedback_track'::regproc"
    ).fetchone()

    assert body is not None
    assert "v_new_key ledgerviews.suggestion_feedback_change.key%TYPE;" in body[0]


def test_a_publication_of_all_tables_stops_no_refresh(installed_url: str, connect: Connect) -> None:
    """Rows of our logs and rollups are deleted and updated under CREATE PUBLICATION … FOR ALL TABLES."""
    session = connect(installed_url)
    session.execute(FILL)
    refresh(session)
    session.execute("CREATE PUBLICATION everything FOR ALL TABLES")
    session.execute("DELETE FROM public.suggestion_feedback WHERE txn_id < 5")
    session.execute("UPDATE public.suggestion_events SET mode = 'other' WHERE txn_id < 9")

    reasons = refresh(session)

    assert "changed" in reasons[DAILY]
    assert differing(session) == 0
