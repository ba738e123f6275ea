"""Whatever happens to any one request of a run, the target ends as that of an undisturbed one.

Each test is many runs: the harm strikes each request of a run in turn. The source changes before each of
them, so each has something to do.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from functools import partial
from typing import TYPE_CHECKING

import pytest
from google.cloud.bigquery import client as client_module

from ledgerviews.errors import LedgerviewsError
from tests import servers as pg
from tests.bigquery.proxy import Harm

if TYPE_CHECKING:
    from tests.bigquery.world import World

# Each way of publishing: some days by a transaction, the same after an upload in pieces, a relation without
# days by one truncate-load, and all days by one.
WAYS = {
    "flip": "mart_orders_daily",
    "pieces": "mart_orders_daily",
    "whole": "mart_totals",
    "full": "mart_orders_daily",
}
REQUESTS = {"flip": 7, "pieces": 8, "whole": 10, "full": 10}
HARMS = [harm for harm in Harm if harm is not Harm.KILL]
# All harms to both ways of publishing; what an upload in pieces or a full load adds is met by these.
_UPLOADS = (Harm.CUT_UPLOAD, Harm.DROP_ANSWER, Harm.CUT_ANSWER, Harm.LATE)
CASES = [
    *((way, harm) for way in ("flip", "whole") for harm in HARMS),
    *(("pieces", harm) for harm in _UPLOADS),
    *(("full", harm) for harm in (Harm.DROP_ANSWER, Harm.LATE)),
]
KILLED = ("flip", "whole")


def _change(world: World, number: int) -> None:
    """A day with other figures, a day more, a day less: and back again every third time."""
    world.sql("UPDATE mart_orders_daily SET orders = %s WHERE day = '2026-01-02'", 1000 + number % 3)
    world.sql("DELETE FROM mart_orders_daily WHERE day > '2026-02-01'")
    world.sql(
        "INSERT INTO mart_orders_daily SELECT date '2026-02-01' + %s, 'new', 1, 1.10, 0.1, now()",
        1 + number % 5,
    )
    world.sql("UPDATE mart_totals SET orders = orders + %s WHERE shop = 'shop 1'", 1 if number % 2 else -1)


def _count_requests(world: World, way: str) -> int:
    """How many requests an undisturbed run takes."""
    world.run(WAYS[way])
    _change(world, 0)
    world.proxy.arm(None)
    world.run(WAYS[way], full=way == "full")
    return world.proxy.count


def test_there_are_at_least_two_hundred_faulted_runs() -> None:
    """Ways, requests and harms make more than 200 runs; each test below holds its way to its requests."""
    runs = [REQUESTS[way] for way, _ in CASES] + [REQUESTS[way] for way in KILLED]

    assert sum(runs) >= 200


def _assert_ended(world: World, name: str, *, version: int) -> None:
    world.proxy.settle()

    assert world.there(name) == world.here(name)
    assert world.version(name) == version
    assert (
        world.sql(
            "SELECT job_id, state FROM ledgerviews.export_job WHERE state IN ('sent', 'stuck')"
            " AND operation IN ('publish', 'replace')"
        )
        == []
    )


@pytest.mark.parametrize(("way", "harm"), CASES, ids=[f"{way}-{harm.name.lower()}" for way, harm in CASES])
def test_every_request_harmed_in_turn(
    world: World, way: str, harm: Harm, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that meets the harm, or the run after it, leaves exactly the source's rows, published once."""
    name = WAYS[way]
    if way == "pieces":
        monkeypatch.setattr(client_module, "_MAX_MULTIPART_SIZE", 0)
    requests = _count_requests(world, way)
    assert requests >= REQUESTS[way]
    version = world.version(name)
    for at in range(1, requests + 1):
        _change(world, at)
        world.proxy.arm(harm, at)
        try:
            world.run(name, full=way == "full")
        except LedgerviewsError:
            world.proxy.arm(None)
            world.run(name)

        version += 1
        _assert_ended(world, name, version=version)


@pytest.mark.parametrize("way", KILLED)
def test_killed_after_every_request(world: World, way: str) -> None:
    """A process that is killed right after a request arrived is made good by the next run."""
    name = WAYS[way]
    requests = _count_requests(world, way)
    version = world.version(name)
    for at in range(1, requests + 1):
        _change(world, at)
        world.proxy.arm(Harm.KILL, at)
        process = subprocess.Popen(
            [sys.executable, "-m", "bq_export", "run", name],
            env=world.environment(),
            cwd=pg.ROOT,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        world.proxy.on_kill = partial(os.kill, process.pid, signal.SIGKILL)
        assert process.wait(60) == -signal.SIGKILL
        world.proxy.arm(None)
        world.run(name)

        version += 1
        _assert_ended(world, name, version=version)
