"""op.ledgerviews_replace beside readers, writers, refreshes and kills; offline; and refreshes after it."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from contextlib import closing, suppress
from typing import TYPE_CHECKING, Any, Self

import psycopg
import pytest

from ledgerviews.config import Settings
from ledgerviews.schema.replace import script
from tests import servers as pg
from tests.replacing import (
    BASE,
    DAILY,
    SHOP,
    TOP,
    fingerprint,
    open_shop,
    operate,
    replace,
    rows,
    true_rows,
    with_amount,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Connect = Callable[[str], psycopg.Connection]

SLOW = (
    "CREATE FUNCTION public.slowly(n int, seconds float8) RETURNS int LANGUAGE plpgsql AS $$ BEGIN"
    # Only while it is built: readers of it are quick.
    " IF n = 1 AND EXISTS (SELECT FROM pg_locks WHERE pid = pg_backend_pid() AND granted"
    " AND relation = 'ledgerviews.refresh_lock'::regclass) THEN PERFORM pg_sleep(seconds); END IF;"
    " RETURN n; END $$"
)


def slow(seconds: float) -> dict[str, Any]:
    """The base, other than it was, and slow to read."""
    base = with_amount(f"public.slowly(o.id, {seconds}) * 0 + o.amount + 1")["base"]
    return SHOP | with_amount("o.amount + 1") | {"base": base}


class Readers:
    """Sessions that read in a loop until they are told to stop, and what went wrong."""

    def __init__(self, url: str, queries: list[str]) -> None:
        self.stop = threading.Event()
        self.errors: list[str] = []
        self.reads = 0
        self.threads = [threading.Thread(target=self.read, args=(url, query)) for query in queries]

    def read(self, url: str, query: str) -> None:
        with closing(psycopg.connect(url, autocommit=True)) as connection:
            while not self.stop.is_set():
                try:
                    (found,) = connection.execute(query.encode()).fetchall()
                    self.reads += 1
                    if found[0] is None or found[0] == 0:
                        self.errors.append(f"{query}: {found}")
                except psycopg.Error as exc:
                    self.errors.append(f"{query}: {exc}")
                time.sleep(0.002)

    def __enter__(self) -> Self:
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop.set()
        for thread in self.threads:
            thread.join()


def longest_wait(url: str, stop: threading.Event, found: list[float]) -> None:
    """How long sessions were seen waiting to read a relation, by the server's own clock."""
    with closing(psycopg.connect(url, autocommit=True)) as connection:
        while not stop.is_set():
            found += [
                seconds
                for (seconds,) in connection.execute(
                    "SELECT EXTRACT(EPOCH FROM clock_timestamp() - l.waitstart)::float8 FROM pg_locks AS l"
                    " JOIN pg_stat_activity AS a USING (pid)"
                    " WHERE NOT l.granted AND l.locktype = 'relation' AND l.mode = 'AccessShareLock'"
                    " AND l.waitstart IS NOT NULL"
                )
            ]
            time.sleep(0.001)


@pytest.mark.parametrize("indexes", [["(amount)"], []], ids=["kept", "gone"])
def test_nothing_is_locked_before_the_exchange(empty_url: str, connect: Connect, indexes: list[str]) -> None:
    """Until then no reader of what stood there would wait, whatever is declared no more."""
    connection = connect(empty_url)
    open_shop(connection, empty_url)
    before = SHOP | {"daily": DAILY | {"indexes": ["(amount)"], "grants": {"pg_monitor": ["SELECT"]}}}
    after = SHOP | {
        "base": BASE | {"definition": BASE["definition"].replace("o.amount\n", "o.amount, 1 AS one\n")},
        "daily": DAILY | {"indexes": indexes},
    }
    replace(empty_url, SHOP, before)
    stood = [oid for (oid,) in connection.execute("SELECT oid FROM pg_class WHERE relkind IN ('v', 'm')")]
    build, swap, _ = script(before, after, settings=Settings()).partition("SELECT ledgerviews.swap(")

    with connection.transaction(force_rollback=True):
        connection.execute(build.encode())
        locked = connection.execute(
            "SELECT relation::regclass::text, mode FROM pg_locks WHERE pid = pg_backend_pid()"
            " AND mode IN ('ExclusiveLock', 'AccessExclusiveLock') AND relation = ANY (%s)",
            [stood],
        ).fetchall()

    assert swap
    assert locked == []


