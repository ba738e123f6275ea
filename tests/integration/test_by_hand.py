"""What somebody altered by hand in a database: `ledgerviews diff` tells it, and the next revision mends it."""

from __future__ import annotations

import io
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from ledgerviews.config import Settings
from ledgerviews.errors import DriftError
from ledgerviews.models import demo
from ledgerviews.schema import commands
from ledgerviews.schema.diff import Diff, diff
from tests import servers as pg

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import psycopg

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
            f"DROP INDEX {ROLLUP}_key; CREATE UNIQUE INDEX ON {ROLLUP} (created_date, mode, model_id)"
            " WHERE events > 5",
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
    assert f"('change', '{DAILY}', 'rollup')" in checked
    assert "op.ledgerviews_replace(views_before, views_after)" in text
    team.require_mended()


def test_a_type_of_a_rollup_that_was_changed_is_told_and_mended(team: Team) -> None:
    """A column that nobody reads any more, since the published mart was made anew, has its type back."""
    readers = shown(team.connection, "")
    first, last = readers.split(f"CREATE MATERIALIZED VIEW public.{DAILY} ", 1)
    ((days,),) = team.connection.execute(f"SELECT pg_get_functiondef('{DAYS}'::regprocedure)".encode()).fetchall()
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
