"""What each role may do and may not do, tried: owner, refresher, reader, and the application itself."""

from __future__ import annotations

import json
import os
import re
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING

import psycopg
import pytest
from psycopg import sql

from ledgerviews.config import Settings
from ledgerviews.models import demo
from ledgerviews.schema import commands

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests import servers as pg

EVENT = (
    "INSERT INTO public.suggestion_events (id, txn_id, model_id, features_hash, candidates, mode, created_at)"
    " SELECT gen_random_uuid(), txn_id, model_id, features_hash, candidates, mode, '2025-11-04 12:00:00'"
    " FROM public.suggestion_events LIMIT 1"
)
MAINTAIN = 170000


@dataclass(frozen=True)
class Roles:
    """A database with a role for each task: names by task, URLs by task, and a superuser's connection."""

    names: dict[str, str]
    urls: dict[str, str]
    superuser: psycopg.Connection

    def refused(self, role: str, statement: str) -> str | None:
        """The SQLSTATE with which the server refuses a role's statement; None where it lets it."""
        with closing(psycopg.connect(self.urls[role], autocommit=True)) as connection:
            try:
                connection.execute(statement.encode())
            except psycopg.Error as exc:
                return exc.sqlstate
        return None

    @property
    def maintain(self) -> bool:
        """Whether the server knows MAINTAIN."""
        return self.superuser.info.server_version >= MAINTAIN


@pytest.fixture
def roles(empty_url: str) -> Iterator[Roles]:
    """The application owns its tables; another role, a member of it, migrates; the others have nothing."""
    tasks = ("application", "owner", "refresher", "reader", "stranger")
    with closing(psycopg.connect(empty_url, autocommit=True)) as superuser:
        names = {task: f"{task}_{os.getpid()}_{superuser.info.backend_pid}" for task in tasks}
        urls = {task: empty_url.replace("://postgres@", f"://{name}@") for task, name in names.items()}
        run = {task: sql.Identifier(name) for task, name in names.items()}
        for name in run.values():
            superuser.execute(sql.SQL("CREATE ROLE {} LOGIN").format(name))
        try:
            dbname = sql.Identifier(superuser.info.dbname)
            superuser.execute(sql.SQL("GRANT CREATE ON DATABASE {} TO {owner}").format(dbname, **run))
            superuser.execute(
                sql.SQL("GRANT CREATE ON SCHEMA public TO {owner}, {application}").format(**run)
            )
            superuser.execute(sql.SQL("GRANT {application} TO {owner}").format(**run))
            with closing(psycopg.connect(urls["application"], autocommit=True)) as application:
                demo.create_tables(application, form="current")
                demo.reference_rows(application)
            commands.upgrade(Settings(database_url=urls["owner"]))
            yield Roles(names, urls, superuser)
        finally:
            for name in reversed(run.values()):
                superuser.execute(sql.SQL("DROP OWNED BY {} CASCADE").format(name))
            for name in run.values():
                superuser.execute(sql.SQL("DROP ROLE {}").format(name))


@pytest.fixture
def refreshing(roles: Roles, run_cli: pg.RunCli) -> Roles:
    """The roles, where the refresher may refresh in the way that its server has."""
    done = run_cli("grant", "refresher", roles.names["refresher"], url=roles.urls["owner"])
    if roles.maintain:
        assert done.returncode == 0, done.stderr
    else:
        owner, refresher = (sql.Identifier(roles.names[task]) for task in ("owner", "refresher"))
        assert done.returncode == 1
        assert f"GRANT {roles.names['owner']} TO {roles.names['refresher']}" in done.stderr
        roles.superuser.execute(sql.SQL("GRANT {} TO {}").format(owner, refresher))
    return roles


