"""The operations that ``ledgerviews db render`` prints, and the revisions that hold them."""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING, Any

import pytest

from ledgerviews.catalog import Catalog, Kind, Model, Source, load, not_null
from ledgerviews.errors import DeclarationError, UsageError
from ledgerviews.schema.render import create
from ledgerviews.schema.specs import declared
from ledgerviews.sqltext import statement
from tests.servers import ROOT

if TYPE_CHECKING:
    from pathlib import Path


class Recorder:
    """Stands for Alembic's op: keeps what is called, by operation and name."""

    def __init__(self) -> None:
        self.calls: dict[tuple[str, str], dict[str, Any]] = {}

    def __getattr__(self, operation: str) -> Any:
        def call(name: Any = "", definition: str | None = None, **arguments: Any) -> None:
            if definition is not None:
                arguments["definition"] = definition
            for key in ("definition", "day_definition"):
                if key in arguments:
                    arguments[key] = statement(arguments[key]).strip()
            arguments.pop("take_up", None)
            arguments.setdefault("schema", "public")
            self.calls[operation, str(name)] = {key: value for key, value in arguments.items() if value}

        return call


def performed(text: str) -> dict[tuple[str, str], dict[str, Any]]:
    """What a rendered text does."""
    recorder = Recorder()
    exec(text, {"op": recorder})
    return recorder.calls


def module_of(name: str) -> Any:
    """A revision of ours as a module."""
    (path,) = (ROOT / "migrations" / "versions").glob(f"{name}_*.py")
    spec = importlib.util.spec_from_file_location(f"revision_{name}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def revision(name: str) -> dict[tuple[str, str], dict[str, Any]]:
    """What the upgrade of a revision of ours does."""
    module = module_of(name)
    recorder = Recorder()
    module.op = recorder
    module.upgrade()
    return recorder.calls


@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("stg_suggestion_events", "0002"),
        ("mart_suggestions_daily", "0003"),
        ("mart_suggestions_kpis", "0003"),
        ("public.suggestion_events", "0003"),
        ("public.suggestion_feedback", "0003"),
    ],
)
def test_the_revisions_hold_what_is_declared_now(name: str, number: str) -> None:
    """What is rendered of each model and source today is what its newest revision installs."""
    ((key, rendered),) = performed(create(load("ledgerviews.models"), name)).items()

    assert revision(number)[key] == rendered


def test_the_replacing_revision_holds_what_is_declared_now() -> None:
    """The feedback mart was replaced by 0006: its specification there is that of today."""
    name = "mart_suggestions_feedback_daily"
    module = module_of("0006")

    assert module.views_after == {name: declared(load("ledgerviews.models"), schema="public")[name]}
    assert module.views_before.keys() == module.views_after.keys()


def test_odd_text_comes_back_as_it_was_written(tmp_path: Path) -> None:
    """Quotes, backslashes and percent signs in a SELECT survive being rendered."""
    sql = 'SELECT o.id AS day, \'\\d """ %s :x \' AS t\nFROM public.orders AS o'
    (tmp_path / "mart.sql").write_text(sql, encoding="utf-8")
    model = Model.beside(
        str(tmp_path / "mart.py"),
        kind=Kind.MATERIALIZED_VIEW,
        description='It\'s "odd".',
        grain=("day",),
        columns={"day": "d", "t": "a\nb"},
        checks=(not_null("t"),),
    )
    catalog = Catalog([Source(name="orders", columns={"id": "integer"}, description="o")], [model])

    ((key, rendered),) = performed(create(catalog, "mart")).items()

    assert key == ("ledgerviews_create_materialized_view", "mart")
    assert rendered["definition"] == sql
    assert rendered["columns"] == {"day": "d", "t": "a\nb"}
    assert rendered["comment"] == 'It\'s "odd".'


def test_what_cannot_be_rendered_is_named() -> None:
    """An unknown name lists those that there are; a source without a day says that it is not tracked."""
    catalog = Catalog([Source(name="orders", columns={"id": "integer"}, description="o")], [])

    with pytest.raises(UsageError, match="There is no model or source 'nope'"):
        create(catalog, "nope")
    with pytest.raises(DeclarationError, match="declares no day"):
        create(catalog, "public.orders")
