"""BigQuery's limits: kept to where that can be done, said before they are met, refused where not."""

from __future__ import annotations

from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from bq_export.errors import ExportError
from bq_export.limits import (
    LOADS_PER_DAY,
    PARTITION_CHANGES_PER_DAY,
    PARTITIONS_PER_JOB,
    QUERY_CHARACTERS,
    RESULT_COLUMNS,
    quota_warnings,
)
from bq_export.plan import RelationPlan, plan_relation
from bq_export.proof import select_figures
from bq_export.publish import flip_script
from bq_export.source.fingerprints import WHOLE, Partition
from bq_export.source.relation import Relation
from bq_export.state import Known, TableMemory
from bq_export.stats import ColumnStats, Stats
from bq_export.types import Column, fields_for
from ledgerviews.catalog import Export

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tests.bigquery.world import World

DAILY = "mart_orders_daily"
TODAY = date(2026, 7, 1)
PARAMETERS = 10_000  # that a query binds at most


def _relation(*columns: tuple[str, str], partition: str | None = "day") -> Relation:
    given = [("day", "date"), *columns] if partition else list(columns)
    fields = fields_for([Column(name=name, type_name=kind) for name, kind in given], numeric={}, policy={})
    return Relation(
        relation_id=1,
        schema="public",
        name=DAILY,
        export=Export(partition=partition),
        fields=tuple(fields),
        grain=(),
        comment="",
        pages=0,
    )


def _partitions(days: Iterable[date], *, content: str = "a", size: int = 10) -> dict[str, Partition]:
    return {
        day.isoformat(): Partition(key=day.isoformat(), day=day, fingerprint=content, rows=1, size=size)
        for day in days
    }


def _days(number: int, *, first: date = date(1990, 1, 1), step: int = 1) -> list[date]:
    return [first + timedelta(days=step * n) for n in range(number)]


def _memory(partitions: dict[str, Partition], *, version: int = 1) -> TableMemory:
    known = {
        key: Known(partition_key=key, fingerprint=one.fingerprint, row_count=one.rows)
        for key, one in partitions.items()
    }
    return TableMemory(lineage="l", version=version, created=1, partitions=known)


def _plan(relation: Relation, partitions: dict[str, Partition], **options: Any) -> RelationPlan:
    given: dict[str, Any] = {"memory": None, "full": False, "today": TODAY, **options}
    return plan_relation(relation, partitions, given.pop("memory"), **given)


def _script(plan: RelationPlan, stats: Stats | None = None) -> tuple[str, int]:
    sent = stats or Stats(fields=plan.relation.fields)
    sql, parameters = flip_script(plan, target="`p`.`d`.`t`", staging="`p`.`d`.`s`", sent=sent)
    return sql, len(parameters)


def _listed(statement: str) -> int:
    return statement.count("DATE '")


@pytest.mark.parametrize("known", [False, True])
def test_no_statement_touches_more_partitions_than_a_job_may(*, known: bool) -> None:
    """9,000 days, new or all changed, travel by statements of at most 4,000 days, in one transaction."""
    days = _days(9_000)
    memory = _memory(_partitions(days)) if known else None
    plan = _plan(_relation(), _partitions(days, content="b", size=100_000), memory=memory)

    sql, _ = _script(plan)

    inserts = [part for part in sql.split(";") if "INSERT INTO" in part]
    deletes = [part for part in sql.split(";") if "DELETE FROM" in part]
    assert [_listed(one) for one in inserts] == [4_000, 4_000, 1_000]
    assert [_listed(one) for one in deletes] == ([4_000, 4_000, 1_000] if known else [])
    assert sql.count("TRUNCATE TABLE") == (0 if known else 1)
    assert sql.count("BEGIN TRANSACTION") == sql.count("COMMIT TRANSACTION") == 1
    assert max(_listed(one) for one in [*inserts, *deletes]) <= PARTITIONS_PER_JOB


@pytest.mark.timeout(900)  # of local-bigquery's work, on a busy machine
def test_many_days_end_equal(world: World) -> None:
    """4,205 days arrive, and after 4,100 of them changed and ten went the target is equal again."""
    world.sql(
        "INSERT INTO mart_orders_daily SELECT date '1990-01-01' + g, 's', g, g, g, now()"
        " FROM generate_series(0, 4199) AS g"
    )
    first = world.run(DAILY, job_timeout_s=250).relations[0]
    assert world.there(DAILY) == world.here(DAILY)
    world.sql("UPDATE mart_orders_daily SET orders = orders + 1 WHERE day < date '1990-01-01' + 4100")
    world.sql("DELETE FROM mart_orders_daily WHERE day BETWEEN '2001-06-01' AND date '2001-06-01' + 9")

    second = world.run(DAILY, job_timeout_s=250).relations[0]

    assert (first.way, first.partitions) == ("flip", 4_205)
    assert (second.way, second.partitions, second.vanished) == ("flip", 4_100, 10)
    assert world.there(DAILY) == world.here(DAILY)


