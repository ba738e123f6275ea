"""``ledgerviews cron`` on a PostgreSQL 15 with Debian's pg_cron, which really runs the job."""

from __future__ import annotations

import json
import secrets
import tempfile
import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest
from psycopg import sql

from ledgerviews.config import Settings
from ledgerviews.dev import Server
from ledgerviews.models import demo
from ledgerviews.schema import commands
from tests import servers as pg

if TYPE_CHECKING:
    from collections.abc import Iterator

LIBRARY = pg.DEBIAN_15.parent / "lib" / "pg_cron.so"

needs_pg_cron = pytest.mark.skipif(
    not LIBRARY.exists(), reason=f"PG_CRON IS NOT TESTED: no {LIBRARY}. Install postgresql-15-cron."
)


@pytest.fixture(scope="module")
def cron_server() -> Iterator[Server]:
    """A PostgreSQL 15 that has loaded pg_cron, which lives in the database postgres."""
    folder = Path(tempfile.gettempdir()) / f"ledgerviews-cron-{secrets.token_hex(6)}"
    settings = {
        "shared_preload_libraries": "pg_cron",
        "cron.database_name": "postgres",
        # Jobs would connect by TCP to localhost otherwise, and the server listens on none.
        "cron.use_background_workers": "on",
        "max_worker_processes": "20",
    }
    server = Server.start(folder, bin_dir=pg.DEBIAN_15, throwaway=True, settings=settings)
    try:
        yield server
    finally:
        server.stop()


@pytest.fixture
def cron_url(cron_server: Server) -> Iterator[str]:
    """A database with the relations, on the server that has loaded pg_cron."""
    name = f"books_{secrets.token_hex(4)}"
    with closing(psycopg.connect(_url(cron_server, "postgres"), autocommit=True)) as connection:
        connection.execute("DROP EXTENSION IF EXISTS pg_cron")
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        url = _url(cron_server, name)
        with closing(psycopg.connect(url, autocommit=True)) as books:
            demo.create_tables(books, form="current")
            demo.reference_rows(books)
        commands.upgrade(Settings(database_url=url))
        yield url
        connection.execute("DROP EXTENSION IF EXISTS pg_cron CASCADE")
        connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


def _url(server: Server, dbname: str) -> str:
    return f"postgresql://{server.user}@/{dbname}?host={server.host}&port={server.port}"


@needs_pg_cron
@pytest.mark.timeout(240)
def test_pg_cron_runs_the_refresh(cron_server: Server, cron_url: str, run_cli: pg.RunCli) -> None:
    """Installed from the database of the relations, the job runs each minute and is logged, as JSON tells."""
    with closing(psycopg.connect(_url(cron_server, "postgres"), autocommit=True)) as connection:
        connection.execute("CREATE EXTENSION pg_cron")

    installed = run_cli("cron", "install", "--schedule", "* * * * *", url=cron_url)
    with closing(psycopg.connect(cron_url, autocommit=True)) as connection:
        deadline = time.monotonic() + 130
        while not connection.execute("SELECT FROM ledgerviews.run WHERE state = 'succeeded'").fetchall():
            assert time.monotonic() < deadline, "pg_cron ran no refresh in two minutes"
            time.sleep(0.5)
        runs = connection.execute("SELECT mode, requested_by FROM ledgerviews.run").fetchall()
        rows = connection.execute("SELECT events FROM public.mart_suggestions_daily").fetchall()
    # Its end stands in pg_cron's own log a moment later.
    while (status := run_cli("cron", "status", "--json", url=cron_url)) and time.monotonic() < deadline:
        if json.loads(status.stdout)["jobs"][0]["status"] == "succeeded":
            break
        time.sleep(0.5)
    shown = run_cli("cron", "status", url=cron_url)
    logged = run_cli("runs", url=cron_url)
    state = run_cli("status", url=cron_url)
    rescheduled = run_cli("cron", "install", "--schedule", "5 * * * *", url=cron_url)
    removed = run_cli("cron", "remove", url=cron_url)
    after = json.loads(run_cli("cron", "status", "--json", url=cron_url).stdout)
    with closing(psycopg.connect(_url(cron_server, "postgres"), autocommit=True)) as connection:
        history = connection.execute("SELECT count(*) FROM cron.job_run_details").fetchall()

    assert installed.returncode == 0, installed.stderr
    assert runs[0] == ("incremental", "postgres")
    assert rows == [(12,)]
    assert "succeeded" in shown.stdout
    assert logged.stdout.count("succeeded") >= 1
    assert "Last run: 1, succeeded" in state.stdout
    assert rescheduled.stdout.count("ledgerviews refresh") == 1
    assert "5 * * * *" in rescheduled.stdout
    assert removed.stdout.startswith("Removed: ledgerviews refresh books_")
    assert after["jobs"] == []
    assert after["version"] == 1
    assert after["pg_cron"].startswith("1.")
    assert history == [(0,)]


@needs_pg_cron
def test_the_history_of_our_jobs_is_pruned(cron_server: Server, cron_url: str, run_cli: pg.RunCli) -> None:
    """The statement of the second job deletes our runs older than a week, and nobody else's."""
    with closing(psycopg.connect(_url(cron_server, "postgres"), autocommit=True)) as connection:
        connection.execute("CREATE EXTENSION pg_cron")
        run_cli("cron", "install", "--schedule", "0 0 1 1 *", url=cron_url)
        connection.execute("SELECT cron.schedule('theirs', '0 0 1 1 *', 'SELECT 1')")
        connection.execute(
            "INSERT INTO cron.job_run_details (jobid, status, end_time)"
            " SELECT j.jobid, 'succeeded', now() - d FROM cron.job AS j,"
            " unnest(ARRAY['1 day', '8 days']::interval[]) AS d"
        )
        ((command,),) = connection.execute(
            "SELECT command FROM cron.job WHERE jobname LIKE 'ledgerviews prune %'"
        ).fetchall()
        connection.execute(command)
        left = connection.execute(
            "SELECT split_part(jobname, ' ', 2), count(*)"
            " FROM cron.job JOIN cron.job_run_details USING (jobid) GROUP BY jobname ORDER BY 1"
        ).fetchall()

    assert left == [("", 2), ("prune", 1), ("refresh", 1)]