@pytest.mark.parametrize(
    "change",
    [
        "GRANT SELECT ON public.daily TO pg_read_all_settings",
        "REVOKE SELECT ON public.daily FROM pg_monitor",
        "GRANT SELECT (day) ON public.daily TO pg_read_all_settings",
        "GRANT DELETE ON public.daily TO pg_monitor",
        "REVOKE EXECUTE ON FUNCTION ledgerviews.daily_rollup_days FROM pg_monitor",
        "GRANT SELECT ON ledgerviews.daily_rollup TO pg_read_all_settings",
    ],
)
def test_privileges_changed_meanwhile_stop_it(empty_url: str, connect: Connect, change: str) -> None:
    """What was granted or revoked during the build is not lost: the replacement is, and can be run again."""
    connection, other = connect(empty_url), connect(empty_url)
    open_shop(connection, empty_url)
    after = SHOP | {
        "base": BASE | {"definition": BASE["definition"].replace("o.amount\n", "o.amount, 1 AS one\n")}
    }
    build, swap, rest = script(SHOP, after, settings=Settings()).partition("SELECT ledgerviews.swap(")

    connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
    connection.execute(build.encode())
    other.execute(change.encode())
    with pytest.raises(psycopg.errors.SerializationFailure, match=r"privileges on .* were changed while"):
        connection.execute(f"{swap}{rest}".encode())
    connection.execute("ROLLBACK")
    granted = fingerprint(connection)
    replace(empty_url, SHOP, after)
    replace(empty_url, after, SHOP)

    assert fingerprint(connection) == granted


def test_roles_that_change_meanwhile_do_not_stop_it(empty_url: str, connect: Connect) -> None:
    """Who joins a role or leaves the server during the build was granted or revoked nothing on a relation."""
    connection, other = connect(empty_url), connect(empty_url)
    open_shop(connection, empty_url)
    after = SHOP | {
        "base": BASE | {"definition": BASE["definition"].replace("o.amount\n", "o.amount, 1 AS one\n")}
    }
    build, swap, rest = script(SHOP, after, settings=Settings()).partition("SELECT ledgerviews.swap(")
    joins, leaves = (f"lv_{connection.info.dbname[-40:]}_{word}" for word in ("joins", "leaves"))
    other.execute(f'CREATE ROLE "{joins}"; CREATE ROLE "{leaves}"; GRANT pg_monitor TO "{leaves}"'.encode())
    try:
        connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
        connection.execute(build.encode())
        other.execute(f'GRANT pg_monitor, pg_read_all_data TO "{joins}"; DROP ROLE "{leaves}"'.encode())
        connection.execute(f"{swap}{rest}".encode())
        connection.execute("COMMIT")
    finally:
        other.execute(f'DROP ROLE IF EXISTS "{joins}", "{leaves}"'.encode())

    assert connection.execute("SELECT DISTINCT one FROM public.base").fetchall() == [(1,)]


def test_readers_notice_nothing(empty_url: str, connect: Connect) -> None:
    """While a chain is replaced up and down, readers get rows, no error, and do not wait for the build."""
    connection = connect(empty_url)
    open_shop(connection, empty_url)
    connection.execute(SLOW)
    queries = [
        f"SELECT count(*) FROM public.{name}"
        for name in ("base", "daily", "top", "team_view", "team_upper", "team_mart")
    ]
    queries += [
        "SELECT sum(public.team_function(day)) FROM public.top",
        "SELECT count(*) FROM public.top JOIN public.team_view USING (day)",
    ]
    waits: list[float] = []
    with Readers(empty_url, queries) as readers:
        watcher = threading.Thread(target=longest_wait, args=(empty_url, readers.stop, waits))
        watcher.start()
        began = time.monotonic()
        replace(empty_url, SHOP, slow(1))
        took = time.monotonic() - began
        replace(empty_url, slow(1), SHOP)
    watcher.join()

    assert readers.errors == []
    assert readers.reads > len(queries)
    assert took > 1
    # A machine at work wakes a session late; a build would take a second and more.
    assert max(waits, default=0) < 0.5


