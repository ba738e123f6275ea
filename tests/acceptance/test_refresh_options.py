"""What ``ledgerviews refresh`` may be asked for, what it says of a failed check, and ``verify``."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import psycopg
import pytest

from ledgerviews.models import demo
from tests import servers as pg

if TYPE_CHECKING:
    from collections.abc import Callable

    Connect = Callable[[str], psycopg.Connection]

OLD_EVENT = (
    "INSERT INTO public.suggestion_events (id, txn_id, model_id, features_hash, candidates, mode, created_at)"
    " SELECT gen_random_uuid(), txn_id, model_id, features_hash, candidates, mode, %s"
    " FROM public.suggestion_events LIMIT 1"
)
WAITS = (
    "SELECT FROM pg_catalog.pg_stat_activity AS a"
    " WHERE a.datname = pg_catalog.current_database() AND a.wait_event = 'transactionid'"
)
CHECK = (
    "INSERT INTO ledgerviews.relation_check"
    " (schema_name, relation_name, check_name, kind, expression, severity)"
    " VALUES ('public', 'mart_suggestions_daily', %s, 'expression', %s, %s)"
)


@pytest.fixture
def filled(installed_url: str, connect: Connect) -> psycopg.Connection:
    """A connection to a database whose marts hold the reference rows, all days of which are closed."""
    connection = connect(installed_url)
    demo.reference_rows(connection)
    connection.execute("CALL ledgerviews.refresh()")
    connection.execute(
        "UPDATE ledgerviews.relation_state SET open_from = CURRENT_DATE WHERE open_from IS NOT NULL"
    )
    return connection


def test_a_dry_run_tells_the_days_and_changes_nothing(
    filled: psycopg.Connection, installed_url: str, run_cli: pg.RunCli
) -> None:
    """Each relation with its days as ranges and the reason; twice the same, and nothing is in the log."""
    today = datetime.now(UTC).date()
    for day in ("2025-10-01", "2025-10-02", "2025-10-05"):
        filled.execute(OLD_EVENT, [f"{day} 12:00:00"])

    done = run_cli("refresh", "--dry-run", url=installed_url)
    again = run_cli("refresh", "--dry-run", url=installed_url)
    as_json = json.loads(run_cli("refresh", "--dry-run", "--json", url=installed_url).stdout)
    refreshed = json.loads(run_cli("refresh", "--json", url=installed_url).stdout)

    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        f"public.mart_suggestions_daily: 2025-10-01 to 2025-10-02, 2025-10-05, {today} and later",
        f"    because 3 days changed, and days from {today} on are open",
        f"public.mart_suggestions_feedback_daily: 2025-10-01 to 2025-10-02, 2025-10-05, {today} and later",
        f"    because 3 days changed, and days from {today} on are open",
        "public.mart_suggestions_kpis: all of it, if what it reads turns out to have changed",
        "    because it reads public.mart_suggestions_daily, public.mart_suggestions_feedback_daily",
        "Nothing was changed.",
    ]
    assert again.stdout == done.stdout
    assert (as_json["dry_run"], as_json["relations"][0]["days"]) == (True, 4)
    assert as_json["relations"][0]["ranges"] == [
        {"first": "2025-10-01", "last": "2025-10-02"},
        {"first": "2025-10-05", "last": "2025-10-05"},
        {"first": str(today), "last": None},
    ]
    assert refreshed["run_id"] == 2
    assert [relation["days"] for relation in refreshed["relations"]] == [4, 4, None]


def test_a_dry_run_waits_for_a_refresh_or_leaves(installed_url: str, run_cli: pg.RunCli) -> None:
    """It takes the lock of a refresh: with --no-wait, or when the lock time-out passes, exit code 5."""
    with closing(psycopg.connect(installed_url)) as other:
        other.execute("LOCK TABLE ledgerviews.refresh_lock IN EXCLUSIVE MODE")
        left = run_cli("refresh", "--dry-run", "--no-wait", url=installed_url)
        timed_out = run_cli("refresh", "--dry-run", "--lock-timeout", "100ms", url=installed_url)

    assert (left.returncode, timed_out.returncode) == (5, 5)
    assert "holds the lock of refreshes" in left.stderr


def test_a_dry_run_begins_again_like_a_refresh(
    filled: psycopg.Connection, installed_url: str, run_cli: pg.RunCli
) -> None:
    """Where the scrub of a refresh, which holds no lock, wrote the same rows, the plan is made anew."""
    filled.execute(OLD_EVENT, ["2025-10-01 12:00:00"])
    with (
        closing(psycopg.connect(installed_url)) as scrub,
        ThreadPoolExecutor() as pool,
    ):
        scrub.execute("UPDATE ledgerviews.relation_state SET scrubbed_at = pg_catalog.now()")
        told = pool.submit(run_cli, "refresh", "--dry-run", url=installed_url)
        while not told.done() and not filled.execute(WAITS).fetchall():
            time.sleep(0.01)
        scrub.commit()
        done = told.result()

    assert done.returncode == 0, done.stderr
    assert "2025-10-01" in done.stdout


def test_what_is_gone_keeps_nobody_waiting(filled: psycopg.Connection, installed_url: str) -> None:
    """Where its machine or network went without a word, the server ends what a command held."""
    meets = {
        "ledgerviews.refresh_lock": ["refresh", "--dry-run"],
        "ledgerviews.source": ["diff"],
        "ledgerviews.run": ["status"],
    }
    tables = ", ".join(meets)
    waiting = (
        "SELECT count(*) FROM pg_catalog.pg_stat_activity AS a"
        " WHERE a.datname = pg_catalog.current_database() AND a.wait_event_type = 'Lock'"
    )
    with closing(psycopg.connect(installed_url)) as other, ExitStack() as stack:
        for number, (table, command) in enumerate(meets.items(), start=1):
            other.execute(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE".encode())
            gone = stack.enter_context(
                subprocess.Popen(
                    [sys.executable, "-m", "ledgerviews", *command],
                    env={
                        **pg.clean_environment(),
                        "PYTHONPATH": str(pg.ROOT),
                        "LEDGERVIEWS_DATABASE_URL": installed_url,
                    },
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                )
            )
            stack.callback(gone.kill)
            while gone.poll() is None and filled.execute(waiting).fetchone() != (number,):
                time.sleep(0.01)
            assert gone.poll() is None
            gone.send_signal(signal.SIGSTOP)
        other.commit()
        with filled.transaction():
            filled.execute("SET LOCAL lock_timeout = '60s'")
            filled.execute(f"LOCK TABLE {tables} IN ACCESS EXCLUSIVE MODE".encode())


def test_full_recomputes_all_days(filled: psycopg.Connection, installed_url: str, run_cli: pg.RunCli) -> None:
    """--full recomputes all, says so, and mends a view that was tampered with."""
    filled.execute("UPDATE ledgerviews.mart_suggestions_daily_rollup SET events = 99")

    done = run_cli("refresh", "--full", "--json", url=installed_url)

    result = json.loads(done.stdout)
    assert done.returncode == 0, done.stderr
    assert result["mode"] == "full"
    assert {(r["scope"], r["reason"]) for r in result["relations"]} == {
        ("all", "a full refresh was asked for")
    }
    assert filled.execute("SELECT events FROM public.mart_suggestions_daily").fetchall() == [(12,)]


def test_contradictory_options(installed_url: str, run_cli: pg.RunCli) -> None:
    """--full with --blocking, and a duration that is none, are usage errors."""
    both = run_cli("refresh", "--full", "--blocking", url=installed_url)
    never = run_cli("refresh", "--lock-timeout", "soon", url=installed_url)

    assert (both.returncode, never.returncode) == (2, 2)
    assert "not both" in both.stderr
    assert "'soon' is no duration. Write 500ms" in never.stderr


def test_time_outs_as_options_go_before_the_settings(installed_url: str, run_cli: pg.RunCli) -> None:
    """--lock-timeout and --statement-timeout end a refresh that the settings would let wait."""
    settings = {"LEDGERVIEWS_LOCK_TIMEOUT": "1h", "LEDGERVIEWS_STATEMENT_TIMEOUT": "1h"}
    with closing(psycopg.connect(installed_url)) as other:
        other.execute("LOCK TABLE ledgerviews.refresh_lock IN EXCLUSIVE MODE")
        locked = run_cli("refresh", "--lock-timeout", "100ms", url=installed_url, env=settings)
        long = run_cli("refresh", "--statement-timeout", "300ms", url=installed_url, env=settings)

    assert (locked.returncode, long.returncode) == (5, 1)
    assert "the lock time-out passed" in locked.stderr
    assert "statement time-out passed" in long.stderr


def test_a_check_that_fails_shows_its_rows(
    filled: psycopg.Connection, installed_url: str, run_cli: pg.RunCli
) -> None:
    """Exit code 1 with check, relation, count and rows in their order; readers keep the old figures."""
    filled.execute(CHECK, ["few_events", "m.events < 13", "error"])
    filled.execute(CHECK, ["only_warned", "m.events < 5", "warn"])
    filled.execute(OLD_EVENT, ["2025-11-04 12:00:00"])

    done = run_cli("refresh", url=installed_url)
    as_json = json.loads(run_cli("refresh", "--json", url=installed_url).stdout)
    logged = run_cli("runs", "2", url=installed_url)

    assert done.returncode == 1
    assert (
        "Nothing was published: of public.mart_suggestions_daily these checks fail: few_events" in done.stderr
    )
    assert "public.mart_suggestions_daily, few_events (error): 1 row:\n" in done.stderr
    assert "    created_date=2025-11-04, mode=auto, model_id=heuristic@v1, events=13, " in done.stderr
    assert as_json["exit_code"] == 1
    assert [(check["check"], check["failed_rows"]) for check in as_json["error"]["checks"]] == [
        ("few_events", 1),
        ("only_warned", 1),
    ]
    assert as_json["error"]["checks"][0]["sample"][0]["events"] == 13
    assert done.stderr.count("only_warned") == 1
    assert "few_events (error): 1 row" in logged.stdout
    assert filled.execute("SELECT events FROM public.mart_suggestions_daily").fetchall() == [(12,)]


def test_a_check_that_only_warns(filled: psycopg.Connection, installed_url: str, run_cli: pg.RunCli) -> None:
    """The refresh is published, the warning stands on stderr, and the rows in the JSON and the log."""
    filled.execute(CHECK, ["only_warned", "m.events < 5", "warn"])
    filled.execute(OLD_EVENT, ["2025-11-04 12:00:00"])

    done = run_cli("refresh", "--json", url=installed_url)

    result = json.loads(done.stdout)
    assert done.returncode == 0
    assert (
        "Warning: Check only_warned of public.mart_suggestions_daily fails for 1 row:"
        " created_date=2025-11-04, mode=auto, model_id=heuristic@v1, events=" in done.stderr
    )
    assert done.stderr.count("only_warned") == 1
    assert [(check["check"], check["severity"]) for check in result["checks"]] == [("only_warned", "warn")]


def test_a_plain_view_is_told_to_be_one(
    filled: psycopg.Connection, installed_url: str, run_cli: pg.RunCli
) -> None:
    """It is published, and nothing of it is stored: exit code 2 with what can be refreshed."""
    for name in ("stg_suggestion_events", "public.stg_suggestion_events"):
        for option in ((), ("--dry-run",)):
            done = run_cli("refresh", *option, name, url=installed_url)

            assert done.returncode == 2
            assert (
                f"ledgerviews: {name} is a plain view: it is always as its sources are, and nothing of it is"
                " stored that could be refreshed.\n  Published here: public.mart_suggestions_daily,"
                in done.stderr
            )


def test_a_dry_run_says_that_readers_would_wait(
    filled: psycopg.Connection, installed_url: str, run_cli: pg.RunCli
) -> None:
    """Of a blocking refresh that recomputes something, and of no other."""
    blocking = run_cli("refresh", "--dry-run", "--blocking", url=installed_url)
    full = run_cli("refresh", "--dry-run", "--full", url=installed_url)

    said = "Readers would wait until all of it is committed."
    assert blocking.stdout.endswith(f"\n{said}\nNothing was changed.\n")
    assert said not in full.stdout


def test_the_log_says_of_how_many_rows_it_shows_the_first(
    filled: psycopg.Connection, installed_url: str, run_cli: pg.RunCli
) -> None:
    """`runs RUN_ID` shows rows as errors do, and how many of all that fail."""
    filled.execute(
        "INSERT INTO ledgerviews.run_check"
        " (run_id, schema_name, relation_name, check_name, severity, failed_rows, sample)"
        """ VALUES (1, 'public', 'm', 'few', 'warn', 37, '[{"n": 1}, {"n": null}]')"""
    )

    shown = run_cli("runs", "1", url=installed_url).stdout

    assert shown.endswith("\npublic.m, check few (warn): 37 rows fail, the first 2:\n  n=1\n  n=NULL\n")


def test_verify_says_that_all_is_equal(
    filled: psycopg.Connection, installed_url: str, run_cli: pg.RunCli
) -> None:
    """How many rows of how many relations were compared; a NAME takes what it reads along; exit code 0."""
    done = run_cli("verify", url=installed_url)
    one = run_cli("verify", "mart_suggestions_daily", "--json", url=installed_url)

    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("3 rows of 3 relations compared, all equal (run 2, ")
    assert (json.loads(one.stdout)["rows"], json.loads(one.stdout)["mode"]) == (1, "verify")


def test_verify_tells_the_rows_that_differ(
    filled: psycopg.Connection, installed_url: str, run_cli: pg.RunCli
) -> None:
    """A wrong figure with the right one, a row that is missing and one that no source gives; exit code 1."""
    filled.execute("UPDATE ledgerviews.mart_suggestions_daily_rollup SET events = 99, model_id = model_id")
    filled.execute(
        "INSERT INTO ledgerviews.mart_suggestions_daily_rollup (created_date, mode, model_id, events)"
        " VALUES ('2025-11-04', 'auto', 'invented', 1)"
    )
    filled.execute("DELETE FROM ledgerviews.mart_suggestions_feedback_daily_rollup")
    filled.execute("REFRESH MATERIALIZED VIEW public.mart_suggestions_daily")
    filled.execute("REFRESH MATERIALIZED VIEW public.mart_suggestions_feedback_daily")

    done = run_cli("verify", "--json", url=installed_url)
    as_json = json.loads(done.stdout)

    assert done.returncode == 1
    assert (
        "created_date=2025-11-04, mode=auto, model_id=heuristic@v1: events is 99, must be 12\n" in done.stderr
    )
    assert (
        "published, but no source gives it: created_date=2025-11-04, mode=auto, model_id=invented"
        in done.stderr
    )
    assert (
        "not published: created_date=2025-11-04, mode=auto, model_id=heuristic@v1, events=12" in done.stderr
    )
    assert "The next refresh recomputes these relations as a whole" in done.stderr
    assert as_json["error"]["differences"][0]["relation"] == "mart_suggestions_daily"
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("mend", "gone"),
    [
        ("CALL ledgerviews.refresh('public.mart_suggestions_feedback_daily')", False),
        ("CALL ledgerviews.refresh(mode => 'full')", True),
        ("CALL ledgerviews.refresh('public.mart_suggestions_daily', mode => 'verify')", True),
        ("DELETE FROM ledgerviews.relation WHERE relation_name = 'mart_suggestions_daily'", True),
    ],
)
def test_drift_is_shown_while_it_stands(
    filled: psycopg.Connection, installed_url: str, run_cli: pg.RunCli, mend: str, *, gone: bool
) -> None:
    """Not once a run recomputed that relation as a whole or verified it, or it is dropped; `runs` has it."""
    filled.execute(
        "UPDATE ledgerviews.run SET drift ="
        " 'public.other, days 2025-01-01 to 2025-01-01: 1 rows differ from the sources, the first: {};"
        " public.mart_suggestions_daily, days 2025-11-04 to 2025-11-04: 1 rows differ'"
    )
    before = run_cli("status", url=installed_url)
    filled.execute(mend.encode())
    after = run_cli("status", url=installed_url)

    assert "Drift: run 1, " in before.stdout
    assert ("Drift" in after.stdout) == (not gone)
    assert "Run `ledgerviews verify`: it recomputes that as a whole" in before.stderr
    assert ("ledgerviews verify" in after.stderr) == (not gone)
    assert "  drift     public.other, days" in run_cli("runs", "1", url=installed_url).stdout


def test_the_scrub_warns_of_drift(filled: psycopg.Connection, installed_url: str, run_cli: pg.RunCli) -> None:
    """What the scrub finds is a warning on stderr, in the JSON, `runs` and `status`; --no-scrub skips it."""
    filled.execute("UPDATE ledgerviews.relation_state SET scrubbed_to = NULL")
    filled.execute("UPDATE ledgerviews.mart_suggestions_daily_rollup SET events = 99")
    filled.execute("REFRESH MATERIALIZED VIEW public.mart_suggestions_daily")

    without = run_cli("refresh", "--no-scrub", url=installed_url)
    done = run_cli("refresh", "--json", url=installed_url)
    status = run_cli("status", url=installed_url)
    runs = run_cli("runs", url=installed_url)
    mended = run_cli("refresh", "--json", url=installed_url)

    assert "Drift" not in without.stderr
    assert done.returncode == 0
    assert "Warning: Drift: public.mart_suggestions_daily, days " in done.stderr
    assert "1 rows differ" in done.stderr or "2 rows differ" in done.stderr
    assert "public.mart_suggestions_daily" in json.loads(done.stdout)["drift"]
    assert "Drift: run 3, " in status.stdout
    assert "the next refresh recomputes all days: the scrub found rows" in status.stderr
    assert "drift: public.mart_suggestions_daily" in runs.stdout
    assert json.loads(mended.stdout)["relations"][0]["updated"] == 1