@needs_pg_cron
def test_a_job_that_could_not_connect_is_told_with_the_setting(
    cron_server: Server, cron_url: str, run_cli: pg.RunCli
) -> None:
    """Its state stands under a name that says so, it never began, and what lets it in is said."""
    with closing(psycopg.connect(_url(cron_server, "postgres"), autocommit=True)) as connection:
        connection.execute("CREATE EXTENSION pg_cron")
        run_cli("cron", "install", "--schedule", "0 0 1 1 *", url=cron_url)
        connection.execute(
            "INSERT INTO cron.job_run_details (jobid, status, return_message)"
            " SELECT j.jobid, 'failed', 'connection failed' FROM cron.job AS j"
            " WHERE j.jobname LIKE 'ledgerviews refresh %'"
        )
    status = run_cli("cron", "status", url=cron_url)

    head, _, refresh, prune = status.stdout.splitlines()[1:5]
    assert "last ended" not in head
    assert "last begun  last state  message" in head
    assert refresh.split()[-4:] == ["-", "failed", "connection", "failed"]
    assert "never" in prune
    assert "cron.use_background_workers = on" in status.stderr


@needs_pg_cron
def test_what_is_wrong_is_said(cron_server: Server, cron_url: str, run_cli: pg.RunCli) -> None:
    """No extension, a schedule that is none, a database without pg_cron: the mend, no traceback."""
    lacking = run_cli("cron", "install", "--schedule", "* * * * *", url=cron_url)
    with closing(psycopg.connect(_url(cron_server, "postgres"), autocommit=True)) as connection:
        connection.execute("CREATE EXTENSION pg_cron")
    wrong = run_cli("cron", "install", "--schedule", "every minute", url=cron_url)
    elsewhere = run_cli("cron", "status", "--cron-database", "template1", url=cron_url)
    nothing = run_cli("cron", "remove", url=cron_url)

    assert (lacking.returncode, wrong.returncode, elsewhere.returncode) == (1, 2, 1)
    assert "The extension pg_cron is not in database 'postgres'." in lacking.stderr
    assert "CREATE EXTENSION pg_cron" in lacking.stderr
    assert "takes 'every minute' for no schedule" in wrong.stderr
    assert "'template1'" in elsewhere.stderr
    assert nothing.stdout == "There was no job of this role for this database.\n"
    for done in (lacking, wrong, elsewhere):
        assert "Traceback" not in done.stderr


@needs_pg_cron
def test_a_plain_role_is_told_what_to_grant(cron_server: Server, cron_url: str, run_cli: pg.RunCli) -> None:
    """A role that may not see the setting names the database, and hears of the grants that it lacks."""
    with closing(psycopg.connect(_url(cron_server, "postgres"), autocommit=True)) as connection:
        connection.execute("CREATE EXTENSION pg_cron")
        connection.execute("DROP ROLE IF EXISTS plain")
        connection.execute("CREATE ROLE plain LOGIN")
    with closing(psycopg.connect(cron_url, autocommit=True)) as books:
        books.execute("GRANT USAGE ON SCHEMA ledgerviews TO plain")
        books.execute("GRANT SELECT ON ALL TABLES IN SCHEMA ledgerviews TO plain")
    url = cron_url.replace("://postgres@", "://plain@")

    unseen = run_cli("cron", "install", "--schedule", "* * * * *", url=url)
    refused = run_cli(
        "cron", "install", "--schedule", "* * * * *", url=url, env={"LEDGERVIEWS_CRON_DATABASE": "postgres"}
    )
    with closing(psycopg.connect(_url(cron_server, "postgres"), autocommit=True)) as connection:
        connection.execute("GRANT USAGE ON SCHEMA cron TO plain")
        connection.execute("GRANT EXECUTE ON FUNCTION cron.schedule_in_database TO plain")
    granted = run_cli("cron", "install", "--schedule", "* * * * *", "--cron-database", "postgres", url=url)

    assert (unseen.returncode, refused.returncode, granted.returncode) == (1, 1, 0), granted.stderr
    assert "--cron-database NAME" in unseen.stderr
    assert "GRANT USAGE ON SCHEMA cron" in refused.stderr
    assert "GRANT EXECUTE ON FUNCTION cron.schedule_in_database" in refused.stderr
    assert "plain" in granted.stdout


def test_without_pg_cron(installed_url: str, run_cli: pg.RunCli) -> None:
    """On a server that has not loaded pg_cron each command says how to get it, with exit code 1."""
    for arguments in (("install", "--schedule", "* * * * *"), ("status",), ("remove",)):
        done = run_cli("cron", *arguments, url=installed_url)

        assert done.returncode == 1
        assert "shared_preload_libraries" in done.stderr
        assert "Traceback" not in done.stderr


def test_a_database_of_pg_cron_that_there_is_not(installed_url: str, run_cli: pg.RunCli) -> None:
    """The option and its variable are named, and not the URL, which reached ours."""
    done = run_cli("cron", "status", "--cron-database", "nosuch", url=installed_url)

    assert done.returncode == 3
    assert 'database "nosuch" does not exist' in done.stderr
    assert "--cron-database, else LEDGERVIEWS_CRON_DATABASE" in done.stderr
    assert "LEDGERVIEWS_DATABASE_URL" not in done.stderr
