"""What a run moves, how it says so, and when it refuses."""

from __future__ import annotations

import json
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from bq_export.errors import BudgetError, ProofError, SchemaDriftError, TargetError, ValueOutOfRangeError
from bq_export.state import open_state
from bq_export.verify import verify
from ledgerviews.errors import LockedError
from tests.bigquery.proxy import FaultProxy, Harm, Seen

if TYPE_CHECKING:
    from collections.abc import Callable

    import psycopg

    from tests.bigquery.world import World

DAILY, TOTALS = "mart_orders_daily", "mart_totals"


def _changed(world: World) -> None:
    world.sql("UPDATE mart_orders_daily SET orders = 77 WHERE day = '2026-01-02' AND shop = 'shop 1'")


def _moved(world: World) -> dict[str, tuple[str, int, int, int]]:
    result = world.run()
    return {one.name: (one.way, one.partitions, one.vanished, one.rows) for one in result.relations}


def test_the_first_run_brings_everything(world: World) -> None:
    """Tables are made and hold exactly the source's rows."""
    moved = _moved(world)

    assert moved == {DAILY: ("replace", 5, 0, 15), TOTALS: ("replace", 1, 0, 3)}
    assert world.there(DAILY) == world.here(DAILY)
    assert world.there(TOTALS) == world.here(TOTALS)


def test_a_run_with_nothing_changed_sends_no_job(world: World) -> None:
    """The second run moves nothing, sends no job, takes little more time than loading its libraries."""
    world.run()
    world.proxy.arm(None)

    done = world.cli(
        "run", "--json", env={"PYTHONWARNINGS": "error"}
    )  # a process of its own, as a scheduler starts it

    assert done.returncode == 0, done.stderr
    assert {one["way"] for one in json.loads(done.stdout)["relations"]} == {"none"}
    assert [seen.method for seen in world.proxy.seen] == ["GET", "GET"]
    code = (
        "import time, contextlib, io\n"
        "from bq_export.cli import main\n"
        "with contextlib.suppress(SystemExit): main(['run'])\n"
        "print(time.process_time())"
    )
    import subprocess
    import sys

    # A second, on a quiet machine; on a busy one the libraries alone may take that, so they are the measure.
    bare = (
        "import time, click, psycopg, pyarrow.parquet, google.cloud.bigquery, adbc_driver_postgresql.dbapi\n"
        "print(time.process_time())"
    )
    times = {}
    for which in (code, bare):
        timed = subprocess.run(
            [sys.executable, "-c", which], env=world.environment(), capture_output=True, text=True, check=True
        )
        times[which] = float(timed.stdout.split()[-1])
    assert times[code] < 3 * times[bare], times.values()


def test_only_what_changed_travels(world: World) -> None:
    """A changed day travels alone, a vanished one vanishes, a new one comes, in one transaction."""
    world.run()
    _changed(world)
    world.sql("DELETE FROM mart_orders_daily WHERE day = '2026-01-04'")
    world.sql(
        "INSERT INTO mart_orders_daily VALUES"
        " (NULL, 'x', 1, 1, 1, now()), ('2026-03-01', 'y', 2, 2, 2, now())"
    )
    world.proxy.arm(None)

    moved = _moved(world)

    assert moved == {DAILY: ("flip", 3, 1, 5), TOTALS: ("none", 0, 0, 0)}
    assert world.there(DAILY) == world.here(DAILY)
    (script,) = [
        job["configuration"]["query"]["query"]
        for job in world.jobs_sent()
        if job["configuration"]["labels"]["operation"] == "publish"
    ]
    assert script.count("BEGIN TRANSACTION") == script.count("COMMIT TRANSACTION") == 1
    assert (
        "WHERE (`day` IN (DATE '2026-01-02', DATE '2026-01-04', DATE '2026-03-01') OR `day` IS NULL)"
        in script
    )


