"""Revisions that Alembic writes in an application's own env.py, and what alembic-utils 0.8.8 fails at."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from alembic.util import CommandError

from tests.application import Application

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Connect = Callable[[str], psycopg.Connection]

# Roles are the server's, which other processes of the suite use, too.
READER = f"lv_reader_{os.getpid()}"
ORDERS = {"id": "Integer", "customer": "Text", "total": "Numeric"}
VIEW, STORED = "view", "materialized view"


@pytest.fixture
def application(tmp_path: Path, empty_url: str) -> Application:
    """An application with one table, which is there already."""
    with psycopg.connect(empty_url) as connection:
        connection.execute("CREATE TABLE public.orders (id integer, customer text, total numeric)")
        connection.execute("INSERT INTO public.orders VALUES (1, 'a', 10), (2, 'b', 20)")
    return Application(tmp_path / "app", empty_url, tables={"orders": dict(ORDERS)})


def chain(application: Application) -> None:
    """A view, a materialized view on it, a view on that and a materialized view on top; installed."""
    application.entities = {
        "public.a_base": (VIEW, "SELECT o.id, o.total FROM public.orders AS o"),
        "public.b_stored": (STORED, "SELECT a.id, a.total FROM public.a_base AS a"),
        "public.c_view": (VIEW, "SELECT b.id, b.total FROM public.b_stored AS b"),
        "public.d_top": (STORED, "SELECT sum(c.total) AS total FROM public.c_view AS c"),
    }
    application.change()


def rows(connection: psycopg.Connection, query: str) -> list[tuple[Any, ...]]:
    """What a query gives."""
    return connection.execute(query.encode()).fetchall()


def decorate(connection: psycopg.Connection) -> None:
    """What a DBA hangs on the chain, and nobody declared."""
    connection.execute(f"DROP ROLE IF EXISTS {READER}".encode())
    connection.execute(f"CREATE ROLE {READER}".encode())
    connection.execute(
        "CREATE UNIQUE INDEX b_id ON b_stored (id); CREATE INDEX d_total ON d_top (total);"
        f" GRANT SELECT ON a_base, b_stored, c_view, d_top TO {READER}; COMMENT ON COLUMN c_view.id IS 'Id.';"
        " ALTER MATERIALIZED VIEW b_stored SET (fillfactor = 80);"
        " ALTER VIEW c_view SET (security_barrier = true);"
        " ALTER MATERIALIZED VIEW b_stored ALTER COLUMN total SET STATISTICS 300".encode()
    )


def surroundings(connection: psycopg.Connection) -> list[tuple[Any, ...]]:
    """Indexes, grants, comments, options and statistics targets of the chain."""
    return rows(
        connection,
        """
        SELECT c.relname, c.relacl::text, c.reloptions, a.attname, a.attstattarget,
            col_description(c.oid, a.attnum), array(
                SELECT pg_get_indexdef(i.indexrelid) FROM pg_index AS i WHERE i.indrelid = c.oid ORDER BY 1
            )
        FROM pg_class AS c JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0
        WHERE c.relkind IN ('v', 'm') AND c.relnamespace = 'public'::regnamespace
        ORDER BY c.relname, a.attnum
        """,
    )


@pytest.fixture
def forgotten(connect: Connect, empty_url: str) -> Any:
    """Take the role away afterwards; roles are the server's, not the database's."""
    yield
    connection = connect(empty_url)
    if rows(connection, f"SELECT FROM pg_roles WHERE rolname = '{READER}'"):
        connection.execute(f"DROP OWNED BY {READER}; DROP ROLE {READER}".encode())


def test_a_chain_is_created_changed_and_taken_back(
    application: Application, connect: Connect, empty_url: str
) -> None:
    """Upgrade gives what is declared, check finds nothing, downgrade gives the former texts and rows."""
    chain(application)
    connection = connect(empty_url)
    created = application.differs()
    filled = rows(connection, "SELECT total FROM d_top")
    application.entities["public.a_base"] = (
        VIEW,
        "SELECT o.id, o.total * 2 AS total FROM public.orders AS o",
    )

    found = application.differs()
    text = application.change()
    doubled = rows(connection, "SELECT total FROM d_top")
    left = application.differs()
    application.downgrade()
    back = rows(connection, "SELECT total FROM d_top")

    assert (created, left) == ([], [])
    assert found[0][0] == "ledgerviews_replace"
    assert ("change", "public.a_base", "definition") in found[0]
    assert '"SELECT o.id, o.total FROM public.orders AS o"' in text
    assert 'views_before["public.a_base"] | {' in text
    assert "op.ledgerviews_replace(views_before, views_after)" in text
    assert "op.ledgerviews_replace(views_after, views_before)" in text
    assert (filled, doubled, back) == ([(30,)], [(60,)], [(30,)])


def test_grants_that_nobody_declared_are_left_alone(
    application: Application, connect: Connect, empty_url: str, forgotten: None
) -> None:
    """Failure 1: no revoke is proposed, and none happens."""
    chain(application)
    decorate(connect(empty_url))

    assert application.differs() == []


def test_a_materialized_view_with_dependents_changes(
    application: Application, connect: Connect, empty_url: str, forgotten: None
) -> None:
    """Failures 2, 3 and 4: all down the chain keeps its indexes, grants, comments, options and statistics."""
    chain(application)
    connection = connect(empty_url)
    decorate(connection)
    before = surroundings(connection)
    application.entities["public.b_stored"] = (
        STORED,
        "SELECT a.id, a.total + 1 AS total FROM public.a_base AS a",
    )

    application.change()
    after = surroundings(connection)
    total = rows(connection, "SELECT total FROM d_top")
    connection.execute("REFRESH MATERIALIZED VIEW CONCURRENTLY b_stored")
    left = application.differs()
    application.downgrade()

    assert after == before
    assert surroundings(connection) == before
    assert (total, left) == ([(32,)], [])


def test_a_view_changes_incompatibly_under_its_dependents(
    application: Application, connect: Connect, empty_url: str
) -> None:
    """A column's type changes below a chain, which PostgreSQL's CREATE OR REPLACE refuses."""
    chain(application)
    application.entities["public.a_base"] = (
        VIEW,
        "SELECT o.id::bigint AS id, o.total::double precision AS total FROM public.orders AS o",
    )

    application.change()

    assert rows(connect(empty_url), "SELECT pg_typeof(total)::text FROM d_top") == [("double precision",)]
    assert application.differs() == []


def test_a_new_table_and_a_view_on_it_come_in_one_revision(
    application: Application, connect: Connect, empty_url: str
) -> None:
    """Failure 5: tables and columns first, then ours, then what is dropped; and the other way round."""
    application.entities["public.v"] = (VIEW, "SELECT o.customer FROM public.orders AS o")
    application.change()
    application.tables["orders"] = {"id": "Integer", "total": "Numeric", "placed": "Date"}
    application.tables["items"] = {"id": "Integer", "price": "Numeric"}
    application.entities["public.v"] = (VIEW, "SELECT o.placed FROM public.orders AS o")
    application.entities["public.w"] = (
        VIEW,
        "SELECT i.price, v.placed FROM public.items AS i, public.v AS v",
    )

    text = application.change()
    order = [
        text.index(part)
        for part in ("op.create_table", "op.add_column", "op.ledgerviews_replace", "op.drop_column")
    ]
    application.downgrade()

    assert order == sorted(order)
    assert rows(connect(empty_url), "SELECT customer FROM v ORDER BY 1") == [(None,), (None,)]
    assert "'ledgerviews'" not in text


def test_a_chain_is_removed(application: Application, connect: Connect, empty_url: str) -> None:
    """Failure 6: readers go first, and come back last."""
    chain(application)
    entities = application.entities
    application.entities = {"public.a_base": entities["public.a_base"]}

    application.change()
    connection = connect(empty_url)
    gone = rows(connection, "SELECT to_regclass('b_stored'), to_regclass('d_top')")
    left = application.differs()
    application.downgrade()

    assert (gone, left) == ([(None, None)], [])
    assert rows(connection, "SELECT total FROM d_top") == [(30,)]


def test_a_view_becomes_a_materialized_view_and_back(
    application: Application, connect: Connect, empty_url: str
) -> None:
    """Failure 7: the kind changes under a reader."""
    chain(application)
    application.entities["public.a_base"] = (STORED, application.entities["public.a_base"][1])

    found = application.differs()
    application.change()
    connection = connect(empty_url)
    kind = rows(connection, "SELECT relkind::text FROM pg_class WHERE oid = 'a_base'::regclass")
    left = application.differs()
    application.downgrade()

    assert ("change", "public.a_base", "kind") in found[0]
    assert (kind, left) == ([("m",)], [])
    assert rows(connection, "SELECT relkind::text FROM pg_class WHERE oid = 'a_base'::regclass") == [("v",)]


def test_options_are_seen_and_survive(application: Application, connect: Connect, empty_url: str) -> None:
    """Failure 8: security_invoker that is declared is seen, and a replacement clears none."""
    model = {
        "kind": VIEW,
        "grain": [],
        "columns": {"id": "The id."},
        "sql": "SELECT o.id FROM public.orders AS o",
        "options": {"security_invoker": "true"},
    }
    application.models = {"v": model}
    application.change()
    connection = connect(empty_url)
    connection.execute("ALTER VIEW v RESET (security_invoker); ALTER VIEW v SET (security_barrier = true)")

    found = application.differs()
    application.models = {"v": model | {"sql": "SELECT o.id + 1 AS id FROM public.orders AS o"}}
    application.change()
    options = rows(connection, "SELECT reloptions FROM pg_class WHERE oid = 'v'::regclass")

    assert found == [("ledgerviews_replace", ("change", "v", "options"))]
    assert sorted(options[0][0]) == ["security_barrier=true", "security_invoker=true"]


def test_colons_and_percent_signs_are_text(
    application: Application, connect: Connect, empty_url: str
) -> None:
    """Failure 9: ' :abc' is no bind parameter, %s no placeholder."""
    application.entities["public.v"] = (
        VIEW,
        "SELECT ' :abc'::text AS a, '100%s %(x)s'::text AS b, 1::int AS c",
    )

    application.change()

    assert rows(connect(empty_url), "SELECT * FROM v") == [(" :abc", "100%s %(x)s", 1)]
    assert application.differs() == []


def test_names_and_schemas_are_exact(application: Application, connect: Connect, empty_url: str) -> None:
    """Failure 10: a_b is not axb, and a quoted name is what it says."""
    connect(empty_url).execute("CREATE SCHEMA a_b; CREATE SCHEMA axb; CREATE VIEW axb.v AS SELECT 1 AS x")
    application.entities = {
        "a_b.v": (VIEW, "SELECT 2 AS x"),
        "axb.v": (VIEW, "SELECT 1 AS x"),
        "public.Odd name": (VIEW, "SELECT w.x FROM a_b.v AS w"),
    }

    found = application.differs()
    application.change()
    application.entities["a_b.v"] = (VIEW, "SELECT 3 AS x")
    changed = application.differs()

    assert found[-1] == ("ledgerviews_replace", ("create", "a_b.v"), ("create", "public.Odd name"))
    assert changed == [("ledgerviews_replace", ("change", "a_b.v", "definition"))]


def test_whoever_owns_nothing_may_check_and_nobody_waits(
    application: Application, connect: Connect, empty_url: str, forgotten: None
) -> None:
    """Failures 11 and 12: a changed definition is compared without any lock that a reader would notice."""
    chain(application)
    connection = connect(empty_url)
    connection.execute(f"DROP ROLE IF EXISTS {READER}".encode())
    connection.execute(
        f"CREATE ROLE {READER} LOGIN; GRANT USAGE ON SCHEMA ledgerviews, public TO {READER}".encode()
    )
    connection.execute(f"GRANT SELECT ON ALL TABLES IN SCHEMA ledgerviews TO {READER}".encode())
    connection.execute(f"GRANT SELECT ON public.alembic_version TO {READER}".encode())
    application.url = psycopg.conninfo.make_conninfo(empty_url, user=READER)
    application.url = empty_url.replace("//postgres", f"//{READER}", 1)
    application.entities["public.b_stored"] = (STORED, "SELECT a.id,  a.total FROM public.a_base a")
    application.entities["public.c_view"] = (VIEW, "SELECT b.id, -b.total AS total FROM public.b_stored AS b")
    reading = psycopg.connect(empty_url)
    reading.execute("SELECT * FROM d_top")
    writing = psycopg.connect(empty_url)
    # Whoever wanted more than ACCESS SHARE would wait for this, and run into the test's time-out.
    writing.execute("LOCK TABLE public.orders IN EXCLUSIVE MODE")

    found = application.differs()
    reading.close()
    writing.close()

    assert found == [("ledgerviews_replace", ("change", "public.c_view", "definition"))]


# Alembic before 1.18 reflects them before anybody may say no.
@pytest.mark.filterwarnings("ignore:Did not recognize type")
def test_our_tables_are_nobody_s_to_drop(application: Application) -> None:
    """Failure 13, and more: no table of ours, and no view, is taken for one that is to be dropped or made."""
    chain(application)
    application.options = {"include_schemas": True}

    assert application.differs() == []


def test_entities_that_alembic_utils_installed_are_taken_over(
    application: Application, connect: Connect, empty_url: str
) -> None:
    """What stands and is the same needs no revision; the former text of a change is PostgreSQL's."""
    connect(empty_url).execute(
        "CREATE VIEW public.v AS SELECT id, total FROM orders WHERE total > 5;"
        " CREATE MATERIALIZED VIEW public.m AS SELECT * FROM v"
    )
    application.entities = {
        "public.v": (VIEW, "select id, total from orders where (total > 5)"),
        "public.m": (STORED, "select v.* from v;"),
    }

    same = application.differs()
    application.entities["public.v"] = (VIEW, "select id, total, customer from orders where (total > 6)")
    text = application.change()
    left = application.differs()
    application.downgrade()

    # The first revision brings the engine; there is nothing else to it.
    assert same == [("ledgerviews_engine", 3)]
    assert "op.ledgerviews_engine(version=3, previous=0)" in text
    assert "FROM public.orders" in text
    assert left == []
    assert rows(connect(empty_url), "SELECT * FROM v") == [(1, 10), (2, 20)]


