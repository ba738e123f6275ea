"""A table below what is computed by day is altered: rollups, logs, triggers, and the next refresh."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, LiteralString

import psycopg
import pytest

from ledgerviews.schema import incremental, statements
from tests.fingerprint import fingerprint, rows

if TYPE_CHECKING:
    from collections.abc import Callable

    Connect = Callable[[str], psycopg.Connection]

# Orders and their payments, whose days are those of their orders; a mart of each, one on both, a team's view.
TABLES = """
CREATE TABLE public.orders (id integer PRIMARY KEY, placed_at timestamptz NOT NULL, amount integer NOT NULL);
CREATE TABLE public.payments (order_id integer, paid_at timestamptz NOT NULL, cents integer NOT NULL);
INSERT INTO public.orders
    SELECT n, timestamptz '2026-03-01 12:00 UTC' + n * interval '7 hours', n
    FROM generate_series(1, 100) AS n;
INSERT INTO public.payments
    SELECT CASE WHEN n % 9 <> 0 THEN n END, timestamptz '2026-03-02 12:00 UTC' + n * interval '5 hours', n
    FROM generate_series(1, 140) AS n;
"""
ORDERS = """\
SELECT ledgerviews.utc_day(o.placed_at) AS day, max(o.amount) AS biggest, count(*) AS orders
FROM public.orders AS o"""
PAYMENTS = """\
SELECT
    ledgerviews.utc_day(COALESCE(o.placed_at, p.paid_at)) AS day, count(*) AS payments, count(o.id) AS known
FROM public.payments AS p
LEFT JOIN public.orders AS o ON o.id = p.order_id"""
# What an upgrade to engine 3 notes, and revisions from then on.
KNOWN = """
UPDATE ledgerviews.relation AS r
SET body = r.definition, day_body = r.day_definition,
    printed = ledgerviews.printed(r.schema_name, r.relation_name),
    printed_days = ledgerviews.printed_days(r.schema_name, r.relation_name)
"""
TOTAL = "SELECT count(*) AS days, sum(d.biggest) AS biggest FROM public.mart_orders AS d"
BETWEEN = "\nWHERE {0} >= $1 AND {0} < $2\nGROUP BY 1"
RELATIONS: tuple[LiteralString, ...] = (
    "public.mart_orders",
    "public.mart_payments",
    "public.mart_total",
    "public.team_biggest",
)


@pytest.fixture
def connection(installed_url: str, connect: Connect) -> psycopg.Connection:
    """Two sources, one the child of the other, tracked; three marts, refreshed; a view of the team."""
    session = connect(installed_url)
    session.execute(TABLES)
    parent = incremental.ParentTable(schema="public", name="orders", key="id", day="placed_at")
    parts = [
        statements.create_source(
            schema="public",
            name="orders",
            day="placed_at",
            key="id",
            parent=None,
            indexes=["placed_at", "id"],
        ),
        statements.create_source(
            schema="public", name="payments", day="paid_at", key="order_id", parent=parent, indexes=[]
        ),
        _mart(
            "mart_orders",
            ORDERS,
            "ledgerviews.utc_day(o.placed_at)",
            ["public.orders"],
            ["day", "biggest", "orders"],
        ),
        _mart(
            "mart_payments",
            PAYMENTS,
            "ledgerviews.utc_day(COALESCE(o.placed_at, p.paid_at))",
            ["public.orders", "public.payments"],
            ["day", "payments", "known"],
        ),
        statements.create(
            schema="public",
            name="mart_total",
            kind="materialized view",
            definition=TOTAL,
            reads=["mart_orders"],
            unique_key=["days"],
            comment="c",
            columns={"days": "c", "biggest": "c"},
            populate=False,
        ),
        statements.track_sources(["public.orders", "public.payments"], tracking="closed days"),
        "CREATE VIEW public.team_biggest AS SELECT m.day, m.biggest FROM public.mart_orders AS m;",
        "GRANT SELECT ON public.mart_orders TO PUBLIC; CREATE INDEX biggest ON public.mart_orders (biggest)",
    ]
    session.execute("".join(parts).encode())
    session.execute(KNOWN)
    refresh(session)
    return session


def _mart(name: str, definition: str, day: str, sources: list[str], columns: list[str]) -> str:
    by_day = statements.ByDay(column="day", definition=definition + BETWEEN.format(day), sources=sources)
    return statements.create(
        schema="public",
        name=name,
        kind="materialized view",
        definition=definition + "\nGROUP BY 1",
        reads=[],
        unique_key=["day"],
        comment=f"The {name}.",
        columns=dict.fromkeys(columns, "A column."),
        populate=False,
        by_day=by_day,
    )


def refresh(session: psycopg.Connection) -> dict[str, tuple[Any, ...]]:
    """Refresh; give scope and reason of each relation."""
    row = session.execute("CALL ledgerviews.refresh(scrub => false)").fetchone()
    assert row is not None
    found = session.execute(
        "SELECT relation_name, scope, reason FROM ledgerviews.run_relation WHERE run_id = %s", [row[0]]
    )
    return {name: tuple(rest) for name, *rest in found.fetchall()}


def exact(session: psycopg.Connection) -> bool:
    """Whether each mart has the rows that its SELECT, as it was written, gives now, under UTC as ours are."""
    zone = session.execute("SHOW timezone").fetchall()[0][0]
    session.execute("SET timezone = 'UTC'")
    found = all(
        sorted(session.execute(text.encode()).fetchall(), key=repr) == rows(session, name)[name]
        for name, text in (
            ("public.mart_orders", ORDERS + " GROUP BY 1"),
            ("public.mart_payments", PAYMENTS + " GROUP BY 1"),
            ("public.mart_total", TOTAL),
            ("public.team_biggest", "SELECT m.day, m.biggest FROM public.mart_orders AS m"),
        )
    )
    session.execute(f"SET timezone = '{zone}'".encode())
    return found


def alter(session: psycopg.Connection, tables: list[str], *script: str) -> None:
    """Release, alter and restore in one transaction."""
    with session.transaction():
        session.execute("SELECT ledgerviews.release(%s)", [tables])
        for statement in script:
            session.execute(statement.encode())
        session.execute("SELECT ledgerviews.restore()")


def types(session: psycopg.Connection, relation: str) -> dict[str, str]:
    """The types of a relation's columns."""
    return dict(
        session.execute(
            "SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute"
            " WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped",
            [relation],
        ).fetchall()
    )