def test_a_change_that_is_taken_back_travels_back(world: World) -> None:
    """A to B to A to B: each is published, though the content was there before."""
    world.run()
    for number in (1, 2, 1, 2):
        world.sql("UPDATE mart_totals SET orders = %s WHERE shop = 'shop 1'", number)
        world.run(TOTALS)

        assert world.there(TOTALS) == world.here(TOTALS)


def test_full_heals_a_target_that_was_changed(world: World) -> None:
    """--full writes the table anew, whatever else it holds; verify told the cell before."""
    world.run()
    world.query(f"UPDATE `{{}}.{DAILY}` SET orders = 5 WHERE day = '2026-01-02' AND shop = 'shop 1'")
    (before,) = verify(world.settings, world.export, names=[DAILY], progress=print)

    world.run(DAILY, full=True)

    (after,) = verify(world.settings, world.export, names=[DAILY], progress=print)
    assert before.differing == ("2026-01-02",)
    assert before.lines == ("(2026-01-02, shop 1) orders: 11 at the source, 5 at the target",)
    assert (after.differing, after.equal, after.rows) == ((), 5, 15)


def test_verify_tells_rows_and_pending_days(world: World) -> None:
    """A row that is missing is told; a day that changed since the export is pending, no difference."""
    world.run()
    _changed(world)
    world.query(f"DELETE FROM `{{}}.{DAILY}` WHERE day = '2026-01-03' AND shop = 'shop 2'")

    found = world.cli("verify", DAILY, "--json")
    told = json.loads(found.stdout)["relations"][0]

    assert found.returncode == 6
    assert told["differing"] == ["2026-01-03"]
    assert told["pending"] == ["2026-01-02"]
    assert told["lines"] == ["(2026-01-03, shop 2): 1 rows at the source, 0 at the target"]


def test_the_jobs_say_what_they_are(world: World) -> None:
    """Every job has our labels; loads a schema and CREATE_NEVER; queries a limit; tables are made first."""
    world.run()
    _changed(world)
    world.run()

    jobs = [job["configuration"] for job in world.jobs_sent()]
    loads = [job["load"] for job in jobs if "load" in job]
    queries = [job["query"] for job in jobs if "query" in job]
    assert all(job["labels"]["app"] == "bq_export" for job in jobs)
    assert {job["labels"]["operation"] for job in jobs} == {"stage", "prove", "replace", "publish"}
    assert {load["createDisposition"] for load in loads} == {"CREATE_NEVER"}
    assert {load["sourceFormat"] for load in loads} == {"PARQUET"}
    assert {load["writeDisposition"] for load in loads} == {"WRITE_TRUNCATE", "WRITE_TRUNCATE_DATA"}
    assert all(load["schema"]["fields"] for load in loads)
    assert all(int(query["maximumBytesBilled"]) == 10 * 2**30 for query in queries)
    made = {
        seen.body["tableReference"]["tableId"]: seen.body
        for seen in world.proxy.seen
        if seen.method == "POST" and seen.path.partition("?")[0].endswith("/tables")
    }
    assert made[DAILY]["timePartitioning"] == {"type": "DAY", "field": "day"}
    assert made[DAILY]["requirePartitionFilter"] is True
    assert made[DAILY]["clustering"] == {"fields": ["shop"]}
    assert made[DAILY]["labels"] == {"managed_by": "ledgerviews", "app": "bq_export"}
    staging = [body for name, body in made.items() if name.startswith("_bq_export_")]
    assert staging
    assert all(0 < int(body["expirationTime"]) / 1000 - time.time() < 86_500 for body in staging)
    assert [one.table_id for one in world.client.list_tables(world.export.dataset)] == [DAILY, TOTALS]


def test_a_new_column_is_added_and_any_other_change_stops(world: World) -> None:
    """A column that is new comes at the end; a type that changed stops with the diff, and nothing is sent."""
    world.run()
    world.sql("ALTER TABLE mart_totals ADD note text DEFAULT 'n'")
    world.run(TOTALS)
    assert world.there(TOTALS) == world.here(TOTALS)
    world.sql("ALTER TABLE mart_totals ALTER orders TYPE numeric(20, 1)")
    world.proxy.arm(None)

    with pytest.raises(SchemaDriftError) as raised:
        world.run(TOTALS)

    assert "~ orders: INT64 there, NUMERIC(20, 1) here" in str(raised.value)
    assert world.jobs_sent() == []