def test_a_migrating_role_without_the_owner_s_rights_is_warned(roles: Roles, run_cli: pg.RunCli) -> None:
    """The upgrade says that sources are scanned, and what to run; an index is refused before it asks."""
    owner, application = (sql.Identifier(roles.names[task]) for task in ("owner", "application"))
    commands.downgrade(Settings(database_url=roles.urls["owner"]), "base")
    roles.superuser.execute(sql.SQL("REVOKE {} FROM {}").format(application, owner))
    roles.superuser.execute(sql.SQL("GRANT SELECT ON ALL TABLES IN SCHEMA public TO {}").format(owner))

    upgraded = run_cli("db", "upgrade", url=roles.urls["owner"])
    indexed = run_cli("index", "install", url=roles.urls["owner"])

    assert upgraded.returncode == 0
    assert (
        "Warning: Of another role, so that no trigger tracks writes and each refresh scans:"
        " public.suggestion_events and public.suggestion_feedback.\n  Run ledgerviews tracking install"
        in upgraded.stderr
    )
    assert indexed.returncode == 1
    assert f"Only the owner of public.suggestion_feedback, {roles.names['application']}," in indexed.stderr
    assert "asked" not in indexed.stderr


def test_a_role_without_grants_is_told_of_the_refresher_s(roles: Roles, run_cli: pg.RunCli) -> None:
    """No right to create is asked for a refresh: the message names the command that grants what it takes.

    Before PostgreSQL 17, where that command refuses, it names who may.
    """
    done = run_cli("refresh", url=roles.urls["stranger"])

    assert done.returncode == 1
    granting = f"`ledgerviews grant refresher {roles.names['stranger']}`" in done.stderr
    assert granting is roles.maintain
    assert f"the owner of the schema ledgerviews ({roles.names['owner']})" in done.stderr
    assert "CREATE" not in done.stderr


@pytest.mark.parametrize(
    "words", [("status",), ("runs",), ("index", "status"), ("tracking", "status"), ("cron", "status")]
)
def test_a_role_that_only_looks_is_told_all_that_it_takes_at_once(
    roles: Roles, run_cli: pg.RunCli, words: tuple[str, ...]
) -> None:
    """The statements and the command in the hint, run by the owner, are enough for `status` and the like."""
    name = roles.names["stranger"]

    refused = run_cli(*words, url=roles.urls["stranger"])
    hint = refused.stderr.splitlines()[-1]
    statements = re.findall(rf"GRANT [^;]* TO {name}(?=;)", hint)

    assert refused.returncode == 1
    assert "Refresh as the owner" not in refused.stderr
    assert len(statements) == 2
    assert f"`ledgerviews grant reader {name}`" in hint
    with closing(psycopg.connect(roles.urls["owner"], autocommit=True)) as owner:
        for statement in statements:
            owner.execute(statement.encode())
    assert run_cli("grant", "reader", name, url=roles.urls["owner"]).returncode == 0
    assert run_cli("refresh", url=roles.urls["owner"]).returncode == 0
    done = run_cli(*words, url=roles.urls["stranger"])
    assert done.returncode == 0 or "pg_cron" in done.stderr, done.stderr


def test_a_grant_by_a_stranger_names_the_owner(roles: Roles, run_cli: pg.RunCli) -> None:
    """It is the owner who grants; nobody is told to refresh."""
    done = run_cli("grant", "reader", roles.names["reader"], url=roles.urls["stranger"])

    assert done.returncode == 1
    assert done.stderr.endswith(
        f"  Run it as the owner of the schema ledgerviews ({roles.names['owner']}),"
        " or as a member of that role.\n"
    )


def test_a_refresher_who_verifies_is_told_what_else_to_grant(refreshing: Roles, run_cli: pg.RunCli) -> None:
    """Of a mart that is not computed by day: the GRANT SELECT on all that it reads, and then it verifies."""
    if not refreshing.maintain:
        pytest.skip("before PostgreSQL 17 a refresher is a member of the owner")
    name = refreshing.names["refresher"]
    with closing(psycopg.connect(refreshing.urls["owner"], autocommit=True)) as owner:
        owner.execute(
            "CREATE MATERIALIZED VIEW public.extra AS"
            " SELECT s.event_id AS id FROM public.stg_suggestion_events AS s"
        )
        owner.execute("CREATE UNIQUE INDEX extra_key ON public.extra (id)")
        owner.execute(
            "INSERT INTO ledgerviews.relation (schema_name, relation_name, kind, definition, unique_key)"
            " VALUES ('public', 'extra', 'materialized view', 'SELECT 1', '{id}')"
        )
    run_cli("grant", "refresher", name, url=refreshing.urls["owner"])

    refused = run_cli("verify", url=refreshing.urls["refresher"])
    statement = f"GRANT SELECT ON public.stg_suggestion_events TO {name}"

    assert refused.returncode == 1
    assert "permission denied for view stg_suggestion_events" in refused.stderr
    assert f"Have its owner run {statement}: " in refused.stderr
    with closing(psycopg.connect(refreshing.urls["owner"], autocommit=True)) as owner:
        owner.execute(statement.encode())
    assert run_cli("verify", url=refreshing.urls["refresher"]).returncode == 0


