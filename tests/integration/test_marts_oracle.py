"""The published relations hold what the specification says, whatever stands in the application's tables."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from psycopg import sql

from ledgerviews.models import demo
from tests import oracle
from tests.histories import SESSION_ZONES, History, awkward_json, histories, insert, lift_constraints

if TYPE_CHECKING:
    from collections.abc import Callable

    import psycopg

random_histories = settings(
    max_examples=30,
    deadline=None,  # a refresh takes as long as the server needs
    print_blob=True,
    # Every example replaces all rows of the one database, so examples do not see each other.
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@given(history=histories("current"), zone=st.sampled_from(SESSION_ZONES))
@random_histories
def test_current_tables_give_the_oracles_rows(
    installed_url: str, connect: Callable[[str], psycopg.Connection], history: History, zone: str
) -> None:
    """Every row of all four relations is the oracle's, over jsonb, text actions and timestamptz."""
    with connect(installed_url) as connection:
        published = _published(connection, history, zone)

    assert published == _expected(history)


@given(history=histories("older"), zone=st.sampled_from(SESSION_ZONES))
@example(history=awkward_json(), zone="UTC")
@random_histories
def test_older_tables_give_the_oracles_rows(
    older_installed_url: str, connect: Callable[[str], psycopg.Connection], history: History, zone: str
) -> None:
    """Every row of all four relations is the oracle's, over json, enum actions and timestamp."""
    with connect(older_installed_url) as connection:
        published = _published(connection, history, zone)

    assert published == _expected(history)


@pytest.mark.parametrize("database", ["installed_url", "older_installed_url"])
def test_the_twelve_reference_events_give_the_stated_figures(
    server: object,
    request: pytest.FixtureRequest,
    connect: Callable[[str], psycopg.Connection],
    database: str,
) -> None:
    """Twelve events with four accepts and four rejects give exactly the figures of the specification."""
    connection = connect(request.getfixturevalue(database))
    demo.reference_rows(connection)
    connection.execute("CALL ledgerviews.refresh()")
    day = date(2025, 11, 4)

    assert _rows(connection, "mart_suggestions_kpis")[0][:6] == (day, 12, 0, 0, 1.0, 0.5)
    assert _rows(connection, "mart_suggestions_feedback_daily") == [
        (day, "auto", "heuristic@v1", 12, 4, 4, 0, 0.5, 0, 0)
    ]
    assert _rows(connection, "mart_suggestions_daily") == [
        (day, "auto", "heuristic@v1", 12, 1.0, 12, 12, 12, 0, 0, 12)
    ]


def _expected(history: History) -> dict[str, list[Any]]:
    return {
        "stg_suggestion_events": [row._replace(candidates=None) for row in oracle.staging(history.events)],
        "mart_suggestions_daily": oracle.daily(history.events),
        "mart_suggestions_feedback_daily": oracle.feedback_daily(history.events, history.feedback),
        "mart_suggestions_kpis": oracle.kpis(history.events, history.feedback),
    }


def _published(connection: psycopg.Connection, history: History, zone: str) -> dict[str, list[Any]]:
    """Insert a history, refresh and read under a TimeZone; candidates, which pass through, are None."""
    lift_constraints(connection)
    connection.execute("SELECT set_config('TimeZone', %s, false)", [zone])
    insert(connection, history)
    connection.execute("CALL ledgerviews.refresh()")
    staged = connection.execute(
        "SELECT event_id, txn_id, model_id, features_hash, NULL, mode, CASE WHEN created_at >= '0001-01-01' "
        "AND created_at < '10000-01-01' THEN created_at END, created_date, candidate_count, top_confidence, "
        "top_label, effective_mode FROM public.stg_suggestion_events"
    )
    marts = ("mart_suggestions_daily", "mart_suggestions_feedback_daily", "mart_suggestions_kpis")
    return {"stg_suggestion_events": sorted(staged.fetchall())} | {
        mart: _rows(connection, mart) for mart in marts
    }


def _rows(connection: psycopg.Connection, relation: str) -> list[Any]:
    query = sql.SQL("SELECT * FROM {}").format(sql.Identifier("public", relation))
    return sorted(connection.execute(query).fetchall())
