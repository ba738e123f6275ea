"""op.ledgerviews_replace beside what others do to the same relations: changes, locks, upgrades."""

from __future__ import annotations

import re
import threading
import time
from contextlib import closing
from typing import TYPE_CHECKING

import psycopg
import pytest

from tests.application import Application
from tests.replacing import BASE, SHOP, fingerprint, open_shop, replace, rows, true_rows

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Connect = Callable[[str], psycopg.Connection]

CHANGED = SHOP | {"base": BASE | {"definition": BASE["definition"] + "\nWHERE o.id > 3"}}
SLOW = (
    "CREATE FUNCTION public.slowly(seconds float8) RETURNS int LANGUAGE plpgsql AS"
    " $$ BEGIN IF EXISTS (SELECT FROM pg_locks WHERE pid = pg_backend_pid() AND granted AND relation ="
    " 'ledgerviews.refresh_lock'::regclass) THEN PERFORM pg_sleep(seconds); END IF; RETURN 0; END $$"
)
BUILDING = (
    "SELECT FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND datname = current_database()"
    " AND query LIKE '%op.ledgerviews_replace%'"
)


def wait_until(connection: psycopg.Connection, query: str, *, seconds: float = 60) -> None:
    """Wait for a query to give a row."""
    deadline = time.monotonic() + seconds
    while not connection.execute(query.encode()).fetchall():
        assert time.monotonic() < deadline, query
        time.sleep(0.02)


def slowly(seconds: float) -> dict[str, dict[str, object]]:
    """A view other than it was, over which a mart is built slowly."""
    text = BASE["definition"].replace("o.amount\n", "o.amount + s.n AS amount\n")
    return SHOP | {"base": BASE | {"definition": f"{text} CROSS JOIN public.slowly({seconds}) AS s (n)"}}


def test_a_view_that_is_changed_meanwhile_ends_it_at_once(empty_url: str, connect: Connect) -> None:
    """CREATE OR REPLACE VIEW of a dependent, which holds what it reads and waits for us: a deadlock.

    It is told in seconds, by name and session; the other one then goes through, and so does a second try.
    """
    connection = connect(empty_url)
    open_shop(connection, empty_url)
    connection.execute(SLOW)
    was = fingerprint(connection)
    failed: list[BaseException] = []
    began = time.monotonic()

    def run() -> None:
        try:
            replace(empty_url, SHOP, slowly(2))
        except psycopg.Error as exc:
            failed.append(exc)

    def change(other: psycopg.Connection) -> None:
        other.execute(
            "CREATE OR REPLACE VIEW team_view AS SELECT t.day, t.orders, 7::bigint AS n FROM top AS t"
        )

    with closing(psycopg.connect(empty_url, autocommit=True)) as other:
        ours = threading.Thread(target=run)
        ours.start()
        wait_until(connection, BUILDING)
        theirs = threading.Thread(target=change, args=(other,))
        theirs.start()
        ours.join()
        theirs.join()
        pid = other.info.backend_pid
    took = time.monotonic() - began
    changed = fingerprint(connection)
    replace(empty_url, SHOP, slowly(0))

    assert len(failed) == 1, failed
    assert isinstance(failed[0], psycopg.errors.LockNotAvailable)
    assert re.search(rf"(top|base) cannot be exchanged: session {pid} holds it", str(failed[0]))
    assert took < 30
    assert [line for line in changed if line not in was] != []
    assert connection.execute("SELECT DISTINCT n FROM team_view").fetchall() == [(7,)]


def test_who_gives_up_waiting_lets_it_through(empty_url: str, connect: Connect) -> None:
    """The same, where the other session's lock_timeout ends its wait within two seconds of the exchange."""
    connection = connect(empty_url)
    open_shop(connection, empty_url)
    with closing(psycopg.connect(empty_url)) as other:
        # It holds the mart below, and waits for a view that is held from the first step of the build on.
        other.execute("SELECT count(*) FROM public.top")

        def change() -> None:
            with pytest.raises(psycopg.errors.LockNotAvailable):
                other.execute(
                    "SET LOCAL lock_timeout = '800ms'; ALTER VIEW public.team_view SET (security_barrier)"
                )
            other.rollback()

        connection.execute(SLOW)
        ours = threading.Thread(target=replace, args=(empty_url, SHOP, slowly(0.5)))
        ours.start()
        wait_until(connection, BUILDING)
        change()
        ours.join()

    assert rows(connection, "public.top") == true_rows(connection, SHOP, "top")


