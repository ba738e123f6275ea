"""What BigQuery's own view of jobs is asked, against its documented columns; and what the answer becomes."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

import pytest
import sqlglot
from google.auth.credentials import AnonymousCredentials
from google.cloud import bigquery
from sqlglot import exp

from bq_export.budget import check_budget, usd
from bq_export.errors import BudgetError
from bq_export.loader.client import Requests
from bq_export.loader.costs import _JOBS, billed_this_month, costs
from bq_export.loader.jobs import Jobs
from bq_export.loader.session import Target
from bq_export.loader.tables import Tables
from bq_export.patience import Patience
from bq_export.settings import ExportSettings

if TYPE_CHECKING:
    from tests.bigquery.proxy import Seen
    from tests.bigquery.world import World

# cloud.google.com/bigquery/docs/information-schema-jobs, those of its columns that could matter here.
DOCUMENTED = {
    "bi_engine_statistics": "RECORD",
    "cache_hit": "BOOLEAN",
    "creation_time": "TIMESTAMP",
    "destination_table": "RECORD",
    "end_time": "TIMESTAMP",
    "error_result": "RECORD",
    "job_id": "STRING",
    "job_type": "STRING",
    "labels": "RECORD",
    "parent_job_id": "STRING",
    "priority": "STRING",
    "project_id": "STRING",
    "start_time": "TIMESTAMP",
    "state": "STRING",
    "statement_type": "STRING",
    "total_bytes_billed": "INTEGER",
    "total_bytes_processed": "INTEGER",
    "total_slot_ms": "INTEGER",
    "user_email": "STRING",
}
SINCE = date(2026, 11, 1)


def _real(world: World, *, location: str = "US") -> Target:
    """The target as on BigQuery itself, no other server being named; but its client asks the proxy."""
    settings = replace(world.export, endpoint=None, location=location)
    client = bigquery.Client(
        "local",
        credentials=AnonymousCredentials(),  # type: ignore[no-untyped-call]
        client_options={"api_endpoint": world.proxy.endpoint},
        location=location,
    )
    patience = Patience(budget_s=1, backoff_s=0.01, progress=lambda _: None)
    requests = Requests(client, settings, patience)
    return Target(settings=settings, requests=requests, jobs=Jobs(requests), tables=Tables(requests))


def _answered(world: World, rows: list[tuple[str, ...]]) -> list[Seen]:
    """Answer a query as BigQuery does, with these rows of day, operation, jobs and bytes billed."""
    asked: list[Seen] = []
    reference: dict[str, Any] = {}
    names = [("day", "DATE"), ("operation", "STRING"), ("jobs", "INTEGER"), ("bytes_billed", "INTEGER")]
    schema = {"fields": [{"name": name, "type": kind, "mode": "NULLABLE"} for name, kind in names]}
    table = {"projectId": "local", "datasetId": "_answers", "tableId": "anon"}

    def answer(seen: Seen) -> tuple[int, dict[str, Any]]:
        path = seen.path.partition("?")[0]
        if seen.method == "POST":
            asked.append(seen)
            reference.update(seen.body["jobReference"])
        if path.endswith("/data"):
            return 200, {"totalRows": str(len(rows)), "rows": [{"f": [{"v": v} for v in r]} for r in rows]}
        if "/tables/" in path:
            return 200, {"tableReference": table, "schema": schema, "numRows": str(len(rows))}
        configuration = {**asked[0].body["configuration"], "jobType": "QUERY"}
        configuration["query"] = {**configuration["query"], "destinationTable": table}
        job = {
            "jobReference": reference,
            "configuration": configuration,
            "status": {"state": "DONE"},
            "statistics": {"query": {"totalBytesBilled": "10485760"}},
        }
        return 200, {**job, "jobComplete": True, "schema": schema, "totalRows": str(len(rows))}

    world.proxy.answer = answer
    return asked


def test_the_query_asks_for_documented_columns_only() -> None:
    """Every column that it names is one of INFORMATION_SCHEMA.JOBS, and each row of bytes is counted once."""
    parsed = sqlglot.parse_one(
        _JOBS.format(jobs="`p`.`region-us`.INFORMATION_SCHEMA.JOBS"), dialect="bigquery"
    )
    own = {"day", "operation", "jobs", "bytes_billed", "key", "value"}  # its results, and a label's parts
    named = {column.name for column in parsed.find_all(exp.Column)}

    assert named - own == {"creation_time", "labels", "parent_job_id", "total_bytes_billed"}
    assert named - own <= set(DOCUMENTED)
    # A script's row has the sum of its statements: those have a parent, and are left out.
    assert "parent_job_id IS NULL" in _JOBS


@pytest.mark.parametrize(
    ("location", "region"), [("US", "region-us"), ("europe-west3", "region-europe-west3")]
)
def test_the_request_is_bounded_labelled_and_bound(world: World, location: str, region: str) -> None:
    """It names project and region, binds the first moment and our label, and carries limit and labels."""
    asked = _answered(world, [("2026-11-02", "publish", "3", "41943040"), ("2026-11-03", "", "1", "0")])

    found = costs(_real(world, location=location), since=SINCE)

    (seen,) = asked
    configuration = seen.body["configuration"]
    query = configuration["query"]
    bound = {
        p["name"]: (p["parameterType"]["type"], p["parameterValue"]["value"])
        for p in query["queryParameters"]
    }
    assert f"FROM `local`.`{region}`.INFORMATION_SCHEMA.JOBS" in query["query"]
    assert query["useLegacySql"] is False
    assert int(query["maximumBytesBilled"]) == world.export.maximum_bytes_billed
    assert bound["app"] == ("STRING", "bq_export")
    assert bound["since"][0] == "TIMESTAMP"
    assert bound["since"][1].startswith("2026-11-01 00:00:00")
    assert configuration["labels"] == {"managed_by": "ledgerviews", "app": "bq_export", "operation": "cost"}
    assert seen.body["jobReference"]["location"] == location
    assert [(c.day, c.operation, c.jobs, c.bytes_billed) for c in found] == [
        (date(2026, 11, 2), "publish", 3, 41943040),
        (date(2026, 11, 3), "", 1, 0),
    ]


def test_the_month_is_summed_from_its_first_day(world: World) -> None:
    """The budget counts from the first of the month in UTC, whatever the day."""
    asked = _answered(
        world, [("2026-11-02", "publish", "3", "41943040"), ("2026-11-30", "cost", "1", "10485760")]
    )

    billed = billed_this_month(_real(world), date(2026, 11, 30))

    assert billed == 41943040 + 10485760
    assert json.dumps(asked[0].body).count("2026-11-01 00:00:00") == 1


def test_the_query_sums_a_table_of_that_shape(world: World) -> None:
    """On a table with the documented columns: by day and operation, ours only, no statements of scripts."""
    world.query(
        "CREATE TABLE `{}.jobs` (creation_time TIMESTAMP, job_id STRING, parent_job_id STRING,"
        " total_bytes_billed INT64, labels ARRAY<STRUCT<key STRING, value STRING>>)"
    )
    ours = "[STRUCT('app' AS key, 'bq_export' AS value), STRUCT('operation' AS key, '{}' AS value)]"
    rows = [
        ("2026-11-02 10:00:00", "'a'", "NULL", "100", ours.format("publish")),
        ("2026-11-02 23:59:59", "'b'", "NULL", "NULL", ours.format("publish")),
        ("2026-11-02 10:00:01", "'c'", "'a'", "60", ours.format("publish")),
        ("2026-11-03 00:00:00", "'d'", "NULL", "7", ours.format("prove")),
        ("2026-11-03 00:00:00", "'e'", "NULL", "1000", "[STRUCT('app' AS key, 'dbt' AS value)]"),
        ("2026-10-31 23:59:59", "'f'", "NULL", "1000", ours.format("publish")),
    ]
    for moment, *values in rows:
        world.query(
            "INSERT INTO `{}.jobs` (creation_time, job_id, parent_job_id, total_bytes_billed, labels)"
            f" VALUES (TIMESTAMP '{moment}+00', {', '.join(values)})"
        )
    config = bigquery.QueryJobConfig(
        query_parameters=[
            bigquery.ScalarQueryParameter("since", "TIMESTAMP", datetime(2026, 11, 1, tzinfo=UTC)),
            bigquery.ScalarQueryParameter("app", "STRING", "bq_export"),
        ]
    )

    found = world.client.query(_JOBS.format(jobs=f"`{world.table('jobs')}`"), job_config=config).result()

    assert [row.values() for row in found] == [
        (date(2026, 11, 2), "publish", 2, 100),
        (date(2026, 11, 3), "prove", 1, 7),
    ]


def _spent(dollars: float, settings: ExportSettings) -> int:
    return math.ceil(dollars / settings.price * 2**40)


@pytest.mark.parametrize(
    ("spent", "planned", "told"),
    [(0, 39.99, None), (39.99, 0.01, "80%"), (40, 0, "80%"), (0, 50, "80%"), (49.999, 0.002, "refused")],
)
def test_the_budget_warns_from_80_percent_and_stops_past_it(
    spent: float, planned: float, told: str | None
) -> None:
    """39.99 of 50 USD says nothing, 40.00 warns, 50.00 is still within it, anything more is refused."""
    settings = ExportSettings(project="project", dataset="d")
    billed, more = _spent(spent, settings), _spent(planned, settings)
    assert usd(billed + more, settings) == pytest.approx(spent + planned)

    if told == "refused":
        with pytest.raises(BudgetError, match="would pass the monthly budget"):
            check_budget(settings, billed=billed, planned=more)
        return
    warning = check_budget(settings, billed=billed, planned=more)
    assert (warning is None) == (told is None)
    assert told is None or told in str(warning)


def test_a_refused_run_makes_no_table(world: World) -> None:
    """A run that would pass the budget stops before it starts: no table, no job, no memory of one."""
    with pytest.raises(BudgetError):
        world.run(monthly_budget=0.0)

    assert list(world.client.list_tables(world.export.dataset)) == []
    assert world.jobs_sent() == []
    assert world.sql("SELECT count(*) FROM ledgerviews.export_table") == [(0,)]