def test_a_mart_follows_the_type_of_what_it_shows(connection: psycopg.Connection) -> None:
    """Rollup, mart, what reads it: all have the new type, the rows of it, and what hung on them."""
    before = fingerprint(connection)

    alter(
        connection,
        ["public.orders"],
        "ALTER TABLE public.orders ALTER COLUMN amount TYPE numeric(12, 3) USING amount + 0.125",
    )
    shown = exact(connection)
    after = fingerprint(connection)
    steps = refresh(connection)

    assert shown
    for relation in ("ledgerviews.mart_orders_rollup", "public.mart_orders", "public.team_biggest"):
        assert (
            types(connection, relation)["biggest"] == "numeric(12,3)"
            or types(connection, relation)["biggest"] == "numeric"
        )
    assert types(connection, "public.mart_total")["biggest"] == "numeric"
    assert after["indexes"] == before["indexes"]
    assert after["triggers"] == before["triggers"]
    assert [row[:1] + row[4:] for row in after["relations"]] == [
        row[:1] + row[4:] for row in before["relations"]
    ]
    assert steps["mart_orders"][0] == steps["mart_payments"][0] == "all"
    assert exact(connection)
    connection.execute("UPDATE public.orders SET amount = 7000.5 WHERE id = 3")
    assert refresh(connection)["mart_orders"][0] == "days"
    assert exact(connection)


def test_a_mart_that_was_never_filled_follows_unfilled(connection: psycopg.Connection) -> None:
    """Nothing is computed for a mart that nobody reads yet; its first fill is right."""
    connection.execute("REFRESH MATERIALIZED VIEW public.mart_orders WITH NO DATA")

    alter(connection, ["public.orders"], "ALTER TABLE public.orders ALTER COLUMN amount TYPE bigint")
    populated = connection.execute(
        "SELECT relispopulated FROM pg_class WHERE oid = 'public.mart_orders'::regclass"
    ).fetchall()
    refresh(connection)

    assert populated == [(False,)]
    assert types(connection, "public.mart_orders")["biggest"] == "bigint"
    assert exact(connection)


