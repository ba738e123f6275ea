"""A model narrowed to some days gives exactly the rows of these days, whatever stands in the tables."""

from __future__ import annotations

from datetime import date, timedelta
from typing import TYPE_CHECKING, Any, LiteralString

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ledgerviews.catalog import load
from ledgerviews.schema.day_range import compose
from tests import oracle
from tests.histories import SESSION_ZONES, History, histories, insert, lift_constraints

if TYPE_CHECKING:
    from collections.abc import Callable

    import psycopg

    Connect = Callable[[str], psycopg.Connection]

CATALOG = load("ledgerviews.models")
COMPOSED = {
    name: compose(CATALOG, name, lo="{lo}", hi="{hi}") for name, model in CATALOG.models.items() if model.day
}

random_histories = settings(
    max_examples=20,
    deadline=None,
    print_blob=True,
    # Every example replaces all rows of the one database, so examples do not see each other.
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


def literal(text: str) -> LiteralString:
    """The text, which this test composed itself, for a driver that takes literals only."""
    return text


def narrowed(connection: psycopg.Connection, name: str, lo: date, hi: date | None) -> list[Any]:
    """Rows of a model from lo up to hi, or to the end of time."""
    last = hi.isoformat() if hi else "10000-01-01"
    select = COMPOSED[name].replace("{lo}", f"date '{lo.isoformat()}'").replace("{hi}", f"date '{last}'")
    return sorted(connection.execute(literal(select)).fetchall())


def expected(history: History) -> dict[str, list[Any]]:
    """The oracle's rows of each model that has days."""
    return {
        "mart_suggestions_daily": oracle.daily(history.events),
        "mart_suggestions_feedback_daily": oracle.feedback_daily(history.events, history.feedback),
    }


@pytest.mark.parametrize("form", ["current", "older"])
@given(data=st.data())
@random_histories
def test_each_day_and_each_range_is_the_oracles(
    installed_url: str, older_installed_url: str, connect: Connect, form: str, data: st.DataObject
) -> None:
    """Every single day, a range between two of them, and all time at once hold the oracle's rows."""
    history = data.draw(histories(form))
    bounds = data.draw(st.lists(st.dates(), min_size=2, max_size=2).map(sorted))
    with connect(installed_url if form == "current" else older_installed_url) as connection:
        lift_constraints(connection)
        zone = data.draw(st.sampled_from(SESSION_ZONES))
        connection.execute("SELECT set_config('TimeZone', %s, false)", [zone])
        insert(connection, history)
        for name, rows in expected(history).items():
            days = {row[0] for row in rows} | {date(1, 1, 1)}
            for day in days:
                following = day + timedelta(days=1) if day < date.max else None

                assert narrowed(connection, name, day, following) == [row for row in rows if row[0] == day]

            lo, hi = bounds
            assert narrowed(connection, name, lo, hi) == [row for row in rows if lo <= row[0] < hi]
            assert narrowed(connection, name, date.min, None) == rows


def test_both_daily_marts_have_days() -> None:
    """The test above speaks of every model that is computed by day."""
    assert sorted(COMPOSED) == sorted(expected(History(events=[], feedback=[])))


@pytest.mark.parametrize("name", COMPOSED)
def test_an_index_on_the_raw_column_serves(installed_url: str, connect: Connect, name: str) -> None:
    """With the days as parameters of a plan, the events of a day come from the index on created_at."""
    connection = connect(installed_url)
    connection.execute(
        """INSERT INTO public.transactions (id, user_id, date, amount, month)
           VALUES (1, 1, '2026-01-01', 1, '2026-01');
           INSERT INTO public.suggestion_events (id, txn_id, candidates, mode, created_at)
           SELECT gen_random_uuid(), 1, '[]', 'auto', timestamp '2026-01-01' + i * interval '1 minute'
           FROM generate_series(1, 20000) AS i;
           ANALYZE public.suggestion_events;
           SET plan_cache_mode = force_generic_plan"""
    )
    select = compose(CATALOG, name, lo="$1", hi="$2")
    connection.execute(literal(f"PREPARE narrowed (date, date) AS {select}"))

    plan = "\n".join(
        row[0]
        for row in connection.execute("EXPLAIN (COSTS OFF) EXECUTE narrowed ('2026-01-03', '2026-01-04')")
    )

    assert "Bitmap Index Scan on ix_suggestion_events_created_at" in plan, plan
    assert "Seq Scan on suggestion_events" not in plan, plan