def test_a_check_without_rights_names_database_and_role(roles: Roles, run_cli: pg.RunCli) -> None:
    """As every other command does."""
    name = roles.names["stranger"]
    roles.superuser.execute(
        sql.SQL(
            "GRANT USAGE ON SCHEMA ledgerviews TO {0}; GRANT SELECT ON ledgerviews.alembic_version TO {0}"
        ).format(sql.Identifier(name))
    )

    done = run_cli("db", "check", url=roles.urls["stranger"])

    assert "permission denied for table" in done.stderr
    assert f"as {name!r}" in done.stderr
    assert "(the database)" not in done.stderr


def test_the_refresher_refreshes(refreshing: Roles, run_cli: pg.RunCli) -> None:
    """First fill, by days, in full, verified, planned, with its own name in the log."""
    url = refreshing.urls["refresher"]
    filled = run_cli("refresh", "--json", url=url)
    assert refreshing.refused("application", EVENT) is None
    planned = run_cli("refresh", "--dry-run", url=url)
    by_days = run_cli("refresh", "--json", url=url)
    full = run_cli("refresh", "--full", "--json", url=url)
    verified = run_cli("verify", url=url)
    blocking = run_cli("refresh", "--blocking", url=url)
    status = run_cli("status", url=url)
    runs = json.loads(run_cli("runs", "--json", url=url).stdout)

    for done in (filled, planned, by_days, full, verified, blocking, status):
        assert done.returncode == 0, done.stderr
    assert [r["method"] for r in json.loads(filled.stdout)["relations"]] == ["first fill"] * 3
    assert [r["method"] for r in json.loads(by_days.stdout)["relations"]] == ["concurrently"] * 3
    assert [r["scope"] for r in json.loads(full.stdout)["relations"]] == ["all"] * 3
    assert {run["requested_by"] for run in runs["runs"]} == {refreshing.names["refresher"]}


def test_the_refresher_scans_what_nothing_tracks(refreshing: Roles, run_cli: pg.RunCli) -> None:
    """Without triggers, too, it finds what changed, though it may not read the sources."""
    run_cli("tracking", "remove", url=refreshing.urls["owner"])
    run_cli("refresh", url=refreshing.urls["refresher"])
    assert refreshing.refused("application", EVENT) is None

    done = run_cli("refresh", "--json", url=refreshing.urls["refresher"])

    assert done.returncode == 0, done.stderr
    assert [r["updated"] + r["inserted"] for r in json.loads(done.stdout)["relations"]] == [1, 1, 1]


FORBIDDEN = """
SELECT * FROM public.suggestion_events
SELECT * FROM public.suggestion_feedback
DELETE FROM public.suggestion_feedback
DROP TRIGGER ledgerviews_insert ON public.suggestion_events
ALTER TABLE public.suggestion_events DISABLE TRIGGER ledgerviews_insert
SELECT ledgerviews.untrack('public.suggestion_events')
SELECT ledgerviews.track('public.suggestion_events', 'every write')
SELECT * FROM ledgerviews.suggestion_events_change
DELETE FROM ledgerviews.suggestion_events_change
INSERT INTO ledgerviews.suggestion_events_change (day) VALUES ('2025-01-01')
DELETE FROM ledgerviews.suggestion_feedback_orphan
TRUNCATE ledgerviews.mart_suggestions_daily_rollup
DROP TABLE ledgerviews.mart_suggestions_daily_rollup
DROP MATERIALIZED VIEW public.mart_suggestions_kpis
DROP INDEX public.mart_suggestions_kpis_key
CREATE OR REPLACE VIEW ledgerviews.mart_suggestions_daily_rollup_whole AS SELECT 1 AS x
INSERT INTO ledgerviews.relation_check (check_name) VALUES ('x')
UPDATE ledgerviews.relation_check SET severity = 'warn'
DELETE FROM ledgerviews.relation_check
UPDATE ledgerviews.relation SET definition = ''
UPDATE ledgerviews.source SET tracking = 'none'
UPDATE ledgerviews.engine SET keep_runs = interval '1 second'
INSERT INTO ledgerviews.run (mode, requested_by) VALUES ('full', 'somebody')
UPDATE ledgerviews.run SET requested_by = 'somebody'
UPDATE ledgerviews.run_relation SET rows_after = 0
DELETE FROM ledgerviews.run_check
CREATE FUNCTION ledgerviews.mine() RETURNS integer LANGUAGE sql RETURN 1
CREATE OR REPLACE FUNCTION ledgerviews.utc(value timestamp) RETURNS timestamp LANGUAGE sql RETURN value
CREATE TABLE public.mine ()
SELECT ledgerviews.suggestion_events_track()
SET ROLE {owner}
SET ROLE {application}
"""


