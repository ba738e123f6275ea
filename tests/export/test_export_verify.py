"""What `verify` compares, whatever shape the two sides are in."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bq_export.verify import verify
from tests.bigquery.proxy import Harm

if TYPE_CHECKING:
    from tests.bigquery.world import World

DAILY, TOTALS = "mart_orders_daily", "mart_totals"


def test_every_request_of_a_verification_may_fail_once(world: World) -> None:
    """Whichever request is answered 503 is made again, and all is found equal."""
    world.run(DAILY)
    world.proxy.arm(None)
    verify(world.settings, world.export, names=[DAILY], progress=world.progress.append)
    requests = len(world.proxy.seen)
    assert requests > 1
    for at in range(1, requests + 1):
        world.proxy.arm(Harm.BACKEND, at)

        (found,) = verify(world.settings, world.export, names=[DAILY], progress=world.progress.append)

        assert (found.equal, found.differing) == (5, ())


def test_a_column_that_did_not_travel_yet_leaves_all_days_pending(world: World) -> None:
    """Before the run that adds it, the tables lack the column: no day differs, none is claimed equal."""
    world.run()
    for name in (DAILY, TOTALS):
        world.sql(f"ALTER TABLE {name} ADD COLUMN note text DEFAULT 'n'")

    done = world.cli("verify")

    assert done.returncode == 0, done.stderr
    assert [line.split() for line in done.stdout.splitlines()[2:]] == [
        [DAILY, "15", "0", "0", "5"],
        [TOTALS, "3", "0", "0", "1"],
    ]


def test_columns_are_told_by_name_in_whatever_order(world: World) -> None:
    """A relation made anew with its columns in another order is equal to the table of the old order."""
    world.run(DAILY)
    world.sql(
        "CREATE TABLE other AS SELECT seen, rate, orders, amount, shop, day FROM mart_orders_daily;"
        " DROP TABLE mart_orders_daily; ALTER TABLE other RENAME TO mart_orders_daily"
    )
    world.sql("ALTER TABLE mart_orders_daily ALTER COLUMN amount TYPE numeric(12, 2)")
    world.run(DAILY)

    (found,) = verify(world.settings, world.export, names=[DAILY], progress=world.progress.append)

    assert (found.rows, found.equal, found.differing, found.pending) == (15, 5, (), ())
