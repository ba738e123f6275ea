"""A source changes, and another one finds its days by it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.application import Application

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import psycopg

    Connect = Callable[[str], psycopg.Connection]

SQL = """
SELECT ledgerviews.utc_day(CASE WHEN o.id IS NULL THEN i.added ELSE o.{day} END) AS day, count(*) AS n
FROM public.items AS i LEFT JOIN public.orders AS o ON o.id = i.order_id GROUP BY 1"""


def declare(application: Application, *, day: str, indexes: list[str]) -> None:
    """Orders with their day, items on the day of their order, and how many there are per day."""
    application.sources["orders"] = {
        "columns": {"id": "integer", day: "timestamptz"},
        "day": day,
        "key": "id",
        "indexes": indexes,
        "day_rows": [f"ledgerviews.in_days(orders.{day}, lo, hi)"],
    }
    order = "EXISTS (SELECT FROM public.orders WHERE orders.id = items.order_id"
    application.sources["items"] = {
        "columns": {"order_id": "integer", "added": "timestamptz"},
        "day": "added",
        "key": "order_id",
        "parent": "public.orders",
        "day_rows": [
            f"{order} AND ledgerviews.in_days(orders.{day}, lo, hi))",
            f"ledgerviews.in_days(items.added, lo, hi) AND NOT {order})",
        ],
    }
    application.models["item_days"] = {
        "kind": "materialized view",
        "grain": ["day"],
        "day": "day",
        "columns": {"day": "The day.", "n": "Items."},
        "sql": SQL.format(day=day),
    }


@pytest.fixture
def application(tmp_path: Path, empty_url: str, connect: Connect) -> Application:
    """Both are installed and hold a row each, and an item without an order."""
    connection = connect(empty_url)
    connection.execute(
        "CREATE TABLE public.orders (id integer, placed timestamptz);"
        "CREATE TABLE public.items (order_id integer, added timestamptz);"
        "INSERT INTO public.orders VALUES (1, '2026-03-01 12:00+00');"
        "INSERT INTO public.items VALUES (1, '2026-03-05 12:00+00'), (7, '2026-03-07 12:00+00')"
    )
    made = Application(tmp_path / "app", empty_url, options={"tables": False})
    declare(made, day="placed", indexes=[])
    made.change()
    connection.execute("CALL ledgerviews.refresh()")
    return made


def days(connection: psycopg.Connection) -> list[tuple[str, int]]:
    """What is published, after a refresh."""
    connection.execute("CALL ledgerviews.refresh()")
    return connection.execute("SELECT day::text, n FROM public.item_days ORDER BY 1").fetchall()


def test_another_index_of_the_parent(application: Application, empty_url: str, connect: Connect) -> None:
    """Noted, and no more, there and back: tracked as before, nothing is recomputed, writes are seen."""
    connection = connect(empty_url)
    declare(application, day="placed", indexes=["placed"])
    connection.execute("SELECT ledgerviews.track('public.items', 'every write')")
    days(connection)
    ask = "SELECT source, tracking, wanted_indexes FROM ledgerviews.source ORDER BY source"

    application.change()
    differing = application.differs()
    noted = connection.execute(ask).fetchall()
    days(connection)
    reasons = connection.execute(
        "SELECT reason FROM ledgerviews.run_relation WHERE run_id = (SELECT max(run_id) FROM ledgerviews.run)"
    ).fetchall()
    connection.execute("UPDATE public.orders SET placed = '2026-03-02 12:00+00'")
    moved = days(connection)
    application.downgrade()
    connection.execute("INSERT INTO public.items VALUES (1, now())")

    assert differing == []
    assert noted == [("public.items", "every write", []), ("public.orders", "closed days", ["placed"])]
    assert [reason for (reason,) in reasons if "tracking" in reason] == []
    assert moved == [("2026-03-02", 1), ("2026-03-07", 1)]
    assert days(connection) == [("2026-03-02", 2), ("2026-03-07", 1)]
    assert connection.execute(ask).fetchall() == [(*row[:2], []) for row in noted]


def test_the_parent_s_day_has_another_name(
    application: Application, empty_url: str, connect: Connect
) -> None:
    """The application renamed it; what is installed has followed, and the revision is applied."""
    connection = connect(empty_url)
    connection.execute("ALTER TABLE public.orders RENAME placed TO ordered")
    declare(application, day="ordered", indexes=["ordered"])

    application.change()
    differing = application.differs()
    connection.execute("UPDATE public.orders SET ordered = '2026-03-02 12:00+00'")

    assert differing == []
    assert days(connection) == [("2026-03-02", 1), ("2026-03-07", 1)]


def test_a_child_comes_and_goes_with_a_change_of_its_parent(
    application: Application, empty_url: str, connect: Connect
) -> None:
    """In one revision, there and back; what is written to it is seen."""
    connection = connect(empty_url)
    connection.execute("CREATE TABLE public.notes (order_id integer, added timestamptz)")
    connection.execute("ALTER TABLE public.orders ADD shipped timestamptz")
    connection.execute("UPDATE public.orders SET shipped = placed")
    declare(application, day="shipped", indexes=["shipped"])
    items = application.sources["items"]
    application.sources["notes"] = items | {
        "day_rows": [condition.replace("items.", "notes.") for condition in items["day_rows"]]
    }
    application.models["note_days"] = application.models["item_days"] | {
        "sql": SQL.format(day="shipped").replace("public.items", "public.notes")
    }

    application.change()
    differing = application.differs()
    connection.execute("INSERT INTO public.notes VALUES (1, now())")
    days(connection)
    connection.execute("INSERT INTO public.notes VALUES (1, now())")
    seen = days(connection), connection.execute("SELECT day::text, n FROM public.note_days").fetchall()
    application.downgrade()
    back = days(connection)
    application.upgrade()

    assert differing == []
    assert seen == ([("2026-03-01", 1), ("2026-03-07", 1)], [("2026-03-01", 2)])
    assert back == seen[0]
    assert application.differs() == []
