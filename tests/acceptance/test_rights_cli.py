"""Sources in a schema of the application's own, and roles that have no right to it: what each is told."""

from __future__ import annotations

import json
import os
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING

import psycopg
import pytest
from psycopg import sql

from tests.acceptance.test_revision_cli import Shop

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator
    from pathlib import Path

    from tests import servers as pg

SOURCES = """
from ledgerviews.catalog import Source
SOURCES = (
    Source(
        name="order_items", schema="app", description="Items.",
        columns={"id": "integer", "placed_at": "timestamptz"}, day="placed_at",
        day_rows=("ledgerviews.in_days(order_items.placed_at, lo, hi)",),
    ),
)
"""
VIEW = """
from ledgerviews.catalog import Kind, Model
MODEL = Model.beside(
    __file__, kind=Kind.VIEW, description="Items.", grain=(), columns={"id": "Its id.", "day": "UTC day."}
)
"""
MART = """
from ledgerviews.catalog import Kind, Model
MODEL = Model.beside(
    __file__, kind=Kind.MATERIALIZED_VIEW, description="Items by day.", grain=("day",), day="day",
    columns={"day": "UTC day.", "items": "Number of items."},
)
"""
MAINTAIN = 170000
USAGE = "GRANT USAGE ON SCHEMA app"


@dataclass(frozen=True)
class AppShop:
    """A team whose sources stand in a schema app, and a role for each task."""

    team: Shop
    names: dict[str, str]
    urls: dict[str, str]
    superuser: psycopg.Connection

    def __call__(self, words: str, *, role: str) -> subprocess.CompletedProcess[str]:
        """Run ``ledgerviews`` as a role."""
        return self.team(*words.split(), url=self.urls[role])

    def run(self, statement: str) -> None:
        """Run a statement as a superuser, with the roles' names in it."""
        names = {task: sql.Identifier(name) for task, name in self.names.items()}
        self.superuser.execute(sql.SQL(statement).format(**names))

    @property
    def maintain(self) -> bool:
        """Whether the server knows MAINTAIN."""
        return self.superuser.info.server_version >= MAINTAIN


@pytest.fixture
def app(tmp_path: Path, run_cli: pg.RunCli, empty_url: str) -> Iterator[AppShop]:
    """The application owns the schema app and its table; another role migrates; nothing is installed."""
    tasks = ("application", "owner", "refresher", "stranger")
    with closing(psycopg.connect(empty_url, autocommit=True)) as superuser:
        names = {task: f"{task}_{os.getpid()}_{superuser.info.backend_pid}" for task in tasks}
        urls = {task: empty_url.replace("://postgres@", f"://{name}@") for task, name in names.items()}
        team = Shop(tmp_path, run_cli, empty_url)
        models = team.folder / "shop/models"
        (models / "sources.py").write_text(SOURCES, encoding="utf-8")
        for name, select, model in (
            (
                "stg_items",
                "SELECT i.id, ledgerviews.utc_day(i.placed_at) AS day FROM app.order_items AS i",
                VIEW,
            ),
            ("mart_items", "SELECT s.day, count(*) AS items FROM public.stg_items AS s GROUP BY s.day", MART),
        ):
            (models / f"{name}.sql").write_text(select + "\n", encoding="utf-8")
            (models / f"{name}.py").write_text(model, encoding="utf-8")
        made = AppShop(team, names, urls, superuser)
        for task in tasks:
            made.run(f"CREATE ROLE {{{task}}} LOGIN")
        try:
            dbname = sql.Identifier(superuser.info.dbname).as_string(superuser)
            made.run(
                f"GRANT CREATE ON DATABASE {dbname} TO {{owner}};"
                "GRANT CREATE ON SCHEMA public TO {owner};"
                "CREATE SCHEMA app AUTHORIZATION {application};"
                "CREATE TABLE app.order_items (id integer PRIMARY KEY, placed_at timestamptz NOT NULL);"
                "ALTER TABLE app.order_items OWNER TO {application};"
                "INSERT INTO app.order_items VALUES (1, '2026-03-01 12:00+00');"
                "GRANT USAGE ON SCHEMA app TO {owner};"
                "GRANT SELECT ON app.order_items TO {owner}"
            )
            yield made
        finally:
            for task in reversed(tasks):
                made.run(f"DROP OWNED BY {{{task}}} CASCADE")
            for task in tasks:
                made.run(f"DROP ROLE {{{task}}}")


@pytest.fixture
def installed(app: AppShop) -> AppShop:
    """The same, installed, each source tracked by triggers, and filled."""
    app.run("GRANT {application} TO {owner}")
    for words in ("db revision -m first", "db upgrade", "refresh"):
        done = app(words, role="owner")
        assert done.returncode == 0, done.stdout + done.stderr
    return app


