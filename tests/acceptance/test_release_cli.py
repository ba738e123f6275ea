"""``ledgerviews release`` and ``restore``: two commands around another migration tool."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from ledgerviews.models import demo
from tests.fingerprint import fingerprint, rows

if TYPE_CHECKING:
    from collections.abc import Callable

    import psycopg

    from tests import servers as pg

    Connect = Callable[[str], psycopg.Connection]

EVENTS = "public.suggestion_events"
MART = "public.mart_suggestions_daily"


@pytest.fixture
def filled(installed_url: str, connect: Connect) -> psycopg.Connection:
    """A filled and refreshed database, with a view of the team's own."""
    connection = connect(installed_url)
    demo.reference_rows(connection)
    connection.execute("CALL ledgerviews.refresh()")
    connection.execute(f"CREATE VIEW public.team AS SELECT count(*) AS n FROM {EVENTS}")
    return connection


def test_release_alter_restore(filled: psycopg.Connection, installed_url: str, run_cli: pg.RunCli) -> None:
    """Everything is put back as it was, marts are readable all the time, and the next refresh is right."""
    before, figures = fingerprint(filled), rows(filled, MART)

    released = run_cli("release", EVENTS, url=installed_url)
    between = rows(filled, MART)
    gone = filled.execute("SELECT to_regclass('public.team'), to_regclass('public.stg_suggestion_events')")
    filled.execute(f"ALTER TABLE {EVENTS} ALTER COLUMN mode TYPE varchar(50)")
    filled.execute(f"ALTER TABLE {EVENTS} ALTER COLUMN mode TYPE varchar")
    restored = run_cli("restore", url=installed_url)
    again = run_cli("restore", url=installed_url)
    after = fingerprint(filled)
    refreshed = run_cli("refresh", url=installed_url)
    verified = run_cli("verify", url=installed_url)

    assert released.returncode == restored.returncode == again.returncode == 0
    assert released.stdout.startswith(f"Released {EVENTS}: ")
    assert released.stdout.endswith("objects taken off. Next: ledgerviews restore.\n")
    assert restored.stdout.startswith("Restored: ")
    assert again.stdout == "Nothing is released.\n"
    assert gone.fetchall() == [(None, None)]
    assert between == figures
    assert after == before
    assert refreshed.returncode == verified.returncode == 0
    assert "public.suggestion_events: its triggers were altered" in refreshed.stderr or "rewritten" in (
        refreshed.stderr
    )


def test_everything_says_that_a_table_is_released(
    filled: psycopg.Connection, installed_url: str, run_cli: pg.RunCli
) -> None:
    """Status, refresh and a second release name it, and the way on."""
    run_cli("release", EVENTS, url=installed_url)

    status = run_cli("status", url=installed_url)
    refresh = run_cli("refresh", url=installed_url)
    second = run_cli("release", "public.suggestion_feedback", url=installed_url)
    with pytest.raises(Exception, match=r"while public\.suggestion_events is released"):
        filled.execute("CALL ledgerviews.refresh()")

    assert (status.returncode, refresh.returncode, second.returncode) == (4, 4, 1)
    assert [line.split()[-1] for line in status.stdout.splitlines() if "_suggestion" in line][:4] == (
        ["released", "released", "released", "compared"]
    )
    for told in (status.stderr, refresh.stderr):
        assert f"{EVENTS} is released: what reads it is off." in told
        assert "Run `ledgerviews restore`" in told
        assert "tracking install" not in told
    assert f"Released already, and not restored: {EVENTS} (by postgres, " in second.stderr


def test_a_pending_migration_waits_for_the_restore(
    filled: psycopg.Connection, installed_url: str, run_cli: pg.RunCli
) -> None:
    """Where a table is released and a migration is pending, too, the first step is told: restore."""
    run_cli("db", "downgrade", "-1", url=installed_url)
    run_cli("release", EVENTS, url=installed_url)

    for words in (("status",), ("refresh",)):
        done = run_cli(*words, url=installed_url)
        assert done.returncode == 4
        assert f"{EVENTS} is released: what reads it is off." in done.stderr
        assert "Run `ledgerviews restore`" in done.stderr


def test_no_revision_runs_while_a_table_is_released(
    filled: psycopg.Connection, installed_url: str, run_cli: pg.RunCli
) -> None:
    """A downgrade or an upgrade would meet half of the relations: it is refused, and says how to go on.

    With the exit code of all else that is refused; `tracking status` says no other way on.
    """
    run_cli("release", EVENTS, url=installed_url)
    before = fingerprint(filled)

    refused = run_cli("db", "downgrade", "base", url=installed_url)
    tracked = run_cli("tracking", "status", url=installed_url)
    after = fingerprint(filled)
    run_cli("restore", url=installed_url)
    done = run_cli("db", "downgrade", "base", url=installed_url)

    assert refused.returncode == 4
    assert "SQLSTATE" not in refused.stderr
    assert f"{EVENTS}: a trigger of ours is missing. Run `ledgerviews restore`" in tracked.stderr
    assert "tracking install" not in tracked.stderr
    assert f"Released and not restored: {EVENTS}; nothing was changed." in refused.stderr
    assert "ledgerviews restore" in refused.stderr
    assert after == before
    assert done.returncode == 0, done.stderr


