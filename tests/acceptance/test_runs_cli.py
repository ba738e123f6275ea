"""``ledgerviews runs``, and what ``ledgerviews status`` says of sources and of what comes next."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from ledgerviews.models import demo

if TYPE_CHECKING:
    from collections.abc import Callable

    import psycopg

    from tests import servers as pg

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


def test_one_run_with_its_relations(installed_url: str, run_cli: pg.RunCli) -> None:
    """A RUN_ID shows that run, each relation and why; an unknown one is a usage error."""
    run_cli("refresh", "mart_suggestions_kpis", url=installed_url)

    done = run_cli("runs", "1", url=installed_url)
    as_json = json.loads(run_cli("runs", "1", "--json", url=installed_url).stdout)
    unknown = run_cli("runs", "7", url=installed_url)

    assert "Run 1: succeeded" in done.stdout
    assert "  mode      incremental (mart_suggestions_kpis)" in done.stdout
    assert "public.mart_suggestions_daily: it was never filled" in done.stdout
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
    assert "Verified: all 20" in done.stdout
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
