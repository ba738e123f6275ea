"""A team with models and revisions of its own exports as LedgerMind does."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import psycopg
import pytest

from bq_export.queries import query
from tests.bigquery.world import World

if TYPE_CHECKING:
    from tests.bigquery.proxy import FaultProxy

_LOOK = """
SELECT pg_describe_object(d.classoid, d.objoid, d.objsubid), d.description FROM pg_description AS d
WHERE pg_describe_object(d.classoid, d.objoid, d.objsubid) LIKE '%export\\_%'
UNION ALL SELECT c.conname, pg_get_constraintdef(c.oid) FROM pg_constraint AS c
WHERE c.connamespace = 'ledgerviews'::regnamespace AND c.contype <> 'n'
UNION ALL SELECT i.indexname, i.indexdef FROM pg_indexes AS i WHERE i.schemaname = 'ledgerviews'
UNION ALL SELECT table_name || '.' || column_name,
    concat_ws(' ', ordinal_position, data_type, is_nullable, column_default, is_identity)
FROM information_schema.columns WHERE table_schema = 'ledgerviews'
ORDER BY 1, 2
"""


@pytest.fixture
def team(empty_url: str, bigquery_endpoint: str, proxy: FaultProxy) -> World:
    """A world whose database has the schema of the engine, none of our revisions."""
    world = World.make(empty_url, bigquery_endpoint, proxy)
    world.sql("CREATE SCHEMA ledgerviews")
    return world


def test_a_team_makes_the_tables_by_one_command(team: World) -> None:
    """Without them it is told which; run once or twice, its SQL makes what every command needs."""
    before = team.cli("status")
    made = team.cli("tables")
    for _ in range(2):
        team.sql(made.stdout)
    after = team.cli("status")

    assert before.returncode == 4, before.stderr
    assert "bq-export tables | psql" in before.stderr
    assert made.returncode == 0, made.stderr
    assert after.returncode == 0, after.stderr


def test_the_packaged_models_have_them_by_a_revision(team: World) -> None:
    """Whoever exports LedgerMind's relations is told to upgrade."""
    ours = replace(team, settings=replace(team.settings, models="ledgerviews.models"))

    done = ours.cli("status")

    assert done.returncode == 4, done.stderr
    assert "ledgerviews db upgrade" in done.stderr
    assert "bq-export tables" not in done.stderr


def test_the_tables_are_those_of_the_revision(team: World, shop_url: str) -> None:
    """Columns, keys, checks, indexes and comments: the command's SQL and the frozen one make the same."""
    team.sql(query("tables"))

    with psycopg.connect(shop_url) as connection:
        frozen = connection.execute(_LOOK).fetchall()

    assert team.sql(_LOOK) == frozen != []
