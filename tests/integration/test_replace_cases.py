"""op.ledgerviews_replace: what is created, removed, renamed, taken over, kept, or refused unchanged."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from ledgerviews.config import Settings
from ledgerviews.errors import DatabaseError, LedgerviewsError
from ledgerviews.schema.replace import script
from tests.replacing import (
    BASE,
    DAILY,
    SHOP,
    SOURCE,
    TOP,
    fingerprint,
    open_shop,
    replace,
    rows,
    true_rows,
    with_amount,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    Connect = Callable[[str], psycopg.Connection]

CHANGED = with_amount("o.amount + 1")
MODELS = {name: spec for name, spec in SHOP.items() if spec["kind"] != "source"}


def renamed(spec: dict[str, Any], old: str, new: str) -> dict[str, Any]:
    """The spec, reading another name."""
    texts = {
        key: spec[key].replace(f"public.{old} ", f"public.{new} ")
        for key in ("definition", "day_definition")
        if key in spec
    }
    return spec | texts | {"reads": [new if name == old else name for name in spec.get("reads", ())]}


def test_created_and_removed(empty_url: str, connect: Connect) -> None:
    """From nothing to all relations, unfilled, and back to nothing at all."""
    connection = connect(empty_url)
    open_shop(connection, empty_url, foreign=False)
    replace(empty_url, SHOP, {})
    empty = fingerprint(connection)

    replace(empty_url, {}, SHOP)
    filled = connection.execute("SELECT bool_or(relispopulated) FROM pg_class WHERE relkind = 'm'").fetchall()
    reasons = connection.execute("SELECT DISTINCT rebuild FROM ledgerviews.relation_state").fetchall()
    connection.execute("CALL ledgerviews.refresh()")
    shown = {name: rows(connection, f"public.{name}") for name in MODELS}
    expected = {name: true_rows(connection, SHOP, name) for name in MODELS}
    replace(empty_url, SHOP, {})

    assert (filled, reasons) == ([(False,)], [("it was never computed",)])
    assert shown == expected
    assert fingerprint(connection) == empty


def test_what_a_downgrade_brings_back_has_its_rows(empty_url: str, connect: Connect) -> None:
    """Marts, by day and plain, with the tracking of their source; but for one that is declared unfilled."""
    connection = connect(empty_url)
    open_shop(connection, empty_url, foreign=False)
    hollow = {
        "kind": "materialized view",
        "definition": "SELECT count(*) AS n FROM public.orders AS o",
        "with_data": False,
    }
    specs = SHOP | {"public.hollow": hollow}
    replace(empty_url, SHOP, specs)
    was = {name: rows(connection, f"public.{name}") for name in MODELS}
    replace(empty_url, specs, {})

    replace(empty_url, {}, specs, fill=True)
    shown = {name: rows(connection, f"public.{name}") for name in MODELS}
    unfilled = connection.execute(
        "SELECT relname FROM pg_class WHERE relkind = 'm' AND NOT relispopulated"
    ).fetchall()
    connection.execute("INSERT INTO public.orders VALUES (9999, 'c1', '2026-01-20 12:00+00', 5)")
    connection.execute("CALL ledgerviews.refresh()")

    assert shown == was
    assert unfilled == [("hollow",)]
    assert rows(connection, "public.top") == true_rows(connection, SHOP, "top")


def test_created_filled(empty_url: str, connect: Connect) -> None:
    """With LEDGERVIEWS_POPULATE new relations are filled at once, and the next refresh is cheap."""
    connection = connect(empty_url)
    open_shop(connection, empty_url, foreign=False)
    replace(empty_url, MODELS, {})
    replace(empty_url, {}, MODELS, populate=True)
    shown = {name: rows(connection, f"public.{name}") for name in MODELS}
    connection.execute("CALL ledgerviews.refresh()")
    scopes = connection.execute(
        "SELECT relation_name, scope FROM ledgerviews.run_relation"
        " WHERE run_id = (SELECT max(run_id) FROM ledgerviews.run) ORDER BY 1"
    ).fetchall()

    assert shown == {name: true_rows(connection, SHOP, name) for name in MODELS}
    assert scopes in ([("daily", "days"), ("top", "none")], [("daily", "none"), ("top", "none")])


def test_removal_stops_at_somebody_else_s(empty_url: str, connect: Connect) -> None:
    """A view of the team on what is removed stops the revision, by name, before anything changes."""
    connection = connect(empty_url)
    open_shop(connection, empty_url)
    was = fingerprint(connection)

    with pytest.raises(
        psycopg.Error, match=r"public\.top cannot be removed: .*team_(view|function).* depends on it; nothing"
    ):
        replace(empty_url, SHOP, {**CHANGED, "public.orders": SOURCE})

    assert fingerprint(connection) == was


def test_a_removed_relation_that_others_read_no_more(empty_url: str, connect: Connect) -> None:
    """One goes in the revision in which those that read it read something else."""
    connection = connect(empty_url)
    open_shop(connection, empty_url, foreign=False)
    direct = TOP | {
        "definition": "SELECT ledgerviews.utc_day(o.placed_at) AS day, count(*) AS orders"
        " FROM public.orders AS o GROUP BY 1",
        "reads": [],
    }
    after = {"top": direct, "public.orders": SOURCE}
    was = fingerprint(connection)

    replace(empty_url, SHOP, after)
    left = connection.execute("SELECT relation_name FROM ledgerviews.relation").fetchall()
    shown = rows(connection, "public.top")
    replace(empty_url, after, SHOP)
    connection.execute("CALL ledgerviews.refresh()")

    assert left == [("top",)]
    assert shown == true_rows(connection, after, "top") == rows(connection, "public.top")
    assert fingerprint(connection) == was


@pytest.mark.parametrize(
    "change",
    [{}, {"comment": "Another."}, {"definition": DAILY["definition"] + "\nHAVING sum(b.amount) > 30"}],
)
def test_renamed(empty_url: str, connect: Connect, change: dict[str, Any]) -> None:
    """A rename, alone or with a change, keeps everything, and what reads it follows; and back."""
    connection = connect(empty_url)
    open_shop(connection, empty_url)
    was = fingerprint(connection)
    file = connection.execute("SELECT pg_relation_filenode('public.daily')").fetchall()
    after = {
        "base": BASE,
        "per_day": DAILY | {"renamed_from": "daily"} | change,
        "top": renamed(TOP, "daily", "per_day"),
        "public.orders": SOURCE,
    }

    replace(empty_url, SHOP, after)
    now = {name: rows(connection, f"public.{name}") for name in ("base", "per_day", "top")}
    expected = {name: true_rows(connection, after, name) for name in now}
    indexes = connection.execute(
        "SELECT relname FROM pg_class WHERE relkind = 'i' AND relname ~ 'daily|per_day' ORDER BY 1"
    ).fetchall()
    names = connection.execute("SELECT relation_name, rollup FROM ledgerviews.relation ORDER BY 1").fetchall()
    same_file = connection.execute("SELECT pg_relation_filenode('public.per_day')").fetchall() == file
    connection.execute("CALL ledgerviews.refresh()")
    scope = connection.execute(
        "SELECT scope FROM ledgerviews.run_relation WHERE relation_name = 'per_day'"
    ).fetchall()
    replace(empty_url, after, SHOP)

    assert now == expected
    assert indexes == [("per_day_key",), ("per_day_rollup_key",)]
    assert names == [("base", None), ("per_day", "per_day_rollup"), ("top", None)]
    assert same_file == ("definition" not in change)
    assert scope in ([("days",)], [("none",)])
    assert fingerprint(connection) == was


@pytest.mark.parametrize("other", ["view", "by key"])
def test_one_without_a_key_is_renamed_and_another_kind(empty_url: str, connect: Connect, other: str) -> None:
    """A name and a kind at once leave no entry behind, nor does the way back."""
    connection = connect(empty_url)
    open_shop(connection, empty_url, foreign=False)
    keyless = TOP | {"unique_key": []}
    before = SHOP | {"top": keyless}
    replace(empty_url, SHOP, {name: one for name, one in SHOP.items() if name != "top"})
    replace(empty_url, {name: one for name, one in SHOP.items() if name != "top"}, before)
    connection.execute("REFRESH MATERIALIZED VIEW public.top")
    was = fingerprint(connection)
    spec = TOP | {"kind": "view", "unique_key": []} if other == "view" else TOP
    after = {name: one for name, one in SHOP.items() if name != "top"} | {
        "summit": spec | {"renamed_from": "top"}
    }

    replace(empty_url, before, after)
    entries = {
        table: connection.execute(f"SELECT relation_name FROM ledgerviews.{table}".encode()).fetchall()
        for table in ("unrefreshed", "relation")
    }
    replace(empty_url, after, before)

    assert entries["unrefreshed"] == []
    assert sorted(name for (name,) in entries["relation"]) == ["base", "daily", "summit"]
    assert fingerprint(connection) == was


def test_names_exchanged(empty_url: str, connect: Connect) -> None:
    """One takes the name of another that is renamed away."""
    connection = connect(empty_url)
    open_shop(connection, empty_url, foreign=False)
    after = {
        "orders_base": BASE | {"renamed_from": "base"},
        "base": BASE | {"definition": "SELECT 1 AS id", "columns": {"id": "One."}},
        "daily": renamed(DAILY, "base", "orders_base"),
        "top": TOP,
        "public.orders": SOURCE,
    }
    replace(empty_url, SHOP, after)

    assert rows(connection, "public.base") == [('{"id": 1}',)]
    assert rows(connection, "public.daily") == true_rows(connection, after, "daily")


def test_taken_over(empty_url: str, connect: Connect) -> None:
    """A relation that stands already is entered where it is the same, and stops the revision otherwise."""
    connection = connect(empty_url)
    open_shop(connection, empty_url, foreign=False)
    connection.execute(
        "CREATE VIEW public.v AS SELECT o.id, o.customer FROM public.orders AS o;"
        "CREATE MATERIALIZED VIEW public.m AS SELECT id, count(*) AS n FROM public.v GROUP BY id;"
        "GRANT SELECT ON public.m TO pg_monitor"
    )
    identities = connection.execute("SELECT 'public.v'::regclass::oid, 'public.m'::regclass::oid").fetchall()
    view = {"kind": "view", "definition": "SELECT o.id, o.customer FROM public.orders o"}
    mart = {
        "kind": "materialized view",
        "definition": "SELECT v.id, count(*) AS n FROM public.v GROUP BY v.id",
        "reads": ["v"],
        "unique_key": ["id"],
        "comment": "M.",
    }
    with pytest.raises(
        psycopg.Error, match=r"public\.v stands already, and is not what this revision creates; nothing"
    ):
        replace(empty_url, {}, {"v": view | {"definition": "SELECT id FROM public.orders"}})
    replace(empty_url, {}, {"v": view, "m": mart})

    assert (
        identities
        == connection.execute("SELECT 'public.v'::regclass::oid, 'public.m'::regclass::oid").fetchall()
    )
    assert connection.execute(
        "SELECT relation_name, unique_key, printed IS NOT NULL FROM ledgerviews.relation"
        " WHERE relation_name IN ('v', 'm') ORDER BY 1"
    ).fetchall() == [("m", ["id"], True), ("v", [], True)]
    assert connection.execute("SELECT indexdef FROM pg_indexes WHERE indexname = 'm_key'").fetchall() == [
        ("CREATE UNIQUE INDEX m_key ON public.m USING btree (id)",)
    ]
    assert connection.execute(
        "SELECT has_table_privilege('pg_monitor', 'public.m', 'SELECT')"
    ).fetchall() == [(True,)]


def test_a_team_s_view_that_cannot_follow(empty_url: str, connect: Connect) -> None:
    """A column that a view of the team reads goes: the revision stops, by that view's name, unchanged."""
    connection = connect(empty_url)
    open_shop(connection, empty_url)
    connection.execute("CREATE VIEW public.team_amounts AS SELECT d.amount FROM public.daily AS d")
    was = fingerprint(connection)
    less = DAILY | {
        "definition": DAILY["definition"].replace(", sum(b.amount)::bigint AS amount", ""),
        "day_definition": DAILY["day_definition"].replace(", sum(b.amount)::bigint AS amount", ""),
        "columns": {name: line for name, line in DAILY["columns"].items() if name != "amount"},
    }

    with pytest.raises(
        psycopg.Error,
        match=r"public\.team_amounts depends on what is replaced and cannot follow:"
        r" column .*amount.* does not exist; nothing",
    ):
        replace(empty_url, SHOP, SHOP | {"daily": less})
    unharmed = fingerprint(connection)
    connection.execute("DROP VIEW public.team_amounts")
    replace(empty_url, SHOP, SHOP | {"daily": less})

    assert unharmed == was
    assert rows(connection, "public.daily") == true_rows(connection, {**SHOP, "daily": less}, "daily")