def test_texts_without_aliases_are_printed_as_they_stand(
    application: Application, connect: Connect, empty_url: str
) -> None:
    """Columns that are qualified by a relation's own name, twice in one query, and a repeated alias."""
    texts = {
        "public.base": (VIEW, "SELECT id, total FROM orders"),
        "public.joined": (
            VIEW,
            "SELECT base.id, orders.total FROM public.base JOIN public.orders USING (id)",
        ),
        "public.twice": (
            VIEW,
            "SELECT id FROM public.base WHERE id IN (SELECT base.id + 1 FROM public.base)",
        ),
        "public.same": (VIEW, 'SELECT base.id, base AS whole FROM public.base AS base, joined AS "J"'),
    }
    application.entities = texts
    application.change()
    connect(empty_url).execute("UPDATE ledgerviews.relation SET printed = NULL")

    assert application.differs() == []


def test_a_model_is_renamed(application: Application, connect: Connect, empty_url: str) -> None:
    """Its rows and identity stay, readers follow, and the downgrade takes the former name back."""
    model = {
        "kind": STORED,
        "grain": ["id"],
        "columns": {"id": "The id."},
        "sql": "SELECT o.id FROM public.orders AS o",
        "indexes": ["(id) WHERE id > 1"],
        "grants": {"public": ["SELECT"]},
    }
    application.models = {"old_name": model}
    application.change()
    connection = connect(empty_url)
    oid = rows(connection, "SELECT 'old_name'::regclass::oid")
    application.models = {"new_name": model | {"formerly": "old_name"}}

    found = application.differs()
    application.change()
    renamed = rows(connection, "SELECT 'new_name'::regclass::oid, to_regclass('old_name')")
    left = application.differs()
    application.downgrade()

    assert found == [("ledgerviews_replace", ("rename", "old_name", "new_name"))]
    assert (renamed, left) == ([(*oid[0], None)], [])
    assert rows(connection, "SELECT 'old_name'::regclass::oid") == oid