def test_a_table_that_is_gone_is_made_and_filled(world: World) -> None:
    """Somebody dropped the table: the next run notices, although nothing changed at the source."""
    world.run()
    world.client.delete_table(world.table(TOTALS))

    assert _moved(world)[TOTALS] == ("replace", 1, 0, 3)
    assert world.there(TOTALS) == world.here(TOTALS)


def test_a_table_that_is_not_ours_is_left_alone(world: World) -> None:
    """A table without our labels is not written to until setup adopts it."""
    world.query(f"CREATE TABLE `{{}}.{TOTALS}` (shop STRING, orders INT64)")
    with pytest.raises(TargetError, match="was not made by bq-export"):
        world.run(TOTALS)

    assert world.cli("setup").returncode == 0
    assert _moved(world)[TOTALS] == ("replace", 1, 0, 3)


@pytest.mark.parametrize(
    ("status", "reason", "mend"),
    [
        (403, "accessDenied", "bq-export setup"),
        (403, "quotaExceeded", "run again tomorrow"),
        (404, "notFound", "bq-export setup"),
        (400, "invalid", "bq-export plan"),
    ],
)
def test_a_terminal_failure_stops_at_once(world: World, status: int, reason: str, mend: str) -> None:
    """It is not tried again; the message has the object, the reason and the mend; the exit code is 6."""
    asked: list[Seen] = []

    def refuse(seen: Seen) -> tuple[int, dict[str, Any]] | None:
        if seen.method == "POST" and "/jobs" in seen.path:
            asked.append(seen)
            error = {"code": status, "message": "no", "errors": [{"reason": reason, "message": "no"}]}
            return status, {"error": error}
        return None

    world.proxy.answer = refuse

    done = world.cli("run", DAILY)

    assert done.returncode == 6, done.stderr
    assert f"({reason})" in done.stderr
    assert mend in done.stderr
    assert "Traceback" not in done.stderr
    assert len(asked) == 1


def test_transient_failures_end_with_the_budget_of_time(world: World) -> None:
    """When BigQuery answers 503 for longer than the time for retries, the run stops and says so."""
    world.proxy.answer = lambda _: (503, {"error": {"code": 503, "message": "busy"}})

    with pytest.raises(TargetError, match="within the time for retries"):
        world.run(retry_budget_s=0.2)


def test_a_row_that_is_lost_on_the_way_publishes_nothing(world: World) -> None:
    """The staged rows are changed behind our back: the proof fails, the target stays as it was."""
    world.run()
    before = world.there(DAILY)
    _changed(world)

    def tamper(seen: Seen) -> None:
        if isinstance(seen.body, dict) and "BEGIN TRANSACTION" in json.dumps(seen.body):
            staging = next(
                one.table_id
                for one in world.client.list_tables(world.export.dataset)
                if one.table_id.startswith("_bq_export_")
            )
            world.query(f"UPDATE `{{}}.{staging}` SET amount = amount + 0.01 WHERE shop = 'shop 3'")

    world.proxy.answer = tamper
    with pytest.raises(ProofError, match="amount: sum"):
        world.run(DAILY)

    assert world.there(DAILY) == before
    world.proxy.answer = lambda _: None
    world.run(DAILY)
    assert world.there(DAILY) == world.here(DAILY)


def test_a_job_that_stays_running_is_given_up(world: World) -> None:
    """A staging load that never ends is cancelled and done anew by the same run, within its own time."""
    _stay_running(world.proxy, "stage", "g1")

    world.run(DAILY, job_timeout_s=3)

    assert world.there(DAILY) == world.here(DAILY)


