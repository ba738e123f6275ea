"""The proof at the edges of numbers: nothing equal is refused, nothing that differs is let through."""

from __future__ import annotations

import math
from decimal import Decimal
from typing import TYPE_CHECKING

import pyarrow as pa
import pytest

from bq_export.errors import ProofError
from bq_export.stats import ColumnStats, Stats, differences, float_scale
from bq_export.types import Column, field_for
from bq_export.verify import canonical, verify

if TYPE_CHECKING:
    from tests.bigquery.world import World

DAILY, TOTALS = "mart_orders_daily", "mart_totals"
FLOATS = {
    "many tenths": "0.1",
    "next to infinity, both signs": "CASE WHEN orders = 1 THEN -1.7e308 ELSE 1e308 / orders END",
    "next to nothing": "5e-324",
    "small": "1e-300 * orders",
    "cancelling": "CASE WHEN orders % 2 = 0 THEN 1e17 ELSE -1e17 END + 1",
    "with NaN and infinity": "CASE orders % 4 WHEN 0 THEN 'NaN' WHEN 1 THEN '-Infinity' ELSE orders / 7. END",
    "nothing at all": "NULL",
}


@pytest.mark.parametrize("values", FLOATS)
def test_floats_are_published_by_both_ways(world: World, values: str) -> None:
    """80,000 floats that a plain sum would drift by, or that none can add up, pass the proof as they are."""
    number = 80_000 if values == "many tenths" else 2_000
    world.sql("DELETE FROM mart_orders_daily")
    world.sql(
        "INSERT INTO mart_orders_daily"
        f" SELECT '2026-03-01', 's' || orders, orders, 1.10, {FLOATS[values]}, now()"
        f" FROM generate_series(1, {number}) AS orders"
    )

    first = world.run(DAILY, job_timeout_s=120).relations[0].way
    world.sql("UPDATE mart_orders_daily SET orders = 0 WHERE shop = 's1'")
    second = world.run(DAILY, job_timeout_s=120).relations[0].way

    assert (first, second) == ("replace", "flip")
    (compared,) = verify(world.settings, world.export, names=[DAILY], progress=print)
    assert (compared.equal, compared.differing, compared.rows) == (1, (), number)


def test_a_float_that_differs_by_a_billionth_of_the_sum_is_found(world: World) -> None:
    """The staged rows are changed by little behind our back: the tolerance is not that wide."""
    world.run()
    world.sql("UPDATE mart_orders_daily SET rate = rate + 1 WHERE day = '2026-01-02'")

    def tamper(seen: object) -> None:
        if "BEGIN TRANSACTION" in str(getattr(seen, "body", "")):
            (staging,) = (
                one.table_id
                for one in world.client.list_tables(world.export.dataset)
                if one.table_id.startswith("_bq_export_")
            )
            world.query(f"UPDATE `{{}}.{staging}` SET rate = rate + 1e-9 WHERE shop = 'shop 2'")

    world.proxy.answer = tamper

    with pytest.raises(ProofError, match="rate: sum"):
        world.run(DAILY)


def test_decimals_of_more_than_28_digits_are_exact(world: World) -> None:
    """They are published, and `verify` finds the last of 29 digits changed."""
    number = "19999999999999999999.999999999"
    world.sql("ALTER TABLE mart_totals ADD n numeric(38, 9)")
    world.sql(f"UPDATE mart_totals SET n = {number}")
    world.run(TOTALS)
    assert world.there(TOTALS) == world.here(TOTALS)
    world.query(f"UPDATE `{{}}.{TOTALS}` SET n = NUMERIC '{number[:-1]}8' WHERE shop = 'shop 1'")

    (found,) = verify(world.settings, world.export, names=[TOTALS], progress=print)

    assert found.lines == (f"(shop 1) n: '{number}' at the source, '{number[:-1]}8' at the target",)


def test_sums_of_decimals_round_nothing() -> None:
    """38 digits and 38 digits are 39; a difference in the last is told, over batches and threads."""
    one = field_for(Column(name="n", type_name="numeric", precision=38, scale=9))
    value = Decimal("99999999999999999999999999999.999999999")
    batch = pa.record_batch([pa.array([value, value], one.arrow)], names=["n"])
    stats, other = Stats(fields=(one,)), Stats(fields=(one,))
    for figures in (stats, other):
        figures.add(batch)
    stats.merge(other)
    found = Stats(fields=(one,), rows=4, columns={"n": ColumnStats(minimum=value, maximum=value)})
    found.columns["n"].total = Decimal("399999999999999999999999999999.999999996")

    assert differences(stats, found) == []
    found.columns["n"].total = Decimal("399999999999999999999999999999.999999997")
    assert len(differences(stats, found)) == 1
    assert canonical([value, Decimal("1.10"), Decimal("-0.50"), Decimal(100)]) == (
        "99999999999999999999999999999.999999999",
        "1.1",
        "-0.5",
        "100",
    )


@pytest.mark.parametrize("magnitude", [1e-289, 1e-5, 1.0, 3.7e19, 1.79e308])
def test_the_scale_of_a_sum_alters_no_digit(magnitude: float) -> None:
    """It is a power of two, and brings the magnitudes to between 2^39 and 2^40."""
    scale = float_scale(ColumnStats(magnitude=magnitude))

    assert math.frexp(scale)[0] == 0.5
    assert 2.0**39 <= magnitude * scale < 2.0**40


def test_an_empty_source_empties_an_adopted_table(world: World) -> None:
    """What stood in a table before setup adopted it goes with the first run, though no row travels."""
    world.query(f"CREATE TABLE `{{}}.{TOTALS}` (shop STRING, orders INT64)")
    world.query(f"INSERT INTO `{{}}.{TOTALS}` (shop, orders) VALUES ('old', 1)")
    world.sql("TRUNCATE mart_totals")
    assert world.cli("setup").returncode == 0

    ways = [world.run(TOTALS).relations[0].way for _ in range(2)]

    assert world.there(TOTALS) == []
    assert ways == ["flip", "none"]
