"""What somebody altered by hand in a database: `ledgerviews diff` tells it, the next revision mends it."""

from __future__ import annotations

import io
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest

from ledgerviews import revisions
from ledgerviews.config import Settings
from ledgerviews.errors import DriftError, UsageError
from ledgerviews.models import demo
from ledgerviews.queries import query
from ledgerviews.refresh import sources
from ledgerviews.schema import commands, statements
from ledgerviews.schema.diff import Diff, diff, runner
from ledgerviews.schema.engine_functions import functions
from ledgerviews.schema.engine_look import altered
from ledgerviews.schema.engine_versions import script
from ledgerviews.schema.live import conditions, read
from tests import servers as pg
from tests.replacing import TABLES, open_shop

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Connect = Callable[[str], psycopg.Connection]

DAILY = "mart_suggestions_daily"
ROLLUP, DAYS = f"ledgerviews.{DAILY}_rollup", f"ledgerviews.{DAILY}_rollup_days(date, date)"


@dataclass
class Team:
    """A database with all that is published, and the revisions of a checkout of its own."""

    settings: Settings
    connection: psycopg.Connection

    def diff(self) -> Diff:
        """What differs."""
        return diff(self.settings)

    def check(self) -> str:
        """What `ledgerviews db check` says; nothing where nothing differs."""
        try:
            commands.check(self.settings, stdout=io.StringIO())
        except DriftError as exc:
            return str(exc)
        return ""

    def mend(self) -> str:
        """Write the revision that is asked for, and upgrade; the revision's text."""
        (written,) = commands.revision(self.settings, "mend", stdout=io.StringIO())
        commands.upgrade(self.settings)
        return written.read_text(encoding="utf-8")

    def require_mended(self) -> None:
        """Nothing differs, and a refresh publishes what the sources give."""
        left = self.diff()
        self.connection.execute("CALL ledgerviews.refresh()")
        self.connection.execute("CALL ledgerviews.refresh(mode => 'verify')")

        assert (left.text, left.notes, left.current) == ("", (), True)
        assert self.check() == ""


@pytest.fixture
def team(tmp_path: Path, installed_url: str, connect: Connect) -> Team:
    """The team, whose relations are filled."""
    folder = tmp_path / "migrations"
    shutil.copytree(pg.ROOT / "migrations", folder, ignore=shutil.ignore_patterns("__pycache__"))
    connection = connect(installed_url)
    demo.reference_rows(connection)
    connection.execute("CALL ledgerviews.refresh()")
    return Team(Settings(database_url=installed_url, migrations=str(folder)), connection)


def shown(connection: psycopg.Connection, other: str) -> str:
    """Statements that make the published mart anew over another SELECT of the same columns."""
    ((columns,),) = connection.execute(
        "SELECT string_agg(quote_ident(attname), ', ' ORDER BY attnum) FROM pg_attribute"
        " WHERE attrelid = %s::regclass AND attnum > 0",
        [f"public.{DAILY}"],
    ).fetchall()
    ((key,),) = connection.execute(
        "SELECT array_to_string(unique_key, ', ') FROM ledgerviews.relation WHERE relation_name = %s", [DAILY]
    ).fetchall()
    ((readers,),) = connection.execute(
        "SELECT pg_get_viewdef('public.mart_suggestions_kpis'::regclass)"
    ).fetchall()
    return (
        f"DROP MATERIALIZED VIEW public.mart_suggestions_kpis; DROP MATERIALIZED VIEW public.{DAILY};"
        f" CREATE MATERIALIZED VIEW public.{DAILY} AS SELECT {columns} FROM {ROLLUP} AS r {other};"
        f" CREATE UNIQUE INDEX {DAILY}_key ON public.{DAILY} ({key});"
        f" CREATE MATERIALIZED VIEW public.mart_suggestions_kpis AS {readers.rstrip(';')};"
        " CREATE UNIQUE INDEX mart_suggestions_kpis_key ON public.mart_suggestions_kpis (created_date)"
    )


