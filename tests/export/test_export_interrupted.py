"""A command that is asked to end, or whose connections are taken away, ends soon and says how."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from tests import servers as pg

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import psycopg

    from tests.bigquery.proxy import Seen
    from tests.bigquery.world import World

DAILY, TOTALS = "mart_orders_daily", "mart_totals"
_SLOW = (
    "ALTER TABLE mart_totals RENAME TO fast;"
    " CREATE VIEW mart_totals AS SELECT f.* FROM fast AS f, LATERAL (SELECT pg_sleep(60), f.shop) AS s"
)


def _reading(connection: psycopg.Connection, child: subprocess.Popen[str]) -> int:
    """Wait until rows are being read; the process of the server that reads them."""
    for _ in range(1200):
        row = connection.execute(
            "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND state = 'active'"
            " AND query LIKE 'COPY%' AND wait_event = 'PgSleep'"
        ).fetchone()
        if row is not None:
            return int(row[0])
        assert child.poll() is None, child.communicate()
        time.sleep(0.1)
    raise AssertionError("nothing is read")


def _files(url: str, folder: Path, name: str = TOTALS, kind: str = "parquet") -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "bq_export", "files", name, "--to", str(folder), "--format", kind],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        env={
            **pg.clean_environment(),
            "PYTHONPATH": str(pg.ROOT),
            "LEDGERVIEWS_DATABASE_URL": url,
            "LEDGERVIEWS_MODELS": "tests.bigquery.shop",
        },
        cwd=pg.ROOT,
    )


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_slow_query_too(
    shop_url: str, tmp_path: Path, connect: Callable[[str], psycopg.Connection], number: signal.Signals
) -> None:
    """Whoever waits for the first row is heard: exit code 130 long before that row, and no file."""
    connection = connect(shop_url)
    connection.execute(_SLOW)
    with _files(shop_url, tmp_path) as child:
        _reading(connection, child)
        child.send_signal(number)
        _, told = child.communicate(timeout=40)

    assert child.returncode == 130, told
    assert "bq-export: interrupted" in told
    assert "Traceback" not in told
    assert list(tmp_path.iterdir()) == []


def test_a_signal_ends_what_a_silent_server_keeps_waiting(
    shop_url: str, tmp_path: Path, connect: Callable[[str], psycopg.Connection]
) -> None:
    """A server that neither answers nor closes, as behind a dead network, keeps no export for ever."""
    connection = connect(shop_url)
    connection.execute(_SLOW)
    with _relayed(shop_url) as (url, silent), _files(url, tmp_path / "out") as child:
        _reading(connection, child)
        silent.set()
        child.send_signal(signal.SIGTERM)
        try:
            _, told = child.communicate(timeout=60)
        finally:
            child.kill()

    assert child.returncode == 130, told
    assert "bq-export: interrupted" in told
    assert list((tmp_path / "out").iterdir()) == []


def test_what_killed_files_left_goes_with_any_later_run(
    shop_url: str, tmp_path: Path, connect: Callable[[str], psycopg.Connection]
) -> None:
    """SIGKILL leaves a hidden part; the next run in the folder removes it, of any relation and format."""
    connection = connect(shop_url)
    connection.execute(_SLOW)
    other = tmp_path / ".mart_totals.csv.part"
    other.touch()
    with _files(shop_url, tmp_path) as child:
        _reading(connection, child)
        child.kill()
    assert len(list(tmp_path.iterdir())) == 2

    with _files(shop_url, tmp_path, DAILY, "csv") as child:
        _, told = child.communicate(timeout=60)

    assert child.returncode == 0, told
    written = {f"{DAILY}.csv", f"{DAILY}.schema.json", "manifest.json"}
    assert {one.name for one in tmp_path.iterdir()} == {other.name, *written}


@contextmanager
def _relayed(url: str) -> Iterator[tuple[str, threading.Event]]:
    """The server by a socket of ours, which forwards nothing any more once the event is set."""
    given = conninfo_to_dict(url)
    server = next(Path(str(given["host"])).glob(f".s.PGSQL.{given.get('port', 5432)}"))
    silent = threading.Event()
    open_sockets: list[socket.socket] = []

    def forward(source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                if silent.is_set():
                    return
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)

    def accept(listener: socket.socket) -> None:
        with suppress(OSError):
            while True:
                client, _ = listener.accept()
                open_sockets.append(client)
                if silent.is_set():
                    continue
                backend = socket.socket(socket.AF_UNIX)
                backend.connect(str(server))
                open_sockets.append(backend)
                for pair in ((client, backend), (backend, client)):
                    threading.Thread(target=forward, args=pair, daemon=True).start()

    with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"{folder}/.s.PGSQL.5432")
        listener.listen()
        threading.Thread(target=accept, args=(listener,), daemon=True).start()
        try:
            yield make_conninfo("", **{**given, "host": folder, "port": 5432}), silent
        finally:
            for one in open_sockets:
                one.close()


def test_a_backend_that_is_taken_away_is_told(
    shop_url: str, tmp_path: Path, connect: Callable[[str], psycopg.Connection]
) -> None:
    """Where the server ends the connection that reads, the relation and the cause are told; no file stays."""
    connection = connect(shop_url)
    connection.execute(_SLOW)
    with _files(shop_url, tmp_path) as child:
        connection.execute("SELECT pg_terminate_backend(%s)", [_reading(connection, child)])
        _, told = child.communicate(timeout=40)

    assert child.returncode == 3, told
    assert "Cannot read public.mart_totals: terminating connection" in told
    assert "run again" in told
    assert "Traceback" not in told
    assert list(tmp_path.iterdir()) == []


def test_a_server_that_ends_idle_sessions_does_not_end_an_export(world: World) -> None:
    """Time-outs of idle sessions and transactions do not take a run's snapshot or its lock while it waits."""
    name = world.sql("SELECT current_database()")[0][0]
    for parameter in ("idle_in_transaction_session_timeout", "idle_session_timeout"):
        world.sql(f"ALTER DATABASE {name} SET {parameter} = '200ms'")

    def slowly(seen: Seen) -> None:
        if f"/tables/{DAILY}" in seen.path or seen.method == "POST":
            time.sleep(0.5)

    world.proxy.answer = slowly
    world.run()
    world.proxy.answer = lambda _: None

    assert world.there(DAILY) == world.here(DAILY)
    assert world.there(TOTALS) == world.here(TOTALS)