def test_a_publishing_job_left_running_is_made_good_by_the_next_run(world: World) -> None:
    """The next run cancels it, takes what it touches for unknown, and ends in the same target."""
    world.run()
    _changed(world)
    _stay_running(world.proxy, "publish", "g1")
    with pytest.raises(TargetError, match="did not end"):
        world.run(DAILY, job_timeout_s=3)

    result = world.run(DAILY, job_timeout_s=3)

    assert result.relations[0].way == "flip"
    assert world.there(DAILY) == world.here(DAILY)
    world.proxy.answer = lambda _: None
    world.run(DAILY)
    assert world.there(DAILY) == world.here(DAILY)
    assert world.run(DAILY).relations[0].way == "none"


def _stay_running(proxy: FaultProxy, operation: str, generation: str) -> None:
    """Let every answer about the first such job say RUNNING."""
    stuck: list[str] = []

    def running(seen: Seen) -> tuple[int, dict[str, Any]] | None:
        if isinstance(seen.body, dict) and seen.method == "POST":
            job_id = str(seen.body.get("jobReference", {}).get("jobId", ""))
            if f"-{operation}-" in job_id and job_id.endswith(generation) and not stuck:
                stuck.append(job_id)
                return 200, {**seen.body, "status": {"state": "RUNNING"}, "statistics": {}}
        if stuck and f"/jobs/{stuck[0]}" in seen.path:
            reference = {"projectId": "local", "jobId": stuck[0], "location": "US"}
            job = {
                "jobReference": reference,
                "status": {"state": "RUNNING"},
                "statistics": {},
                "configuration": {"query": {"query": ""}, "labels": {"operation": operation}},
            }
            return 200, {"job": job, **job}
        if (
            stuck
            and isinstance(seen.body, dict)
            and seen.body.get("jobReference", {}).get("jobId") == stuck[0]
        ):
            return 409, {"error": {"code": 409, "message": "Already Exists"}}
        return None

    proxy.answer = running


def test_the_budget_stops_a_run_before_it_starts(world: World) -> None:
    """Bytes billed by our labels this month, and what the run would add, are held against the budget."""

    def bill(tebibytes: float) -> None:
        now = str(int(time.time() * 1000))

        def answer(seen: Seen) -> tuple[int, dict[str, Any]] | None:
            if seen.method != "GET" or not seen.path.partition("?")[0].endswith("/jobs"):
                return None
            job = {
                "jobReference": {"projectId": "local", "jobId": "j", "location": "US"},
                "status": {"state": "DONE"},
                "configuration": {
                    "query": {"query": ""},
                    "labels": {"app": "bq_export", "operation": "publish"},
                },
                "statistics": {
                    "creationTime": now,
                    "query": {"totalBytesBilled": str(int(tebibytes * 2**40))},
                },
            }
            return 200, {"jobs": [job]}

        world.proxy.answer = answer

    bill(8.5)
    with pytest.raises(BudgetError, match="would pass the monthly budget"):
        world.run()
    assert world.jobs_sent() == []
    bill(6.8)

    result = world.run()

    assert [w for w in result.warnings if w.startswith("WARNING: 80% of the monthly budget")]
    cost = json.loads(world.cli("cost", "--json").stdout)
    assert cost["month"]["usd"] == pytest.approx(42.5)


def test_two_exporters_do_not_meet(world: World) -> None:
    """While one runs, another leaves with exit code 5, or waits and then finds nothing to do."""
    with open_state(world.settings, target=world.export.target) as state:
        state.rows("try_lock", {})
        left = world.cli("run", "--no-wait")
        with pytest.raises(LockedError):
            world.run(wait=False)
        results: list[Any] = []
        waiting = threading.Thread(target=lambda: results.append(world.run()))
        told = f"Waiting for another bq-export that is exporting to {world.export.target}"
        waiting.start()
        time.sleep(0.3)
        waited = waiting.is_alive()
        state.rows("unlock", {})
        waiting.join(60)

    assert left.returncode == 5
    assert waited
    assert world.progress[0] == told
    assert len(results) == 1
    assert world.there(DAILY) == world.here(DAILY)


