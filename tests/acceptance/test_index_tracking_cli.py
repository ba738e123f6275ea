"""``ledgerviews index`` and ``tracking``: what is put on the application's tables, with consent."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import time
from contextlib import closing
from typing import TYPE_CHECKING

import psycopg
import pytest

from tests import servers as pg

if TYPE_CHECKING:
    from collections.abc import Callable

    Connect = Callable[[str], psycopg.Connection]

INDEX = "suggestion_feedback_event_id_ledgerviews"
VALID = (
    "SELECT i.indisvalid FROM pg_index AS i"
    " WHERE i.indexrelid = to_regclass('public.suggestion_feedback_event_id_ledgerviews')"
)
TRIGGERS = (
    "SELECT tgrelid::regclass::text, count(*), bool_and(tgenabled = 'A') FROM pg_trigger"
    " WHERE tgname LIKE 'ledgerviews_%' GROUP BY 1 ORDER BY 1"
)


def _environment(url: str) -> dict[str, str]:
    return {**pg.clean_environment(), "PYTHONPATH": str(pg.ROOT), "LEDGERVIEWS_DATABASE_URL": url}


def test_an_index_is_created_with_consent_only(
    installed_url: str, connect: Connect, run_cli: pg.RunCli
) -> None:
    """Without --yes and a terminal, exit code 2 and what would be run; with it, the index is there."""
    connection = connect(installed_url)

    asked = run_cli("index", "install", url=installed_url)
    nothing = connection.execute(VALID).fetchall()
    done = run_cli("index", "install", "--yes", url=installed_url)
    again = run_cli("index", "install", "--yes", url=installed_url)
    status = run_cli("index", "status", url=installed_url)
    as_json = json.loads(run_cli("index", "status", "--json", url=installed_url).stdout)

    assert asked.returncode == 2
    assert "CREATE INDEX CONCURRENTLY IF NOT EXISTS" in asked.stderr
    assert "Pass --yes" in asked.stderr
    assert nothing == []
    assert done.returncode == 0, done.stderr
    assert connection.execute(VALID).fetchall() == [(True,)]
    assert again.stdout == "No index is missing.\n"
    assert status.stdout.splitlines()[-1].split()[:3] == ["public.suggestion_feedback", "(event_id)", "yes"]
    assert as_json["indexes"][0]["present"] is True


@pytest.mark.parametrize(("answer", "valid", "code"), [(b"n\n", [], 130), (b"y\n", [(True,)], 0)])
def test_a_person_is_asked(
    installed_url: str, connect: Connect, answer: bytes, valid: list[tuple[bool]], code: int
) -> None:
    """On a terminal the command asks, and does what it is told."""
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "ledgerviews", "index", "install"],
        env=_environment(installed_url),
        stdin=theirs,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        os.close(theirs)
        os.write(ours, answer)
        _, errors = process.communicate(timeout=60)
    os.close(ours)

    assert process.returncode == code, errors
    assert b"Create? [y/N]" in errors
    assert errors.count(b"CREATE INDEX") == 1
    assert connect(installed_url).execute(VALID).fetchall() == valid


def test_an_invalid_leftover_is_built_anew(installed_url: str, connect: Connect, run_cli: pg.RunCli) -> None:
    """What a failed attempt left, invalid, is dropped and made whole."""
    connection = connect(installed_url)
    connection.execute(f"CREATE INDEX {INDEX} ON public.suggestion_feedback (event_id)")
    connection.execute(
        "UPDATE pg_index SET indisvalid = false"
        " WHERE indexrelid = to_regclass('public.suggestion_feedback_event_id_ledgerviews')"
    )

    before = run_cli("index", "status", url=installed_url)
    done = run_cli("index", "install", "--yes", url=installed_url)

    assert "missing" in before.stdout
    assert done.returncode == 0, done.stderr
    assert "Dropping the invalid index" in done.stderr
    assert connection.execute(VALID).fetchall() == [(True,)]


def test_a_column_that_the_application_renamed(
    installed_url: str, connect: Connect, run_cli: pg.RunCli
) -> None:
    """An index on it is refused by name, with the way on, before anything is asked or run."""
    connect(installed_url).execute("ALTER TABLE public.suggestion_feedback RENAME event_id TO event")

    done = run_cli("index", "install", url=installed_url)

    assert done.returncode == 1
    assert "public.suggestion_feedback has no column event_id, so it cannot be indexed" in done.stderr
    assert "`ledgerviews db revision -m TEXT`" in done.stderr
    assert "CREATE INDEX" not in done.stderr


def test_a_name_that_is_taken(installed_url: str, connect: Connect, run_cli: pg.RunCli) -> None:
    """Something else under the index's name stays, and is told."""
    connect(installed_url).execute(f"CREATE TABLE public.{INDEX} ()")

    done = run_cli("index", "install", "--yes", url=installed_url)

    assert done.returncode == 1
    assert f"public.{INDEX} is something else already" in done.stderr