@pytest.mark.parametrize(
    ("name", "key", "line"),
    [("base", "definition", 4), ("daily", "definition", 4), ("daily", "day_definition", 5)],
)
def test_an_error_has_relation_and_line(
    empty_url: str, connect: Connect, name: str, key: str, line: int
) -> None:
    """A fault in a SELECT is told with the relation and the line of its text."""
    connection = connect(empty_url)
    open_shop(connection, empty_url, foreign=False)
    spec = SHOP[name]
    wrong = spec | {key: spec[key] + "\nHAVING nonsense > 1"}

    with pytest.raises(
        DatabaseError,
        match=rf"^{name} cannot be built: .*nonsense.*\(line {line} of its .*HAVING nonsense > 1\); nothing",
    ):
        replace(empty_url, SHOP, SHOP | {name: wrong})


def test_an_error_while_rows_are_computed(empty_url: str, connect: Connect) -> None:
    """What only fails on rows names the relation, too, and leaves everything as it was."""
    connection = connect(empty_url)
    open_shop(connection, empty_url)
    was = fingerprint(connection)
    wrong = TOP | {"definition": TOP["definition"].replace("sum(d.orders)", "sum(1 / (d.orders - d.orders))")}

    with pytest.raises(
        psycopg.Error, match=r"public\.top cannot be built: division by zero; nothing was changed"
    ):
        replace(empty_url, SHOP, SHOP | {"top": wrong})

    assert fingerprint(connection) == was


