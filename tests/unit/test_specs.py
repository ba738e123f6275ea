"""Declarations as the specs that are compared and frozen."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from alembic_utils.pg_function import PGFunction
from alembic_utils.pg_materialized_view import PGMaterializedView
from alembic_utils.pg_view import PGView

from ledgerviews.catalog import Catalog, Kind, Model, load
from ledgerviews.errors import DeclarationError
from ledgerviews.schema.keys import located
from ledgerviews.schema.specs import declared

if TYPE_CHECKING:
    from pathlib import Path


def model(folder: Path, name: str, sql: str, **more: object) -> Model:
    """A model with one column, whose SQL is written to a folder."""
    (folder / f"{name}.sql").write_text(sql, encoding="utf-8")
    arguments = {
        "kind": Kind.MATERIALIZED_VIEW,
        "description": "d",
        "grain": ("day",),
        "columns": {"day": "The day."},
    }
    return Model.beside(str(folder / f"{name}.py"), **{**arguments, **more})  # type: ignore[arg-type]


def test_models_and_tracked_sources_become_specs() -> None:
    """Each stands after what it reads; sources, parents first, before all."""
    specs = declared(load("ledgerviews.models"), schema="public")

    keys = list(specs)
    assert keys[:2] == ["public.suggestion_events", "public.suggestion_feedback"]
    assert keys.index("stg_suggestion_events") < keys.index("mart_suggestions_daily")
    assert keys[-1] == "mart_suggestions_kpis"
    assert specs["mart_suggestions_daily"]["day"] == "created_date"
    assert specs["public.suggestion_feedback"]["parent"]["name"] == "suggestion_events"


def test_what_surrounds_a_model_is_in_its_spec_where_it_is_declared(tmp_path: Path) -> None:
    """Indexes, options, grants, owner and former name are keys only where something was said."""
    plain = model(tmp_path, "a", "SELECT 1 AS day")
    full = model(
        tmp_path,
        "b",
        "SELECT 1 AS day",
        indexes=("USING brin (day)",),
        options={"fillfactor": "90"},
        grants={"readers": ["SELECT"]},
        owner="team",
        formerly="c",
    )

    specs = declared(Catalog((), [plain, full]), schema="public")

    assert not {"indexes", "options", "grants", "owner", "renamed_from"} & set(specs["a"])
    assert specs["b"]["indexes"] == ["USING brin (day)"]
    assert specs["b"]["grants"] == {"readers": ["SELECT"]}
    assert (specs["b"]["options"], specs["b"]["owner"]) == ({"fillfactor": "90"}, "team")
    assert specs["b"]["renamed_from"] == "c"


@pytest.mark.parametrize(
    "more",
    [
        {"indexes": ("day",)},
        {"indexes": ("(day)", "(day)")},
        {"grants": {"readers": "SELECT"}},
        {"grants": {"readers": ["READ"]}},
        {"formerly": "a"},
        {"kind": Kind.VIEW, "indexes": ("(day)",)},
    ],
)
def test_what_cannot_be_declared_is_refused(tmp_path: Path, more: dict[str, object]) -> None:
    """A mistake in a declaration is told by the model's name."""
    with pytest.raises(DeclarationError, match="Model a"):
        model(tmp_path, "a", "SELECT 1 AS day", **more)


def test_a_former_name_is_nobody_s(tmp_path: Path) -> None:
    """A former name that is a model's, or that of two, is refused."""
    a = model(tmp_path, "a", "SELECT 1 AS day")
    b = model(tmp_path, "b", "SELECT 1 AS day", formerly="a")
    c = model(tmp_path, "c", "SELECT 1 AS day", formerly="a")

    with pytest.raises(DeclarationError, match="formerly a"):
        Catalog((), [a, b])
    with pytest.raises(DeclarationError, match="both formerly a"):
        Catalog((), [b, c])


def test_entities_of_alembic_utils_become_specs() -> None:
    """Their names are exact; reads are found with a schema and without, and an escaped colon is one."""
    base = PGView(schema="app", signature="base", definition="SELECT '\\:abc' AS x;")
    named = PGMaterializedView(schema="app", signature="named", definition="SELECT b.x FROM app.base AS b")
    bare = PGView(schema="app", signature="bare", definition="SELECT named.x FROM named, other")

    specs = declared(None, [bare, named, base], schema="public", search_path=("app", "public"))

    assert list(specs) == ["app.base", "app.named", "app.bare"]
    assert specs["app.base"] == {"kind": "view", "definition": "SELECT ':abc' AS x", "reads": []}
    assert specs["app.named"]["reads"] == ["app.base"]
    assert specs["app.bare"]["reads"] == ["app.named"]


def test_a_column_or_a_common_table_expression_is_no_relation() -> None:
    """A name without a schema is read only where a table may stand, and is none of the query's own."""
    x = PGView(schema="public", signature="x", definition="SELECT 1 AS y")
    y = PGView(schema="public", signature="y", definition="WITH x AS (SELECT 1 AS y) SELECT y FROM x")

    specs = declared(None, [x, y], schema="public")

    assert specs["public.y"]["reads"] == []


def test_circles_and_doubles_are_refused_by_name() -> None:
    """Two entities that read each other, or have one name, are told."""
    a = PGView(schema="public", signature="a", definition="SELECT 1 FROM public.b")
    b = PGView(schema="public", signature="b", definition="SELECT 1 FROM public.a")

    with pytest.raises(DeclarationError, match=r"public\.a -> public\.b|public\.b -> public\.a"):
        declared(None, [a, b], schema="public")
    with pytest.raises(DeclarationError, match="declared twice"):
        declared(None, [a, a], schema="public")


def test_functions_stay_with_alembic_utils() -> None:
    """An entity that is no view is refused, and the error says where it belongs."""
    function = PGFunction(
        schema="public", signature="f()", definition="returns int language sql as 'select 1'"
    )

    with pytest.raises(DeclarationError, match="alembic-utils"):
        declared(None, [function], schema="public")


def test_keys_tell_where_a_relation_stands() -> None:
    """A bare name is in the target schema, one with a dot exactly there."""
    assert located("mart", "reporting") == ("reporting", "mart")
    assert located("app.mart", "reporting") == ("app", "mart")