@pytest.mark.parametrize("tracking", ["closed days", "every write", "none"])
def test_what_is_written_meanwhile_comes_with_the_next_refresh(
    empty_url: str, connect: Connect, tracking: str
) -> None:
    """Writes between the build's snapshot and the exchange are in the next refresh, by day or as a whole."""
    connection = connect(empty_url)
    open_shop(connection, empty_url)
    connection.execute("SELECT ledgerviews.track('public.orders', %s)", [tracking])
    connection.execute("CALL ledgerviews.refresh()")
    connection.execute(SLOW)
    after = slow(1.5)
    work = threading.Thread(target=replace, args=(empty_url, SHOP, after))
    work.start()
    wait_for_build(connection)
    with closing(psycopg.connect(empty_url)) as writer:
        writer.execute(
            "INSERT INTO public.orders VALUES (5000, 'new', '2026-01-05 12:00+00', 7),"
            " (5001, 'new', now(), 7)"
        )
        writer.execute("DELETE FROM public.orders WHERE id = 17")
        writer.execute("UPDATE public.orders SET placed_at = '2026-01-20 12:00+00' WHERE id = 18")
        writer.commit()
        # And a transaction that is open over the exchange.
        writer.execute(
            "INSERT INTO public.orders VALUES (5002, 'open', '2026-01-07 12:00+00', 7),"
            " (5003, 'open', now(), 7)"
        )
        running = work.is_alive()
        work.join()
        unseen = rows(connection, "public.daily") == true_rows(connection, after, "daily")
        writer.commit()
    connection.execute("CALL ledgerviews.refresh()")
    scope = connection.execute(
        "SELECT scope, reason FROM ledgerviews.run_relation WHERE relation_name = 'daily'"
        " ORDER BY run_id DESC LIMIT 1"
    ).fetchall()

    assert running
    assert not unseen
    assert scope[0][0] == ("all" if tracking == "none" else "days"), scope
    for name in ("daily", "top"):
        assert rows(connection, f"public.{name}") == true_rows(connection, after, name)


def wait_for_build(connection: psycopg.Connection) -> None:
    """Until a replacement is asleep in its build."""
    for _ in range(400):
        found = connection.execute(
            "SELECT FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND datname = current_database()"
            " AND query LIKE '%op.ledgerviews_replace%'"
        ).fetchall()
        if found:
            return
        time.sleep(0.02)
    pytest.fail("No replacement was seen at its build.")


STEPS = [
    "replace_begin",
    "stage",
    "probe",
    "enlist",
    "enlist_dependents",
    "build_member",
    "decide",
    "build",
    "exchange",
    "rename",
    "register",
    "settle",
    "swap",
]