@pytest.mark.parametrize("changed", ["the relation", "what it reads"])
def test_days_that_are_not_those_of_the_whole(empty_url: str, connect: Connect, changed: str) -> None:
    """A change that single days do not follow names the row and the day, and leaves everything as it was."""
    connection = connect(empty_url)
    open_shop(connection, empty_url)
    was = fingerprint(connection)
    if changed == "the relation":
        wrong = {"daily": DAILY | {"definition": DAILY["definition"].replace("count(*)", "count(*) + 1")}}
        said = r"^public\.daily cannot be built: it"
    else:
        wrong = {"base": CHANGED["base"]}
        said = r"depends on what is replaced and cannot follow: public\.daily"

    with pytest.raises(
        psycopg.errors.DataException,
        match=said + r" is not the same computed by day: of \d{4}-\d\d-\d\d \d+ rows? differs?,"
        r" the first only where it is computed .+: \{.+\}; nothing was changed",
    ) as refused:
        replace(empty_url, SHOP, SHOP | wrong)

    assert "the day_rows of a source, are not what is declared" in str(refused.value.diag.message_hint)
    assert fingerprint(connection) == was


def test_days_are_compared_by_a_script_too(empty_url: str, connect: Connect) -> None:
    """What `--sql` prints compares as the command does, whatever transaction it is run in."""
    connection = connect(empty_url)
    open_shop(connection, empty_url)
    wrong = {"daily": DAILY | {"definition": DAILY["definition"].replace("count(*)", "count(*) + 1")}}
    text = script(SHOP, SHOP | wrong, settings=Settings())

    with (
        pytest.raises(psycopg.errors.DataException, match="it is not the same computed by day: of "),
        connection.transaction(),
    ):
        connection.execute(text.encode())


