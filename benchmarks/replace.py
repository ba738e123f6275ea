"""How long readers wait for a lock while the base of a chain is replaced, beside dropping and creating it.

    python -m benchmarks.replace
    python -m benchmarks.replace --bin-dir /usr/lib/postgresql/15/bin --rounds 5

Eight sessions read a materialized view, one on it, and two levels of views; its build takes two seconds. The
server tells each session how long it waited for a lock (log_lock_waits), so a busy machine counts only where
it keeps those waiting that hold the locks. Leaves with 1 where the goal is short or a reader had an error.
"""

from __future__ import annotations

import argparse
import contextlib
import re
import sys
import tempfile
import threading
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import sqlalchemy
from alembic.migration import MigrationContext
from alembic.operations import Operations

from benchmarks.refresh.results import Results, timed
from ledgerviews.dev import Server
from ledgerviews.schema import ReplaceOp

GOAL_MS = 30.0
READERS = 8
PAUSE_S = 0.002
BUILD_S = 2

ROWS = """
CREATE TABLE public.orders (
    id int PRIMARY KEY, day date NOT NULL, customer text NOT NULL, amount int NOT NULL
);
INSERT INTO public.orders
SELECT n, date '2026-01-01' + n % 365, 'c' || n % 20, n % 100 FROM generate_series(1, 200000) AS n;
ANALYZE public.orders;
"""
DAILY = """\
SELECT o.day, o.customer, count(*) AS orders, sum(o.amount) + {more} AS amount
FROM public.orders AS o CROSS JOIN (SELECT pg_catalog.pg_sleep({seconds}) OFFSET 0) AS build
GROUP BY o.day, o.customer"""
CUSTOMERS = (
    "SELECT d.customer, sum(d.orders) AS orders, sum(d.amount) AS amount\n"
    "FROM public.daily AS d GROUP BY d.customer"
)
RECENT = "SELECT d.day, d.orders, d.amount FROM public.daily AS d WHERE d.day > date '2026-12-01'"
TOTALS = "SELECT r.day, sum(r.orders) AS orders FROM public.recent AS r GROUP BY r.day"
READS = [f"SELECT count(*) FROM public.{name}" for name in ("daily", "customers", "recent", "totals")]

_WAITED = re.compile(r"acquired AccessShareLock .* after ([0-9.]+) ms")


def specs(more: int) -> dict[str, dict[str, Any]]:
    """The chain, of which the base adds a number to the amounts."""
    stored = {"kind": "materialized view"}
    return {
        "daily": stored
        | {"definition": DAILY.format(more=more, seconds=BUILD_S), "unique_key": ["day", "customer"]},
        "customers": stored | {"definition": CUSTOMERS, "reads": ["daily"], "unique_key": ["customer"]},
        "recent": {"kind": "view", "definition": RECENT, "reads": ["daily"]},
        "totals": {"kind": "view", "definition": TOTALS, "reads": ["recent"]},
    }


def recreate(connection: psycopg.Connection, more: int) -> None:
    """What a revision without this does: all of it dropped and created again, in one transaction.

    Readers lock a view before what it reads, DROP … CASCADE after: it is tried until it is no victim.
    """
    while True:
        with contextlib.suppress(psycopg.errors.DeadlockDetected):
            _recreate(connection, more)
            return


def _recreate(connection: psycopg.Connection, more: int) -> None:
    with connection.transaction():
        connection.execute("DROP MATERIALIZED VIEW public.daily CASCADE")
        for name, spec in specs(more).items():
            connection.execute(f"CREATE {spec['kind']} public.{name} AS {spec['definition']}".encode())
            if "unique_key" in spec:
                key = ", ".join(spec["unique_key"])
                connection.execute(f"CREATE UNIQUE INDEX {name}_key ON public.{name} ({key})".encode())


def operate(url: str, *operations: Any) -> None:
    """Invoke operations in one transaction, as a revision does."""
    with closing(psycopg.connect(url)) as raw:
        engine = sqlalchemy.create_engine(
            "postgresql+psycopg://", creator=lambda: raw, poolclass=sqlalchemy.StaticPool
        )
        with engine.connect() as connection:
            connection.rollback()
            with connection.begin():
                context = Operations(MigrationContext.configure(connection))
                for operation in operations:
                    if isinstance(operation, int):
                        context.ledgerviews_engine(version=operation, previous=0)  # type: ignore[attr-defined]
                    else:
                        context.invoke(operation)