def test_more_days_than_a_table_holds_are_refused() -> None:
    """10,000 days are planned; one more is refused, with what to declare."""
    assert len(_plan(_relation(), _partitions(_days(10_000))).sent) == 10_000
    with pytest.raises(ExportError, match="10,001 days") as raised:
        _plan(_relation(), _partitions(_days(10_001)))

    assert "partition_expiration_days" in str(raised.value)


def test_a_script_that_would_be_too_long_names_no_days() -> None:
    """When every day of 10,000 goes and 10,000 others come to a wide table, all is sent anew instead."""
    wide = _relation(*((f"column_{n}", "float8") for n in range(200)))
    before, after = (
        _days(10_000, first=date(1970, 1, 1), step=2),
        _days(10_000, first=date(1970, 1, 2), step=2),
    )

    plan = _plan(wide, _partitions(after), memory=_memory(_partitions(before)))
    sql, _ = _script(plan)

    assert (plan.whole, len(plan.sent), plan.vanished) == (True, 10_000, ())
    assert len(sql) < QUERY_CHARACTERS


def test_the_widest_relation_fits_a_script() -> None:
    """1,600 columns, PostgreSQL's most, with names of 40 characters: below 1 MB and 10,000 values."""
    names = [f"column_{n:04d}_{'x' * 28}" for n in range(1_600)]
    wide = _relation(*((name, "float8") for name in names), partition=None)
    whole = {WHOLE: Partition(key=WHOLE, day=None, fingerprint="a", rows=1, size=1)}
    stats = Stats(
        fields=wide.fields,
        columns={
            n: ColumnStats(total=-1.5e100, magnitude=1.5e100, minimum=-1e100, maximum=1.0) for n in names
        },
    )
    plan = _plan(wide, whole)
    sql, bound = _script(plan, stats)

    assert plan.way == "flip"  # its figures are more than the columns of one result
    assert select_figures("t", stats).count(" AS f") > RESULT_COLUMNS
    assert len(sql) < QUERY_CHARACTERS
    assert bound < PARAMETERS


def test_a_script_that_cannot_be_short_enough_is_refused() -> None:
    """Nothing is sent that BigQuery would refuse for its length."""
    names = [f"c{n:04d}_{'x' * 200}" for n in range(1_600)]
    plan = _plan(_relation(*((name, "float8") for name in names)), _partitions(_days(1)))

    with pytest.raises(ExportError, match="1 MB"):
        _script(plan)


@pytest.mark.parametrize(("sent_today", "told"), [(1_197, []), (1_198, ["1,200 of 1,500 load jobs a day"])])
def test_loads_near_the_daily_quota_are_told(sent_today: int, told: list[str]) -> None:
    """From 80 % of 1,500 loads a day on, this run's two with them."""
    plan = _plan(_relation(), _partitions(_days(3)))

    warnings = quota_warnings(plan, loads_today=sent_today, changes_today=0)

    assert [w.partition(f"{DAILY}: ")[2].rstrip(".") for w in warnings] == told


def test_partition_changes_near_the_daily_quota_are_told() -> None:
    """A transaction changes a day twice; what was changed in the last 24 hours counts with it."""
    days = _days(2_000)
    plan = _plan(_relation(), _partitions(days, content="b"), memory=_memory(_partitions(days)))

    below = quota_warnings(plan, loads_today=0, changes_today=19_999)
    at = quota_warnings(plan, loads_today=0, changes_today=20_000)

    assert below == []
    assert at == [
        f"WARNING: public.{DAILY}: 24,000 of {PARTITION_CHANGES_PER_DAY:,} partition changes a day."
    ]


def test_the_plan_and_the_run_count_what_was_sent_today(world: World) -> None:
    """Loads and partition changes of the last 24 hours are counted, failed ones too, older ones not."""
    world.run()
    world.sql(
        "INSERT INTO ledgerviews.export_job"
        " (job_id, run_id, target, relation, operation, change_id, generation, state, changes, sent_at)"
        " SELECT 'j' || g, 1, target, 'public.mart_orders_daily', 'stage', 'c', g, 'failed', '{}',"
        " now() - CASE WHEN g > 1200 THEN interval '25 hours' ELSE interval '23 hours' END"
        " FROM generate_series(1, 1300) AS g, (SELECT target FROM ledgerviews.export_table LIMIT 1) AS t"
    )
    world.sql(
        "INSERT INTO ledgerviews.export_job"
        " (job_id, run_id, target, relation, operation, change_id, generation, state, changes)"
        " SELECT 'p', 1, target, 'public.mart_orders_daily', 'publish', 'c', 1, 'done', jsonb_build_object("
        "  'partitions', (SELECT jsonb_object_agg('d' || g, NULL) FROM generate_series(1, 12000) AS g))"
        " FROM ledgerviews.export_table LIMIT 1"
    )
    world.sql("UPDATE mart_orders_daily SET orders = 78 WHERE day = '2026-01-02' AND shop = 'shop 1'")

    planned = world.cli("plan", DAILY)
    result = world.run(DAILY)

    assert f"1,203 of {LOADS_PER_DAY:,} load jobs a day" in planned.stderr
    assert "24,007 of 30,000 partition changes a day" in planned.stderr
    assert [w.partition(": ")[0] for w in result.warnings] == ["WARNING", "WARNING"]
    assert any("load jobs a day" in line for line in world.progress)