@pytest.fixture
def granted(installed: AppShop) -> AppShop:
    """The same, with a refresher; only from PostgreSQL 17 on is that one no member of the owner."""
    if not installed.maintain:
        pytest.skip("before PostgreSQL 17 only an owner may refresh")
    done = installed(f"grant refresher {installed.names['refresher']}", role="owner")
    assert done.returncode == 0, done.stderr
    return installed


def look(app: AppShop, role: str) -> None:
    """Let a role see what is ours, and read what is published."""
    app.run(
        f"GRANT USAGE ON SCHEMA ledgerviews TO {{{role}}};"
        f"GRANT SELECT ON ALL TABLES IN SCHEMA ledgerviews TO {{{role}}}"
    )
    assert app(f"grant reader {app.names[role]}", role="owner").returncode == 0


def reword(app: AppShop) -> None:
    """Write the SELECT of the view in other words that mean the same."""
    path = app.team.folder / "shop/models/stg_items.sql"
    path.write_text(path.read_text(encoding="utf-8").replace("i.id,", "i.id AS id,"), encoding="utf-8")


def test_a_refresher_needs_no_right_to_the_sources_schema(granted: AppShop) -> None:
    """What `grant refresher` gives is enough to refresh, plan, verify and look, without USAGE on theirs."""
    written = "INSERT INTO app.order_items SELECT max(id) + 1, '2026-03-02 12:00+00' FROM app.order_items"
    done = {}
    for words in (
        "refresh --json",
        "refresh --dry-run",
        "refresh --full",
        "verify",
        "status",
        "diff",
        "index status",
        "tracking status",
    ):
        granted.run(written)
        done[words] = granted(words, role="refresher")
    granted("tracking remove", role="owner")
    granted.run(written)
    done["refresh of what is scanned"] = granted("refresh", role="refresher")

    for words, one in done.items():
        assert one.returncode == 0, words + one.stderr
        assert "permission denied" not in one.stderr
    (mart,) = json.loads(done["refresh --json"].stdout)["relations"]
    assert (mart["scope"], mart["inserted"]) == ("days", 1)
    with closing(psycopg.connect(granted.urls["refresher"])) as refresher:
        assert refresher.execute("SELECT has_schema_privilege('app', 'USAGE')").fetchall() == [(False,)]


def test_who_looks_needs_no_right_to_the_sources_schema(installed: AppShop) -> None:
    """`status` and the like see whether each source is tracked, and what its index lacks."""
    sources = installed.team.folder / "shop/models/sources.py"
    text = sources.read_text(encoding="utf-8").replace(
        'day="placed_at",', 'day="placed_at", indexes=("placed_at",),'
    )
    sources.write_text(text, encoding="utf-8")
    for words in ("db revision -m index", "db upgrade", "refresh"):
        one = installed(words, role="owner")
        assert one.returncode == 0, one.stderr
    look(installed, "stranger")

    found = {
        words: installed(words, role="stranger") for words in ("status", "index status", "tracking status")
    }

    for words, done in found.items():
        assert done.returncode == 0, words + done.stderr
        assert "app.order_items" in done.stdout
        assert "permission denied" not in done.stderr
    assert "placed_at" in found["index status"].stdout


def test_what_cannot_be_compared_is_told_as_a_right(installed: AppShop) -> None:
    """Other words for the same: who may use the schema sees no difference, anybody else which right lacks."""
    reword(installed)
    look(installed, "stranger")
    grant = f"{USAGE} TO {installed.names['stranger']}"

    own = installed("diff", role="owner")
    found = {words: installed(words, role="stranger") for words in ("diff", "status", "db check")}

    assert (own.returncode, own.stdout) == (0, "")
    for words, done in found.items():
        assert (
            "permission denied for schema app, so that public.stg_items, public.mart_items cannot be compared"
            " with what is declared." in done.stderr
        ), words
        assert (
            f"Have the owner of the schema app ({installed.names['application']}) run {grant}." in done.stderr
        )
        assert "Mend it" not in done.stdout + done.stderr
    assert (found["diff"].returncode, found["diff"].stdout) == (1, "")
    assert found["db check"].returncode == 1
    assert found["status"].returncode == 0
    assert "not compared" in found["status"].stdout
    installed.run(f"{USAGE} TO {{stranger}}")
    for words in found:
        assert installed(words, role="stranger").returncode == 0


def test_a_new_definition_that_takes_a_right_is_shown_with_it(installed: AppShop) -> None:
    """It differs, whoever looks: `diff` shows it, with the right that lacks and no mistake in its file."""
    installed.team.declare("more", "SELECT i.id FROM app.order_items AS i", mart=False)
    look(installed, "stranger")

    done = installed("diff", role="stranger")

    assert done.returncode == 4
    assert "cannot be created now: permission denied for schema app" in done.stdout
    assert "GRANT USAGE, CREATE ON SCHEMA app to the role that you connect as" in done.stdout
    assert "Mend it" not in done.stdout