class Reader(threading.Thread):
    """Reads one relation again and again, and keeps how long the server says that it waited for a lock."""

    def __init__(self, url: str, query: str) -> None:
        super().__init__(daemon=True)
        self.query = query
        self.waits: list[float] = []
        self.errors: list[str] = []
        self.reads = 0
        self.ended = threading.Event()
        self.connection = psycopg.connect(url, autocommit=True)
        for setting in ("log_lock_waits = on", "deadlock_timeout = '1ms'", "client_min_messages = log"):
            self.connection.execute(f"SET {setting}".encode())
        self.connection.add_notice_handler(self.heard)

    def heard(self, diagnostic: psycopg.errors.Diagnostic) -> None:
        """Keep what the server says of a wait."""
        if found := _WAITED.search(diagnostic.message_primary or ""):
            self.waits.append(float(found[1]))

    def run(self) -> None:
        """Read until told to end."""
        while not self.ended.is_set():
            try:
                self.connection.execute(self.query.encode()).fetchall()
                self.reads += 1
            except psycopg.Error as exc:
                self.errors.append(str(exc))
            time.sleep(PAUSE_S)
        self.connection.close()


def during(url: str, action: Any) -> tuple[float, int, list[str], float]:
    """The longest wait in ms, reads, errors, and seconds taken, of readers while an action runs."""
    readers = [Reader(url, READS[number % len(READS)]) for number in range(READERS)]
    for reader in readers:
        reader.start()
    time.sleep(0.3)
    took: list[float] = []
    with timed(took):
        action()
    time.sleep(0.3)
    for reader in readers:
        reader.ended.set()
    for reader in readers:
        reader.join()
    waits = [wait for reader in readers for wait in reader.waits]
    errors = [error for reader in readers for error in reader.errors]
    return max(waits, default=0.0), sum(reader.reads for reader in readers), errors, took[0]


def measure(url: str, results: Results, rounds: int) -> None:
    """Both ways in turn."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(ROWS.encode())
        connection.execute("CREATE SCHEMA ledgerviews")
        operate(url, 3, ReplaceOp({}, specs(0)))
        connection.execute("CALL ledgerviews.refresh()")
        ours: list[float] = []
        theirs: list[float] = []
        for number in range(1, rounds + 1):
            change = ReplaceOp(specs(2 * number - 2), specs(2 * number - 1))
            for what, into, action in (
                ("op.ledgerviews_replace", ours, lambda change=change: operate(url, change)),
                ("drop and create", theirs, lambda more=2 * number: recreate(connection, more)),
            ):
                longest, reads, errors, took = during(url, action)
                into.append(longest)
                results.say(
                    f"  round {number}: {what:<24} longest lock wait of a reader {longest:9.2f} ms,"
                    f" {reads} reads, {len(errors)} errors, {took:.1f} s in all"
                )
                if errors and into is ours:
                    results.short += 1
                    results.say(f"    {errors[0]}")
    results.goal("op.ledgerviews_replace, longest wait of all rounds", max(ours), GOAL_MS, unit=" ms")
    results.say(f"  drop and create: {max(theirs):.0f} ms, {max(theirs) / max(*ours, 0.01):.0f} times")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.replace",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--rounds", type=int, default=3, help="how often each way is measured, in turn")
    parser.add_argument("--bin-dir", type=Path, help="another PostgreSQL's programs")
    given = parser.parse_args()
    results = Results()
    with tempfile.TemporaryDirectory(prefix="ledgerviews-bench-") as parent:
        path = Path(parent)
        path.chmod(0o755)  # the account that PostgreSQL runs as has to get in
        # Durable, because readers wait for the commit, too.
        with Server.start(path / "server", bin_dir=given.bin_dir, throwaway=False, settings={}) as server:
            server.guard()
            results.say(f"PostgreSQL {server.version}, durable, {READERS} readers, a build of {BUILD_S} s")
            server.create_database("bench")
            measure(server.url("bench"), results, given.rounds)
    sys.exit(1 if results.short else 0)


if __name__ == "__main__":
    main()
