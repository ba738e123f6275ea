"""Two applications in one database, each with revisions of its own: neither drops what is the other's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from tests.application import Application

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests import servers as pg

    Connect = Callable[[str], psycopg.Connection]

ORDERS = {"orders": {"id": "Integer", "total": "Numeric"}}


def model(sql: str, **more: Any) -> dict[str, Any]:
    """A view of one column."""
    return {"kind": "view", "grain": [], "columns": {"id": "The id."}, "sql": sql, **more}


@pytest.fixture
def teams(tmp_path: Path, empty_url: str) -> tuple[Application, Application]:
    """Two of them, with a view, a mart and an entity each, and version tables in two schemas."""
    with psycopg.connect(empty_url) as connection:
        connection.execute(
            "CREATE TABLE public.orders (id integer, total numeric); CREATE SCHEMA a; CREATE SCHEMA b"
        )
    found = []
    for name in ("a", "b"):
        team = Application(tmp_path / name, empty_url, tables=ORDERS)
        team.models = {
            f"{name}_view": model("SELECT o.id FROM public.orders AS o"),
            f"{name}_mart": model("SELECT o.id FROM public.orders AS o", grain=["id"])
            | {"kind": "materialized view"},
        }
        team.entities = {f"public.{name}_entity": ("materialized view", "SELECT 1 AS x")}
        team.options = {"version_table_schema": name}
        found.append(team)
    for team in found:
        team.change()
    return found[0], found[1]


def test_each_sees_its_own_only(teams: tuple[Application, Application]) -> None:
    """Nothing differs for either, and each one drops what it declares no longer itself."""
    one, other = teams
    seen = [one.differs(), other.differs()]
    del one.models["a_mart"]
    one.entities = {}

    dropped = one.differs()
    one.change()

    assert seen == [[], []]
    assert sorted(dropped[0][1:]) == [("drop", "a_mart"), ("drop", "public.a_entity")]
    assert [one.differs(), other.differs()] == [[], []]


def test_what_moves_to_another_history_is_taken_over(
    teams: tuple[Application, Application], connect: Connect, empty_url: str
) -> None:
    """The one that declares it now says so in a revision, and then the former one leaves it alone."""
    one, other = teams
    connection = connect(empty_url)
    oid = connection.execute("SELECT 'a_mart'::regclass::oid").fetchone()
    other.models["a_mart"] = one.models.pop("a_mart")

    found = other.differs()
    other.change()

    assert found == [("ledgerviews_replace", ("change", "a_mart", "history"))]
    assert [one.differs(), other.differs()] == [[], []]
    assert connection.execute("SELECT 'a_mart'::regclass::oid").fetchone() == oid


def test_where_the_history_is_not_known_a_drop_names_it(
    teams: tuple[Application, Application], run_cli: pg.RunCli, empty_url: str, tmp_path: Path
) -> None:
    """`ledgerviews diff` over models whose revisions it does not know says whose the others are."""
    package = tmp_path / "c"
    package.mkdir()
    (package / "__init__.py").write_text("", encoding="utf-8")
    (package / "c_view.sql").write_text("SELECT o.id FROM public.orders AS o", encoding="utf-8")
    (package / "c_view.py").write_text(
        "from ledgerviews.catalog import Kind, Model\nMODEL = Model.beside(__file__, kind=Kind.VIEW,"
        " description='A model.', grain=(), columns={'id': 'The id.'})\n",
        encoding="utf-8",
    )

    told = run_cli("diff", url=empty_url, env={"LEDGERVIEWS_MODELS": "c"}, cwd=tmp_path)

    assert teams[0].differs() == []
    assert "--   installed by the revisions that a.alembic_version counts" in told.stdout, told.stderr
    assert "--   installed by the revisions that b.alembic_version counts" in told.stdout


def test_the_packaged_revisions_are_a_history_of_their_own(
    tmp_path: Path, installed_url: str, run_cli: pg.RunCli, connect: Connect
) -> None:
    """An application's own models beside LedgerMind's: neither proposes to drop the other's."""
    team = Application(tmp_path / "app", installed_url)
    team.options = {"version_table": "own_version", "tables": False}
    team.models = {"own": model("SELECT 1 AS id")}

    found = team.differs()
    team.change()
    diff = run_cli("diff", url=installed_url)
    owners = (
        connect(installed_url)
        .execute("SELECT DISTINCT history FROM ledgerviews.relation ORDER BY 1")
        .fetchall()
    )

    assert found == [("ledgerviews_replace", ("create", "own"))]
    assert (diff.returncode, diff.stdout) == (0, "")
    assert owners == [("ledgerviews.alembic_version",), ("public.own_version",)]