def test_who_verifies_is_told_the_schema_and_the_table_at_once(granted: AppShop) -> None:
    """Of a mart that is not by day: one hint, in which every statement helps, and no loop."""
    granted.team.declare("by_hand", "SELECT i.id FROM app.order_items AS i")
    for words in ("db revision -m hand", "db upgrade", "refresh"):
        assert granted(words, role="owner").returncode == 0
    name = granted.names["refresher"]
    assert granted(f"grant refresher {name}", role="owner").returncode == 0

    refused = granted("verify", role="refresher")
    assert granted("refresh", role="refresher").returncode == 0
    granted.run(f"{USAGE} TO {{refresher}}; GRANT SELECT ON app.order_items TO {{refresher}}")
    done = granted("verify", role="refresher")

    assert refused.returncode == 1
    assert (
        f"Have the owner of the schema app ({granted.names['application']}) run {USAGE} TO {name};"
        f" and GRANT SELECT ON app.order_items TO {name}: what is not computed by day" in refused.stderr
    )
    assert "grant refresher" not in refused.stderr
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("command", ["refresh", "verify", "status", "diff"])
def test_a_schema_of_what_is_published_is_told_with_its_grant(granted: AppShop, command: str) -> None:
    """Where somebody takes it away again the hint is what brings it back, not the grants of ours."""
    if command == "diff":
        reword(granted)
    granted.run("REVOKE USAGE ON SCHEMA public FROM PUBLIC; GRANT USAGE ON SCHEMA public TO {owner}")
    name = granted.names["refresher"]

    done = granted(command, role="refresher")

    schema = "app" if command == "diff" else "public"
    assert done.returncode == 1
    assert f"permission denied for schema {schema}" in done.stderr
    assert f" run GRANT USAGE ON SCHEMA {schema} TO {name}." in done.stderr
    assert "ledgerviews grant" not in done.stderr


def test_a_grant_on_a_schema_of_others_is_told_in_full(installed: AppShop) -> None:
    """Who may not grant on the published relations' schema hears the statement, and who may run it."""
    installed.run(
        "ALTER SCHEMA public OWNER TO {application}; REVOKE {application} FROM {owner};"
        "REVOKE USAGE ON SCHEMA public FROM PUBLIC; GRANT USAGE ON SCHEMA public TO {owner}"
    )
    tasks = ("refresher", "reader") if installed.maintain else ("reader",)
    name = installed.names["stranger"]

    refused = {task: installed(f"grant {task} {name}", role="owner") for task in tasks}
    installed.run("GRANT USAGE ON SCHEMA public TO {stranger}")
    done = {task: installed(f"grant {task} {name}", role="owner") for task in tasks}

    for task in tasks:
        assert refused[task].returncode == 1
        assert refused[task].stdout == ""
        assert (
            f"Have {installed.names['application']}, its owner, run GRANT USAGE ON SCHEMA public TO {name};"
            " then run this again." in refused[task].stderr
        )
        assert done[task].returncode == 0, done[task].stderr


def test_an_upgrade_that_may_not_use_the_schema_says_so(app: AppShop) -> None:
    """Where the tables could be read, USAGE alone is asked for; where neither is there, both."""
    assert app("db revision -m first", role="owner").returncode == 0
    app.run("REVOKE USAGE ON SCHEMA app FROM {owner}")
    usage = app("db upgrade", role="owner")
    app.run("REVOKE SELECT ON app.order_items FROM {owner}")
    both = app("db upgrade", role="owner")

    for done in (usage, both):
        assert done.returncode == 1
        assert (
            "  - app.order_items: this role may not use the schema app (GRANT USAGE ON SCHEMA app)\n"
            in done.stderr
        )
        assert "Grant what is missing; then upgrade again." in done.stderr
    assert "GRANT SELECT" not in usage.stderr
    assert "this role may not SELECT id, placed_at (GRANT SELECT ON app.order_items)" in both.stderr


def test_a_written_revision_warns_of_sources_of_others(app: AppShop) -> None:
    """As the package's own does: no trigger, each refresh scans, and who has it tracked."""
    assert app("db revision -m first", role="owner").returncode == 0

    done = app("db upgrade", role="owner")

    assert done.returncode == 0
    assert (
        "Warning: Of another role, so that no trigger tracks writes and each refresh scans:"
        " app.order_items.\n  Run ledgerviews tracking install as a member of its owner." in done.stderr
    )
    assert done.stderr.count("Of another role") == 1


def test_a_written_revision_does_not_warn_of_own_sources(app: AppShop) -> None:
    """Where the triggers are put on, nothing is to be told."""
    app.run("GRANT {application} TO {owner}")
    assert app("db revision -m first", role="owner").returncode == 0

    assert "Warning" not in app("db upgrade", role="owner").stderr
