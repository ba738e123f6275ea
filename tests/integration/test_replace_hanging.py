"""op.ledgerviews_replace: what hangs on relations is carried over, or stops it by its name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from psycopg import sql

from tests.integration.test_roles import roles  # noqa: F401 (a fixture)
from tests.replacing import (
    BASE,
    DAILY,
    SHOP,
    fingerprint,
    open_shop,
    replace,
    rows,
    with_amount,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.integration.test_roles import Roles

    Connect = Callable[[str], psycopg.Connection]

CHANGED = SHOP | with_amount("o.amount * 2")
MISPRINTED = """
SELECT relation_name FROM ledgerviews.relation
WHERE printed IS DISTINCT FROM ledgerviews.printed(schema_name, relation_name)
    OR printed_days IS DISTINCT FROM ledgerviews.printed_days(schema_name, relation_name)
"""
TWO: dict[str, Any] = {"kind": "view", "definition": "SELECT 1 AS a, 2 AS b"}
ONE: dict[str, Any] = {"kind": "view", "definition": "SELECT 1 AS a"}


def test_a_rule_on_a_column_that_goes(empty_url: str, connect: Connect) -> None:
    """A rule that reads a column which the view loses stops the revision, with the names of all three."""
    connection = connect(empty_url)
    open_shop(connection, empty_url, foreign=False)
    replace(empty_url, {}, {"v": TWO})
    connection.execute(
        "CREATE RULE r AS ON DELETE TO public.v DO INSTEAD"
        " INSERT INTO public.orders SELECT old.a, 'x', now(), 1 WHERE old.b IS NOT NULL"
    )
    was = fingerprint(connection)

    with pytest.raises(
        psycopg.Error,
        match=r"^public\.v cannot be built: its rule r: it needs the column b, which is gone; nothing was",
    ):
        replace(empty_url, {"v": TWO}, {"v": ONE})
    unharmed = fingerprint(connection)
    replace(empty_url, {"v": TWO}, {"v": TWO | {"definition": "SELECT 1::bigint AS a, 2 AS b"}})

    assert unharmed == was
    assert connection.execute("SELECT rulename FROM pg_rules WHERE tablename = 'v'").fetchall() == [("r",)]


def test_a_key_without_its_column(empty_url: str, connect: Connect) -> None:
    """A declared key of a column that the SELECT lacks is told with the relation."""
    connection = connect(empty_url)
    open_shop(connection, empty_url, foreign=False)
    wrong = {"kind": "materialized view", "definition": "SELECT 1 AS a", "unique_key": ["b"]}

    with pytest.raises(psycopg.Error, match=r"^public\.m cannot be built: .*\"b\".*; nothing was changed"):
        replace(empty_url, {}, {"m": wrong})


def test_grants_of_a_grantee(empty_url: str, connect: Connect) -> None:
    """What somebody granted who only had it WITH GRANT OPTION is granted again, by the same."""
    connection = connect(empty_url)
    open_shop(connection, empty_url)
    connection.execute(
        "SET ROLE pg_monitor; GRANT SELECT ON public.daily TO pg_read_all_settings; RESET ROLE;"
        "GRANT SELECT (customer) ON public.daily TO PUBLIC;"
        "GRANT EXECUTE ON FUNCTION public.team_function TO pg_monitor WITH GRANT OPTION;"
        "SET ROLE pg_monitor;"
        "GRANT EXECUTE ON FUNCTION public.team_function TO pg_read_all_settings; RESET ROLE"
    )
    was = fingerprint(connection)

    replace(empty_url, SHOP, CHANGED)
    replace(empty_url, CHANGED, SHOP)

    assert "pg_read_all_settings=r/pg_monitor" in str(was)
    assert fingerprint(connection) == was


def test_a_superuser_s_statistics(roles: Roles) -> None:  # noqa: F811
    """What hangs on a relation and cannot be given to its owner stops the revision, by both names."""
    url = roles.urls["owner"]
    mart = {"kind": "materialized view", "definition": "SELECT 1 AS a, 2 AS b", "unique_key": ["a"]}
    changed = mart | {"definition": "SELECT 2 AS a, 2 AS b"}
    replace(url, {}, {"m": mart}, populate=True)
    roles.superuser.execute("CREATE STATISTICS public.theirs ON a, b FROM public.m")

    with pytest.raises(
        psycopg.Error,
        match=r"^public\.m cannot be built: its statistics public\.theirs: must be .*; nothing was changed",
    ):
        replace(url, {"m": mart}, {"m": changed})
    roles.superuser.execute("DROP STATISTICS public.theirs")
    replace(url, {"m": mart}, {"m": changed})

    assert roles.superuser.execute("SELECT a FROM public.m").fetchall() == [(2,)]


@pytest.mark.parametrize("name", ["it's f", "back\\f", 'a "quoted" f'])
@pytest.mark.parametrize("column", ["o.amount + 1", "o.amount::bigint"])
def test_functions_with_names_of_all_kinds(empty_url: str, connect: Connect, name: str, column: str) -> None:
    """A function keeps its grants, and PUBLIC gets none, however it is called; its comment may name it."""
    connection = connect(empty_url)
    open_shop(connection, empty_url, foreign=False)
    overloaded = f"public.{sql.Identifier(name).as_string(connection)}(int, date)"
    quoted = f"public.{sql.Identifier(name).as_string(connection)}(date)"
    text = sql.Literal(f"That is {quoted}.").as_string(connection)
    connection.execute(
        f"CREATE FUNCTION {quoted.replace('date', 'd date')} RETURNS SETOF public.base LANGUAGE sql STABLE"
        " BEGIN ATOMIC SELECT b.* FROM public.base AS b WHERE b.day = d; END;"
        f"CREATE FUNCTION {overloaded} RETURNS bigint LANGUAGE sql STABLE"
        " BEGIN ATOMIC SELECT count(*) FROM public.daily; END;"
        f"REVOKE ALL ON FUNCTION {quoted} FROM PUBLIC; GRANT EXECUTE ON FUNCTION {quoted} TO pg_monitor;"
        f"REVOKE ALL ON FUNCTION {overloaded} FROM PUBLIC;"
        f"GRANT EXECUTE ON FUNCTION {overloaded} TO pg_monitor;"
        f"COMMENT ON FUNCTION {quoted} IS {text}".encode()
    )
    was = fingerprint(connection)
    after = SHOP | with_amount(column)

    replace(empty_url, SHOP, after)
    public = connection.execute(
        "SELECT proacl::text FROM pg_proc WHERE pronamespace = 'public'::regnamespace"
    ).fetchall()
    replace(empty_url, after, SHOP)

    assert len(public) == 2
    assert not any("{=X" in acl or ",=X" in acl for (acl,) in public)
    assert fingerprint(connection) == was


def test_printed_after_a_rename(empty_url: str, connect: Connect) -> None:
    """What is noted as printed of those that read a renamed relation is what stands, named here or not."""
    connection = connect(empty_url)
    open_shop(connection, empty_url, foreign=False)
    before: dict[str, dict[str, Any]] = {
        "a": {"kind": "view", "definition": "SELECT 1 AS x, 2 AS y"},
        "v": {
            "kind": "view",
            "definition": "SELECT a.x, c.y FROM public.a CROSS JOIN public.a AS c",
            "reads": ["a"],
        },
        "w": {
            "kind": "view",
            "definition": "SELECT v.x, t.y FROM public.v, public.a AS t",
            "reads": ["a", "v"],
        },
    }
    after = {
        "b": before["a"] | {"renamed_from": "a"},
        "v": {
            "kind": "view",
            "definition": "SELECT c.y, b.x FROM public.b CROSS JOIN public.b AS c",
            "reads": ["b"],
        },
    }
    replace(empty_url, {}, before)
    named = {name: before[name] for name in ("a", "v")}
    replace(empty_url, named, after)
    misprinted = connection.execute(MISPRINTED).fetchall()
    replace(empty_url, after, named)
    retyped = after | {"b": after["b"] | {"definition": "SELECT 1::bigint AS x, 2 AS y"}}
    replace(empty_url, named, retyped)
    misprinted += connection.execute(MISPRINTED).fetchall()
    replace(empty_url, retyped, named)
    daily = {name: spec for name, spec in SHOP.items() if name in ("base", "daily", "public.orders")}
    other = (
        daily
        | {"other_base": BASE | {"renamed_from": "base"}}
        | {
            "daily": DAILY
            | {
                key: DAILY[key].replace("public.base ", "public.other_base ")
                for key in ("definition", "day_definition")
            }
            | {"reads": ["other_base"]}
        }
    )
    del other["base"]
    replace(empty_url, daily, other)

    assert misprinted == []
    assert connection.execute(MISPRINTED).fetchall() == []


@pytest.mark.parametrize("keep", [False, True])
def test_statistics_of_another_schema(empty_url: str, connect: Connect, keep: bool) -> None:
    """Statistics objects stay in their schemas, two of one name and those of a rollup included."""
    connection = connect(empty_url)
    open_shop(connection, empty_url)
    connection.execute(
        "CREATE SCHEMA other;"
        "CREATE STATISTICS other.by_hand_statistics (ndistinct) ON day, amount FROM public.daily;"
        "COMMENT ON STATISTICS other.by_hand_statistics IS 'Other.';"
        "CREATE STATISTICS other.of_rollup ON day, amount FROM ledgerviews.daily_rollup;"
        "CREATE STATISTICS ledgerviews.of_mart ON day, orders FROM public.daily"
    )
    query = (
        "SELECT pg_get_statisticsobjdef(oid), obj_description(oid, 'pg_statistic_ext') FROM pg_statistic_ext"
        " WHERE stxnamespace::regnamespace::text !~ '_old_' ORDER BY 1"
    )
    was = connection.execute(query).fetchall()
    standing = fingerprint(connection)
    daily = rows(connection, "public.daily")
    replace(empty_url, SHOP, CHANGED, keep_replaced=keep)
    now = connection.execute(query).fetchall()
    replace(empty_url, CHANGED, SHOP)

    assert len(was) == 4
    assert now == was
    assert fingerprint(connection) == standing
    assert rows(connection, "public.daily") == daily


def test_one_without_a_key_is_filled_beside(empty_url: str, connect: Connect) -> None:
    """A new entity without a key is filled before the exchange, and what it reads is filled for it."""
    connection = connect(empty_url)
    open_shop(connection, empty_url, foreign=False)
    stored = {
        "kind": "materialized view",
        # Whether somebody already waits for what is replaced while this is computed.
        "definition": "SELECT count(*) AS n, (SELECT count(*) FROM pg_locks AS k JOIN pg_class AS c"
        " ON c.oid = k.relation WHERE k.mode = 'AccessExclusiveLock' AND c.relname = 'top'"
        " AND c.relnamespace::regnamespace::text = 'public') AS locks FROM public.fresh",
    }
    more = {
        "fresh": {
            "kind": "materialized view",
            "definition": "SELECT DISTINCT d.day FROM public.daily AS d",
            "reads": ["daily"],
            "unique_key": ["day"],
        }
    }
    replace(empty_url, SHOP, CHANGED | more | {"public.stored": stored})
    unfilled = {"public.unfilled": stored | {"with_data": False}}
    replace(empty_url, {}, unfilled)

    assert connection.execute("SELECT n, locks FROM public.stored").fetchall() == [(40, 0)]
    assert connection.execute(
        "SELECT relispopulated FROM pg_class WHERE oid = 'public.unfilled'::regclass"
    ).fetchall() == [(False,)]


def test_what_was_made_meanwhile_stops_it(empty_url: str, connect: Connect) -> None:
    """A view that nobody saw when the build began keeps the old relation from going, by name, kept or not."""
    connection = connect(empty_url)
    open_shop(connection, empty_url, foreign=False)
    connection.execute("CREATE VIEW public.late AS SELECT t.day FROM public.top AS t")

    connection.execute(
        "INSERT INTO ledgerviews.member (key, schema_name, name, kind, old, old_name)"
        " VALUES ('top', 'public', 'top', 'materialized view', 'public.top'::regclass, 'public.top')"
    )
    with pytest.raises(
        psycopg.errors.DependentObjectsStillExist, match=r"made on public\.top while"
    ) as caught:
        connection.execute("SELECT ledgerviews.drop_old(m) FROM ledgerviews.member AS m")

    assert "late" in str(caught.value.diag.message_detail)


def test_no_function_holds_the_catalogs_columns(empty_url: str, connect: Connect) -> None:
    """A dump restores into a later version, with other columns in its catalogs: no atomic body lists them."""
    connection = connect(empty_url)
    open_shop(connection, empty_url, foreign=False)

    found = connection.execute(
        "SELECT p.oid::regprocedure::text FROM pg_proc AS p"
        " WHERE p.pronamespace = 'ledgerviews'::regnamespace"
        " AND pg_get_function_sqlbody(p.oid) ~ 'attcacheoff|indcheckxmin|relminmxid|prosqlbody|stxkeys'"
    ).fetchall()

    assert found == []


def test_printed_of_what_is_carried_along(empty_url: str, connect: Connect) -> None:
    """A relation that no revision names is noted as it is printed now, where the type below it changed."""
    connection = connect(empty_url)
    open_shop(connection, empty_url, foreign=False)
    below = {"kind": "view", "definition": "SELECT 1::bigint AS a"}
    before: dict[str, dict[str, Any]] = {
        "below": below,
        "above": {
            "kind": "view",
            "definition": "SELECT CASE WHEN t.a > 3 THEN 1 END AS b FROM public.below AS t",
            "reads": ["below"],
        },
    }
    replace(empty_url, {}, before)

    replace(empty_url, {"below": below}, {"below": below | {"definition": "SELECT 1::numeric(14,2) AS a"}})

    ((noted, printed),) = connection.execute(
        "SELECT printed, ledgerviews.printed(schema_name, relation_name)"
        " FROM ledgerviews.relation WHERE relation_name = 'above'"
    ).fetchall()
    assert "numeric" in printed
    assert noted == printed