@pytest.mark.parametrize(
    ("alteration", "told"),
    [
        (f"ALTER TABLE {ROLLUP} ADD COLUMN note text", f"{ROLLUP} has other columns than {ROLLUP}_whole"),
        (f"DROP INDEX {ROLLUP}_key", f"{ROLLUP}_key is gone"),
        (
            (
                f"DROP INDEX {ROLLUP}_key; CREATE UNIQUE INDEX ON {ROLLUP} (created_date, mode, model_id)"
                " WHERE events > 5"
            ),
            f"{ROLLUP}_key is gone",
        ),
        (
            f"ALTER FUNCTION {DAYS} SECURITY INVOKER IMMUTABLE STRICT PARALLEL SAFE SET search_path = public",
            f"{ROLLUP}_days is SECURITY INVOKER, IMMUTABLE, PARALLEL SAFE, STRICT, SET search_path=public",
        ),
        (
            f"ALTER FUNCTION {DAYS} VOLATILE RESET ALL; ALTER FUNCTION {DAYS} OWNER TO pg_monitor",
            f"{ROLLUP}_days is VOLATILE, SET nothing, owned by pg_monitor, not by postgres as its rollup",
        ),
        (f"DROP FUNCTION {DAYS}", f"{ROLLUP}_days is gone"),
    ],
    ids=["columns", "key", "partial key", "function", "owner", "function gone"],
)
def test_a_rollup_that_was_altered_is_told_and_mended(team: Team, alteration: str, told: str) -> None:
    """Columns, unique index and the function of single days are as they were made again after a revision."""
    team.connection.execute(alteration.encode())

    found, checked = team.diff(), team.check()
    text = team.mend()

    assert not found.current
    assert f"-- public.{DAILY} (materialized view): rebuild and swap" in found.text
    assert "rollup\n--   locks" in found.text
    assert f"-- {told}\n" in found.text
    assert f"('change', '{DAILY}', " in checked
    assert "'rollup')" in checked
    assert "op.ledgerviews_replace(views_before, views_after)" in text
    team.require_mended()


def test_a_type_of_a_rollup_that_was_changed_is_told_and_mended(team: Team) -> None:
    """A column that nobody reads any more, since the published mart was made anew, has its type back."""
    readers = shown(team.connection, "")
    first, last = readers.split(f"CREATE MATERIALIZED VIEW public.{DAILY} ", 1)
    ((days,),) = team.connection.execute(
        f"SELECT pg_get_functiondef('{DAYS}'::regprocedure)".encode()
    ).fetchall()
    team.connection.execute(
        f"{first} DROP FUNCTION {DAYS}; ALTER TABLE {ROLLUP} ALTER COLUMN events TYPE numeric;".encode()
    )
    team.connection.execute(days.encode())
    team.connection.execute(f"CREATE MATERIALIZED VIEW public.{DAILY} {last}".encode())

    found = team.diff()
    team.mend()

    assert f"-- {ROLLUP} has other columns than {ROLLUP}_whole\n" in found.text
    team.require_mended()


def test_a_published_mart_that_was_made_anew_is_told_and_mended(team: Team) -> None:
    """One that no longer is a plain SELECT of its rollup reads it again after a revision."""
    team.connection.execute(shown(team.connection, "WHERE r.events > 3").encode())

    found = team.diff()
    team.mend()

    assert "--   differs in: rollup, comment, columns\n" in found.text
    assert f"-- public.{DAILY} is no plain SELECT of its rollup\n" in found.text
    team.require_mended()


EVENTS = "public.suggestion_events"


@pytest.mark.parametrize(
    ("alteration", "amiss"),
    [
        (f"DROP TRIGGER ledgerviews_update ON {EVENTS}", "ledgerviews_update is gone"),
        (f"ALTER TABLE {EVENTS} DISABLE TRIGGER ledgerviews_delete", "ledgerviews_delete is disabled"),
        (
            f"ALTER TABLE {EVENTS} ENABLE TRIGGER ledgerviews_insert",
            "ledgerviews_insert is not ENABLE ALWAYS",
        ),
        (
            (
                f"DROP TRIGGER ledgerviews_insert ON {EVENTS}; DROP TRIGGER ledgerviews_update ON {EVENTS};"
                f" DROP TRIGGER ledgerviews_delete ON {EVENTS}"
            ),
            "ledgerviews_delete is gone, ledgerviews_insert is gone, ledgerviews_update is gone",
        ),
    ],
    ids=["gone", "disabled", "enabled", "all gone"],
)
def test_triggers_that_are_gone_or_disabled_are_told_and_put_on_again(
    team: Team, alteration: str, amiss: str
) -> None:
    """Each is named, with the command that puts it on; the next revision does, too."""
    team.connection.execute(alteration.encode())

    found, checked = team.diff(), team.check()
    text = team.mend()

    assert (found.text, found.current) == ("", False)
    assert found.notes == (
        f"{EVENTS}: {amiss}; each refresh recomputes all. Run `ledgerviews tracking install {EVENTS}`.",
    )
    assert f"('ledgerviews_track_sources', '{EVENTS}: {amiss}')" in checked
    assert f'op.ledgerviews_track_sources(["{EVENTS}"])' in text
    team.require_mended()


