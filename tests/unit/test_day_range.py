"""Narrowing a model to days: what is replaced, what stands as it was, and what is refused."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from ledgerviews.catalog import Catalog, Kind, Model, Source
from ledgerviews.errors import DeclarationError
from ledgerviews.schema.day_range import compose

if TYPE_CHECKING:
    from pathlib import Path

ORDERS = Source(
    name="orders",
    columns={"id": "integer", "at": "timestamp"},
    description="Orders.",
    day_rows=("orders.at >= lo AND orders.at < hi",),
)
ITEMS = Source(
    name="Items",
    columns={"order_id": "integer"},
    description="Items.",
    day_rows=(
        """EXISTS (SELECT FROM public.orders AS o WHERE o.id = "Items".order_id AND o.at >= lo)""",
        "lo > hi",
    ),
)
PLAIN = Source(name="shops", columns={"id": "integer"}, description="Shops.")


def model(
    folder: Path, name: str, sql: str, *, kind: Kind = Kind.MATERIALIZED_VIEW, day: str | None = "day"
) -> Model:
    """A declared model with its SQL beside it."""
    (folder / f"{name}.sql").write_text(sql, encoding="utf-8")
    columns = {"day": "Day.", "n": "Count."}
    return Model.beside(
        str(folder / f"{name}.py"), kind=kind, description="d", grain=("day",), columns=columns, day=day
    )


def test_a_source_becomes_its_rows_of_the_days(tmp_path: Path) -> None:
    """The name alone is replaced, its alias kept or made; comments, strings and CTEs of that name stand."""
    sql = "SELECT 'public.orders' AS day /* public.orders */ FROM public.orders AS o, public.orders -- lo\n"
    catalog = Catalog([ORDERS], [model(tmp_path, "mart", sql)])

    composed = compose(catalog, "mart", lo="$1", hi="$2")

    rows = (
        '(\nSELECT "orders"."id", "orders"."at" FROM "public"."orders"'
        " WHERE orders.at >= $1 AND orders.at < $2\n)"
    )
    assert composed == (
        f"SELECT 'public.orders' AS day /* public.orders */ FROM {rows} AS o, {rows} AS \"orders\" -- lo"
    )


def test_conditions_are_arms_and_views_are_opened(tmp_path: Path) -> None:
    """A view becomes its own narrowed SQL; each condition of a source is an arm of its own."""
    view = model(tmp_path, "stg", 'SELECT * FROM public."Items"', kind=Kind.VIEW, day=None)
    catalog = Catalog([ITEMS], [view, model(tmp_path, "mart", "SELECT day FROM public.stg s")])

    composed = compose(catalog, "mart", lo="$1", hi="$2")

    assert composed == (
        "SELECT day FROM (\nSELECT * FROM (\n"
        'SELECT "Items"."order_id" FROM "public"."Items" WHERE EXISTS (SELECT '
        'FROM public.orders AS o WHERE o.id = "Items".order_id AND o.at >= $1)\nUNION ALL\n'
        'SELECT "Items"."order_id" FROM "public"."Items" WHERE $1 > $2\n) AS "Items"\n) s'
    )


def test_what_cannot_be_narrowed_is_refused_by_name(tmp_path: Path) -> None:
    """What stands in the way is named: a source, another mart, a stranger, an unqualified column."""
    loose = Source(name="loose", columns={"at": "date"}, description="d", day_rows=("at >= lo",))
    catalog = Catalog(
        [PLAIN, loose],
        [
            model(tmp_path, "whole", "SELECT 1 AS day", day=None),
            model(tmp_path, "plain", "SELECT * FROM public.shops"),
            model(tmp_path, "follows", "SELECT * FROM public.whole"),
            model(tmp_path, "stranger", "SELECT * FROM elsewhere.t"),
            model(tmp_path, "unqualified", "SELECT * FROM public.loose"),
            model(tmp_path, "broken", "SELECT FROM FROM ("),
        ],
    )
    said = {}
    for name in catalog.models:
        with pytest.raises(DeclarationError) as caught:
            compose(catalog, name, lo="$1", hi="$2")
        said[name] = caught.value.message

    assert said.pop("broken").startswith("The SQL of broken cannot be read: ")
    assert said == {
        "whole": "Model whole declares no day column, so it is computed as a whole.",
        "plain": "Model plain declares a day, but its source public.shops has no day_rows.",
        "follows": "Model follows declares a day, but reads whole, a materialized view.",
        "stranger": "Model stranger reads elsewhere.t, and no model or source has that name.",
        "unqualified": "Source loose: the column at in its day_rows is not qualified.",
    }


def test_a_day_outside_the_grain_is_refused(tmp_path: Path) -> None:
    """A day column that is no part of the grain could not say which rows are whose."""
    with pytest.raises(DeclarationError, match="its day column n is no part of its grain"):
        model(tmp_path, "mart", "SELECT 1", day="n")
