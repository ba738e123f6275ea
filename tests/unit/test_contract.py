"""The source contract: every fault at once, each with what was expected and what was found."""

from __future__ import annotations

import pytest

from ledgerviews.schema.contract import FoundColumn, _collect, compare

CONTRACT = {
    "public.orders": {"id": "uuid", "made_at": "timestamp | timestamptz", "state": "text|enum"},
    "shop.lines": {"order_id": "uuid", "total": "number"},
}


def _column(
    word: str, type_name: str | None = None, *, readable: bool = True, usable: bool = True
) -> FoundColumn:
    return FoundColumn(word=word, type_name=type_name or word, readable=readable, usable=usable)


LINES = {"order_id": _column("uuid"), "total": _column("number")}


@pytest.mark.parametrize("made_at", ["timestamp", "timestamptz"])
@pytest.mark.parametrize("state", ["text", "enum"])
def test_either_form_of_a_type_satisfies_the_contract(made_at: str, state: str) -> None:
    """Whichever of the alternatives the database has, there is no fault; columns beyond are no matter."""
    orders = {
        "id": _column("uuid"),
        "made_at": _column(made_at),
        "state": _column(state),
        "more": _column("xml", readable=False),
    }

    assert compare(CONTRACT, {("public", "orders"): orders, ("shop", "lines"): LINES}) == []


def test_everything_that_is_missing_is_said_at_once() -> None:
    """One line for each fault, in the contract's order: a wrong type, a missing column, a missing table."""
    found = {
        ("public", "orders"): {
            "id": _column("integer", "bigint"),
            "state": _column("text", readable=False),
        }
    }

    assert compare({"public.customers": {"id": "uuid"}, **CONTRACT}, found) == [
        "public.customers: expected a table with id uuid; found no such table in schema public",
        "public.orders.id: expected uuid; found bigint",
        "public.orders.made_at: expected timestamp or timestamptz; found no such column",
        "public.orders: this role may not SELECT state (GRANT SELECT ON public.orders)",
        "shop.lines: expected a table with order_id uuid, total number; found no such table in schema shop",
    ]


def test_a_table_in_another_schema_is_pointed_at() -> None:
    """Where tables of that name stand elsewhere, the schemas are named: the URL may be the wrong one."""
    contract = {"public.orders": {"id": "uuid", "state": "text|enum"}}
    found = {("old", "orders"): {"id": _column("uuid")}, ("app", "orders"): {}, ("app", "lines"): LINES}

    (fault,) = compare(contract, found)

    assert fault == (
        "public.orders: expected a table with id uuid, state text or enum; "
        "found no such table in schema public; there is one in schema app, old"
    )


def test_the_expected_types_stand_in_the_contracts_order() -> None:
    """The usual type is named first, however its alternatives are written."""
    found = {("public", "t"): {"a": _column("xml"), "b": _column("xml")}}

    assert compare({"public.t": {"a": "text | enum", "b": "jsonb|json"}}, found) == [
        "public.t.a: expected text or enum; found xml",
        "public.t.b: expected jsonb or json; found xml",
    ]


@pytest.mark.parametrize(
    ("base_type", "kind", "category", "word"),
    [
        ("text", "b", "S", "text"),
        ("varchar", "b", "S", "text"),
        ("bpchar", "b", "S", "text"),
        ("citext", "b", "S", "text"),
        ("order_state", "e", "E", "enum"),
        ("int2", "b", "N", "integer"),
        ("int4", "b", "N", "integer"),
        ("int8", "b", "N", "integer"),
        ("float4", "b", "N", "number"),
        ("float8", "b", "N", "number"),
        ("numeric", "b", "N", "number"),
        ("bool", "b", "B", "boolean"),
        ("uuid", "b", "U", "uuid"),
        ("json", "b", "U", "json"),
        ("jsonb", "b", "U", "jsonb"),
        ("date", "b", "D", "date"),
        ("timestamp", "b", "D", "timestamp"),
        ("timestamptz", "b", "D", "timestamptz"),
        ("_text", "b", "A", "_text"),
        ("_order_state", "b", "A", "_order_state"),
    ],
)
def test_each_type_has_its_word(base_type: str, kind: str, category: str, word: str) -> None:
    """The catalog's types are told in the contract's words; an array is never taken for its element."""
    row = ("public", "orders", "c", "as the user wrote it", base_type, kind, category, True, True)
    column = _collect([row])["public", "orders"]["c"]

    assert column == FoundColumn(word=word, type_name="as the user wrote it", readable=True)


def test_a_table_without_columns_is_found() -> None:
    """It lacks columns, and is not said to be missing itself."""
    found = _collect([("public", "orders", None, None, None, None, None, None, True)])

    assert compare({"public.orders": {"id": "uuid"}}, found) == [
        "public.orders.id: expected uuid; found no such column"
    ]


def test_a_domain_over_the_wrong_type_is_told_by_its_own_name() -> None:
    """The base type decides, and the user reads the name that stands in the table."""
    rows = [
        ("public", "orders", "id", "order_key", "uuid", "b", "U", True, True),
        ("public", "orders", "total", "euros", "text", "b", "S", True, True),
        ("public", "orders", "state", "safe_state", "order_state", "e", "E", True, True),
    ]
    contract = {"public.orders": {"id": "uuid", "total": "number", "state": "enum"}}

    assert compare(contract, _collect(rows)) == ["public.orders.total: expected number; found euros"]


def test_a_schema_that_may_not_be_used_is_told_beside_what_may_not_be_read() -> None:
    """Each right by itself, with its GRANT; the schema's name as a statement has it."""
    contract = {"Shop.orders": {"id": "uuid", "state": "text"}, "Shop.items": {"id": "uuid"}}
    found = {
        ("Shop", "orders"): {
            "id": _column("uuid", usable=False),
            "state": _column("text", readable=False, usable=False),
        },
        ("Shop", "items"): {"id": _column("uuid", usable=False)},
    }

    usage = 'this role may not use the schema Shop (GRANT USAGE ON SCHEMA "Shop")'
    assert compare(contract, found) == [
        f"Shop.orders: {usage}",
        "Shop.orders: this role may not SELECT state (GRANT SELECT ON Shop.orders)",
        f"Shop.items: {usage}",
    ]