def test_a_renamed_column_is_followed_there_and_back(
    application: Application, connect: Connect, empty_url: str
) -> None:
    """The revision with the new names can be taken back, and then the rename; triggers know its name."""
    connection = connect(empty_url)
    connection.execute(
        "CREATE TABLE public.sales (id integer, placed_at timestamptz, total numeric);"
        "INSERT INTO public.sales VALUES (1, '2026-01-01', 10), (2, '2026-01-02', 20)"
    )

    def declare(day: str, total: str) -> None:
        application.sources = {
            "sales": {
                "columns": {"id": "integer", day: "timestamptz", total: "number"},
                "day": day,
                "key": "id",
                "day_rows": [f"ledgerviews.in_days(sales.{day}, lo, hi)"],
            }
        }
        application.models["m"] = {
            "kind": STORED,
            "grain": ["day"],
            "day": "day",
            "columns": {"day": "Day.", "total": "Total."},
            "sql": f"SELECT ledgerviews.utc_day(s.{day}) AS day, sum(s.{total}) AS total"
            " FROM public.sales AS s GROUP BY 1",
        }

    application.tables, application.options = {}, {"tables": False}
    declare("placed_at", "total")
    application.change()
    connection.execute("CALL ledgerviews.refresh()")
    connection.execute("ALTER TABLE public.sales RENAME placed_at TO sold_at")
    connection.execute("ALTER TABLE public.sales RENAME total TO amount")
    declare("sold_at", "amount")

    found = application.differs()
    application.change()
    left = application.differs()
    connection.execute("SELECT ledgerviews.track('public.sales', 'none')")
    connection.execute("SELECT ledgerviews.track('public.sales')")
    application.downgrade()
    after = rows(connection, "SELECT day::text, total FROM m ORDER BY day")
    connection.execute("INSERT INTO public.sales VALUES (3, '2026-01-02', 5)")
    connection.execute("CALL ledgerviews.refresh()")
    refreshed = rows(connection, "SELECT day::text, total FROM m ORDER BY day")
    connection.execute("ALTER TABLE public.sales RENAME sold_at TO placed_at")
    connection.execute("ALTER TABLE public.sales RENAME amount TO total")
    connection.execute("UPDATE alembic_version SET version_num = 'r1'")
    (application.folder / "versions" / "r2_change_2.py").unlink()
    declare("placed_at", "total")

    assert found == [("ledgerviews_replace", ("change", "m", "definition"))]
    assert left == []
    assert after == [("2026-01-01", 10), ("2026-01-02", 20)]
    assert refreshed == [("2026-01-01", 10), ("2026-01-02", 25)]
    assert application.differs() == []


