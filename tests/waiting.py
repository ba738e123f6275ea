"""A command that waits for what the test holds."""

from __future__ import annotations

import subprocess
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from tests import servers as pg

if TYPE_CHECKING:
    from collections.abc import Iterator

    import psycopg


@contextmanager
def waiting_refresh(connection: psycopg.Connection, url: str) -> Iterator[subprocess.Popen[str]]:
    """A ``ledgerviews refresh`` that has got as far as a table that the caller holds."""
    with subprocess.Popen(
        [sys.executable, "-m", "ledgerviews", "refresh"],
        env={**pg.clean_environment(), "PYTHONPATH": str(pg.ROOT), "LEDGERVIEWS_DATABASE_URL": url},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        deadline = time.monotonic() + 30
        while not connection.execute(
            "SELECT FROM pg_stat_activity WHERE datname = current_database()"
            " AND application_name = 'ledgerviews' AND wait_event_type = 'Lock'"
        ).fetchall():
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.02)
        yield process
