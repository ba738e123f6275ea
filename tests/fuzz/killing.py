"""Refreshes that are ended at random points, under writers that go on, and what the next one must find."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING, LiteralString

import psycopg

from tests import servers as pg
from tests.fuzz import worlds
from tests.fuzz.refreshes import PATIENCE_S, Call, DifferenceError, Tally, compare, read
from tests.fuzz.worlds import BEGINNING, MARTS, World
from tests.fuzz.writers import Prepared, Writer
from tests.fuzz.writes import Write, insert_transactions

if TYPE_CHECKING:
    from collections.abc import Callable

WORLD = World(
    shape="current", linked=True, unique=True, indexed=True, tracking=("closed days", "closed days"), busy=0.0
)
KINDS = ("client", "backend", "statement", "server")

_ROWS: LiteralString = """
INSERT INTO public.suggestion_events (txn_id, candidates, mode, created_at)
SELECT 1, '[{"label": "a", "confidence": 0.5}]', 'auto', timestamp '2031-03-10' - i * interval '11 minutes'
FROM generate_series(1, 12000) AS i
"""
_HOLDERS: LiteralString = """
SELECT pid FROM pg_locks
WHERE relation = 'ledgerviews.refresh_lock'::regclass AND mode = 'ExclusiveLock' AND granted
"""
_LEFT: LiteralString = """
SELECT
    (SELECT count(*) FROM ledgerviews.run WHERE state IN ('waiting', 'running')),
    (SELECT count(*) FROM pg_class WHERE relpersistence = 't' AND relname LIKE 'ledgerviews%'),
    (SELECT count(*) FROM pg_locks WHERE relation = 'ledgerviews.refresh_lock'::regclass),
    (SELECT string_agg(drift, '; ') FROM ledgerviews.run)
"""


class Writing:
    """A thread in which two writers' transactions overlap, until it is paused."""

    def __init__(self, url: Callable[[], str], rng: random.Random, tally: Tally) -> None:
        """Start it."""
        self._url, self._rng, self._tally = url, rng, tally
        self._prepared = Prepared(allowed=True)
        self._go, self._idle, self._end = threading.Event(), threading.Event(), threading.Event()
        self._writers: list[Writer] = []
        self._thread = threading.Thread(target=self._write, daemon=True)
        self._go.set()
        self._thread.start()

    def pause(self) -> None:
        """Return when nothing is being written; transactions may be open."""
        self._go.clear()
        if not self._idle.wait(PATIENCE_S):
            raise DifferenceError("the writers do not come to rest")

    def resume(self) -> None:
        """Go on."""
        self._idle.clear()
        self._go.set()

    def close(self) -> None:
        """End it, and whatever is prepared."""
        self._end.set()
        self._go.set()
        self._thread.join(PATIENCE_S)
        self._forget()
        with (
            suppress(psycopg.OperationalError),
            closing(psycopg.connect(self._url(), autocommit=True)) as connection,
        ):
            for name in self._prepared.names:
                with suppress(psycopg.Error):
                    connection.execute(f"ROLLBACK PREPARED '{name}'".encode())

    def _forget(self) -> None:
        for writer in self._writers:
            writer.connection.close()
        self._writers.clear()

    def _write(self) -> None:
        while not self._end.is_set():
            if not self._go.is_set():
                self._idle.set()
                self._go.wait()
                continue
            try:
                if not self._writers:
                    self._connect()
                self._rng.choice(self._writers).step(BEGINNING)
            except psycopg.OperationalError:  # the server went away; its prepared transactions did not
                self._forget()
                time.sleep(0.05)

    def _connect(self) -> None:
        for number in range(2):
            connection = psycopg.connect(self._url(), autocommit=True)
            connection.execute("SET lock_timeout = '20ms'")
            self._writers.append(
                Writer(
                    number=number, connection=connection, rng=self._rng, world=WORLD, prepared=self._prepared,
                    done=self._tally.done,
                )
            )  # fmt: skip


