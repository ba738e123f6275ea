"""A memory that is not of its target any more: what heals it heals it every time."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from bq_export.errors import TargetError

if TYPE_CHECKING:
    from tests.bigquery.proxy import Seen
    from tests.bigquery.world import World

DAILY = "mart_orders_daily"
STATE = ("export_run", "export_table", "export_partition", "export_job")


def _dump(world: World) -> None:
    world.sql("CREATE TABLE saved_rows AS TABLE mart_orders_daily")
    for name in STATE:
        world.sql(f"CREATE TABLE saved_{name} AS TABLE ledgerviews.{name}")


def _restore(world: World) -> None:
    world.sql("DELETE FROM mart_orders_daily; INSERT INTO mart_orders_daily TABLE saved_rows")
    world.sql("TRUNCATE ledgerviews.export_run, ledgerviews.export_table CASCADE")
    for name in STATE:
        override = "OVERRIDING SYSTEM VALUE" if name == "export_run" else ""
        world.sql(f"INSERT INTO ledgerviews.{name} {override} TABLE saved_{name}")


def test_full_writes_anew_after_every_restore_of_one_dump(world: World) -> None:
    """The same rows of one dump, sent a second time, are no job of before: the target has them again."""
    world.run(DAILY)
    _dump(world)
    for number in (1, 2):
        world.run(DAILY, full=True)
        world.sql(f"UPDATE mart_orders_daily SET orders = {number} WHERE day = '2026-01-02'")
        world.run(DAILY)
        _restore(world)

    world.run(DAILY, full=True)

    assert world.there(DAILY) == world.here(DAILY)


def test_the_fence_of_a_forgotten_job_is_no_publication(world: World) -> None:
    """An id that an earlier run took, of which no row is left, is not taken for a job that was done."""
    world.run(DAILY)
    world.sql("UPDATE mart_orders_daily SET orders = 77 WHERE day = '2026-01-02'")

    def refuse(seen: Seen) -> tuple[int, dict[str, Any]] | None:
        publishing = seen.method == "POST" and "BEGIN TRANSACTION" in json.dumps(seen.body)
        return (503, {"error": {"code": 503, "message": "busy"}}) if publishing else None

    world.proxy.answer = refuse
    for _ in range(2):  # the second takes the id of the first
        with pytest.raises(TargetError):
            world.run(DAILY, retry_budget_s=0.0)
    world.proxy.answer = lambda _: None
    world.sql("DELETE FROM ledgerviews.export_job")

    world.run(DAILY)

    assert world.there(DAILY) == world.here(DAILY)