def test_what_the_refresher_may_not(refreshing: Roles) -> None:
    """It reads no source, changes no trigger, log, check, definition or name, and becomes nobody else.

    From PostgreSQL 17 on: before it the refresher is a member of the owner, and may what that may.
    """
    statements = FORBIDDEN.format(**refreshing.names).strip().splitlines()

    found = {statement: refreshing.refused("refresher", statement) for statement in statements}

    if refreshing.maintain:
        assert {statement: state for statement, state in found.items() if state != "42501"} == {}
    else:
        assert found["UPDATE ledgerviews.relation_check SET severity = 'warn'"] is None


def test_the_refresher_hands_nothing_on(refreshing: Roles) -> None:
    """What it was granted it cannot grant."""
    if refreshing.maintain:
        refreshing.refused("refresher", f"SELECT ledgerviews.grant_refresh('{refreshing.names['stranger']}')")

    assert refreshing.refused("stranger", "CALL ledgerviews.refresh()") == "42501"


def test_who_may_not_grant_is_told_who_may(refreshing: Roles, run_cli: pg.RunCli) -> None:
    """Neither grant says that it was done: the owner is named, without the server's warnings."""
    stranger = refreshing.names["stranger"]
    done = run_cli("grant", "refresher", stranger, url=refreshing.urls["refresher"])
    read = run_cli("grant", "reader", stranger, url=refreshing.urls["refresher"])

    if refreshing.maintain:
        for command, what in ((done, "schema ledgerviews"), (read, "public.mart_suggestions_daily")):
            assert command.returncode == 1
            assert command.stdout == ""
            assert f"{refreshing.names['refresher']} may not grant on {what}" in command.stderr
            assert f"Run it as {refreshing.names['owner']}, its owner." in command.stderr
            assert "no privileges were granted" not in command.stderr
    else:
        assert (done.returncode, read.returncode) == (1, 0)


def test_the_refresher_sees_what_is_compared(refreshing: Roles, run_cli: pg.RunCli) -> None:
    """Its status compares the definitions, as the owner's does."""
    done = run_cli("status", url=refreshing.urls["refresher"])

    assert "not compared" not in done.stdout
    assert "permission denied" not in done.stderr


def test_the_reader_reads_what_is_published(roles: Roles, run_cli: pg.RunCli) -> None:
    """Views and marts, and nothing that lies beneath."""
    granted = run_cli("grant", "reader", roles.names["reader"], url=roles.urls["owner"])
    filled = run_cli("refresh", url=roles.urls["owner"])

    assert (granted.returncode, filled.returncode) == (0, 0)
    for relation in (
        "stg_suggestion_events",
        "mart_suggestions_daily",
        "mart_suggestions_feedback_daily",
        "mart_suggestions_kpis",
    ):
        assert roles.refused("reader", f"SELECT * FROM public.{relation}") is None
    for statement in (
        "SELECT * FROM public.suggestion_events",
        "SELECT * FROM public.suggestion_feedback",
        "SELECT * FROM ledgerviews.run",
        "SELECT * FROM ledgerviews.mart_suggestions_daily_rollup",
        "SELECT * FROM ledgerviews.suggestion_events_changed(false)",
        "SELECT * FROM ledgerviews.suggestion_events_taken(false)",
        "SELECT * FROM ledgerviews.suggestion_events_scan()",
        "SELECT * FROM ledgerviews.mart_suggestions_daily_rollup_days('2025-01-01', '2026-01-01')",
        "CALL ledgerviews.refresh()",
        "REFRESH MATERIALIZED VIEW public.mart_suggestions_kpis",
        "DROP MATERIALIZED VIEW public.mart_suggestions_kpis",
    ):
        assert roles.refused("reader", statement) == "42501", statement