def test_a_prepared_transaction_that_holds_a_mart_stops_it(empty_url: str, connect: Connect) -> None:
    """It has no session; the error names the mart and where such are seen; nothing is changed."""
    connection = connect(empty_url)
    open_shop(connection, empty_url)
    was = fingerprint(connection)
    name = f"holder_{connection.info.dbname}"
    with closing(psycopg.connect(empty_url)) as holder:
        holder.execute("SELECT count(*) FROM public.daily")
        holder.execute(f"PREPARE TRANSACTION '{name}'".encode())
        holder.commit()

    with pytest.raises(psycopg.errors.LockNotAvailable, match="was in use at each of") as caught:
        replace(empty_url, SHOP, CHANGED, swap_timeout_ms=1000)
    unharmed = fingerprint(connection)
    connection.execute(f"ROLLBACK PREPARED '{name}'".encode())
    replace(empty_url, SHOP, CHANGED)

    assert "pg_prepared_xacts" in str(caught.value.diag.message_hint)
    assert unharmed == was
    assert rows(connection, "public.daily") == true_rows(connection, CHANGED, "daily")


def test_300_views_of_others_on_one_mart(empty_url: str, connect: Connect) -> None:
    """All follow, with their grants and comments; chains of them, too."""
    connection = connect(empty_url)
    open_shop(connection, empty_url, foreign=False)
    for number in range(300):
        below = "daily" if number % 3 == 0 else f"other_{number - 1}"
        connection.execute(
            f"CREATE VIEW other_{number} AS SELECT day, customer, amount FROM {below};"
            f" GRANT SELECT ON other_{number} TO pg_monitor;"
            f" COMMENT ON VIEW other_{number} IS 'Number {number}.'".encode()
        )
    hanging = "SELECT relacl::text, obj_description(oid) FROM pg_class WHERE relname LIKE 'other%' ORDER BY 2"
    before = connection.execute(hanging).fetchall()
    daily = SHOP["daily"] | {
        part: SHOP["daily"][part].replace("sum(b.amount)::bigint", "sum(b.amount)::bigint * 2")
        for part in ("definition", "day_definition")
    }

    replace(empty_url, SHOP, SHOP | {"daily": daily})

    assert rows(connection, "public.other_299") == sorted(
        connection.execute("SELECT to_jsonb(d)::text FROM (SELECT day, customer, amount FROM daily) AS d")
    )
    assert connection.execute(hanging).fetchall() == before
    assert connection.execute(
        "SELECT count(*) FROM pg_views WHERE viewname LIKE 'other%' AND definition LIKE '%ledgerviews_%'"
    ).fetchone() == (0,)


def test_two_upgrades_of_an_application_at_once(tmp_path: Path, empty_url: str, connect: Connect) -> None:
    """Two `alembic upgrade head` under an env.py without a queue: one does it, nothing is done by halves.

    The other one waits and then finds it done, or fails as Alembic has it where it had read the version table
    before; which process ends first is chance. A third one finds nothing to do.
    """
    connection = connect(empty_url)
    connection.execute("CREATE TABLE public.orders (id integer); INSERT INTO public.orders VALUES (1)")
    connection.execute("CREATE SCHEMA ledgerviews")
    application = Application(tmp_path / "app", empty_url, tables={"orders": {"id": "Integer"}})
    application.entities = {
        "public.m": ("materialized view", "SELECT o.id FROM public.orders AS o"),
        "public.v": ("view", "SELECT m.id FROM public.m AS m"),
    }
    application.change()
    connection.execute(SLOW)
    application.entities["public.m"] = (
        "materialized view",
        "SELECT o.id + public.slowly(3) AS id FROM public.orders AS o",
    )
    application.revision()
    done: dict[str, tuple[int, str]] = {}

    def run(which: str) -> None:
        found = application.alembic("upgrade", "head")
        done[which] = (found.returncode, found.stdout + found.stderr)

    threads = [threading.Thread(target=run, args=(which,)) for which in ("first", "second")]
    threads[0].start()
    wait_until(connection, BUILDING)
    threads[1].start()
    for thread in threads:
        thread.join()
    third = application.alembic("upgrade", "head")

    assert done["first"][0] == 0, done
    assert (
        done["second"][0] == 0 or "expected to match one row when updating 'r1' to 'r2'" in done["second"][1]
    )
    assert third.returncode == 0, third.stderr
    assert "Running upgrade" not in third.stderr
    assert connection.execute("SELECT version_num FROM alembic_version").fetchall() == [("r2",)]
    assert connection.execute("SELECT id FROM public.v").fetchall() == [(1,)]
    assert application.differs() == []