@pytest.mark.parametrize("tracking", ["closed days", "every write", "none"])
def test_logs_follow_the_type_of_a_key(connection: psycopg.Connection, tracking: str) -> None:
    """Keys become uuids: logs and orphans have them, the application's writes go on, refreshes are exact."""
    connection.execute("SELECT ledgerviews.track(ARRAY['public.orders', 'public.payments'], %s)", [tracking])
    refresh(connection)
    keyed = "('00000000-0000-0000-0000-' || lpad({0}::text, 12, '0'))::uuid"
    steps = [
        f"ALTER TABLE public.orders ALTER COLUMN id TYPE uuid USING {keyed.format('id')}",
        f"ALTER TABLE public.payments ALTER COLUMN order_id TYPE uuid USING {keyed.format('order_id')}",
    ]

    alter(connection, ["public.orders", "public.payments"], *steps)
    after = fingerprint(connection)
    refresh(connection)

    assert exact(connection)
    assert [row[1] for row in after["sources"] if "order" in row[0] or "pay" in row[0]] == [tracking] * 2
    for log in ("orders_change", "payments_change", "payments_orphan"):
        assert types(connection, f"ledgerviews.{log}")["key"] == "uuid"
    new = "00000000-0000-0000-0000-0000000000ff"
    for statement in (
        f"INSERT INTO public.payments VALUES ('{new}', '2026-03-04 UTC', 5)",
        f"INSERT INTO public.orders VALUES ('{new}', '2026-03-20 UTC', 5)",
        "DELETE FROM public.orders WHERE amount = 17",
        "UPDATE public.orders SET placed_at = placed_at - interval '9 days' WHERE amount BETWEEN 20 AND 25",
        "UPDATE public.payments SET order_id = NULL WHERE cents = 30",
    ):
        connection.execute(statement.encode())
        found = refresh(connection)
        assert exact(connection), statement
        assert found["mart_payments"][0] in {"days", "none"} or "of" in found["mart_payments"][1], found


def test_a_longer_key_still_fits_into_the_log(connection: psycopg.Connection) -> None:
    """A length is part of a type: the application's write would fail in a log that kept the old one."""
    short = [
        "ALTER TABLE public.orders ALTER COLUMN id TYPE varchar(4)",
        "ALTER TABLE public.payments ALTER COLUMN order_id TYPE varchar(4)",
    ]
    alter(connection, ["public.orders", "public.payments"], *short)
    refresh(connection)

    alter(connection, ["public.orders", "public.payments"], *[step.replace("(4)", "(40)") for step in short])
    connection.execute("INSERT INTO public.orders VALUES ('a key of more than four', '2026-03-20 UTC', 5)")
    connection.execute("DELETE FROM public.orders WHERE id = 'a key of more than four'")
    connection.execute("INSERT INTO public.payments VALUES ('an orphan of that length', '2026-03-04 UTC', 5)")
    refresh(connection)

    assert exact(connection)


@pytest.mark.parametrize("tracking", ["closed days", "every write", "none"])
def test_the_time_of_a_row_changes_its_type(connection: psycopg.Connection, tracking: str) -> None:
    """With a time zone or without: the triggers fit the new type, in the same mode, and nothing is missed."""
    connection.execute("SELECT ledgerviews.track(ARRAY['public.orders', 'public.payments'], %s)", [tracking])
    refresh(connection)
    connection.execute("SET timezone = 'Asia/Tokyo'")

    alter(
        connection,
        ["public.orders"],
        "ALTER TABLE public.orders ALTER COLUMN placed_at TYPE timestamp USING placed_at AT TIME ZONE 'UTC'",
    )
    conditions = [row[1] for row in fingerprint(connection)["triggers"] if row[0] == "public.orders"]
    refresh(connection)
    connection.execute(
        "UPDATE public.orders SET placed_at = placed_at - interval '2 days' WHERE id IN (7, 8)"
    )
    connection.execute("DELETE FROM public.orders WHERE id = 9")
    found = refresh(connection)

    assert exact(connection)
    assert found["mart_orders"][0] == "days"
    assert len(conditions) == (0 if tracking == "none" else 3)
    assert any("WHEN" in text for text in conditions) == (tracking == "closed days")
    assert all(
        "(clock_timestamp() AT TIME ZONE 'UTC'::text)" in text for text in conditions if "WHEN" in text
    )


