"""Sources whose days or keys are of unusual types: the days are those of every session."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from tests.replacing import DAILY, SHOP, SOURCE, TABLES, TOP, open_shop, replace, rows, true_rows

if TYPE_CHECKING:
    from collections.abc import Callable

    Connect = Callable[[str], psycopg.Connection]

ZONES = ("Asia/Tokyo", "Pacific/Honolulu")
HEADS = {"schema": "public", "name": "heads", "key": "id", "day": "placed_at"}


def of_type(name: str) -> str:
    """The shop's table with another type for its day, and as many rows on each day."""
    text = TABLES.replace("placed_at timestamptz NOT NULL", f"placed_at {name} NOT NULL")
    return (
        text
        if name != "date"
        else text.replace(
            "timestamptz '2026-01-01 12:00+00' + n % 40 * interval '1 day'", "date '2026-01-01' + n % 40"
        )
    )


def refresh(session: psycopg.Connection, mode: str = "incremental") -> str:
    """Refresh without the scrub; the scope of the relation by day."""
    session.execute("CALL ledgerviews.refresh(NULL::text[], %s, scrub => false)", [mode])
    ((scope,),) = session.execute(
        "SELECT scope FROM ledgerviews.run_relation WHERE relation_name = 'daily'"
        " ORDER BY run_id DESC LIMIT 1"
    ).fetchall()
    return str(scope)


@pytest.mark.parametrize("tracking", ["closed days", "every write"])
@pytest.mark.parametrize("type_name", ["date", "timestamp", "timestamptz", "day_domain", "moment_domain"])
def test_days_are_those_of_every_session(
    empty_url: str, connect: Connect, type_name: str, tracking: str
) -> None:
    """Writers and refreshers east and west of UTC log, and compute, the day that UTC says."""
    connection = connect(empty_url)
    connection.execute("SET TimeZone = 'UTC'")
    connection.execute(
        "CREATE DOMAIN day_domain AS date; CREATE DOMAIN inner_domain AS timestamptz;"
        "CREATE DOMAIN moment_domain AS inner_domain CHECK (VALUE > '-infinity')"
    )
    open_shop(
        connection,
        empty_url,
        foreign=False,
        tables=of_type("date" if type_name == "day_domain" else type_name),
    )
    if type_name == "day_domain":
        connection.execute("SELECT ledgerviews.release(ARRAY['public.orders'])")
        connection.execute("ALTER TABLE public.orders ALTER COLUMN placed_at TYPE day_domain")
        connection.execute("SELECT ledgerviews.restore()")
    connection.execute("SELECT ledgerviews.track('public.orders', %s)", [tracking])
    refresh(connection, "full")
    at = "2026-01-05" if type_name in {"date", "day_domain"} else "2026-01-05 22:00"
    soon = "(now() AT TIME ZONE 'UTC')::date - 1"
    if type_name not in {"date", "day_domain"}:
        soon = f"({soon} + time '22:00')" + ("" if type_name == "timestamp" else " AT TIME ZONE 'UTC'")

    scopes = []
    for number, zone in enumerate(ZONES):
        with closing(psycopg.connect(empty_url, autocommit=True)) as writer:
            writer.execute("SELECT set_config('TimeZone', %s, false)", [zone])
            zoned = "+00" if "time" in type_name or type_name == "moment_domain" else ""
            for key, value in ((90000 + number, f"'{at}{zoned}'"), (91000 + number, soon)):
                writer.execute(f"INSERT INTO public.orders VALUES ({key}, 'far', {value}, 1)".encode())
            scopes.append(refresh(writer))
        assert rows(connection, "public.daily") == true_rows(connection, SHOP, "daily")
    with closing(psycopg.connect(empty_url, autocommit=True)) as reader:
        reader.execute("SELECT set_config('TimeZone', %s, false)", [ZONES[0]])
        refresh(reader, "full")

    assert scopes == ["days", "days"]
    assert rows(connection, "public.daily") == true_rows(connection, SHOP, "daily")