def test_the_application_writes_without_any_grant_of_ours(roles: Roles) -> None:
    """Its writes are logged with the owner's rights; it neither reads nor empties the log."""
    assert roles.refused("application", EVENT) is None
    for statement in (
        "SELECT * FROM ledgerviews.suggestion_events_change",
        "DELETE FROM ledgerviews.suggestion_events_change",
        "SELECT ledgerviews.suggestion_events_track()",
        "SELECT * FROM ledgerviews.suggestion_events_changed(true)",
        "SELECT * FROM ledgerviews.suggestion_events_taken(true)",
    ):
        assert roles.refused("application", statement) == "42501"

    found = roles.superuser.execute("SELECT day::text FROM ledgerviews.suggestion_events_change").fetchall()
    assert ("2025-11-04",) in found


def test_a_refresh_without_the_grants_says_what_to_run(roles: Roles, run_cli: pg.RunCli) -> None:
    """A role without rights hears of `ledgerviews grant refresher`, or of the owner before PostgreSQL 17."""
    roles.superuser.execute(
        sql.SQL(
            "GRANT USAGE ON SCHEMA ledgerviews TO {0};"
            "GRANT SELECT ON ledgerviews.engine, ledgerviews.alembic_version, ledgerviews.run TO {0}"
        ).format(sql.Identifier(roles.names["stranger"]))
    )

    done = run_cli("refresh", url=roles.urls["stranger"])

    assert done.returncode == 1
    assert ("ledgerviews grant refresher" if roles.maintain else "only an owner may refresh") in done.stderr


def test_whatever_a_role_lacks_it_is_told_the_one_step_that_helps(roles: Roles, run_cli: pg.RunCli) -> None:
    """With nothing, and with all that looking takes: who owns it, or the grant, by the role's own name.

    Never the SELECT on what a mart reads, which would not help, nor a table without its schema.
    """
    stranger, owner = roles.names["stranger"], roles.names["owner"]
    commands = {
        words: [run_cli(*words.split(), url=roles.urls["stranger"])]
        for words in (
            "verify",
            "refresh",
            "release public.suggestion_events",
            "restore",
            "db check",
        )
    }
    going = [
        run_cli("db", *words, url=roles.urls["stranger"]) for words in (("downgrade", "base"), ("upgrade",))
    ]
    roles.superuser.execute(
        sql.SQL(
            "GRANT USAGE ON SCHEMA ledgerviews TO {0};GRANT SELECT ON ALL TABLES IN SCHEMA ledgerviews TO {0}"
        ).format(sql.Identifier(stranger))
    )
    for words in list(commands)[:4]:
        commands[words].append(run_cli(*words.split(), url=roles.urls["stranger"]))

    as_owner = f"Run it as the owner of the schema ledgerviews ({owner}), or as a member of that role."
    refreshing = (
        f"Have the owner of the schema ledgerviews ({owner}) run `ledgerviews grant refresher {stranger}`"
        if roles.maintain
        else f"{as_owner} Before PostgreSQL 17 only an owner may refresh."
    )
    for words, told in commands.items():
        for done in told:
            assert done.returncode == 1, words
            assert "permission denied for " in done.stderr
            assert (refreshing if words in {"verify", "refresh"} else as_owner) in done.stderr, words
            assert "the role that you connect as" not in done.stderr
            assert "GRANT SELECT" not in done.stderr
    for done in going:
        # What somebody else's schema holds is not even looked at by what would change it.
        assert done.returncode == 2
        assert f"Connect as '{owner}' or a member of it" in done.stderr