def test_two_newest_revisions_are_named_with_the_way_out(team: Team) -> None:
    """Of two developers who each wrote one; and once they are joined, steps back are refused by name."""
    folder = Path(str(team.settings.migrations)) / "versions"
    (head,) = revisions.heads(str(team.settings.migrations))
    for name in ("aa", "bb"):
        (folder / f"{name}.py").write_text(
            f'revision = "{name}"\ndown_revision = "{head}"\ndef upgrade(): pass\ndef downgrade(): pass\n',
            encoding="utf-8",
        )

    with pytest.raises(UsageError, match=r"the newest: aa, bb\.") as caught:
        commands.upgrade(team.settings)

    assert "alembic merge heads" in str(caught.value)

    (folder / "cc.py").write_text(
        'revision = "cc"\ndown_revision = ("aa", "bb")\ndef upgrade(): pass\ndef downgrade(): pass\n',
        encoding="utf-8",
    )
    commands.upgrade(team.settings)
    with pytest.raises(UsageError, match="joins two") as walked:
        commands.downgrade(team.settings, "-1")

    assert "ledgerviews db history" in str(walked.value)


@pytest.mark.parametrize("way", ["command", "revision"])
def test_triggers_are_put_on_again_after_a_column_was_renamed(team: Team, way: str) -> None:
    """By the name of now, which the registry learns then."""
    team.connection.execute(
        f"ALTER TABLE {EVENTS} RENAME created_at TO made_at;"
        f" ALTER TABLE {EVENTS} DISABLE TRIGGER ledgerviews_insert".encode()
    )

    if way == "command":
        sources.track(team.settings, [EVENTS], "closed days", attempts=100, progress=lambda _line: None)
    else:
        team.connection.execute(statements.track_sources([EVENTS], tracking="closed days").encode())

    assert tracked(str(team.settings.database_url)) == {}
    assert team.connection.execute(
        "SELECT day_column FROM ledgerviews.source WHERE source = %s", [EVENTS]
    ).fetchall() == [("made_at",)]


def test_the_triggers_of_partitions_are_looked_at(empty_url: str, connect: Connect) -> None:
    """One that is disabled on a single partition is named with it."""
    connection = connect(empty_url)
    parted = TABLES.replace("id int PRIMARY KEY", "id int").replace(
        "amount int NOT NULL\n);",
        "amount int NOT NULL\n) PARTITION BY RANGE (placed_at);"
        "CREATE TABLE public.early PARTITION OF public.orders FOR VALUES FROM (MINVALUE) TO ('2026-01-20');"
        "CREATE TABLE public.late PARTITION OF public.orders FOR VALUES FROM ('2026-01-20') TO (MAXVALUE);",
    )
    open_shop(connection, empty_url, foreign=False, tables=parted)
    untouched = tracked(empty_url)
    connection.execute("ALTER TABLE public.late DISABLE TRIGGER ledgerviews_update")

    assert untouched == {}
    assert tracked(empty_url) == {"public.orders": ("ledgerviews_update on public.late is disabled",)}


def tracked(url: str) -> Mapping[str, tuple[str, ...]]:
    """Which triggers are not as they were put on."""
    with psycopg.connect(url) as connection:
        run = runner(connection)
        return read(run, {}, conditions(run), schema="public").untracked


@pytest.mark.parametrize("printed", ["printed", "NULL"], ids=["as printed", "made once more"])
def test_the_engine_s_functions_are_those_of_the_frozen_files(
    installed_url: str, connect: Connect, printed: str
) -> None:
    """Every function of the engine is known from its files, and stands as they make it."""
    connection = connect(installed_url)
    connection.execute(f"UPDATE ledgerviews.engine SET printed = {printed}".encode())
    generated = r"_(track|day|link|changed|taken|scan|rollup_days)\("
    standing = {
        row[0]
        for row in connection.execute(query("engine_functions")).fetchall()
        if not re.search(generated, row[0]) or row[0].startswith("utc_")
    }

    with psycopg.connect(installed_url) as other:
        run = runner(other)
        run("SET LOCAL search_path = pg_catalog, pg_temp", None)
        found = altered(run, 3, may_create=True)

    assert found == {}
    assert standing == set(functions(script(0, 3)))