def _ended(world: World, command: str, *, at: Callable[[Seen], bool]) -> str:
    """Send a command SIGTERM in the middle of such a request; what it tells as it leaves with 130."""
    child = subprocess.Popen(
        [sys.executable, "-m", "bq_export", command],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        env=world.environment(),
        cwd=pg.ROOT,
    )

    def end(seen: Seen) -> None:
        if at(seen) and child.poll() is None:
            child.send_signal(signal.SIGTERM)
            time.sleep(1)

    world.proxy.answer = end
    _, told = child.communicate(timeout=120)
    world.proxy.answer = lambda _: None
    assert child.returncode == 130, told
    return told


def test_an_interrupted_run_is_remembered_as_one(world: World) -> None:
    """SIGTERM in the middle of a request: exit code 130, and the history says what it was."""
    _ended(world, "run", at=lambda seen: seen.method == "POST" and "/jobs" in seen.path)

    assert world.sql("SELECT state, error FROM ledgerviews.export_run") == [("failed", "interrupted")]
    world.run()
    assert world.there(DAILY) == world.here(DAILY)


@pytest.mark.parametrize("command", ["plan", "setup", "verify"])
def test_whatever_is_asked_to_end_says_that_it_was(world: World, command: str) -> None:
    """SIGTERM ends the commands that send nothing as it ends a run: exit code 130, and a line."""
    world.run()

    assert "bq-export: interrupted" in _ended(world, command, at=lambda _: True)
