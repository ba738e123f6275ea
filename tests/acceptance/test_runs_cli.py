"""``ledgerviews runs``, and what ``ledgerviews status`` says of sources and of what comes next."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

from ledgerviews.models import demo
from tests import servers as pg

if TYPE_CHECKING:
    from collections.abc import Callable

    import psycopg

    Connect = Callable[[str], psycopg.Connection]


def test_the_runs_are_listed_newest_first(installed_url: str, connect: Connect, run_cli: pg.RunCli) -> None:
    """Each run with state, mode, who, how many rows and days, and why it failed; --limit cuts."""
    connection = connect(installed_url)
    demo.reference_rows(connection)

    nothing = run_cli("runs", url=installed_url)
    run_cli("refresh", url=installed_url)
    run_cli("refresh", "nope", url=installed_url)
    done = run_cli("runs", url=installed_url)
    as_json = json.loads(run_cli("runs", "--limit", "1", "--json", url=installed_url).stdout)

    first, second = (line for line in done.stdout.splitlines() if line.lstrip()[:1].isdigit())
    assert nothing.stdout == "No run is in the log.\n"
    assert first.split()[:3] == ["2", "failed", "incremental"]
    assert "nope is no published materialized view" in first
    assert second.split()[:5] == ["1", "succeeded", "incremental", "postgres", "ledgerviews"]
    assert " 3 of 3 " in second
    assert [run["run_id"] for run in as_json["runs"]] == [2]
    assert as_json["runs"][0]["error"].startswith("nope is no")


def test_the_days_are_those_of_what_is_by_day(
    installed_url: str, connect: Connect, run_cli: pg.RunCli
) -> None:
    """A mart that is always computed as a whole does not hide how many days the others recomputed."""
    connection = connect(installed_url)
    demo.reference_rows(connection)
    run_cli("refresh", url=installed_url)
    connection.execute("UPDATE public.suggestion_events SET mode = 'other'")
    connection.execute("CALL ledgerviews.refresh(scrub => false)")
    recomputed = connection.execute(
        "SELECT max(days)::text, count(*) FILTER (WHERE scope = 'all')"
        " FROM ledgerviews.run_relation WHERE run_id = 2"
    ).fetchone()

    found = json.loads(run_cli("runs", "--json", url=installed_url).stdout)["runs"]

    assert recomputed is not None
    assert recomputed[1] == 1
    assert [run["days"] for run in found] == [recomputed[0], "all"]


def test_a_narrow_terminal_tells_where_the_failure_stands(installed_url: str, run_cli: pg.RunCli) -> None:
    """Where the column with the error has no room, the command that shows it is named; else not."""
    run_cli("refresh", url=installed_url)
    run_cli("refresh", "nope", url=installed_url)

    narrow = _on_a_terminal(installed_url, "runs", columns=80)
    wide = _on_a_terminal(installed_url, "runs", columns=240)
    well = _on_a_terminal(installed_url, "runs", "--limit", "1", columns=240)

    assert "nope is no" not in narrow
    assert "What went wrong in run 2: `ledgerviews runs 2`." in narrow
    assert "nope is no published materialized view" in wide
    assert "What went wrong" not in wide + well


def test_a_mistyped_name_is_not_the_last_run(installed_url: str, run_cli: pg.RunCli) -> None:
    """`status` goes on showing the run before it, which tells how the marts are; `runs` lists both."""
    run_cli("refresh", url=installed_url)
    mistyped = run_cli("refresh", "nope", url=installed_url)

    found = run_cli("status", url=installed_url)
    listed = run_cli("runs", url=installed_url)

    assert mistyped.returncode == 2
    assert "\nLast run: 1, succeeded, begun " in found.stdout
    assert "nope is no published materialized view" in listed.stdout


FORGED = "\x1b[2J\nledgerviews: all fine\r\x07"
SHOWN = r"\x1b[2J\nledgerviews: all fine\r\x07"


def test_what_stands_in_rows_is_shown_without_being_obeyed(
    installed_url: str, connect: Connect, run_cli: pg.RunCli
) -> None:
    """Whoever writes rows forges no line of an error, the log or `verify`; JSON has what they wrote."""
    connection = connect(installed_url)
    demo.reference_rows(connection)
    assert run_cli("refresh", url=installed_url).returncode == 0
    connection.execute(
        "INSERT INTO ledgerviews.relation_check"
        " (schema_name, relation_name, check_name, kind, columns, expression, severity)"
        " VALUES ('public', 'mart_suggestions_daily', 'known', 'expression', '{}',"
        " 'mode IN (''auto'', ''model'', ''heuristic'')', 'error');"
        " UPDATE ledgerviews.relation_state SET rebuild = 'a test'"
    )
    connection.execute(
        "UPDATE public.suggestion_events SET mode = %s WHERE id = (SELECT min(id::text) FROM"
        " public.suggestion_events)::uuid",
        [FORGED],
    )
    refused = run_cli("refresh", url=installed_url)
    as_json = json.loads(run_cli("refresh", "--json", url=installed_url).stdout)
    connection.execute("UPDATE ledgerviews.relation_check SET severity = 'warn'")
    warned = run_cli("refresh", url=installed_url)
    logged = run_cli("runs", "4", url=installed_url)
    connection.execute("DELETE FROM ledgerviews.mart_suggestions_daily_rollup WHERE mode = %s", [FORGED])
    connection.execute("REFRESH MATERIALIZED VIEW public.mart_suggestions_daily")
    differing = run_cli("verify", url=installed_url)
    connection.execute("UPDATE ledgerviews.run SET error = %s, state = 'failed'", [f"x{FORGED}"])
    told = [run_cli(*words.split(), url=installed_url) for words in ("status", "runs", "runs 1")]

    assert (refused.returncode, warned.returncode, differing.returncode) == (1, 0, 1)
    assert f", mode={SHOWN}, " in refused.stderr
    assert as_json["error"]["checks"][0]["sample"][0]["mode"] == FORGED
    assert f", mode={SHOWN}, " in warned.stderr
    assert f"mode={SHOWN}, " in logged.stdout
    assert f"mode={SHOWN}" in differing.stderr
    assert f": x{SHOWN}\n" in told[0].stdout
    assert f"  error     x{SHOWN}\n" in told[2].stdout
    for done in (refused, warned, logged, differing, *told):
        assert "\nledgerviews: all fine" not in done.stdout + done.stderr
        assert not {"\x1b", "\r", "\x07"} & set(done.stdout + done.stderr)


def _on_a_terminal(url: str, *words: str, columns: int) -> str:
    """What a command prints on a terminal of so many columns."""
    ours, theirs = pty.openpty()
    environment = {**pg.clean_environment(), "PYTHONPATH": str(pg.ROOT), "LEDGERVIEWS_DATABASE_URL": url}
    with subprocess.Popen(
        [sys.executable, "-m", "ledgerviews", *words],
        env={**environment, "COLUMNS": str(columns)},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    ) as process:
        os.close(theirs)
        told = b""
        # Linux ends the reading of a terminal that nobody has open with an error.
        with suppress(OSError):
            while more := os.read(ours, 65_536):
                told += more
        process.wait(timeout=60)
    os.close(ours)
    return told.decode()


def test_one_run_with_its_relations(installed_url: str, run_cli: pg.RunCli) -> None:
    """A RUN_ID shows that run, each relation and why, on any terminal; an unknown one is a usage error."""
    run_cli("refresh", "mart_suggestions_kpis", url=installed_url)

    done = run_cli("runs", "1", url=installed_url)
    narrow = _on_a_terminal(installed_url, "runs", "1", columns=70)
    as_json = json.loads(run_cli("runs", "1", "--json", url=installed_url).stdout)
    unknown = run_cli("runs", "7", url=installed_url)

    assert "Run 1: succeeded" in done.stdout
    assert "  mode      incremental (mart_suggestions_kpis)" in done.stdout
    assert done.stdout.count("it was never filled") == 3
    assert "public.mart_suggestions_daily: it was never filled" in narrow
    assert narrow.count("it was never filled") == 3
    assert as_json["run"]["requested"] == ["mart_suggestions_kpis"]
    assert [relation["method"] for relation in as_json["run"]["relations"]] == ["first fill"] * 3
    assert unknown.returncode == 2
    assert "There is no run 7 in the log." in unknown.stderr


def test_status_tells_of_the_sources(installed_url: str, connect: Connect, run_cli: pg.RunCli) -> None:
    """Tracking, missing index, verification; a missing index leaves exit code 0."""
    demo.reference_rows(connect(installed_url))
    run_cli("refresh", url=installed_url)
    run_cli("verify", url=installed_url)

    done = run_cli("status", url=installed_url)
    as_json = json.loads(run_cli("status", "--json", url=installed_url).stdout)

    assert done.returncode == 0
    rows = [line.split() for line in done.stdout.splitlines() if "closed days" in line]
    assert rows == [
        ["public.suggestion_events", "closed", "days", "-", "-"],
        ["public.suggestion_feedback", "closed", "days", "(event_id)", "-"],
    ]
    assert "Last verified: all 20" in done.stdout
    assert "(event_id): refreshes are exact, and slower. Run `ledgerviews index install`." in done.stderr
    assert [source["missing_indexes"] for source in as_json["sources"]] == [[], ["event_id"]]
    assert as_json["verified_at"] is not None
    assert as_json["relations"][1]["rebuild"] is None


def test_status_tells_what_is_wrong_with_the_tracking(
    installed_url: str, connect: Connect, run_cli: pg.RunCli
) -> None:
    """A trigger that is gone or not ALWAYS is named with its mend, and what it means for the next refresh."""
    connection = connect(installed_url)
    run_cli("refresh", url=installed_url)
    connection.execute("DROP TRIGGER ledgerviews_update ON public.suggestion_events")
    connection.execute("ALTER TABLE public.suggestion_feedback ENABLE TRIGGER ALL")

    done = run_cli("status", url=installed_url)
    tracking = run_cli("tracking", "status", url=installed_url)
    mended = run_cli("tracking", "install", url=installed_url)
    after = run_cli("status", url=installed_url)

    assert done.returncode == 0
    for text in (done.stderr, tracking.stderr):
        assert "public.suggestion_events: a trigger of ours is missing" in text
        assert "Run `ledgerviews tracking install public.suggestion_events`." in text
        assert "public.suggestion_feedback: a trigger of ours is not ENABLE ALWAYS" in text
    assert mended.returncode == 0
    assert "trigger of ours" not in after.stdout + after.stderr
    assert "so the next refresh recomputes all days" in after.stderr


def test_the_mend_of_a_trigger_keeps_the_way_of_tracking(
    installed_url: str, connect: Connect, run_cli: pg.RunCli
) -> None:
    """What status says to run puts the trigger back without changing what is logged."""
    run_cli("tracking", "install", "--mode", "every-write", url=installed_url)
    connect(installed_url).execute("ALTER TABLE public.suggestion_feedback ENABLE TRIGGER ALL")

    told = run_cli("status", url=installed_url).stderr
    run_cli("tracking", "install", "--mode", "every-write", "public.suggestion_feedback", url=installed_url)
    after = json.loads(run_cli("tracking", "status", "--json", url=installed_url).stdout)["sources"]

    assert "Run `ledgerviews tracking install --mode every-write public.suggestion_feedback`." in told
    assert [(one["tracking"], one["problem"]) for one in after] == [("every write", None)] * 2


def test_the_log_is_kept_as_long_as_the_setting_says(
    installed_url: str, connect: Connect, run_cli: pg.RunCli
) -> None:
    """ledgerviews.engine.keep_runs decides: the next refresh deletes what is older."""
    connection = connect(installed_url)
    run_cli("refresh", url=installed_url)
    connection.execute("UPDATE ledgerviews.run SET started_at = now() - interval '10 days'")
    connection.execute("UPDATE ledgerviews.engine SET keep_runs = interval '9 days'")

    run_cli("refresh", url=installed_url)

    assert connection.execute("SELECT run_id FROM ledgerviews.run").fetchall() == [(2,)]


def test_before_the_migration_to_engine_2(application_url: str, run_cli: pg.RunCli) -> None:
    """Where engine 1 is installed, status still reads, and the others say that a migration is pending."""
    run_cli("db", "upgrade", "0002", url=application_url)

    status = run_cli("status", url=application_url)
    others = [
        run_cli(*words, url=application_url)
        for words in (("runs",), ("verify",), ("index", "status"), ("tracking", "status"), ("cron", "status"))
    ]

    assert status.returncode == 4
    assert "A migration is pending" in status.stderr
    assert "public.mart_suggestions_kpis" in status.stdout
    for done in others:
        assert done.returncode == 4
        assert "A migration is pending" in done.stderr


def test_the_log_is_read_while_a_migration_is_pending(
    installed_url: str, connect: Connect, run_cli: pg.RunCli
) -> None:
    """Where only the revision differs, the log and the tracking are shown; a refresh is not begun."""
    run_cli("refresh", url=installed_url)
    connection = connect(installed_url)
    (expected,) = run_cli("runs", url=installed_url).stdout.split("\n\n", maxsplit=1)[:1]
    for revision in ("0005", "9999"):
        connection.execute("UPDATE ledgerviews.alembic_version SET version_num = %s", [revision])
        listed, one, tracked, refused = (
            run_cli(*words, url=installed_url)
            for words in (("runs",), ("runs", "1"), ("tracking", "status"), ("refresh",))
        )

        assert [done.returncode for done in (listed, one, tracked, refused)] == [0, 0, 0, 4], listed.stderr
        assert listed.stdout.startswith(expected)
        assert "mart_suggestions_kpis" in one.stdout
        assert "public.suggestion_feedback" in tracked.stdout