class Killing:
    """A database whose refreshes are ended one after the other."""

    def __init__(self, url: str, seed: int, *, crash: Callable[[int], str] | None = None) -> None:
        """Build the database; ``crash`` ends the server and a backend, starts it and gives the URL."""
        self.url, self.rng, self.tally = url, random.Random(seed), Tally()
        self.ended: Counter[str] = Counter()
        self._crash = crash
        worlds.build(url, "current")
        with closing(self._connect()) as connection:
            worlds.prepare(connection, WORLD)
            insert_transactions(
                Write(connection=connection, rng=self.rng, world=WORLD, now=BEGINNING, told=[])
            )
            connection.execute(_ROWS)
            connection.execute("CALL ledgerviews.refresh()")
        self._writing = Writing(lambda: self.url, random.Random(seed), self.tally)

    def close(self) -> None:
        """End the writers."""
        self._writing.close()

    @property
    def undone(self) -> dict[str, int]:
        """How many refreshes of each kind of kill had not published yet."""
        return {name: count for name, count in self.ended.items() if name.endswith("undone")}

    def kill(self, kind: str) -> None:
        """End a refresh in a kind of way while it surely runs; the next one must be right."""
        with closing(self._connect()) as observer:
            before = self._last_run(observer)[0]
            if kind == "client":
                self._kill_client(observer)
            elif kind == "server":
                self._kill_server(observer)
            else:
                self._kill_backend(observer, f"pg_{'terminate' if kind == 'backend' else 'cancel'}_backend")
        self._writing.pause()
        with closing(self._connect()) as observer:
            _wait(lambda: observer.execute(_HOLDERS).fetchone() is None, "a killed refresh holds its lock")
            run_id, state = self._last_run(observer)
            if run_id <= before and kind != "server":
                raise DifferenceError("a killed run is not in the log")
            self.ended[
                f"{kind}: {'published before' if state == 'succeeded' and run_id > before else 'undone'}"
            ] += 1
            self._check(observer)
        self._writing.resume()

    def _check(self, observer: psycopg.Connection) -> None:
        error = Call(connection=observer, arguments=self.rng.choice(("", "scrub => false"))).run()
        if error is not None:
            raise error
        self.tally.refreshes["after a kill"] += 1
        self.tally.compared += compare(read(observer, "fuzz", MARTS), read(observer, "public", MARTS))
        self.tally.comparisons += 1
        row = observer.execute(_LEFT).fetchone()
        if row != (0, 0, 0, None):
            raise DifferenceError(f"open runs, temporary tables, locks, drift are left: {row}")

    def _arguments(self) -> str:
        mode = self.rng.choice(("full", "full", "verify"))
        return f"mode => '{mode}', scrub => {self.rng.choice(('true', 'false'))}"

    def _kill_backend(self, observer: psycopg.Connection, function: str) -> None:
        with closing(self._connect()) as connection:
            call = Call(connection=connection, arguments=self._arguments())
            call.start()
            self._wait_until_it_runs(observer, lambda: bool(call.outcome))
            observer.execute(f"SELECT {function}(%s)".encode(), [call.pid])
            call.join()

    def _kill_client(self, observer: psycopg.Connection) -> None:
        environment = {
            **pg.clean_environment(),
            "PYTHONPATH": str(pg.ROOT),
            "LEDGERVIEWS_DATABASE_URL": self.url,
        }
        command = [sys.executable, "-m", "ledgerviews", "refresh"]
        with subprocess.Popen(
            command, env=environment, cwd=pg.ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        ) as client:
            self._wait_until_it_runs(observer, lambda: client.poll() is not None)
            client.send_signal(signal.SIGKILL)
            client.wait()

    def _kill_server(self, observer: psycopg.Connection) -> None:
        assert self._crash is not None
        with closing(self._connect()) as connection:
            call = Call(connection=connection, arguments=self._arguments())
            call.start()
            self._wait_until_it_runs(observer, lambda: bool(call.outcome))
            self.url = self._crash(call.pid)
            call.join()

    def _wait_until_it_runs(self, observer: psycopg.Connection, ended: Callable[[], bool]) -> None:
        _wait(
            lambda: ended() or observer.execute(_HOLDERS).fetchone() is not None, "a refresh does not begin"
        )
        time.sleep(self.rng.random() ** 2 * 0.12)

    def _last_run(self, observer: psycopg.Connection) -> tuple[int, str]:
        row = observer.execute(
            "SELECT run_id, state FROM ledgerviews.run ORDER BY run_id DESC LIMIT 1"
        ).fetchone()
        assert row is not None
        return int(row[0]), str(row[1])

    def _connect(self) -> psycopg.Connection:
        return psycopg.connect(self.url, autocommit=True)


def _wait(condition: Callable[[], bool], otherwise: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        if time.monotonic() > deadline:
            raise DifferenceError(otherwise)
        time.sleep(0.002)


def end_server(postmaster: int, backend: int) -> None:
    """End a server in the middle of what a backend does: with no chance to write anything, as in a power cut.

    Any other process outlives its postmaster's SIGKILL until it next waits, so each gets its own.
    """
    for pid in (backend, postmaster, *_children(postmaster)):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    with suppress(ChildProcessError):  # not started by this process
        os.waitpid(postmaster, 0)


def _children(parent: int) -> list[int]:
    """The processes that a process started and that live."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            # The name in parentheses may hold anything; state and parent follow it.
            _, _, rest = stat.read_text(encoding="ascii", errors="replace").rpartition(")")
            if int(rest.split()[1]) == parent:
                found.append(int(stat.parent.name))
    return found
