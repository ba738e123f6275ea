"""What no revision is written for: it would fail at upgrade, or never end equal; each told by name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from alembic.util import CommandError

from ledgerviews.errors import DeclarationError
from tests.application import Application

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Connect = Callable[[str], psycopg.Connection]

VIEW, STORED = "view", "materialized view"


@pytest.fixture
def application(tmp_path: Path, empty_url: str) -> Application:
    """An application with one table, which is there already."""
    with psycopg.connect(empty_url) as connection:
        connection.execute("CREATE TABLE public.orders (id integer, customer text, total numeric)")
    tables = {"orders": {"id": "Integer", "customer": "Text", "total": "Numeric"}}
    return Application(tmp_path / "app", empty_url, tables=tables)


def model(sql: str, *columns: str, **more: Any) -> dict[str, Any]:
    """A view as a model declares it."""
    lines = dict.fromkeys(columns, "A column.")
    return {"kind": VIEW, "grain": [], "columns": lines, "sql": sql, **more}


def refused(application: Application) -> str:
    """What the attempt to write a revision says; no file is left of it."""
    versions = application.folder / "versions"
    before = sorted(versions.glob("*.py")) if versions.exists() else []
    with pytest.raises(CommandError) as caught:
        application.revision()
    assert sorted(versions.glob("*.py")) == before
    assert isinstance(caught.value.__cause__, DeclarationError)
    return str(caught.value)


@pytest.mark.parametrize("name", ["public." + "x" * 64, "public." + "ü" * 32, "s" * 64 + ".v"])
def test_a_name_that_postgresql_would_cut_is_refused(application: Application, name: str) -> None:
    """More than 63 bytes, in whatever letters; else no comparison would ever end equal."""
    application.entities[name] = (VIEW, "SELECT 1 AS x")

    told = refused(application)

    assert told.startswith(f"{name}: PostgreSQL cuts a name of more than 63 bytes.")


def test_a_name_of_63_bytes_is_taken(application: Application) -> None:
    """What fits is installed and found again, with its indexes and key."""
    name = "m" * 63
    application.models[name] = model(
        "SELECT o.id FROM public.orders AS o", "id", grain=["id"], indexes=["(id) WHERE id > 1"]
    ) | {"kind": STORED}
    application.entities["public." + "e" * 63] = (VIEW, f"SELECT m.id FROM public.{name} AS m")

    application.change()

    assert application.differs() == []


@pytest.mark.parametrize(
    ("sql", "error"),
    [
        ("SELECT o.id\nFROM public.orders AS o\nWHERE o.nosuch", "column o.nosuch does not exist"),
        ("SELECT o.id\nFROM public.orders AS o\nWHEN", 'syntax error at or near "WHEN"'),
    ],
)
def test_a_definition_that_cannot_be_created_is_told_with_its_line(
    application: Application, sql: str, error: str
) -> None:
    """A new model, a new entity and a changed one: the name, PostgreSQL's words and the line."""
    application.models["v"] = model("SELECT o.id FROM public.orders AS o", "id")
    application.change()
    last = sql.splitlines()[-1]
    application.models["v"] = model(sql, "id")

    changed = refused(application)
    application.models["v"] = model("SELECT o.id FROM public.orders AS o", "id")
    application.models["w"] = model(sql, "id")
    fresh = refused(application)
    del application.models["w"]
    application.entities["public.e"] = (VIEW, sql)
    entity = refused(application)

    where = f"{error} (line 3 of its SELECT: {last}); nothing was written."
    assert changed.startswith(f"v cannot be created: {where}")
    assert fresh.startswith(f"w cannot be created: {where}")
    assert entity.startswith(f"public.e cannot be created: {where}")


def test_what_waits_for_the_same_revision_is_not_refused(application: Application) -> None:
    """A view on a new column, a view on that view, and the engine's functions in the first revision."""
    application.tables["orders"]["placed"] = "DateTime"
    application.models["v"] = model("SELECT ledgerviews.utc_day(o.placed) AS d FROM public.orders AS o", "d")
    application.models["w"] = model("SELECT v.d FROM public.v AS v", "d")

    application.change()

    assert application.differs() == []


def test_columns_that_a_new_model_does_not_declare_are_told(application: Application) -> None:
    """Before they are missing as comments at the upgrade."""
    application.models["v"] = model("SELECT o.id, o.total FROM public.orders AS o", "id")

    told = refused(application)

    assert "The SELECT of model v gives total, which its columns do not declare." in told


def test_what_is_still_read_is_not_dropped(application: Application) -> None:
    """A model, an entity by its schema, and one without: both names are said."""
    application.entities = {"public.base": (VIEW, "SELECT o.id FROM public.orders AS o")}
    application.models = {"m": model("SELECT o.id FROM public.orders AS o", "id")}
    application.change()
    application.models["r"] = model("SELECT m.id FROM public.m AS m", "id")
    application.entities["public.s"] = (VIEW, "SELECT id FROM base")
    application.change()
    gone = application.models.pop("m")

    by_model = refused(application)
    application.models["m"] = gone
    del application.entities["public.base"]
    by_entity = refused(application)
    application.entities.pop("public.s")
    application.change()

    assert by_model.startswith("m is declared no longer, and r still reads it; nothing was written.")
    assert "where m has another name now, say so with formerly." in by_model
    assert by_entity.startswith("public.base is declared no longer, and public.s still reads it;")
    assert by_entity.endswith("Declare public.base again, or have public.s do without it.")
    assert application.differs() == []


def test_an_entity_that_no_revision_of_ours_touched_stays(
    application: Application, connect: Connect, empty_url: str
) -> None:
    """Taken over as it stands it is not recorded, so leaving the list drops nothing."""
    connect(empty_url).execute("CREATE VIEW public.theirs AS SELECT 1 AS x")
    application.entities = {"public.theirs": (VIEW, "SELECT 1 AS x"), "public.v": (VIEW, "SELECT 2 AS x")}
    application.change()
    application.entities = {}

    assert application.differs() == [("ledgerviews_replace", ("drop", "public.v"))]


def test_the_last_entity_is_dropped(application: Application, connect: Connect, empty_url: str) -> None:
    """An empty list says that there are none; no model of the package's own is looked for."""
    application.entities = {"public.v": (VIEW, "SELECT 1 AS x")}
    application.change()
    application.entities = {}

    found = application.differs()
    application.change()
    gone = connect(empty_url).execute("SELECT to_regclass('public.v')").fetchone()
    application.downgrade()

    assert found == [("ledgerviews_replace", ("drop", "public.v"))]
    assert gone == (None,)
    assert connect(empty_url).execute("SELECT x FROM public.v").fetchone() == (1,)
