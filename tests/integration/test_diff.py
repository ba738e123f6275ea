"""``ledgerviews diff``: nothing where nothing differs, SQL where something does, whoever asks."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    import psycopg

    from tests import servers as pg

    Connect = Callable[[str], psycopg.Connection]

REGISTRY = (
    "ledgerviews.engine, ledgerviews.relation, ledgerviews.relation_check, ledgerviews.unrefreshed,"
    " ledgerviews.run_relation, ledgerviews.source, ledgerviews.alembic_version"
)


def test_an_unchanged_database_gives_nothing_to_a_role_that_only_reads(
    installed_url: str, connect: Connect, run_cli: pg.RunCli
) -> None:
    """No output and exit code 0, as the owner and as a role without TEMPORARY in read-only transactions."""
    connection = connect(installed_url)
    database = connection.info.dbname
    role = f"{database}_checker"
    connection.execute(
        f"CREATE ROLE {role} LOGIN; ALTER ROLE {role} SET default_transaction_read_only = on;"
        f" REVOKE TEMPORARY ON DATABASE {database} FROM PUBLIC; GRANT USAGE ON SCHEMA ledgerviews TO {role};"
        f" GRANT SELECT ON {REGISTRY} TO {role}".encode()
    )

    owner = run_cli("diff", url=installed_url)
    reader = run_cli("diff", url=installed_url.replace("//postgres@", f"//{role}@", 1))
    connection.execute(f"DROP OWNED BY {role}; DROP ROLE {role}".encode())

    assert (owner.returncode, owner.stdout, owner.stderr) == (0, "", "")
    assert (reader.returncode, reader.stdout, reader.stderr) == (0, "", "")


def test_what_differs_is_shown_as_sql_and_stays(
    installed_url: str, connect: Connect, run_cli: pg.RunCli
) -> None:
    """A comment, a key and a definition that were changed by hand; with what reads them; nothing changes."""
    connection = connect(installed_url)
    connection.execute(
        "COMMENT ON COLUMN public.mart_suggestions_kpis.events_total IS 'x';"
        " DROP INDEX public.mart_suggestions_daily_key;"
        " CREATE VIEW public.dash AS SELECT created_date FROM public.mart_suggestions_daily"
    )

    first = run_cli("diff", url=installed_url)
    second = run_cli("diff", url=installed_url)
    checked = run_cli("db", "check", url=installed_url)

    assert first.returncode == 4, first.stderr
    assert "COMMENT ON COLUMN" in first.stdout
    assert 'CREATE UNIQUE INDEX "mart_suggestions_daily_key"' in first.stdout
    assert "--   read by: public.dash (view, not ours)" in first.stdout
    assert second.stdout == first.stdout
    assert checked.returncode == 4


def test_a_pending_migration_is_told(installed_url: str, connect: Connect, run_cli: pg.RunCli) -> None:
    """Where the database is not at head, that is said, and the command leaves with 4."""
    connect(installed_url).execute("UPDATE ledgerviews.alembic_version SET version_num = '0004'")

    told = run_cli("diff", url=installed_url)

    assert told.returncode == 4
    assert "A migration is pending" in told.stderr


def test_what_was_restored_from_a_dump_is_no_difference(
    installed_url: str, connect: Connect, run_cli: pg.RunCli
) -> None:
    """A view made from PostgreSQL's own text may be printed in other words, and is the same one."""
    connection = connect(installed_url)
    mart = "mart_suggestions_feedback_daily"
    printed = "SELECT ledgerviews.printed('public', %s)"
    ((before,),) = connection.execute(printed, [mart]).fetchall()
    ((days,),) = connection.execute("SELECT ledgerviews.printed_days('public', %s)", [mart]).fetchall()
    connection.execute(f"CREATE OR REPLACE VIEW ledgerviews.{mart}_rollup_whole AS {before}".encode())
    connection.execute(days.encode())
    ((after,),) = connection.execute(printed, [mart]).fetchall()

    done = run_cli("diff", url=installed_url)

    assert after != before
    assert (done.returncode, done.stdout) == (0, "")