@pytest.mark.parametrize("step", STEPS)
def test_killed_at_any_step(empty_url: str, connect: Connect, step: str) -> None:
    """The server ends the session at the end of a step: nothing changed; the same again does it all."""
    connection = connect(empty_url)
    open_shop(connection, empty_url)
    before = SHOP | {"aside": {"kind": "view", "definition": "SELECT 1 AS one"}}
    replace(empty_url, SHOP, before)
    after = slow(0) | {"beside": before["aside"] | {"renamed_from": "aside"}}
    connection.execute(SLOW)
    was = fingerprint(connection)
    text = connection.execute(
        "SELECT pg_get_functiondef(p.oid) FROM pg_proc AS p"
        " WHERE p.pronamespace = 'ledgerviews'::regnamespace"
        " AND p.proname = %s",
        [step],
    ).fetchall()[0][0]
    # What the function does, and then the end of its session.
    if "LANGUAGE plpgsql" in text:
        head, _, tail = text.rpartition("\nEND\n")
        killed = (
            f"{head}\n    PERFORM pg_catalog.pg_terminate_backend(pg_catalog.pg_backend_pid());\nEND\n{tail}"
        )
        if step == "swap":
            killed = text.replace(
                "            EXIT;\n",
                "            PERFORM pg_catalog.pg_terminate_backend(pg_catalog.pg_backend_pid());\n"
                "            EXIT;\n",
            )
    else:
        killed = text.replace(
            "BEGIN ATOMIC\n",
            "BEGIN ATOMIC\n SELECT pg_catalog.pg_terminate_backend(pg_catalog.pg_backend_pid());\n",
        )
    connection.execute(killed.encode())

    with pytest.raises(Exception, match=r"terminat|closed|lost"):
        replace(empty_url, before, after)
    connection.execute(text.encode())
    unharmed = fingerprint(connection)
    replace(empty_url, before, after)

    assert unharmed == was
    assert {name: rows(connection, f"public.{name}") for name in ("base", "daily", "top")} == {
        name: true_rows(connection, after, name) for name in ("base", "daily", "top")
    }
    assert rows(connection, "public.beside") == [('{"one": 1}',)]


def test_the_client_is_killed(empty_url: str, connect: Connect, tmp_path: Path) -> None:
    """Kill -9 of the command during its build leaves nothing; run again, it goes through."""
    connection = connect(empty_url)
    open_shop(connection, empty_url)
    connection.execute(SLOW)
    was = fingerprint(connection)
    program = tmp_path / "program.py"
    program.write_text(
        "import sys\nfrom tests.integration.test_replace_live import slow\n"
        "from tests.replacing import SHOP, replace\n"
        "replace(sys.argv[1], SHOP, slow(3))\n",
        encoding="utf-8",
    )
    with subprocess.Popen(
        [sys.executable, str(program), empty_url], env={**pg.clean_environment(), "PYTHONPATH": str(pg.ROOT)}
    ) as process:
        wait_for_build(connection)
        process.kill()
    connection.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event = 'PgSleep'"
        " AND datname = current_database()"
    )
    for _ in range(100):
        with suppress(psycopg.errors.LockNotAvailable), connection.transaction():
            connection.execute("LOCK TABLE ledgerviews.refresh_lock IN EXCLUSIVE MODE NOWAIT")
            break
        time.sleep(0.05)
    unharmed = fingerprint(connection)
    replace(empty_url, SHOP, slow(0))

    assert unharmed == was
    assert rows(connection, "public.daily") == true_rows(connection, slow(0), "daily")


def test_a_long_reader_stops_the_exchange(empty_url: str, connect: Connect) -> None:
    """A transaction that goes on reading is waited for, briefly each time; then nothing is changed."""
    connection = connect(empty_url)
    open_shop(connection, empty_url)
    was = fingerprint(connection)
    with closing(psycopg.connect(empty_url)) as long:
        long.execute("SELECT count(*) FROM public.daily")
        with Readers(
            empty_url, ["SELECT count(*) FROM public.daily", "SELECT count(*) FROM public.team_view"]
        ) as readers:
            with pytest.raises(
                psycopg.errors.LockNotAvailable, match=r"public\.daily was in use at each of \d+ attempts"
            ):
                replace(
                    empty_url,
                    SHOP,
                    SHOP
                    | {
                        "base": SHOP["base"] | {"definition": SHOP["base"]["definition"] + "\nWHERE o.id > 3"}
                    },
                    swap_timeout_ms=1500,
                )
            unharmed = fingerprint(connection)
            timer = threading.Timer(1, long.rollback)
            timer.start()
            replace(
                empty_url,
                SHOP,
                SHOP
                | {"base": SHOP["base"] | {"definition": SHOP["base"]["definition"] + "\nWHERE o.id > 3"}},
            )
            timer.join()

    assert unharmed == was
    assert readers.errors == []
    assert rows(connection, "public.base") == true_rows(
        connection, {"base": BASE | {"definition": BASE["definition"] + "\nWHERE o.id > 3"}}, "base"
    )