def test_a_key_that_is_none(empty_url: str, connect: Connect) -> None:
    """Rows that share what is declared as their key stop the revision before anything changes."""
    connection = connect(empty_url)
    open_shop(connection, empty_url)

    with pytest.raises(psycopg.Error, match=r"public\.daily cannot be built: could not create unique index"):
        replace(empty_url, SHOP, SHOP | {"daily": DAILY | {"unique_key": ["day"]}})


def test_a_circle(empty_url: str, connect: Connect) -> None:
    """Relations that would read each other are refused by name."""
    connection = connect(empty_url)
    open_shop(connection, empty_url, foreign=False)
    circle = BASE | {"definition": BASE["definition"] + ", public.top AS t", "reads": ["top"]}

    with pytest.raises(Exception, match=r"circle: public\.base, public\.daily, public\.top"):
        replace(empty_url, SHOP, SHOP | {"base": circle})


def test_the_order_is_turned_round(empty_url: str, connect: Connect) -> None:
    """Two relations change who reads whom in one revision, and back."""
    connection = connect(empty_url)
    open_shop(connection, empty_url, foreign=False)
    first = {
        "a": {"kind": "view", "definition": "SELECT 1 AS x"},
        "b": {"kind": "view", "definition": "SELECT a.x FROM public.a AS a", "reads": ["a"]},
    }
    second = {
        "a": {"kind": "view", "definition": "SELECT b.x FROM public.b AS b", "reads": ["b"]},
        "b": {"kind": "view", "definition": "SELECT 2 AS x"},
    }
    replace(empty_url, {}, first)
    was = fingerprint(connection)
    replace(empty_url, first, second)
    turned = rows(connection, "public.a")
    replace(empty_url, second, first)

    assert turned == [('{"x": 2}',)]
    assert fingerprint(connection) == was