def test_an_infinite_day_stops_before_anything_is_sent(world: World) -> None:
    """A value that no DATE holds is told with its column; no job is sent."""
    world.sql("INSERT INTO mart_orders_daily VALUES ('infinity', 's', 1, 1, 1, now())")

    with pytest.raises(ValueOutOfRangeError, match=r"day \(1 values, as infinity\)"):
        world.run(DAILY)

    assert world.jobs_sent() == []


def test_all_relations_are_of_one_moment(world: World, connect: Callable[[str], psycopg.Connection]) -> None:
    """A commit in the middle of a run is in none of its relations, and in all of the next."""
    world.run()
    _changed(world)
    connection = connect(world.url)

    def meddle(seen: Seen) -> None:
        if seen.method == "GET" and seen.path.partition("?")[0].endswith(f"/tables/{DAILY}"):
            connection.execute("UPDATE mart_totals SET orders = orders + 1")

    world.proxy.answer = meddle
    moved = _moved(world)

    assert moved[TOTALS][0] == "none"
    world.proxy.answer = lambda _: None
    assert _moved(world)[TOTALS][0] == "replace"


def test_nothing_is_sent_to_a_late_duplicate(world: World) -> None:
    """An insert that arrives after the run gave it up and was killed finds its id fenced."""
    world.run()
    _changed(world)
    requests = 7
    for at in range(4, requests):
        world.proxy.arm(Harm.LATE, at)
        with pytest.raises(TargetError):
            world.run(DAILY, retry_budget_s=0.0)
        world.run(DAILY)
        world.proxy.settle()

        assert world.there(DAILY) == world.here(DAILY)
        world.sql("UPDATE mart_orders_daily SET orders = orders + 1 WHERE day = '2026-01-02'")


def test_status_and_history_remember(world: World) -> None:
    """Both read the database only, and say what was left."""
    world.run()
    status = json.loads(world.cli("status", "--json").stdout)
    history = json.loads(world.cli("history", "--json").stdout)

    assert [(t["relation"], t["partitions"], t["row_count"]) for t in status["tables"]] == [
        ("public.mart_orders_daily", 5, 15),
        ("public.mart_totals", 1, 3),
    ]
    assert [(r["state"], r["rows_sent"]) for r in history["runs"]] == [("succeeded", 18)]


def test_the_plan_changes_nothing(world: World) -> None:
    """It tells tables, rows, jobs and cost of a first run; nothing is there afterwards."""
    done = world.cli("plan", "--json")
    told = json.loads(done.stdout)

    assert done.returncode == 0, done.stderr
    assert [(r["name"], r["way"], r["rows"], r["load_jobs"]) for r in told["relations"]] == [
        (DAILY, "replace", 15, 2),
        (TOTALS, "replace", 3, 2),
    ]
    assert told["relations"][0]["schema_changes"] == ["the table is made"]
    assert 0 < told["usd"] < 0.01
    assert list(world.client.list_tables(world.export.dataset)) == []
    assert world.sql("SELECT count(*) FROM ledgerviews.export_run") == [(0,)]


def test_setup_makes_and_then_finds_all_well(world: World) -> None:
    """The second setup finds nothing to do; what it may not do it tells as gcloud lines."""
    world.client.delete_dataset(world.export.dataset)
    first, second = (json.loads(world.cli("setup", "--json").stdout) for _ in range(2))

    assert [s["outcome"] for s in first["steps"]] == ["ok", "made", "made", "made", "ok", "told"]
    assert [s["outcome"] for s in second["steps"]] == ["ok", "ok", "ok", "ok", "ok", "told"]
    world.proxy.answer = lambda seen: (
        (403, {"error": {"code": 403, "message": "no", "errors": [{"reason": "accessDenied"}]}})
        if seen.method == "POST"
        else None
    )
    refused = world.cli("setup")
    assert refused.returncode == 6
    assert "--role=roles/bigquery.jobUser" in refused.stdout