def test_writes_in_the_migration_are_recomputed(connection: psycopg.Connection) -> None:
    """Not rewritten, but written to while its triggers are off: the next refresh takes all."""
    alter(connection, ["public.orders"], "UPDATE public.orders SET amount = amount + 1000 WHERE id < 5")
    found = refresh(connection)

    assert found["mart_orders"] == (
        "all",
        "public.orders: its triggers were altered, so writes may have gone unseen",
    )
    assert exact(connection)


def test_a_renamed_column_keeps_its_trigger(connection: psycopg.Connection) -> None:
    """Where the application renamed a column before, the trigger that followed is put back as it was."""
    connection.execute("ALTER TABLE public.orders RENAME COLUMN placed_at TO ordered_at")
    before = [row for row in fingerprint(connection)["triggers"] if row[0] == "public.orders"]

    alter(connection, ["public.orders"], "ALTER TABLE public.orders ALTER COLUMN amount TYPE bigint")
    after = [row for row in fingerprint(connection)["triggers"] if row[0] == "public.orders"]
    refresh(connection)
    connection.execute("DELETE FROM public.orders WHERE id = 9")
    found = refresh(connection)

    assert len(before) == 3
    assert after == before
    assert found["mart_orders"][0] == "days"


def test_a_renamed_key_takes_its_new_type(connection: psycopg.Connection) -> None:
    """A key that was renamed before, and is retyped in a release, is logged as what it is then."""
    connection.execute("ALTER TABLE public.orders RENAME COLUMN id TO number")
    refresh(connection)
    alter(connection, ["public.orders"], "ALTER TABLE public.orders ALTER COLUMN number TYPE numeric")
    first = refresh(connection)
    connection.execute("DELETE FROM public.orders WHERE number = 9")
    found = refresh(connection)
    # It raises where a row differs.
    connection.execute("CALL ledgerviews.refresh(mode => 'verify')")

    assert first["mart_orders"][0] == "all"
    assert found["mart_orders"][0] == "days"


def test_a_partitioned_table_and_what_reads_a_partition(connection: psycopg.Connection) -> None:
    """What reads a partition is in the way of its parent's column, too."""
    connection.execute(
        "CREATE TABLE public.parts (a integer, b integer) PARTITION BY RANGE (a);"
        "CREATE TABLE public.parts_1 PARTITION OF public.parts FOR VALUES FROM (1) TO (10);"
        "CREATE VIEW public.of_part AS SELECT b FROM public.parts_1"
    )
    before = fingerprint(connection)

    alter(connection, ["public.parts"], "ALTER TABLE public.parts ALTER COLUMN b TYPE bigint")
    between = types(connection, "public.of_part")
    alter(connection, ["public.parts"], "ALTER TABLE public.parts ALTER COLUMN b TYPE integer")

    assert between == {"b": "bigint"}
    assert fingerprint(connection) == before


def test_a_mart_that_no_longer_fits_names_the_line_of_its_definition(connection: psycopg.Connection) -> None:
    """The SELECT of all days, by the mart's own name."""
    with pytest.raises(psycopg.Error) as caught:
        alter(connection, ["public.payments"], "ALTER TABLE public.payments RENAME COLUMN paid_at TO at")

    message = str(caught.value.diag.message_primary)
    assert "mart_payments" in message
    assert (
        ", line 2 of the SELECT of mart_payments; public.payments.paid_at is now named at: column p."
        in message
    )
    assert exact(connection)


def test_columns_that_would_be_others_are_refused(connection: psycopg.Connection) -> None:
    """A SELECT of a star that gains a column is no longer the rollup's."""
    connection.execute(
        _mart(
            "mart_star",
            "SELECT o.*, ledgerviews.utc_day(o.placed_at) AS day FROM public.orders AS o",
            "ledgerviews.utc_day(o.placed_at)",
            ["public.orders"],
            ["id", "placed_at", "amount", "day"],
        )
        .replace("\nGROUP BY 1", "")
        .encode()
    )
    connection.execute(KNOWN)

    with pytest.raises(psycopg.Error, match="its columns would be others: note"):
        alter(connection, ["public.orders"], "ALTER TABLE public.orders ADD COLUMN note text")
