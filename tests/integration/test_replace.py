"""op.ledgerviews_replace: relations change, whatever reads them, and nothing that hangs on them is lost."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.replacing import (
    BASE,
    DAILY,
    SHOP,
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

    import psycopg

    Connect = Callable[[str], psycopg.Connection]

OTHER_TYPE = BASE | {"definition": BASE["definition"].replace("o.amount\n", "o.amount::bigint AS amount\n")}
APPENDED = BASE | {"definition": BASE["definition"].replace("o.amount\n", "o.amount, 1 AS one\n")}

MISPRINTED = """
SELECT relation_name FROM ledgerviews.relation
WHERE printed IS DISTINCT FROM ledgerviews.printed(schema_name, relation_name)
    OR printed_days IS DISTINCT FROM ledgerviews.printed_days(schema_name, relation_name)
    OR body IS NULL OR (rollup IS NOT NULL AND day_body IS NULL)
"""


def scopes(connection: psycopg.Connection) -> dict[str, tuple[str, str]]:
    """What the last run recomputed, and why."""
    return {
        name: (scope, reason)
        for name, scope, reason in connection.execute(
            "SELECT relation_name, scope, reason FROM ledgerviews.run_relation"
            " WHERE run_id = (SELECT max(run_id) FROM ledgerviews.run)"
        ).fetchall()
    }


@pytest.mark.parametrize(
    "change",
    [
        with_amount("o.amount + 1"),
        {"base": OTHER_TYPE},
        {"base": APPENDED},
        {"daily": DAILY | {"definition": DAILY["definition"] + "\nHAVING sum(b.amount) > 40"}},
        {
            "daily": DAILY
            | {
                "definition": DAILY["definition"] + "\nHAVING sum(b.amount) > 40",
                "day_definition": DAILY["day_definition"] + "\nHAVING sum(b.amount) > 40",
            }
        },
        {"daily": DAILY | {"day_definition": DAILY["day_definition"] + "\nHAVING count(*) > 0"}},
        {
            "daily": {
                name: value
                for name, value in DAILY.items()
                if not name.startswith("day") and name != "sources"
            }
        },
        {"daily": DAILY | {"unique_key": ["customer", "day"]}},
        {"top": TOP | {"definition": TOP["definition"].replace("sum(d.orders)", "1 + sum(d.orders)")}},
        {"base": OTHER_TYPE, "top": TOP | {"definition": TOP["definition"] + "\nHAVING sum(d.orders) > 3"}},
        {"top": {"kind": "view", "definition": TOP["definition"], "reads": ["daily"]}},
        {"base": BASE | {"kind": "materialized view", "unique_key": ["id"]}},
        {"daily": DAILY | {"comment": "Another.", "columns": DAILY["columns"] | {"day": "Another."}}},
        {
            "daily": DAILY
            | {"checks": [{"name": "other", "kind": "not_null", "columns": ["day"], "severity": "warn"}]}
        },
        {"daily": DAILY | {"indexes": ["(amount, day)", "USING brin (day)", "UNIQUE (customer, day)"]}},
        {
            "base": BASE
            | {
                "options": {"security_invoker": "true"},
                "grants": {"pg_read_all_settings": ["SELECT", "INSERT"]},
            }
        },
    ],
    ids=[
        "view",
        "view_of_another_type",
        "view_with_a_column_more",
        "by_day",
        "by_day_both",
        "day_rows",
        "no_longer_by_day",
        "key",
        "materialized_view",
        "chain",
        "becomes_a_view",
        "becomes_a_materialized_view",
        "comments",
        "checks",
        "indexes",
        "options_and_grants",
    ],
)
def test_up_and_down_again(empty_url: str, connect: Connect, change: dict[str, Any]) -> None:
    """Whatever changes, all relations show the new definition's rows, and the way back leaves no trace."""
    connection = connect(empty_url)
    open_shop(connection, empty_url)
    before, after = dict(SHOP), SHOP | change
    was, data = (
        fingerprint(connection),
        {
            name: rows(connection, f"public.{name}")
            for name in ("base", "daily", "top", "team_mart", "team_upper")
        },
    )

    replace(empty_url, before, after)
    now = {name: rows(connection, f"public.{name}") for name in ("base", "daily", "top")}
    expected = {name: true_rows(connection, after, name) for name in now}
    twice = connection.execute(
        "SELECT sum(twice) = 2 * (SELECT sum(orders) FROM top) FROM team_mart"
    ).fetchall()
    followed = connection.execute("SELECT bool_and(team_function(day) = orders) FROM top").fetchall()
    changed = fingerprint(connection)
    misprinted = connection.execute(MISPRINTED).fetchall()
    replace(empty_url, before, after)
    again = fingerprint(connection)
    connection.execute("CALL ledgerviews.refresh()")
    recomputed = scopes(connection)
    replace(empty_url, after, before)

    assert now == expected
    assert misprinted == []
    assert (twice, followed) == ([(True,)], [(True,)])
    assert changed != was
    assert again == changed
    if after["daily"].get("day"):
        assert recomputed["daily"][0] in {"none", "days"}, recomputed
    lost, gained = _differences(was, fingerprint(connection))
    if not after["daily"].get("day"):
        # What hung on the parts of a rollup went with them.
        lost = [line for line in lost if "daily_rollup" not in str(line[2])]
        gained = [line for line in gained if "daily_rollup" not in str(line[2])]
    assert (lost, gained) == ([], [])
    assert {name: rows(connection, f"public.{name}") for name in data} == data


def _differences(first: list[Any], second: list[Any]) -> tuple[list[Any], list[Any]]:
    return [line for line in first if line not in second], [line for line in second if line not in first]
