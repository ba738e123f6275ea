"""What another role has put where our commands come by runs with that role's rights, or not at all."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.acceptance.test_revision_cli import Shop, shop  # noqa: F401 (a fixture)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import psycopg

    from tests import servers as pg

    Connect = Callable[[str], psycopg.Connection]

PLANTED = """
SET ROLE {0};
CREATE SCHEMA ledgerviews;
CREATE FUNCTION ledgerviews.trap() RETURNS integer LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'trapped';
END
$$;
CREATE VIEW ledgerviews.engine AS SELECT ledgerviews.trap() AS version;
CREATE VIEW ledgerviews.alembic_version AS SELECT ledgerviews.trap()::text AS version_num;
CREATE VIEW ledgerviews.relation AS SELECT ledgerviews.trap()::text AS schema_name, '' AS relation_name;
RESET ROLE
"""
COMMANDS = (
    *("db upgrade", "db downgrade base", "db current", "db check", "db revision -m x", "diff", "status"),
    *("refresh", "verify", "runs", "tracking status", "index status", "release public.orders", "restore"),
)


@pytest.fixture
def stranger(empty_url: str, connect: Connect) -> Iterator[str]:
    """A role that may create schemas in the database, and no more."""
    name = "lv_mallory_" + empty_url.split("/")[3].split("?", maxsplit=1)[0]
    connection = connect(empty_url)
    database = connection.info.dbname
    connection.execute(f"CREATE ROLE {name}; GRANT CREATE ON DATABASE {database} TO {name}".encode())
    yield name
    connection.execute(f"DROP OWNED BY {name} CASCADE; DROP ROLE {name}".encode())


@pytest.fixture
def team(tmp_path: Path, run_cli: pg.RunCli, empty_url: str) -> Shop:
    """A team with a model, and nothing of ours in its database."""
    made = Shop(tmp_path, run_cli, empty_url)
    made.declare("m", "SELECT o.id FROM public.orders AS o")
    return made


def filled(team: Shop, connect: Connect) -> psycopg.Connection:
    """A session on the team's database, whose mart has a row."""
    connection = connect(team.url)
    connection.execute("INSERT INTO public.orders VALUES (1)")
    assert team("refresh").returncode == 0
    return connection


@pytest.mark.parametrize("words", COMMANDS)
def test_nothing_in_a_stranger_s_schema_is_read(
    team: Shop, connect: Connect, stranger: str, words: str
) -> None:
    """Each command of a superuser says whose the schema is, before any of its views is asked."""
    connection = connect(team.url)
    connection.execute("CREATE TABLE public.orders (id integer)")
    connection.execute(PLANTED.format(stranger).encode())

    told = team(*words.split())

    assert told.returncode == 2, told.stderr
    assert f"belongs to '{stranger}', whom this role need not trust; nothing was done." in told.stderr


def test_a_stranger_s_materialized_view_is_filled_with_its_owner_s_rights(
    shop: Shop,  # noqa: F811
    connect: Connect,
    stranger: str,
) -> None:
    """By a replacement, by a release, and where its index is built: who fills it is who owns it."""
    connection = filled(shop, connect)
    connection.execute(f"GRANT SELECT ON public.m, public.orders TO {stranger}".encode())
    connection.execute(
        f"""
        SET ROLE {stranger};
        CREATE SCHEMA mallory;
        CREATE FUNCTION mallory.who(id integer) RETURNS text LANGUAGE plpgsql IMMUTABLE AS
            $$BEGIN RETURN current_user; END$$;
        CREATE MATERIALIZED VIEW mallory.on_mart AS SELECT mallory.who(m.id) AS filled_by, m.id
            FROM public.m AS m;
        CREATE MATERIALIZED VIEW mallory.on_table AS SELECT mallory.who(o.id) AS filled_by, o.id
            FROM public.orders AS o;
        CREATE INDEX ON mallory.on_mart (mallory.who(id));
        CREATE INDEX ON mallory.on_table (mallory.who(id));
        RESET ROLE
        """.encode()
    )
    ask = "SELECT filled_by FROM mallory.on_mart UNION ALL SELECT filled_by FROM mallory.on_table"
    indexed = "SELECT count(*) FROM {} WHERE mallory.who(id) = '{}'"
    found = []

    shop.declare("m", "SELECT o.id + 0 AS id FROM public.orders AS o")
    done = [shop("db", "revision", "-m", "second"), shop("db", "upgrade")]
    found += connection.execute(ask).fetchall()
    done += [shop("release", "public.orders"), shop("restore")]
    found += connection.execute(ask).fetchall()
    connection.execute(f"SET ROLE {stranger}; SET enable_seqscan = off".encode())
    for view in ("mallory.on_mart", "mallory.on_table"):
        found += connection.execute(indexed.format(view, stranger).encode()).fetchall()
    connection.execute("RESET ROLE")

    assert [one.stderr for one in done if one.returncode] == []
    assert found == [(stranger,)] * 4 + [(1,)] * 2


def test_a_view_whose_owner_may_no_longer_read_keeps_nothing_off(
    shop: Shop,  # noqa: F811
    connect: Connect,
    stranger: str,
) -> None:
    """It comes back empty, with a warning; what is ours comes back as it was."""
    connection = filled(shop, connect)
    connection.execute(f"GRANT SELECT ON public.m TO {stranger}; SET ROLE {stranger}".encode())
    connection.execute(
        "CREATE SCHEMA mallory; CREATE MATERIALIZED VIEW mallory.on_mart AS SELECT m.id FROM public.m AS m"
    )
    connection.execute(f"RESET ROLE; REVOKE SELECT ON public.m FROM {stranger}".encode())

    done = [shop("release", "public.orders"), shop("restore")]

    assert [one.stderr for one in done if one.returncode] == []
    assert done[1].stderr == (
        "Warning: mallory.on_mart stays empty until it is refreshed: its owner may not read what it reads.\n"
    )
    assert connection.execute("SELECT id FROM public.m").fetchall() == [(1,)]
    assert connection.execute(
        "SELECT relispopulated FROM pg_class WHERE oid = 'mallory.on_mart'::regclass"
    ).fetchall() == [(False,)]
