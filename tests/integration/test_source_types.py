"""The types of the application's columns, as the source contract finds them on a real server."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from ledgerviews.schema import contract

if TYPE_CHECKING:
    from collections.abc import Callable

    import psycopg

TABLE = """
CREATE TYPE mood AS ENUM ('up', 'down');
CREATE DOMAIN key AS uuid;
CREATE DOMAIN orders_key AS key NOT NULL;
CREATE DOMAIN short AS varchar(8);
CREATE DOMAIN shorter AS short CHECK (length(value) < 4);
CREATE DOMAIN feeling AS mood;
CREATE DOMAIN feelings AS mood[];
CREATE TABLE orders (
    a uuid, b key, c orders_key,
    d text, e varchar(3), f char(2), g name, h short, i shorter,
    j mood, k feeling,
    l smallint, m integer, n bigint,
    o real, p double precision, q numeric(9, 2),
    r boolean, s json, t jsonb, u date, v timestamp, w timestamp(3) with time zone,
    x mood[], y feelings, z pg_class
);
"""
WORDS = {
    **dict.fromkeys("abc", "uuid"),
    **dict.fromkeys("defghi", "text"),
    **dict.fromkeys("jk", "enum"),
    **dict.fromkeys("lmn", "integer"),
    **dict.fromkeys("opq", "number"),
    "r": "boolean",
    "s": "json",
    "t": "jsonb",
    "u": "date",
    "v": "timestamp",
    "w": "timestamptz",
}


@pytest.fixture
def orders(empty_url: str, connect: Callable[[str], psycopg.Connection]) -> psycopg.Connection:
    """A database with a table of every type that the contract has a word for."""
    connection = connect(empty_url)
    connection.execute(TABLE)
    return connection


def test_every_type_is_found_in_the_contracts_words(orders: psycopg.Connection) -> None:
    """A domain, and a domain over a domain, counts as the type at the bottom."""
    contract.check(orders, [{"public.orders": WORDS}])


def test_an_array_or_a_row_is_none_of_its_parts(orders: psycopg.Connection) -> None:
    """They satisfy no word, and are told by the name that the table gives them."""
    with pytest.raises(contract.ContractError) as caught:
        contract.check(orders, [{"public.orders": dict.fromkeys("xyz", "enum | text")}])

    assert [line.strip() for line in caught.value.message.splitlines()[1:]] == [
        "- public.orders.x: expected enum or text; found mood[]",
        "- public.orders.y: expected enum or text; found feelings",
        "- public.orders.z: expected enum or text; found pg_class",
    ]