def test_who_verifies_is_told_both_grants_at_once(roles: Roles, run_cli: pg.RunCli) -> None:
    """The refresher's, and the SELECT on a table that a mart without a day reads; then it verifies."""
    if not roles.maintain:
        pytest.skip("before PostgreSQL 17 only an owner may refresh")
    stranger = roles.names["stranger"]
    roles.superuser.execute(
        sql.SQL(
            "GRANT USAGE ON SCHEMA ledgerviews TO {0};"
            "GRANT SELECT ON ALL TABLES IN SCHEMA ledgerviews TO {0};"
            "CREATE TABLE public.plain (id integer);"
            "CREATE MATERIALIZED VIEW public.by_hand AS SELECT id FROM public.plain;"
            "CREATE UNIQUE INDEX by_hand_key ON public.by_hand (id);"
            "ALTER MATERIALIZED VIEW public.by_hand OWNER TO {1};"
            "INSERT INTO ledgerviews.relation (schema_name, relation_name, kind, definition, unique_key)"
            " VALUES ('public', 'by_hand', 'materialized view', 'SELECT id FROM public.plain', ARRAY['id']);"
            "GRANT SELECT ON public.plain TO {1}"
        ).format(sql.Identifier(stranger), sql.Identifier(roles.names["owner"]))
    )

    told = run_cli("verify", url=roles.urls["stranger"])
    run_cli("grant", "refresher", stranger, url=roles.urls["owner"])
    roles.superuser.execute(sql.SQL("GRANT SELECT ON public.plain TO {}").format(sql.Identifier(stranger)))
    done = run_cli("verify", url=roles.urls["stranger"])

    assert told.returncode == 1
    assert f"`ledgerviews grant refresher {stranger}`" in told.stderr
    assert f"And GRANT SELECT ON public.plain TO {stranger}: what is not computed by day" in told.stderr
    assert done.returncode == 0, done.stderr


def test_an_unknown_role_is_a_usage_error(roles: Roles, run_cli: pg.RunCli) -> None:
    """Both grants say that there is no such role, and how to create it."""
    for task in ("refresher", "reader"):
        done = run_cli("grant", task, "nobody_at_all", url=roles.urls["owner"])

        assert done.returncode == 2
        assert "CREATE ROLE nobody_at_all LOGIN" in done.stderr


def test_no_body_is_read_under_a_search_path_of_others(installed_url: str) -> None:
    """Each PL/pgSQL function has a search_path of its own, whatever version of the engine last made it.

    Not the procedures, which commit, and say it in each of their transactions.
    """
    with closing(psycopg.connect(installed_url, autocommit=True)) as connection:
        found = connection.execute(
            "SELECT p.oid::regprocedure::text FROM pg_proc AS p JOIN pg_language AS l ON l.oid = p.prolang"
            " WHERE p.pronamespace = 'ledgerviews'::regnamespace AND l.lanname = 'plpgsql'"
            " AND p.prokind = 'f'"
            " AND NOT COALESCE('search_path=pg_catalog, pg_temp' = ANY (p.proconfig), false)"
        ).fetchall()

    assert found == []


def test_what_runs_with_the_owner_s_rights_is_nobody_s_to_call(installed_url: str) -> None:
    """Each SECURITY DEFINER function has its own search_path, and PUBLIC may execute none but two.

    ``released_tables`` tells whoever may refresh or look why nothing can be refreshed: names of tables only;
    ``rows_hidden`` whether a policy is applied to what the engine's owner reads.
    """
    with closing(psycopg.connect(installed_url, autocommit=True)) as connection:
        found = connection.execute(
            "SELECT p.proname, p.proconfig,"
            " (SELECT count(*) FROM aclexplode(p.proacl) AS a WHERE a.grantee = 0), p.proacl IS NULL"
            " FROM pg_proc AS p WHERE p.pronamespace = 'ledgerviews'::regnamespace AND p.prosecdef ORDER BY 1"
        ).fetchall()

    names = [name for name, *_ in found]
    assert names == [
        "mart_suggestions_daily_rollup_days",
        "mart_suggestions_feedback_daily_rollup_days",
        "released_tables",
        "rows_hidden",
        *(
            f"suggestion_{table}_{what}"
            for table in ("events", "feedback")
            for what in ("changed", "scan", "track")
        ),
    ]
    assert [name for name, _, public, unset in found if public or unset] == ["released_tables", "rows_hidden"]
    assert {tuple(config) for _, config, *_ in found} == {("search_path=pg_catalog, pg_temp",)}
