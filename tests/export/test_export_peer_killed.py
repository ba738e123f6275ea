"""The server of BigQuery's API killed in the middle of a job, and started again on what it had written."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from bq_export.dev import server as dev_server
from ledgerviews.errors import LedgerviewsError
from tests.bigquery import peer
from tests.bigquery.proxy import fault_proxy
from tests.bigquery.world import World

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.bigquery.proxy import FaultProxy, Seen

DAILY = "mart_orders_daily"
# After how much of a job's work the server is killed, in seconds.
MOMENTS = (0.0, 0.06, 0.25)


class Mortal:
    """A peer of a test's own, behind a proxy whose address stays."""

    def __init__(self, folder: Path, proxy: FaultProxy) -> None:
        self._folder, self._proxy = folder, proxy
        self._running: dev_server.Running | None = None

    def start(self) -> str:
        """Start the server, or start it again on its data."""
        self._running = dev_server.start(self._folder, environment=peer.FOLDER)
        self._proxy.move(self._running.endpoint)
        return self._running.endpoint

    def kill(self) -> None:
        """SIGKILL."""
        assert self._running is not None
        os.kill(self._running.pid, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self._running.pid, 0)


@pytest.fixture
def mortal() -> Iterator[tuple[Mortal, FaultProxy]]:
    """A peer that may be killed; its process and data are gone afterwards."""
    if not peer.made():
        pytest.skip(f"no local BigQuery: {peer.mend()}")
    folder = Path(tempfile.mkdtemp(prefix="bq-export-mortal-"))
    with fault_proxy("http://127.0.0.1:9") as proxy:
        try:
            yield Mortal(folder, proxy), proxy
        finally:
            dev_server.stop(folder)
            shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.timeout(900)  # the server is started four times
@pytest.mark.parametrize("operation", ["stage", "publish", "replace"])
def test_the_server_killed_in_a_job_ends_equal(
    shop_url: str, mortal: tuple[Mortal, FaultProxy], operation: str
) -> None:
    """Killed at three moments of a load or a publishing script, each second run ends in the source's rows."""
    server, proxy = mortal
    world = World.make(shop_url, server.start(), proxy)
    world.run(DAILY)
    version = world.version(DAILY)
    killed = 0
    for number, moment in enumerate(MOMENTS, 1):
        world.sql("DELETE FROM mart_orders_daily WHERE day = '2026-03-01'")
        world.sql(
            "INSERT INTO mart_orders_daily SELECT date '2026-03-01', 'n' || g, g, 1.10, 0.1, now()"
            " FROM generate_series(1, %s) AS g",
            10_000 + number,
        )
        threads: list[threading.Thread] = []

        def strike(seen: Seen, after: float = moment, threads: list[threading.Thread] = threads) -> None:
            job = seen.body if isinstance(seen.body, dict) else {}
            if not threads and f"-{operation}-" in str(job.get("jobReference", {}).get("jobId")):
                threads.append(threading.Timer(after, server.kill))
                threads[0].start()

        proxy.answer = strike
        with contextlib.suppress(LedgerviewsError):
            world.run(DAILY, full=operation == "replace", retry_budget_s=0.5)
        threads[0].join()
        killed += 1
        proxy.answer = lambda _: None
        world.client.close()  # type: ignore[no-untyped-call]
        endpoint = server.start()
        world = world.moved(endpoint)
        world.run(DAILY, job_timeout_s=5)

        assert world.there(DAILY) == world.here(DAILY), (number, moment)
        assert world.run(DAILY).relations[0].way == "none"
    assert killed == len(MOMENTS)
    assert world.version(DAILY) >= version + len(MOMENTS)