@pytest.mark.parametrize("zone", ZONES)
def test_rows_are_computed_under_utc(empty_url: str, connect: Connect, zone: str) -> None:
    """Casts and CURRENT_DATE give the same to whoever refreshes, verifies or replaces, from wherever."""
    connection = connect(empty_url)
    connection.execute("SET TimeZone = 'UTC'")
    open_shop(connection, empty_url, foreign=False)
    connection.execute(
        "INSERT INTO public.orders"
        " SELECT 90000 + n, 'c', now() - n * interval '1 hour', 1 FROM generate_series(0, 60) AS n"
    )
    cast = DAILY | {
        name: DAILY[name].replace("ledgerviews.utc_day(o.placed_at)", "o.placed_at::date")
        for name in ("definition", "day_definition")
    }
    base = SHOP["base"] | {
        "definition": SHOP["base"]["definition"].replace(
            "ledgerviews.utc_day(o.placed_at)", "o.placed_at::date"
        )
    }
    top = TOP | {"definition": TOP["definition"].replace("d.day,", "CURRENT_DATE AS day,").split("GROUP")[0]}
    after = SHOP | {"base": base, "daily": cast, "top": top}
    connection.execute(f"ALTER DATABASE {connection.info.dbname} SET TimeZone = '{zone}'".encode())
    with closing(psycopg.connect(empty_url, autocommit=True)) as far:
        replace(empty_url, SHOP, after)
        assert rows(connection, "public.daily") == true_rows(connection, after, "daily")
        far.execute("INSERT INTO public.orders VALUES (95000, 'c', now() - interval '30 hours', 1)")
        far.execute("CALL ledgerviews.refresh(NULL::text[], 'verify')")
    found = rows(connection, "public.daily"), rows(connection, "public.top")

    assert found[0] == true_rows(connection, after, "daily")
    assert found[1] == true_rows(connection, after, "top")


def test_a_type_younger_than_the_writer_s_snapshot(empty_url: str, connect: Connect) -> None:
    """A REPEATABLE READ writer that cannot know a column's new type is told to retry."""
    connection = connect(empty_url)
    open_shop(connection, empty_url, foreign=False)
    with closing(psycopg.connect(empty_url)) as writer:
        writer.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        writer.execute("SELECT count(*) FROM pg_catalog.pg_class")
        connection.execute("CREATE DOMAIN public.moment AS timestamptz")
        connection.execute("SELECT ledgerviews.release(ARRAY['public.orders'])")
        connection.execute("ALTER TABLE public.orders ALTER COLUMN placed_at TYPE public.moment")
        connection.execute("SELECT ledgerviews.restore()")
        insert = b"INSERT INTO public.orders VALUES (90000, 'late', '2026-01-05 12:00+00', 1)"
        with pytest.raises(psycopg.errors.SerializationFailure, match=r"type public\.moment was made"):
            writer.execute(insert)
        writer.rollback()
        writer.execute(insert)
        refresh(connection)
        writer.commit()

    assert refresh(connection) == "days"
    assert rows(connection, "public.daily") == true_rows(connection, SHOP, "daily")


@pytest.mark.parametrize(
    "forged",
    [
        (
            "DROP TRIGGER ledgerviews_insert ON public.orders;"
            "CREATE TRIGGER other AFTER DELETE ON public.orders FOR EACH ROW"
            " EXECUTE FUNCTION ledgerviews.orders_track();"
            "ALTER TABLE public.orders ENABLE ALWAYS TRIGGER other"
        ),
        (
            "CREATE OR REPLACE TRIGGER ledgerviews_delete AFTER DELETE ON public.orders FOR EACH ROW"
            " WHEN (false) EXECUTE FUNCTION ledgerviews.orders_track()"
        ),
        (
            "CREATE OR REPLACE TRIGGER ledgerviews_update AFTER UPDATE OF customer ON public.orders"
            " FOR EACH ROW EXECUTE FUNCTION ledgerviews.orders_track()"
        ),
    ],
)
def test_a_trigger_of_another_shape_is_none_of_ours(empty_url: str, connect: Connect, forged: str) -> None:
    """Three triggers with our function are not enough: one for each event, for every row and column."""
    connection = connect(empty_url)
    open_shop(connection, empty_url, foreign=False)
    refresh(connection)
    connection.execute(forged.encode())

    found = connection.execute("SELECT problem FROM ledgerviews.source_now").fetchall()
    scopes = [refresh(connection), refresh(connection)]

    assert found == [("a trigger of ours is missing",)]
    assert scopes == ["all", "all"]


