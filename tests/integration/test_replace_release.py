"""Replaced and released in turn: what one installs the other takes off and puts back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.replacing import BASE, SHOP, fingerprint, open_shop, replace, rows, true_rows

if TYPE_CHECKING:
    from collections.abc import Callable

    import psycopg

    Connect = Callable[[str], psycopg.Connection]

NEW = {"base": BASE | {"definition": BASE["definition"].replace("o.amount\n", "o.amount, 1 AS one\n")}}


def test_a_replaced_chain_is_released_and_restored(empty_url: str, connect: Connect) -> None:
    """After a replacement the table below can be altered: all comes back as it was, the refresh is right."""
    connection = connect(empty_url)
    open_shop(connection, empty_url)
    replace(empty_url, SHOP, SHOP | NEW)
    connection.execute("CALL ledgerviews.refresh()")
    before = fingerprint(connection)

    with connection.transaction():
        connection.execute("SELECT ledgerviews.release(ARRAY['public.orders'])")
        connection.execute("ALTER TABLE public.orders ALTER COLUMN customer TYPE varchar(40)")
        connection.execute("ALTER TABLE public.orders ALTER COLUMN customer TYPE text")
        connection.execute("SELECT ledgerviews.restore()")
    after = fingerprint(connection)
    connection.execute("UPDATE public.orders SET amount = amount + 5 WHERE id % 50 = 0")
    connection.execute("CALL ledgerviews.refresh()")

    assert after == before
    for mart in ("daily", "top"):
        assert rows(connection, f"public.{mart}") == true_rows(connection, SHOP | NEW, mart)


def test_a_released_chain_is_replaced(empty_url: str, connect: Connect) -> None:
    """What a release put back a revision changes, and changes back, as if it had never been off."""
    connection = connect(empty_url)
    open_shop(connection, empty_url)
    connection.execute("SELECT ledgerviews.release(ARRAY['public.orders'])")
    connection.execute("SELECT ledgerviews.restore()")
    connection.execute("CALL ledgerviews.refresh()")
    before = fingerprint(connection)

    replace(empty_url, SHOP, SHOP | NEW)
    between = rows(connection, "public.daily"), true_rows(connection, SHOP | NEW, "daily")
    replace(empty_url, SHOP | NEW, SHOP)

    assert between[0] == between[1]
    assert fingerprint(connection) == before


def test_an_entity_with_bare_names_is_released_and_restored(empty_url: str, connect: Connect) -> None:
    """A view whose text names its table without a schema comes back as it was."""
    connection = connect(empty_url)
    open_shop(connection, empty_url, foreign=False)
    entity = {"kind": "view", "definition": "SELECT id FROM orders"}
    replace(empty_url, SHOP, SHOP | {"public.bare": entity})
    before = fingerprint(connection)

    connection.execute("SELECT ledgerviews.release(ARRAY['public.orders'])")
    connection.execute("SELECT ledgerviews.restore()")

    assert fingerprint(connection) == before
    assert rows(connection, "public.bare") != []