def test_a_long_transaction_and_the_lock_time_out(
    installed_url: str, connect: Connect, run_cli: pg.RunCli
) -> None:
    """With a lock time-out the command leaves with exit code 5, and nothing invalid stays."""
    with closing(psycopg.connect(installed_url)) as other:
        other.execute(
            "INSERT INTO public.suggestion_feedback SELECT * FROM public.suggestion_feedback LIMIT 0"
        )
        done = run_cli("index", "install", "--yes", "--lock-timeout", "200ms", url=installed_url)

    assert done.returncode == 5
    assert "waited for older transactions" in done.stderr
    assert (
        connect(installed_url).execute(VALID).fetchall() == []
        or run_cli("index", "install", "--yes", url=installed_url).returncode == 0
    )


def test_an_interrupted_build_leaves_nothing_half_made(installed_url: str, connect: Connect) -> None:
    """Ctrl-C while the build waits for a transaction: exit code 130, and no index that is invalid."""
    connection = connect(installed_url)
    with closing(psycopg.connect(installed_url)) as other:
        other.execute("LOCK TABLE public.suggestion_feedback IN ROW EXCLUSIVE MODE")
        with subprocess.Popen(
            [sys.executable, "-m", "ledgerviews", "index", "install", "--yes"],
            env=_environment(installed_url),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            deadline = time.monotonic() + 30
            while not connection.execute(
                "SELECT FROM pg_stat_progress_create_index WHERE datname = current_database()"
            ).fetchall():
                assert time.monotonic() < deadline
                time.sleep(0.05)
            time.sleep(1.5)
            other_ends = other.rollback
            process.send_signal(signal.SIGINT)
            time.sleep(1)
            other_ends()
            _, errors = process.communicate(timeout=60)

    assert process.returncode == 130, errors
    assert "was not made" in errors
    assert "Traceback" not in errors
    assert connection.execute(VALID).fetchall() == []


def test_a_partitioned_table_gets_its_index_part_by_part(
    older_installed_url: str, connect: Connect, run_cli: pg.RunCli
) -> None:
    """The parent's index is valid once each partition's, two levels down too, is attached."""
    connection = connect(older_installed_url)
    connection.execute(
        """CREATE TABLE public.parted (event_id bigint, day date) PARTITION BY RANGE (day);
           CREATE TABLE public.parted_1 PARTITION OF public.parted
               FOR VALUES FROM ('2025-01-01') TO ('2026-01-01');
           CREATE TABLE public.parted_2 PARTITION OF public.parted
               FOR VALUES FROM ('2026-01-01') TO ('2027-01-01') PARTITION BY RANGE (day);
           CREATE TABLE public.parted_2a PARTITION OF public.parted_2
               FOR VALUES FROM ('2026-01-01') TO ('2026-07-01');
           UPDATE ledgerviews.source SET wanted_indexes = '{}';
           INSERT INTO ledgerviews.source (source, schema_name, table_name, stem, wanted_indexes)
           VALUES ('public.parted', 'public', 'parted', 'parted', '{"event_id,day"}')"""
    )

    done = run_cli("index", "install", "--yes", url=older_installed_url)

    assert done.returncode == 0, done.stderr
    assert done.stderr.count("CONCURRENTLY") == 2
    assert connection.execute(
        "SELECT indexrelid::regclass::text, indisvalid FROM pg_index"
        " WHERE indexrelid::regclass::text LIKE 'parted%' ORDER BY 1"
    ).fetchall() == [
        ("parted_1_event_id_day_ledgerviews", True),
        ("parted_2_event_id_day_ledgerviews", True),
        ("parted_2a_event_id_day_ledgerviews", True),
        ("parted_event_id_day_ledgerviews", True),
    ]


def test_tracking_is_taken_off_and_put_on(installed_url: str, connect: Connect, run_cli: pg.RunCli) -> None:
    """Remove and install change what is named, say so, and leave alone what is so already."""
    connection = connect(installed_url)

    removed = run_cli("tracking", "remove", "public.suggestion_events", url=installed_url)
    left = connection.execute(TRIGGERS).fetchall()
    installed = run_cli("tracking", "install", "--mode", "every-write", url=installed_url)
    again = run_cli("tracking", "install", "--mode", "every-write", url=installed_url)
    status = json.loads(run_cli("tracking", "status", "--json", url=installed_url).stdout)

    assert removed.stdout == "public.suggestion_events is now not tracked (each refresh scans it).\n"
    assert "public.suggestion_feedback is scanned all the same, as its parent is" in removed.stderr
    assert "all the same" not in installed.stderr
    assert left == [("suggestion_feedback", 3, True)]
    assert installed.stdout.splitlines() == [
        "public.suggestion_events is now tracked: every write.",
        "public.suggestion_feedback is now tracked: every write.",
    ]
    assert again.stdout.splitlines() == [
        "public.suggestion_events is tracked: every write, as before.",
        "public.suggestion_feedback is tracked: every write, as before.",
    ]
    assert connection.execute(TRIGGERS).fetchall() == [
        ("suggestion_events", 3, True),
        ("suggestion_feedback", 3, True),
    ]
    assert [source["tracking"] for source in status["sources"]] == ["every write"] * 2


def test_a_child_is_scanned_with_its_parent(installed_url: str, run_cli: pg.RunCli) -> None:
    """Where the events have no triggers, status says of the feedback, too, that it is scanned."""
    run_cli("tracking", "remove", "public.suggestion_events", url=installed_url)

    told = [run_cli(*words, url=installed_url).stdout for words in (("status",), ("tracking", "status"))]
    found = json.loads(run_cli("status", "--json", url=installed_url).stdout)["sources"]

    for text in told:
        assert "public.suggestion_events    none (scanned)" in text
        assert "public.suggestion_feedback  scanned, as its parent" in text
    assert [(one["tracking"], one["scanned"]) for one in found] == [("none", True), ("closed days", True)]


def test_tracking_gives_way_to_writers(installed_url: str, connect: Connect, run_cli: pg.RunCli) -> None:
    """Where a transaction holds the table at each attempt: exit code 5, what to look at, all as before."""
    with closing(psycopg.connect(installed_url)) as other:
        other.execute("LOCK TABLE public.suggestion_events IN ROW EXCLUSIVE MODE")
        done = run_cli("tracking", "remove", "--attempts", "2", url=installed_url)

    assert done.returncode == 5
    assert (
        "public.suggestion_events was in use at each of 2 attempts to take the triggers off: " in done.stderr
    )
    assert "public.suggestion_events is locked by process " in done.stderr
    assert "pg_stat_activity" in done.stderr
    assert connect(installed_url).execute(TRIGGERS).fetchall() == [
        ("suggestion_events", 3, True),
        ("suggestion_feedback", 3, True),
    ]


def test_an_unknown_source_is_a_usage_error(installed_url: str, run_cli: pg.RunCli) -> None:
    """The sources that there are are listed."""
    done = run_cli("tracking", "remove", "public.nope", url=installed_url)

    assert done.returncode == 2
    assert "public.nope is no source of the installed relations." in done.stderr
    assert "public.suggestion_events, public.suggestion_feedback" in done.stderr


def test_tracking_and_indexes_need_the_owner(
    installed_url: str, connect: Connect, run_cli: pg.RunCli
) -> None:
    """A role without the owner's rights is told whose they are, before anything is done."""
    connection = connect(installed_url)
    name = f"stranger_{os.getpid()}_{connection.info.backend_pid}"
    connection.execute(f"CREATE ROLE {name} LOGIN")
    try:
        connection.execute(f"GRANT USAGE ON SCHEMA ledgerviews TO {name}")
        connection.execute(f"GRANT SELECT ON ALL TABLES IN SCHEMA ledgerviews TO {name}")
        url = installed_url.replace("://postgres@", f"://{name}@")
        tracking = run_cli("tracking", "remove", url=url)
        index = run_cli("index", "install", "--yes", url=url)
    finally:
        connection.execute(f"DROP OWNED BY {name}")
        connection.execute(f"DROP ROLE {name}")

    assert (tracking.returncode, index.returncode) == (1, 1)
    assert "Only a role with the rights of postgres may change the triggers" in tracking.stderr
    assert "Only the owner of public.suggestion_feedback, postgres," in index.stderr
    assert connection.execute(TRIGGERS).fetchall() != []


def test_where_nothing_is_computed_by_day_no_table_is_shown(
    installed_url: str, connect: Connect, run_cli: pg.RunCli
) -> None:
    """A sentence says so; the JSON has an empty list."""
    connect(installed_url).execute("DELETE FROM ledgerviews.source")

    shown = run_cli("tracking", "status", url=installed_url)
    as_json = run_cli("tracking", "status", "--json", url=installed_url)

    assert shown.stdout == "There is no source to track: nothing that is installed is computed by day.\n"
    assert json.loads(as_json.stdout)["sources"] == []
