"""Kill -9 of the backend in the middle of an exchange, and of its COMMIT, before and after the record."""

from __future__ import annotations

import os
import secrets
import signal
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest

from ledgerviews.dev.folder import Folder
from ledgerviews.dev.server import Server, stop
from tests.replacing import BASE, SHOP, fingerprint, open_shop, replace, rows, true_rows

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests import servers as pg

CHANGED = SHOP | {"base": BASE | {"definition": BASE["definition"] + "\nWHERE o.id > 3"}}


@pytest.fixture
def url(server: pg.PgServer) -> Iterator[str]:
    """A database on a server that is crash-safe, as users' are, and nobody else's."""
    if server.bin_dir is None:
        pytest.skip("a given server is not killed")
    folder = Folder.at(Path(tempfile.gettempdir()) / f"ledgerviews-kill-{secrets.token_hex(6)}")
    own = Server.start(folder, bin_dir=server.bin_dir, settings={"autovacuum": "off"})
    try:
        own.create_database("shop")
        yield own.url("shop")
    finally:
        stop(folder, remove=True)


def connected(url: str) -> psycopg.Connection:
    """A connection, as soon as the server has recovered."""
    deadline = time.monotonic() + 60
    while True:
        try:
            return psycopg.connect(url, autocommit=True)
        except psycopg.OperationalError:
            assert time.monotonic() < deadline
            time.sleep(0.05)


def kill_while(url: str, wait_event: str) -> None:
    """Run a replacement, and kill its backend where it is seen waiting for that."""
    failed: list[BaseException] = []

    def run() -> None:
        try:
            replace(url, SHOP, CHANGED)
        except Exception as exc:  # noqa: BLE001 (whichever layer noticed first)
            failed.append(exc)

    thread = threading.Thread(target=run)
    thread.start()
    with connected(url) as observer:
        deadline = time.monotonic() + 60
        while not (
            found := observer.execute(
                "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND wait_event = %s",
                [wait_event],
            ).fetchall()
        ):
            assert time.monotonic() < deadline, f"nobody waits for {wait_event}: {failed}"
            time.sleep(0.005)
        os.kill(found[0][0], signal.SIGKILL)
        thread.join()
        # Every session ends with a backend that was killed.
        with suppress(psycopg.Error):
            observer.execute("SELECT pg_sleep(60)")
    assert failed


def opened(url: str) -> list[object]:
    """A shop, and what stands in it."""
    with connected(url) as connection:
        open_shop(connection, url)
        return fingerprint(connection)


def test_within_the_exchange(url: str) -> None:
    """Nothing was changed; the same again does it all."""
    was = opened(url)
    with connected(url) as connection:
        ((text,),) = connection.execute(
            "SELECT pg_get_functiondef('ledgerviews.settle()'::regprocedure)"
        ).fetchall()
        head, _, tail = text.rpartition("\nEND\n")
        connection.execute(f"{head}\n    PERFORM pg_catalog.pg_sleep(100);\nEND\n{tail}".encode())

    kill_while(url, "PgSleep")
    with connected(url) as connection:
        connection.execute(text.encode())
        unharmed = fingerprint(connection)
        replace(url, SHOP, CHANGED)

        assert unharmed == was
        assert rows(connection, "public.daily") == true_rows(connection, CHANGED, "daily")


def test_within_commit_before_its_record(url: str) -> None:
    """Nothing was changed: a deferred trigger holds the commit open before it is written."""
    was = opened(url)
    with connected(url) as connection:
        connection.execute(
            "CREATE FUNCTION public.hold() RETURNS trigger LANGUAGE plpgsql AS"
            " $$ BEGIN PERFORM pg_sleep(100); RETURN NULL; END $$;"
            " CREATE CONSTRAINT TRIGGER hold AFTER UPDATE ON ledgerviews.relation"
            " DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION public.hold()"
        )

    kill_while(url, "PgSleep")
    with connected(url) as connection:
        connection.execute("DROP TRIGGER hold ON ledgerviews.relation; DROP FUNCTION public.hold()")
        unharmed = fingerprint(connection)
        replace(url, SHOP, CHANGED)

        assert unharmed == was
        assert rows(connection, "public.daily") == true_rows(connection, CHANGED, "daily")


def test_within_commit_after_its_record(url: str) -> None:
    """All of it stands: only the standby's answer was awaited. The same again changes nothing."""
    was = opened(url)
    with connected(url) as connection:
        connection.execute("ALTER SYSTEM SET synchronous_standby_names = 'nobody'")
        connection.execute("SELECT pg_reload_conf()")

    kill_while(url, "SyncRep")
    with connected(url) as connection:
        connection.execute("SET synchronous_commit = local")
        connection.execute("ALTER SYSTEM RESET synchronous_standby_names")
        connection.execute("SELECT pg_reload_conf()")
        stands = fingerprint(connection)
        shown = rows(connection, "public.daily")
        truth = true_rows(connection, CHANGED, "daily")
        time.sleep(0.5)
        replace(url, SHOP, CHANGED)

        assert stands != was
        assert shown == truth
        assert fingerprint(connection) == stands
        connection.execute("CALL ledgerviews.refresh()")
        assert rows(connection, "public.daily") == truth