def test_nothing_is_compared_while_a_table_is_released(
    filled: psycopg.Connection, installed_url: str, run_cli: pg.RunCli
) -> None:
    """What is off is no difference: diff and check say that it is released."""
    run_cli("release", EVENTS, url=installed_url)

    compared = [run_cli(*words, url=installed_url) for words in (["diff"], ["db", "check"])]
    with pytest.raises(Exception, match=r"Released and not restored: public\.suggestion_events; nothing was"):
        filled.execute("SELECT ledgerviews.replace_begin()")
    run_cli("restore", url=installed_url)
    after = run_cli("diff", url=installed_url)

    for done in compared:
        assert done.returncode == 4, done.stderr
        assert f"{EVENTS} is released" in done.stderr
        assert "`ledgerviews restore`" in done.stderr
    assert (after.returncode, after.stdout) == (0, "")


def test_a_view_that_no_longer_fits_stays_released(
    filled: psycopg.Connection, installed_url: str, run_cli: pg.RunCli
) -> None:
    """Restore fails as a whole, says what and where, and succeeds once the column is back."""
    before = fingerprint(filled)
    run_cli("release", EVENTS, url=installed_url)
    filled.execute(f"ALTER TABLE {EVENTS} RENAME COLUMN candidates TO suggested")

    failed = run_cli("restore", url=installed_url)
    gone = filled.execute("SELECT to_regclass('public.team')").fetchall()
    filled.execute(f"ALTER TABLE {EVENTS} RENAME COLUMN suggested TO candidates")
    restored = run_cli("restore", url=installed_url)

    assert failed.returncode == 1
    assert (
        "View public.stg_suggestion_events no longer fits, line 9 of the SELECT of stg_suggestion_events;"
        f" {EVENTS}.candidates is now named suggested: column e.candidates does not exist"
    ) in failed.stderr
    assert failed.stderr.endswith(
        "  Line: e.candidates,\n"
        "  Nothing was put back. Undo what was altered, then restore again:\n"
        f"  ALTER TABLE {EVENTS} RENAME COLUMN suggested TO candidates;\n"
        "  ledgerviews restore, or SELECT ledgerviews.restore();\n"
        "  Before it is altered again, replace the definition, in a revision of its own, by one that fits"
        " before and after, or drop it.\n"
    )
    assert gone == [(None,)]
    assert restored.returncode == 0
    assert fingerprint(filled) == before


@pytest.mark.parametrize(
    ("altered", "undo"),
    [
        ("DROP COLUMN note", 'ALTER TABLE public."Notes" ADD COLUMN note integer;'),
        ("ALTER COLUMN note TYPE boolean USING true", "ALTER COLUMN note TYPE integer USING note::integer;"),
    ],
)
def test_the_way_back_is_told_and_works(
    installed_url: str, connect: Connect, run_cli: pg.RunCli, altered: str, undo: str
) -> None:
    """The statement that the error tells is run as it stands; then everything can be restored."""
    connection = connect(installed_url)
    connection.execute('CREATE TABLE public."Notes" (id integer, note integer)')
    connection.execute(
        'CREATE MATERIALIZED VIEW public.team AS SELECT n.note + 1 AS note FROM public."Notes" AS n'
    )
    run_cli("release", 'public."Notes"', url=installed_url)
    connection.execute(f'ALTER TABLE public."Notes" {altered}'.encode())

    failed = run_cli("restore", url=installed_url)
    (told,) = (line.strip() for line in failed.stderr.splitlines() if line.startswith("  ALTER TABLE"))
    connection.execute(told.encode())
    restored = run_cli("restore", url=installed_url)

    assert failed.stderr.startswith("ledgerviews: Materialized view public.team no longer fits, line 1 ")
    assert "SQLSTATE" not in failed.stderr
    assert told.endswith(undo)
    assert restored.returncode == 0, restored.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("release", "suggestion_events"), 2, "Say the schema of suggestion_events"),
        (("release", "public.nothing"), 1, "No table by this name, so nothing was released: public.nothing"),
        (("release",), 2, "Missing argument 'TABLE...'"),
    ],
)
def test_a_name_that_is_none(
    installed_url: str, run_cli: pg.RunCli, arguments: tuple[str, ...], code: int, says: str
) -> None:
    """Nothing is changed, and the error says what to write."""
    refused = run_cli(*arguments, url=installed_url)

    assert refused.returncode == code
    assert says in refused.stderr


def test_without_the_engine_there_is_nothing_to_release(application_url: str, run_cli: pg.RunCli) -> None:
    """Exit code 4, as wherever the database is not what the package knows."""
    refused = run_cli("release", EVENTS, url=application_url)

    assert refused.returncode == 4
    assert "is not installed in database" in refused.stderr