def test_in_another_schema(empty_url: str, connect: Connect) -> None:
    """Models move to the target schema, and to what is built beside it, as text; literals stay."""
    connection = connect(empty_url)
    open_shop(connection, empty_url, foreign=False)
    connection.execute('CREATE SCHEMA "Of Marts"')
    note = BASE | {
        "definition": "SELECT o.id, 'public.base '::text AS note, o.customer,"
        " ledgerviews.utc_day(o.placed_at) AS day, o.amount FROM public.orders AS o"
    }
    models = MODELS | {"base": note | {"columns": {}}}

    replace(empty_url, {}, models, schema="Of Marts", populate=True)
    replace(empty_url, models, MODELS, schema="Of Marts")
    replace(empty_url, MODELS, models, schema="Of Marts")

    assert connection.execute('SELECT DISTINCT note FROM "Of Marts".base').fetchall() == [("public.base ",)]
    assert rows(connection, '"Of Marts".top') == rows(connection, "public.top")
    assert connection.execute(
        "SELECT body FROM ledgerviews.relation WHERE schema_name <> 'public' AND relation_name = 'top'"
    ).fetchall() == [(TOP["definition"].replace("public.", '"Of Marts".'),)]


def test_texts_as_they_are(empty_url: str, connect: Connect) -> None:
    """Entities with a schema run under the session's search_path, unqualified names and all, in chains."""
    connection = connect(empty_url)
    open_shop(connection, empty_url, foreign=False)
    before = {
        "public.plain": {
            "kind": "view",
            "definition": "select id, customer as name from orders where customer <> ':abc %s'",
        },
        "public.stored": {
            "kind": "materialized view",
            "definition": "select name, count(*) n from plain group by name",
        },
    }
    after = {
        "public.plain": {
            "kind": "view",
            "definition": "select customer as name, id::bigint from orders where amount > 50",
        },
        "public.stored": before["public.stored"],
    }
    replace(empty_url, {}, before, populate=True)
    connection.execute("CREATE INDEX by_hand ON stored (n); GRANT SELECT (n) ON stored TO pg_monitor")
    was = fingerprint(connection)
    replace(empty_url, before, after)
    wrong = connection.execute(
        "SELECT sum(n) <> (SELECT count(*) FROM orders WHERE amount > 50) FROM stored"
    ).fetchall()
    replace(empty_url, after, before)

    assert wrong == [(False,)]
    assert fingerprint(connection) == was


def test_kept_until_the_next(empty_url: str, connect: Connect) -> None:
    """With LEDGERVIEWS_KEEP_REPLACED what was replaced stays readable until the next replacement."""
    connection = connect(empty_url)
    open_shop(connection, empty_url)
    was = rows(connection, "public.daily")
    schema = "ledgerviews_old_" + connection.execute("SELECT left(md5('public'), 8)").fetchall()[0][0]

    replace(empty_url, SHOP, SHOP | CHANGED, keep_replaced=True)
    kept = rows(connection, f"{schema}.daily")
    replace(empty_url, SHOP | CHANGED, SHOP)

    assert kept == was
    assert rows(connection, "public.daily") == was
    assert (
        connection.execute("SELECT FROM pg_namespace WHERE nspname LIKE 'ledgerviews\\_%'").fetchall() == []
    )


