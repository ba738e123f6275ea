"""``ledgerviews refresh`` and ``status`` as a person, a cron job and a CI job meet them."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from contextlib import closing
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from ledgerviews.models import demo
from tests import servers as pg
from tests.waiting import waiting_refresh

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Connect = Callable[[str], psycopg.Connection]

KPIS = (
    "SELECT created_date::text, events_total, events_model, events_heuristic,"
    " avg_candidate_count_overall, accept_rate_overall FROM public.mart_suggestions_kpis"
)
FEEDBACK = (
    "SELECT created_date::text, mode, model_id, events, accepts, rejects, undos, accept_rate"
    " FROM public.mart_suggestions_feedback_daily"
)


def cells(line: str) -> list[str]:
    """The cells of a table's line: what stands apart by two spaces or more."""
    return re.split(r"\s{2,}", line.strip())


def test_the_reference_figures_come_out(application_url: str, connect: Connect, run_cli: pg.RunCli) -> None:
    """By ``alembic upgrade head`` and ``ledgerviews refresh`` the documented figures come out exactly."""
    connection = connect(application_url)
    demo.reference_rows(connection)
    environment = {**pg.clean_environment(), "PYTHONPATH": str(pg.ROOT), "DATABASE_URL": application_url}
    subprocess.run(
        [sys.executable, "-m", "alembic", "upgrade", "head"],
        check=True,
        cwd=pg.ROOT,
        env=environment,
        capture_output=True,
    )

    done = run_cli("refresh", env={"DATABASE_URL": application_url})

    assert done.returncode == 0, done.stderr
    assert connection.execute(KPIS).fetchall() == [("2025-11-04", 12, 0, 0, 1.0, 0.5)]
    assert connection.execute(FEEDBACK).fetchall() == [
        ("2025-11-04", "auto", "heuristic@v1", 12, 4, 4, 0, 0.5)
    ]


def test_progress_and_results_go_their_own_ways(installed_url: str, run_cli: pg.RunCli) -> None:
    """Progress stands on stderr, a line for each relation; the table of results on stdout."""
    done = run_cli("refresh", url=installed_url)

    assert done.returncode == 0
    assert done.stderr.splitlines() == [
        "[1/3] public.mart_suggestions_daily: first fill (it was never filled)",
        "[2/3] public.mart_suggestions_feedback_daily: first fill (it was never filled)",
        "[3/3] public.mart_suggestions_kpis: first fill (it was never filled)",
    ]
    assert "mart_suggestions_kpis" in done.stdout
    assert re.search(r"^Run 1 succeeded in \d+\.\d\d s \(schema public\)\.$", done.stdout, re.MULTILINE)


def test_json_is_one_versioned_object(installed_url: str, connect: Connect, run_cli: pg.RunCli) -> None:
    """With --json stdout is one object with every figure of the run."""
    demo.reference_rows(connect(installed_url))

    done = run_cli("refresh", "mart_suggestions_daily", "--json", url=installed_url)

    result: dict[str, Any] = json.loads(done.stdout)
    relation = result["relations"][0]
    relation.pop("seconds")
    assert {key: result[key] for key in ("version", "command", "run_id", "state", "mode")} == {
        "version": 1,
        "command": "refresh",
        "run_id": 1,
        "state": "succeeded",
        "mode": "incremental",
    }
    assert (result["drift"], result["checks"]) == (None, [])
    assert relation == {
        "schema": "public",
        "name": "mart_suggestions_daily",
        "method": "first fill",
        "scope": "all",
        "days": None,
        "reason": "it was never filled",
        "rows_before": 0,
        "rows_after": 1,
        "inserted": 1,
        "updated": 0,
        "deleted": 0,
    }


def test_a_failure_is_json_as_well(installed_url: str, run_cli: pg.RunCli) -> None:
    """With --json an error is one object on stdout with its exit code, and a line on stderr."""
    done = run_cli("refresh", "nope", "--json", url=installed_url)

    result = json.loads(done.stdout)
    assert done.returncode == 2
    assert (result["version"], result["state"], result["exit_code"]) == (1, "failed", 2)
    assert result["error"]["message"] == "nope is no published materialized view of this database."
    assert "public.mart_suggestions_kpis" in result["error"]["hint"]
    assert done.stderr.startswith("ledgerviews: nope is no published")