def test_refreshes_one_after_the_other_do_not_starve_an_upgrade(
    application: Application, connect: Connect, empty_url: str
) -> None:
    """The scrub of the one that went first is waited for, instead of met again at each attempt."""
    model = {"kind": STORED, "grain": ["id"], "columns": {"id": "The id."}}
    application.models = {"m": model | {"sql": "SELECT o.id FROM public.orders AS o"}}
    application.change()
    connection, refresher = connect(empty_url), connect(empty_url)
    connection.execute("CALL ledgerviews.refresh()")
    slow = "SELECT o.id FROM public.orders AS o WHERE pg_catalog.pg_sleep(1) IS NOT NULL"
    application.models = {"m": model | {"sql": slow}}
    application.revision()
    ended = Event()

    def refresh() -> None:
        while not ended.is_set():
            with refresher.transaction():
                refresher.execute("LOCK TABLE ledgerviews.refresh_lock IN EXCLUSIVE MODE")
            with refresher.transaction():
                refresher.execute("SELECT FROM ledgerviews.relation_state")
                ended.wait(0.5)
                refresher.execute("UPDATE ledgerviews.relation_state SET scrubbed_at = pg_catalog.now()")

    with ThreadPoolExecutor() as pool:
        refreshing = pool.submit(refresh)
        try:
            application.upgrade()
        finally:
            ended.set()
        refreshing.result()

    assert application.differs() == []