@pytest.mark.parametrize("key", ["text", "money"])
def test_a_key_longer_than_an_index_takes(empty_url: str, connect: Connect, key: str) -> None:
    """An orphan with a key of any length, and of a type that nothing hashes, is refreshed like any other."""
    connection = connect(empty_url)
    connection.execute(
        f"CREATE TABLE public.items (ref {key}, placed_at timestamptz, amount int);"
        f"CREATE TABLE public.heads (id {key} PRIMARY KEY, placed_at timestamptz)".encode()
    )
    open_shop(connection, empty_url, foreign=False)
    sources = {
        "public.heads": {
            "kind": "source",
            "schema": "public",
            "name": "heads",
            "day": "placed_at",
            "key": "id",
        },
        "public.items": SOURCE | {"name": "items", "key": "ref", "parent": HEADS},
    }
    day = "ledgerviews.utc_day(COALESCE(h.placed_at, i.placed_at))"
    joined = "FROM public.items AS i LEFT JOIN public.heads AS h ON h.id = i.ref"
    text = f"SELECT {day} AS day, count(*) AS n {joined}"
    counted: dict[str, Any] = {
        "kind": "materialized view",
        "definition": f"{text}\nGROUP BY 1",
        "columns": {"day": "Day.", "n": "Number."},
        "unique_key": ["day"],
        "day": "day",
        "day_definition": f"{text}\nWHERE {day} >= $1 AND {day} < $2\nGROUP BY 1",
        "sources": list(sources),
    }
    replace(empty_url, SHOP, SHOP | sources | {"counted": counted})
    connection.execute("CALL ledgerviews.refresh()")
    # Text that does not shrink much; an index takes 2,704 bytes of it.
    value = (
        "(SELECT string_agg(md5(random()::text), '') FROM generate_series(n, 200))"
        if key == "text"
        else "n::money"
    )
    connection.execute(
        f"INSERT INTO public.items SELECT {value}, '2026-01-01 12:00+00', n"
        " FROM generate_series(1, 3) AS n".encode()
    )
    connection.execute("CALL ledgerviews.refresh()")
    connection.execute("DELETE FROM public.items WHERE amount = 1")
    connection.execute("CALL ledgerviews.refresh(mode => 'verify')")

    assert connection.execute("SELECT n FROM public.counted").fetchall() == [(2,)]


def test_numbers_that_are_equal_are_no_difference(empty_url: str, connect: Connect) -> None:
    """1.0 and 1.00 are one value, so a day computed alone may have either of them."""
    connection = connect(empty_url)
    open_shop(
        connection,
        empty_url,
        foreign=False,
        tables=TABLES.replace("amount int", "amount numeric").replace(
            "n % 100", "CASE n % 3 WHEN 0 THEN 1 WHEN 1 THEN 1.0 ELSE 1.00 END"
        ),
    )
    some = "mode() WITHIN GROUP (ORDER BY b.amount)"
    changed = DAILY | {
        name: DAILY[name].replace("sum(b.amount)::bigint", some) for name in ("definition", "day_definition")
    }
    replace(empty_url, SHOP, SHOP | {"daily": changed})

    found = connection.execute(
        "SELECT row_count FROM ledgerviews.compare('SELECT 1.0 AS a, ARRAY[2.0] AS b',"
        " 'SELECT 1.00 AS a, ARRAY[2] AS b')"
    ).fetchall()
    connection.execute("SET random_page_cost = 0.1; SET enable_seqscan = off")
    connection.execute("CALL ledgerviews.refresh(mode => 'full')")
    connection.execute("CALL ledgerviews.refresh(mode => 'verify')")

    assert found == [(0,)]


@pytest.mark.parametrize("how", ["created", "replaced"])
def test_a_day_that_is_no_date_is_refused_at_once(empty_url: str, connect: Connect, how: str) -> None:
    """Not by each refresh after the first: the revision fails, with the column and its type."""
    connection = connect(empty_url)
    open_shop(connection, empty_url, foreign=False)
    wrong = DAILY | {
        name: DAILY[name].replace("b.day, b.customer, count", "b.day::timestamp AS day, b.customer, count")
        for name in ("definition", "day_definition")
    }
    before = SHOP if how == "replaced" else {"base": SHOP["base"], "public.orders": SOURCE}
    if how == "created":
        replace(empty_url, SHOP, before)

    with pytest.raises(
        psycopg.errors.DatatypeMismatch,
        match="day column day is of type timestamp without time zone, and must be a date",
    ):
        replace(empty_url, before, before | {"daily": wrong})


def test_a_release_while_a_refresh_waits(empty_url: str, connect: Connect) -> None:
    """A plan that comes after a release tells that the table is released, not that something is missing."""
    connection = connect(empty_url)
    open_shop(connection, empty_url, foreign=False)
    connection.execute("SELECT ledgerviews.release(ARRAY['public.orders'])")

    with pytest.raises(
        psycopg.errors.ObjectNotInPrerequisiteState, match=r"while public\.orders is released"
    ):
        connection.execute("SELECT * FROM ledgerviews.plan()")