@pytest.mark.parametrize(
    ("arguments", "relations"),
    [
        (["mart_suggestions_kpis"], ["daily", "feedback_daily", "kpis"]),
        (["mart_suggestions_daily"], ["daily"]),
        (["--select", "mart_suggestions_feedback_daily+"], ["feedback_daily", "kpis"]),
        (["--select", "stg_suggestion_events+,mart_*_daily"], ["daily", "feedback_daily"]),
        (["-s", "mart_suggestions_daily", "-s", "*kpis"], ["daily", "kpis"]),
    ],
)
def test_what_is_refreshed(
    installed_url: str, connect: Connect, run_cli: pg.RunCli, arguments: list[str], relations: list[str]
) -> None:
    """A NAME takes its upstream along; a selection is exactly what it says; both in dependency order."""
    connect(installed_url).execute("CALL ledgerviews.refresh()")

    done = run_cli("refresh", "--json", *arguments, url=installed_url)

    assert done.returncode == 0, done.stderr
    assert [relation["name"] for relation in json.loads(done.stdout)["relations"]] == [
        f"mart_suggestions_{name}" for name in relations
    ]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--select", "nothing*"], "'nothing*' matches no model"),
        (["--select", "stg_*"], "holds no materialized view"),
        (["--select", "a b", "name"], "not both"),
        (["--nonsense"], "No such option"),
    ],
)
def test_a_wrong_word_is_a_usage_error(
    installed_url: str, run_cli: pg.RunCli, arguments: list[str], said: str
) -> None:
    """A selection or option that means nothing ends with exit code 2, the reason, and no traceback."""
    done = run_cli("refresh", *arguments, url=installed_url)

    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_who_holds_the_lock_is_told(installed_url: str, connect: Connect, run_cli: pg.RunCli) -> None:
    """A refresh that is kept out names the run, or else the process, that holds the lock."""
    connection = connect(installed_url)
    with closing(psycopg.connect(installed_url, application_name="by hand")) as other:
        other.execute("LOCK TABLE ledgerviews.refresh_lock IN EXCLUSIVE MODE")
        # As pg_dump holds every table.
        for dump in (connect(installed_url), connect(installed_url)):
            dump.execute("BEGIN")
            dump.execute("LOCK TABLE ledgerviews.refresh_lock IN ACCESS SHARE MODE")
        told = [
            run_cli("refresh", *words, url=installed_url).stderr
            for words in (("--no-wait",), ("--lock-timeout", "100ms"), ("--dry-run", "--no-wait"))
        ]
        pid = other.info.backend_pid
    connection.execute("CALL ledgerviews.refresh()")
    connection.execute("INSERT INTO public.transactions (id, date) VALUES (1, '2026-01-01')")
    connection.execute(
        "INSERT INTO public.suggestion_events (txn_id, candidates, mode, created_at)"
        " VALUES (1, '[]', 'a', now())"
    )
    with closing(psycopg.connect(installed_url)) as application:
        application.execute("LOCK TABLE public.suggestion_feedback IN ACCESS EXCLUSIVE MODE")
        with waiting_refresh(connection, installed_url):
            beside = run_cli("refresh", "--no-wait", url=installed_url).stderr
            application.rollback()

    held = "A migration, or somebody's session, holds the lock of refreshes"
    assert told[1].startswith("Waiting for a migration, or somebody's session, that holds the lock of")
    assert [next(line for line in text.splitlines() if line.startswith("ledger")) for text in told] == [
        f"ledgerviews: {held} (process {pid}, by hand, postgres).",
        f"ledgerviews: {held} (process {pid}, by hand, postgres), and the lock time-out passed.",
        f"ledgerviews: {held} (process {pid}, by hand, postgres).",
    ]
    assert all(text.splitlines()[-1].endswith("pg_stat_activity shows it.") for text in told)
    assert re.match(
        r"ledgerviews: Another refresh is running \(run 4, process \d+, ledgerviews, postgres\)\.\n", beside
    )