def test_a_removed_model_comes_back_with_its_rows(
    application: Application, connect: Connect, empty_url: str
) -> None:
    """The downgrade of the revision that drops it fills it, and says so in its text."""
    connection = connect(empty_url)
    connection.execute("INSERT INTO public.orders (id) VALUES (41), (42)")
    model = {
        "kind": STORED,
        "grain": ["id"],
        "columns": {"id": "The id."},
        "sql": "SELECT o.id FROM public.orders AS o WHERE o.id > 40",
    }
    application.models = {"m": model, "n": model}
    created = application.change()
    connection.execute("CALL ledgerviews.refresh()")
    del application.models["m"]
    application.models["n"] = model | {"sql": f"{model['sql']} AND o.id > 41"}
    dropped = application.change()

    application.downgrade()

    assert "fill=True" not in created
    assert "    op.ledgerviews_replace(views_before, views_after)\n" in dropped
    assert "    op.ledgerviews_replace(views_after, views_before, fill=True)\n" in dropped
    assert rows(connection, "SELECT id FROM m ORDER BY 1") == [(41,), (42,)]
    assert rows(connection, "SELECT id FROM n ORDER BY 1") == [(41,), (42,)]


def test_surroundings_that_are_declared_are_compared_and_brought_about(
    application: Application, connect: Connect, empty_url: str
) -> None:
    """Comments, key, indexes and grants that somebody took off come back; those taken out of the code go."""
    model = {
        "kind": STORED,
        "grain": ["id"],
        "columns": {"id": "The id."},
        "sql": "SELECT o.id FROM public.orders AS o",
        "indexes": ["(id) WHERE id > 1"],
        "grants": {"public": ["SELECT"]},
    }
    application.models = {"m": model}
    application.change()
    connection = connect(empty_url)
    installed = application.differs()
    connection.execute(
        "COMMENT ON COLUMN m.id IS NULL; COMMENT ON MATERIALIZED VIEW m IS 'x';"
        " REVOKE SELECT ON m FROM PUBLIC; DROP INDEX m_key"
    )
    for (name,) in rows(
        connection, "SELECT indexrelid::regclass::text FROM pg_index WHERE indrelid = 'm'::regclass"
    ):
        connection.execute(f"DROP INDEX {name}".encode())

    found = application.differs()
    application.change()
    mended = application.differs()
    application.models = {
        "m": {name: part for name, part in model.items() if name not in {"indexes", "grants"}}
    }
    taken_out = application.differs()
    application.change()

    assert installed == []
    assert found == [
        ("ledgerviews_replace", ("change", "m", "comment", "columns", "unique key", "indexes", "grants"))
    ]
    assert mended == []
    assert taken_out == [("ledgerviews_replace", ("change", "m", "indexes", "grants"))]
    assert application.differs() == []


def test_a_database_behind_head_is_told_by_alembic(application: Application) -> None:
    """The message is Alembic's own."""
    application.entities["public.v"] = (VIEW, "SELECT 1 AS x")
    application.revision()

    with pytest.raises(CommandError, match="not up to date"):
        application.differs()


def test_a_mistake_is_a_line_of_alembic_s(application: Application) -> None:
    """A circle of entities is told by name, not by a traceback."""
    application.entities = {
        "public.a": (VIEW, "SELECT 1 FROM public.b"),
        "public.b": (VIEW, "SELECT 1 FROM public.a"),
    }

    with pytest.raises(CommandError, match="circle"):
        application.differs()