@pytest.mark.parametrize("tracking", ["closed days", "every write", "none"])
def test_sources_come_change_and_go(empty_url: str, connect: Connect, tracking: str) -> None:
    """A source that is added, declared otherwise, and removed: each refresh after it is exact."""
    connection = connect(empty_url)
    open_shop(connection, empty_url, foreign=False)
    connection.execute(
        "CREATE TABLE public.returns (id int, back_at timestamptz NOT NULL, other_at timestamptz NOT NULL);"
        "INSERT INTO public.returns SELECT n, timestamptz '2026-02-01 10:00+00' + n % 9 * interval '1 day',"
        " timestamptz '2026-03-01 10:00+00' FROM generate_series(1, 50) AS n"
    )
    union = " UNION ALL SELECT ledgerviews.utc_day(r.back_at), 'returned', 0 FROM public.returns AS r"
    more = DAILY | {
        "definition": DAILY["definition"].replace(
            "public.base AS b", f"(SELECT b.day, b.customer, b.amount FROM public.base AS b{union}) AS b"
        ),
        "day_definition": DAILY["day_definition"].replace(
            ", $1, $2)) AS b", f", $1, $2){union} WHERE ledgerviews.in_days(r.back_at, $1, $2)) AS b"
        ),
        "sources": ["public.orders", "public.returns"],
    }
    returns = {"kind": "source", "schema": "public", "name": "returns", "day": "back_at"}
    shops = [SHOP, SHOP | {"daily": more, "public.returns": returns}]
    shops += [shops[1] | {"public.returns": returns | {"day": "other_at"}}, shops[1], SHOP]
    found = []
    for before, after in pairwise(shops):
        replace(empty_url, before, after, tracking=tracking)
        connection.execute(
            "INSERT INTO public.returns VALUES (100, '2026-02-03 10:00+00', '2026-02-04 10:00+00')"
        )
        connection.execute(
            "INSERT INTO public.orders SELECT max(id) + 1, 'c1', '2026-01-03 10:00+00', 3 FROM public.orders"
        )
        if after is not shops[2]:
            connection.execute("CALL ledgerviews.refresh()")
            found.append(rows(connection, "public.daily") == true_rows(connection, after, "daily"))
    triggers = connection.execute(
        "SELECT tgrelid::regclass::text, count(*) FROM pg_trigger WHERE tgname ~ '^ledgerviews_' GROUP BY 1"
    ).fetchall()

    assert found == [True, True, True]
    assert triggers == [("orders", 3)]


def test_dropped_by_hand(empty_url: str, connect: Connect) -> None:
    """What somebody dropped comes back with the revision that replaces it."""
    connection = connect(empty_url)
    open_shop(connection, empty_url, foreign=False)
    connection.execute("DROP MATERIALIZED VIEW public.top")

    replace(empty_url, SHOP, SHOP | {"top": TOP | {"comment": "Back."}})
    connection.execute("CALL ledgerviews.refresh()")

    assert rows(connection, "public.top") == true_rows(connection, SHOP, "top")


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        ({}, {"base": {"definition": "SELECT 1 AS x"}}, "The spec of base in views_after has no 'kind';"),
        ({}, {"base": {"kind": "view"}}, "The spec of base in views_after has no 'definition';"),
        ({"base": {}}, {}, "The spec of base in views_before has no 'kind';"),
        ({}, {"base": BASE | {"kind": "table"}}, "The spec of base in views_after has the kind 'table';"),
        ({}, {"public.orders": {"kind": "source"}}, "The spec of public.orders in views_after has no 'day';"),
        (
            {},
            {"daily": {name: part for name, part in DAILY.items() if name != "day_definition"}},
            "The spec of daily in views_after has no 'day_definition';",
        ),
    ],
)
def test_a_spec_that_lacks_something_is_told(
    empty_url: str, connect: Connect, before: Any, after: Any, told: str
) -> None:
    """The relation and the key are named, and nothing has changed."""
    connection = connect(empty_url)
    open_shop(connection, empty_url, foreign=False)
    was = fingerprint(connection)

    with pytest.raises(LedgerviewsError, match=told) as caught:
        replace(empty_url, before, after)

    assert "nothing was changed." in caught.value.message
    assert caught.value.hint
    assert fingerprint(connection) == was