def test_a_refresh_waits_for_the_replacement(empty_url: str, connect: Connect) -> None:
    """A refresh that begins during the build comes after the exchange, and finds everything in order."""
    connection = connect(empty_url)
    open_shop(connection, empty_url)
    connection.execute(SLOW)
    work = threading.Thread(target=replace, args=(empty_url, SHOP, slow(1)))
    work.start()
    wait_for_build(connection)
    connection.execute("INSERT INTO public.orders VALUES (5000, 'new', '2026-01-05 12:00+00', 7)")
    connection.execute("CALL ledgerviews.refresh()")
    ended = not work.is_alive()
    work.join()

    assert ended
    assert rows(connection, "public.top") == true_rows(connection, slow(0), "top")


def test_refreshes_recompute_nothing_more(empty_url: str, connect: Connect) -> None:
    """After a replacement the next refresh recomputes open days only, and verify finds no difference."""
    connection = connect(empty_url)
    open_shop(connection, empty_url)
    connection.execute(SLOW)
    replace(empty_url, SHOP, slow(0))
    connection.execute("CALL ledgerviews.refresh(mode => 'verify')")
    found = connection.execute(
        "SELECT relation_name, scope, rows_inserted + rows_updated + rows_deleted"
        " FROM ledgerviews.run_relation"
        " WHERE run_id = (SELECT max(run_id) FROM ledgerviews.run) ORDER BY 1"
    ).fetchall()

    assert found == [("daily", "days", 0), ("top", "none", 0)]


@pytest.mark.parametrize("driver", ["psql", "driver"])
def test_offline(empty_url: str, connect: Connect, driver: str) -> None:
    """The script that is printed leaves the same as the online run, up and down."""
    connection = connect(empty_url)
    open_shop(connection, empty_url)
    connection.execute(SLOW)
    was = fingerprint(connection)
    after = slow(0)
    after["per_day"] = after.pop("daily") | {"renamed_from": "daily", "indexes": ["(amount)"]}
    after["top"] = TOP | {
        "definition": TOP["definition"].replace("public.daily", "public.per_day"),
        "reads": ["per_day"],
    }
    replace(empty_url, SHOP, after)
    online = fingerprint(connection)
    replace(empty_url, after, SHOP)

    for before, wanted, expected in ((SHOP, after, online), (after, SHOP, was)):
        text = "BEGIN;\n" + script(before, wanted, settings=Settings()) + "COMMIT;\n"
        if driver == "psql":
            psql(empty_url, text)
        else:
            connection.execute(text.encode())

        assert fingerprint(connection) == expected


def psql(url: str, text: str) -> None:
    """Run a script in psql, where there is one."""
    import shutil

    program = shutil.which("psql")
    if program is None:
        pytest.skip("There is no psql.")
    subprocess.run(
        [program, url, "-X", "-v", "ON_ERROR_STOP=1", "-q", "-f", "-"],
        input=text,
        text=True,
        check=True,
        capture_output=True,
        env=pg.clean_environment(),
    )


def test_after_other_changes_of_the_revision(empty_url: str, connect: Connect) -> None:
    """In a transaction that has written already, and in a savepoint, it is undone with the rest."""
    connection = connect(empty_url)
    open_shop(connection, empty_url)
    was = fingerprint(connection)

    def revision(operations: Any) -> None:
        operations.execute("ALTER TABLE public.orders ADD COLUMN note text")
        with operations.get_bind().begin_nested():
            operations.ledgerviews_replace(
                SHOP, SHOP | {"base": BASE | {"definition": BASE["definition"] + "\nWHERE o.note IS NULL"}}
            )

    def failing(operations: Any) -> None:
        revision(operations)
        operations.execute("SELECT 1 / 0")

    with pytest.raises(Exception, match="division by zero"):
        operate(empty_url, failing)
    undone = fingerprint(connection)
    operate(empty_url, revision)

    assert undone == was
    assert rows(connection, "public.daily") == rows(connection, "public.daily") != []
