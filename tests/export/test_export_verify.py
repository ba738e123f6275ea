"""What `verify` compares, whatever shape the two sides are in."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from bq_export.errors import TargetError
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


def test_a_column_that_only_the_target_has_is_a_difference(world: World) -> None:
    """Its cells are none of the relation's: verify names it and what to do, with exit code 6."""
    world.run(DAILY)
    world.query("ALTER TABLE {}.mart_orders_daily ADD COLUMN extra STRING")

    done, told = world.cli("verify", DAILY), world.cli("verify", DAILY, "--json")

    assert (done.returncode, told.returncode) == (6, 6), done.stderr
    assert f"{DAILY}: column extra is at the target only." in done.stdout
    assert "Drop such a column" in done.stderr
    assert json.loads(told.stdout)["relations"][0]["columns"] == ["extra"]


def test_many_days_that_differ_are_counted(world: World) -> None:
    """The first twenty are named, and how many more there are."""
    world.sql(
        "INSERT INTO mart_orders_daily SELECT date '2026-02-01' + d, 's', d FROM generate_series(0, 29) d"
    )
    world.run(DAILY)
    world.query("UPDATE {}.mart_orders_daily SET orders = -1 WHERE day >= '2026-02-01'")

    done = world.cli("verify", DAILY)

    assert done.returncode == 6, done.stderr
    assert done.stdout.count(" differs.") == 20
    assert f"{DAILY}: … and 10 more." in done.stdout


@pytest.mark.parametrize("first", ["run", "setup", "a run that fails"])
def test_a_column_that_was_dropped_at_the_target_travels_again(world: World, first: str) -> None:
    """Whoever adds it again, and however that ends, the next run fills it: it is NULL in all rows."""
    world.run(DAILY)
    world.query("ALTER TABLE {}.mart_orders_daily DROP COLUMN orders")
    if first == "setup":
        assert "column orders" in world.cli("setup", DAILY).stdout
    elif first == "a run that fails":
        world.proxy.answer = lambda seen: (
            (403, {"error": {"code": 403, "message": "no", "errors": [{"reason": "accessDenied"}]}})
            if seen.method == "POST" and "/jobs" in seen.path
            else None
        )
        with pytest.raises(TargetError):
            world.run(DAILY)
        world.proxy.answer = lambda _: None

    world.run(DAILY)
    (found,) = verify(world.settings, world.export, names=[DAILY], progress=world.progress.append)

    assert (found.equal, found.differing, found.pending) == (5, (), ())


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