@pytest.mark.parametrize(
    ("alteration", "told"),
    [
        (
            (
                "CREATE OR REPLACE FUNCTION ledgerviews.doubt(seen jsonb, now jsonb)"
                " RETURNS text LANGUAGE sql"
                " STABLE SET search_path = pg_catalog, pg_temp RETURN NULL::text"
            ),
            "doubt(jsonb, jsonb): body",
        ),
        (
            (
                "CREATE OR REPLACE FUNCTION ledgerviews.observe_sources() RETURNS void LANGUAGE plpgsql"
                " SET search_path = pg_catalog, pg_temp AS $$BEGIN END$$"
            ),
            "observe_sources(): body",
        ),
        (
            "ALTER FUNCTION ledgerviews.apply(text, text, datemultirange) SECURITY DEFINER RESET search_path",
            "apply(text, text, datemultirange): definer, settings",
        ),
        (
            "ALTER FUNCTION ledgerviews.fill_nested SET max_parallel_workers_per_gather = 4",
            "fill_nested(text, date, date): settings",
        ),
        (
            "ALTER FUNCTION ledgerviews.utc_day(timestamptz) VOLATILE PARALLEL UNSAFE STRICT",
            "utc_day(timestamp with time zone): volatility, parallel, strict",
        ),
        ("DROP FUNCTION ledgerviews.grant_read(name)", "grant_read(name): gone"),
    ],
    ids=["parsed body", "body", "attributes", "settings", "volatility", "gone"],
)
def test_an_engine_function_that_was_altered_is_told_and_made_anew(
    team: Team, alteration: str, told: str
) -> None:
    """It is named with what differs; the next revision makes it as its version's files have it."""
    team.connection.execute(alteration.encode())

    found, checked = team.diff(), team.check()
    text = team.mend()

    assert (found.text, found.current) == ("", False)
    assert len(found.notes) == 1
    assert found.notes[0].startswith(f"ledgerviews.{told}, not as engine version 3 makes it. ")
    assert "`ledgerviews db revision -m TEXT` writes a revision" in found.notes[0]
    assert f"('ledgerviews_engine', 3, 'ledgerviews.{told}')" in checked
    assert text.count("op.ledgerviews_engine(version=3, previous=3)") == 2
    team.require_mended()


COMMANDS = (
    "status", "refresh", "verify", "diff", "db check", "db revision -m x", "tracking status", "index status",
    "runs", "refresh --dry-run", "tracking install", "release public.suggestion_events", "restore",
)  # fmt: skip


def test_an_engine_without_its_row_is_told_by_each_command(
    installed_url: str, connect: Connect, run_cli: pg.RunCli
) -> None:
    """One error with what is missing, and the statement that puts it back; after that all is as before."""
    connection = connect(installed_url)
    connection.execute("DELETE FROM ledgerviews.engine")

    done = {words: run_cli(*words.split(), url=installed_url) for words in COMMANDS}
    back = done["status"].stderr.partition("Put it back: ")[2].partition(";")[0]
    connection.execute(back.encode())
    after = [
        run_cli(*words.split(), url=installed_url) for words in ("status", "refresh", "diff", "db check")
    ]

    assert back == "INSERT INTO ledgerviews.engine (version) VALUES (3)"
    for words, one in done.items():
        assert one.returncode == 4, (words, one.stdout, one.stderr)
        assert one.stderr.startswith("ledgerviews: The row of the table ledgerviews.engine is gone, "), words
        assert f"\n  Put it back: {back}; " in one.stderr
    assert [one.returncode for one in after] == [0, 0, 0, 0], after[0].stderr


def test_what_lost_its_state_is_no_success(installed_url: str, connect: Connect, run_cli: pg.RunCli) -> None:
    """Each command names what no refresh looks at, and the mend; none says that all is well."""
    connection = connect(installed_url)
    assert run_cli("refresh", url=installed_url).returncode == 0
    kept = "mart_suggestions_daily"
    connection.execute("DELETE FROM ledgerviews.relation_state WHERE relation_name <> %s", [kept])

    done = {words: run_cli(*words.split(), url=installed_url) for words in ("status", "refresh", "verify")}
    back = done["refresh"].stderr.partition("Put it back: ")[2].partition(";")[0]
    connection.execute(back.encode())
    after = [run_cli(*words.split(), url=installed_url) for words in ("refresh", "verify", "status")]

    for words, one in done.items():
        assert one.returncode == 4, (words, one.stdout, one.stderr)
        assert "_feedback_daily, public.mart_suggestions_kpis: no refresh" in one.stderr
        assert f"public.{kept}" not in one.stderr
        assert f"\n  Put it back: {back}; the next refresh" in one.stderr
        assert "equal" not in one.stdout
    assert [one.returncode for one in after] == [0, 0, 0], after[0].stderr
    assert "of 3 relations compared, all equal" in after[1].stdout