def test_a_second_refresher_leaves_or_waits(installed_url: str, connect: Connect, run_cli: pg.RunCli) -> None:
    """While one refresh runs, --no-wait leaves with exit code 5 at once; --wait ends well when it may."""
    with closing(psycopg.connect(installed_url)) as other:
        other.execute("LOCK TABLE ledgerviews.refresh_lock IN EXCLUSIVE MODE")
        left = run_cli("refresh", "--no-wait", url=installed_url)
        timed_out = run_cli("refresh", url=installed_url, env={"LEDGERVIEWS_LOCK_TIMEOUT": "100ms"})
    waited = run_cli("refresh", "--wait", url=installed_url)

    assert left.returncode == 5
    assert timed_out.returncode == 5
    assert waited.returncode == 0


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_refresh_is_cancelled_on_the_server(
    installed_url: str, connect: Connect, how: signal.Signals
) -> None:
    """Ctrl-C, or a CI system's SIGTERM, cancels the statement, rolls back, and ends with exit code 130."""
    connection = connect(installed_url)
    connection.execute("CALL ledgerviews.refresh()")
    demo.reference_rows(connection)
    with closing(psycopg.connect(installed_url)) as application:
        application.execute("LOCK TABLE public.suggestion_feedback IN ACCESS EXCLUSIVE MODE")
        with waiting_refresh(connection, installed_url) as process:
            os.kill(process.pid, how)
            _, errors = process.communicate(timeout=30)
        left = connection.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
            " AND application_name = 'ledgerviews'"
        ).fetchone()

    assert process.returncode == 130
    assert "Interrupted" in errors
    assert "Traceback" not in errors
    assert left == (0,)
    assert connection.execute("SELECT state FROM ledgerviews.run ORDER BY run_id").fetchall() == [
        ("succeeded",),
        ("cancelled",),
    ]
    assert connection.execute(KPIS).fetchall() == []


def test_without_an_unbroken_way_to_the_database(run_cli: pg.RunCli) -> None:
    """An unreachable server is exit code 3, where it is, and no password."""
    for command in (("refresh",), ("status",), ("db", "upgrade")):
        done = run_cli(*command, url="postgresql+psycopg://app:s3cr3t@127.0.0.1:1/books")

        assert done.returncode == 3
        assert "database 'books' at 127.0.0.1:1 as 'app'" in done.stderr
        assert "s3cr3t" not in done.stdout + done.stderr
        assert "Traceback" not in done.stderr


def test_a_pending_migration_stops_the_refresh(application_url: str, run_cli: pg.RunCli) -> None:
    """Before the upgrade, between revisions and after a newer package, refresh ends with exit code 4."""
    nothing = run_cli("refresh", url=application_url)
    run_cli("db", "upgrade", "0001", url=application_url)
    between = run_cli("refresh", url=application_url)
    with closing(psycopg.connect(application_url, autocommit=True)) as connection:
        connection.execute("UPDATE ledgerviews.alembic_version SET version_num = '9999'")
    ahead = run_cli("refresh", url=application_url)

    assert [done.returncode for done in (nothing, between, ahead)] == [4, 4, 4]
    assert "ledgerviews is not installed" in nothing.stderr
    assert "A migration is pending" in between.stderr
    assert "pgrade the package" in ahead.stderr


