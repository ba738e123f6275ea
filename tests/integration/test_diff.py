"""``ledgerviews diff``: nothing where nothing differs, SQL where something does, whoever asks."""

from __future__ import annotations

import os
import re
import subprocess
from typing import TYPE_CHECKING

from ledgerviews.models import demo
from tests import servers as pg

if TYPE_CHECKING:
    from collections.abc import Callable

    import psycopg

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


def test_a_database_ahead_of_the_package_is_told(
    installed_url: str, connect: Connect, run_cli: pg.RunCli
) -> None:
    """No upgrade from here would help, so none is advised."""
    connect(installed_url).execute("UPDATE ledgerviews.alembic_version SET version_num = 'later'")

    told = run_cli("diff", url=installed_url)

    assert told.returncode == 4
    assert " is at revision later, which this package does not have; its newest is 0" in told.stderr
    assert "db upgrade" not in told.stderr


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


def test_a_database_restored_from_a_dump_gives_nothing(
    server: pg.PgServer, installed_url: str, connect: Connect, run_cli: pg.RunCli
) -> None:
    """Nothing differs on a server of the same version or a later one, nor for a role that owns nothing."""
    connection = connect(installed_url)
    demo.reference_rows(connection)
    connection.execute("CALL ledgerviews.refresh()")
    servers = pg.from_text(os.environ[pg.SERVERS])
    for target in [one for one in servers if one.version >= server.version]:
        assert target.bin_dir is not None
        name = f"{connection.info.dbname}_on_{target.version}"
        role = f"{name}_checker"
        with target.database(name) as url:
            dumped = subprocess.run(
                [target.bin_dir / "pg_dump", "--dbname", installed_url],
                check=True,
                capture_output=True,
                text=True,
            )
            subprocess.run(
                [target.bin_dir / "psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "--dbname", url],
                check=True,
                # What 15.20 keeps with the columns, and only a pg_dump of then leaves out.
                input=re.sub(r"^ALTER .* SET \(pg_attver=\d+\);$", "", dumped.stdout, flags=re.MULTILINE),
                capture_output=True,
                text=True,
            )
            restored = connect(url)
            restored.execute(
                f"CREATE ROLE {role} LOGIN; GRANT USAGE ON SCHEMA ledgerviews, public TO {role};"
                f" GRANT SELECT ON {REGISTRY} TO {role}".encode()
            )

            owner = run_cli("diff", url=url)
            reader = run_cli("diff", url=url.replace("//postgres@", f"//{role}@", 1))
            status = run_cli("status", url=url)
            restored.execute(
                "CREATE OR REPLACE FUNCTION ledgerviews.utc_day(value timestamptz) RETURNS date LANGUAGE sql"
                " IMMUTABLE PARALLEL SAFE RETURN value::date"
            )
            altered = run_cli("diff", url=url)
            restored.execute(f"DROP OWNED BY {role}; DROP ROLE {role}".encode())
            restored.close()

        assert (owner.returncode, owner.stdout, owner.stderr) == (0, "", "")
        assert (reader.returncode, reader.stdout, reader.stderr) == (0, "", "")
        assert (status.returncode, status.stdout.count("up to date")) == (0, 4)
        assert altered.returncode == 4
        assert altered.stderr.startswith("ledgerviews.utc_day(timestamp with time zone): body, not as")