def test_status_shows_each_relation(installed_url: str, connect: Connect, run_cli: pg.RunCli) -> None:
    """Each relation has a row with kind, rows, size, populated, last refresh and definition."""
    connection = connect(installed_url)
    demo.reference_rows(connection)

    before = run_cli("status", url=installed_url)
    run_cli("refresh", url=installed_url)
    after = run_cli("status", url=installed_url)
    ((size,),) = connection.execute(
        "SELECT pg_size_pretty(pg_total_relation_size('public.mart_suggestions_kpis'))"
    ).fetchall()
    as_json = json.loads(run_cli("status", "--json", url=installed_url).stdout)

    assert (before.returncode, after.returncode) == (0, 0)
    row = next(line for line in before.stdout.splitlines() if "mart_suggestions_kpis" in line)
    assert cells(row) == [
        *("public.mart_suggestions_kpis", "materialized view", "-", "8192 bytes", "no", "never", "up to date")
    ]
    row = next(line for line in after.stdout.splitlines() if "mart_suggestions_kpis" in line)
    assert cells(row)[:5] == ["public.mart_suggestions_kpis", "materialized view", "1", size, "yes"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC", cells(row)[5])
    assert "Last run: 1, succeeded" in after.stdout
    assert as_json["current"] is True
    assert [relation["rows"] for relation in as_json["relations"]] == [None, 1, 1, 1]


def test_status_tells_what_differs(installed_url: str, connect: Connect, run_cli: pg.RunCli) -> None:
    """A changed definition, a dropped or missing relation and index are named; exit code 4."""
    connection = connect(installed_url)
    connection.execute(
        """COMMENT ON COLUMN public.mart_suggestions_daily.events IS 'x';
           DROP INDEX public.mart_suggestions_feedback_daily_key;
           DROP MATERIALIZED VIEW public.mart_suggestions_kpis;
           DELETE FROM ledgerviews.relation WHERE relation_name = 'stg_suggestion_events';
           INSERT INTO ledgerviews.relation (schema_name, relation_name, kind, definition, unique_key)
           VALUES ('public', 'mart_old', 'view', '', '{}'), ('other', 'mart_other', 'view', '', '{}')"""
    )
    connection.execute("CREATE SCHEMA other; CREATE VIEW other.mart_other AS SELECT 1 AS x")
    connection.execute("CREATE VIEW public.mart_old AS SELECT 1 AS x")

    done = run_cli("status", "--json", url=installed_url)
    told = run_cli("status", url=installed_url)

    assert done.returncode == told.returncode == 4
    assert {
        relation["name"]: relation["definition"] for relation in json.loads(done.stdout)["relations"]
    } == {
        "stg_suggestion_events": "not installed",
        "mart_suggestions_daily": "differs",
        "mart_suggestions_feedback_daily": "unique index missing",
        "mart_suggestions_kpis": "dropped by hand",
        "mart_old": "not declared",
        "mart_other": "in another schema",
    }
    assert "differs: public.mart_suggestions_daily (columns). `ledgerviews diff` shows it" in told.stderr


def test_status_agrees_with_diff_on_layout_and_names(
    installed_url: str, connect: Connect, run_cli: pg.RunCli, tmp_path: Path
) -> None:
    """Where only the layout is another one nothing differs; a renamed model is one relation, not two."""
    package = tmp_path / "relaid"
    shutil.copytree(pg.ROOT / "ledgerviews/models", package, ignore=shutil.ignore_patterns("__pycache__"))
    env = {"LEDGERVIEWS_MODELS": "relaid", "LEDGERVIEWS_MIGRATIONS": str(pg.ROOT / "migrations")}
    text = package / "marts/mart_suggestions_kpis.sql"
    text.write_text("-- In other words.\n" + text.read_text().replace("\n", "\n  "))

    relaid = run_cli("status", url=installed_url, env=env, cwd=tmp_path)
    diff = run_cli("diff", url=installed_url, env=env, cwd=tmp_path)
    for suffix in ("sql", "py"):
        (package / f"marts/mart_suggestions_kpis.{suffix}").rename(package / f"marts/mart_kpis.{suffix}")
    declaration = package / "marts/mart_kpis.py"
    declaration.write_text(
        declaration.read_text().replace(
            "    grain=(", '    formerly="mart_suggestions_kpis",\n    grain=(', 1
        )
    )
    renamed = run_cli("status", "--json", url=installed_url, env=env, cwd=tmp_path)

    assert (diff.returncode, diff.stdout) == (0, "")
    assert relaid.returncode == 0, relaid.stderr
    assert relaid.stdout.count("up to date") == 4
    assert renamed.returncode == 4
    assert [
        (relation["name"], relation["definition"], relation["detail"])
        for relation in json.loads(renamed.stdout)["relations"]
        if relation["definition"] != "up to date"
    ] == [("mart_suggestions_kpis", "renamed in code", "public.mart_kpis")]


def test_status_tells_of_the_engine_and_of_what_it_could_not_compare(
    installed_url: str, connect: Connect, run_cli: pg.RunCli
) -> None:
    """An altered engine is; a role that may not read all of the registry is told so, and sees the rest."""
    connection = connect(installed_url)
    role = f"{connection.info.dbname}_watcher"
    connection.execute(
        f"CREATE ROLE {role} LOGIN; GRANT USAGE ON SCHEMA ledgerviews TO {role};"
        " DROP FUNCTION ledgerviews.grant_read(name)".encode()
    )

    whole = run_cli("status", url=installed_url)
    connection.execute(
        "GRANT SELECT ON ledgerviews.engine, ledgerviews.relation, ledgerviews.relation_state,"
        " ledgerviews.run, ledgerviews.run_relation, ledgerviews.source, ledgerviews.source_now,"
        f" ledgerviews.materialized_view, ledgerviews.alembic_version TO {role}".encode()
    )
    blind = run_cli("status", url=installed_url.replace("//postgres@", f"//{role}@", 1))
    connection.execute(f"DROP OWNED BY {role}; DROP ROLE {role}".encode())

    assert whole.returncode == 4
    assert "ledgerviews.grant_read(name): gone, not as engine version 3 makes it." in whole.stderr
    assert blind.returncode == 0, blind.stderr
    assert blind.stdout.count("not compared") == 4
    assert "Definitions were not compared: permission denied" in blind.stderr


def test_status_only_reads(application_url: str, connect: Connect, run_cli: pg.RunCli) -> None:
    """On a database without ledgerviews status says what is missing and leaves nothing behind."""
    done = run_cli("status", url=application_url)

    assert done.returncode == 4
    assert "Run `ledgerviews db upgrade`" in done.stderr
    assert done.stdout.count("not installed") == 4
    assert connect(application_url).execute("SELECT to_regnamespace('ledgerviews')").fetchone() == (None,)


def test_the_blocking_way_is_only_taken_when_asked_for(installed_url: str, run_cli: pg.RunCli) -> None:
    """--blocking uses a plain REFRESH and says that readers wait."""
    run_cli("refresh", url=installed_url)

    done = run_cli("refresh", "--blocking", url=installed_url)

    assert done.returncode == 0
    assert done.stderr.splitlines()[0].startswith("[1/3] public.mart_suggestions_daily: ")
    assert all(line.endswith(", by a REFRESH that its readers wait for") for line in done.stderr.splitlines())
    assert done.stdout.count("blocking") == 3


def test_a_statement_time_out_is_said(installed_url: str, connect: Connect, run_cli: pg.RunCli) -> None:
    """LEDGERVIEWS_STATEMENT_TIMEOUT ends a longer refresh with exit code 1 and nothing changed."""
    connection = connect(installed_url)
    with closing(psycopg.connect(installed_url)) as application:
        application.execute("LOCK TABLE public.suggestion_feedback IN ACCESS EXCLUSIVE MODE")
        done = run_cli("refresh", url=installed_url, env={"LEDGERVIEWS_STATEMENT_TIMEOUT": "300ms"})

    assert done.returncode == 1
    assert "statement time-out" in done.stderr
    assert connection.execute("SELECT count(*) FROM ledgerviews.run_relation").fetchone() == (0,)


def test_help_is_quick_and_loads_no_driver() -> None:
    """``ledgerviews --help`` imports no driver, Alembic or SQLAlchemy; refresh only the driver."""
    code = (
        "import sys\n"
        "from ledgerviews.cli import main\n"
        "try:\n    main({arguments})\nexcept SystemExit:\n    pass\n"
        "watched = ('psycopg', 'alembic', 'sqlalchemy', 'rich')\n"
        "print([name for name in watched if name in sys.modules], file=sys.stderr)"
    )
    outputs = {}
    groups = ("dev", "index", "tracking", "cron", "grant", "verify", "runs", "status", "refresh")
    for arguments in (["--help"], *([name, "--help"] for name in groups), ["refresh"]):
        done = subprocess.run(
            [sys.executable, "-c", code.format(arguments=arguments)],
            check=True,
            capture_output=True,
            text=True,
            env={
                **pg.clean_environment(),
                "PYTHONPATH": str(pg.ROOT),
                "LEDGERVIEWS_DATABASE_URL": "postgresql://127.0.0.1:1/x",
            },
        )
        outputs[" ".join(arguments)] = done.stderr.splitlines()[-1]

    assert outputs == {
        "--help": "[]",
        **{f"{name} --help": "[]" for name in groups},
        "refresh": "['psycopg']",
    }
