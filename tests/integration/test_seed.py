"""The made-up history is the same each time, fits both forms of the tables, and looks like life."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING, Any

import pytest

from ledgerviews.errors import UsageError
from ledgerviews.models import demo

if TYPE_CHECKING:
    from collections.abc import Callable

    import psycopg

FILLED = ("transactions", "suggestion_events", "suggestion_feedback", "model_registry", "tenants")
UNTIL = date(2025, 11, 30)


def _seed(connection: psycopg.Connection, *, events: int = 3000, seed: int = 7) -> dict[str, int]:
    return demo.seed(connection, events=events, days=84, seed=seed, until=UNTIL)


def _all(connection: psycopg.Connection, query: str) -> list[tuple[Any, ...]]:
    return connection.execute(query.encode()).fetchall()


def _one(connection: psycopg.Connection, query: str) -> Any:
    return _all(connection, query)[0][0]


def _counts(connection: psycopg.Connection) -> dict[str, int]:
    return {table: _one(connection, f"SELECT count(*) FROM public.{table}") for table in FILLED}


def _digest(connection: psycopg.Connection) -> list[str]:
    return [
        _one(
            connection, f"SELECT md5(string_agg(t::text, chr(10) ORDER BY t::text)) FROM public.{table} AS t"
        )
        for table in FILLED
    ]


@pytest.fixture(params=["application_url", "older_application_url"])
def either(
    server: object, request: pytest.FixtureRequest, connect: Callable[[str], psycopg.Connection]
) -> psycopg.Connection:
    """A connection to the application's tables in each of their forms."""
    return connect(request.getfixturevalue(request.param))


def test_the_same_seed_gives_the_same_rows(either: psycopg.Connection) -> None:
    """Every column of every row is the same the next time, and another seed gives others."""
    digests = []
    for seed in (7, 7, 8):
        either.execute(f"TRUNCATE {', '.join(FILLED)} RESTART IDENTITY CASCADE".encode())
        _seed(either, events=500, seed=seed)
        digests.append(_digest(either))

    assert digests[0] == digests[1]
    assert digests[0] != digests[2]


def test_a_second_call_adds_rows_under_new_ids(either: psycopg.Connection) -> None:
    """Seeding again with the same seed adds as many rows, and reports them."""
    first = _seed(either, events=400)
    again = _seed(either, events=400)

    assert first["suggestion_events"] == again["suggestion_events"] == 400
    assert again["transactions"] == first["transactions"]
    assert again["tenants"] == again["model_registry"] == 0
    assert _counts(either) == {table: first[table] + again[table] for table in FILLED}


def test_seeding_keeps_the_tables_as_they_were(either: psycopg.Connection) -> None:
    """Foreign keys, which are checked at the end, come back as they were, and the next free id is free."""
    keys = (
        "SELECT conname, pg_get_constraintdef(oid), convalidated FROM pg_constraint "
        "WHERE contype = 'f' ORDER BY conname"
    )
    before = _all(either, keys)
    added = _seed(either, events=100)

    assert len(before) == 2
    assert _all(either, keys) == before
    assert _one(either, "INSERT INTO transactions DEFAULT VALUES RETURNING id") == added["transactions"] + 1


def test_creating_the_tables_again_changes_nothing(either: psycopg.Connection) -> None:
    """create_tables leaves filled tables alone, the application's own Alembic version included."""
    added = _seed(either, events=50)
    demo.create_tables(either, form="older")

    assert _counts(either) == added
    assert _one(either, "SELECT count(*) FROM public.alembic_version") == 1


def test_the_history_has_the_rhythm_of_life(either: psycopg.Connection) -> None:
    """Working days are busier than week-ends, days than nights, and the end than the beginning."""
    _seed(either)
    weekday, night, early = _all(
        either,
        "SELECT count(*) FILTER (WHERE extract(isodow FROM created_at) < 6) / 5.0 "
        "  / (count(*) FILTER (WHERE extract(isodow FROM created_at) > 5) / 2.0), "
        "count(*) FILTER (WHERE extract(hour FROM created_at) < 5) / count(*)::float, "
        "count(*) FILTER (WHERE created_at < DATE '2025-10-19') / count(*)::float FROM suggestion_events",
    )[0]
    days = _all(either, "SELECT min(created_at)::date, max(created_at)::date FROM suggestion_events")[0]

    assert weekday > 1.4
    assert night < 0.06
    assert early < 0.45
    assert days == (date(2025, 9, 8), UNTIL)


def test_models_come_and_go(either: psycopg.Connection) -> None:
    """Several models answer, some at the same time, none of the first is left at the end."""
    _seed(either)
    last = _all(either, "SELECT model_id, max(created_at)::date FROM suggestion_events GROUP BY 1")
    gone = {model for model, day in last if model is not None and day < date(2025, 11, 20)}
    daily = "SELECT count(DISTINCT model_id) FROM suggestion_events GROUP BY created_at::date"

    assert len(last) == 6
    assert gone == {"heuristic@v1", "lgbm@4f9c21e", "lgbm@a07be3d"}
    assert max(_all(either, daily)) >= (3,)
    assert _one(either, "SELECT count(DISTINCT mode) FROM suggestion_events") == 3
    assert _one(either, "SELECT count(*) FROM suggestion_events WHERE model_id IS NULL") > 0


def test_feedback_is_what_the_field_has(either: psycopg.Connection) -> None:
    """Some feedback is late, some events have several rows, and old migrations left their traces."""
    _seed(either)
    rows, late, placeholders, recovered = _all(
        either,
        "SELECT count(*), count(*) FILTER (WHERE f.created_at > e.created_at + interval '1 day'), "
        "count(*) FILTER (WHERE f.txn_id = 0), "
        "count(*) FILTER (WHERE f.action::text = 'reject' AND f.label IN ('accept', 'reject', 'undo')) "
        "FROM suggestion_feedback AS f JOIN suggestion_events AS e ON f.event_id = e.id",
    )[0]

    assert 0.2 < rows / 3000 < 0.5
    assert 0.03 < late / rows < 0.25
    assert placeholders > 0
    assert recovered > 0
    assert _one(either, "SELECT count(event_id) - count(DISTINCT event_id) FROM suggestion_feedback") > 0
    assert _one(either, "SELECT max(created_at) < DATE '2025-12-01' FROM suggestion_feedback")


def test_the_older_form_leaves_out_what_it_cannot_hold(
    application_url: str, older_application_url: str, connect: Callable[[str], psycopg.Connection]
) -> None:
    """Both forms get the same events; undo and feedback without an event stand in the current form only."""
    current, older = connect(application_url), connect(older_application_url)
    odd = "SELECT count(*) FROM suggestion_feedback WHERE event_id IS NULL OR action::text = 'undo'"
    ids = "SELECT id, txn_id, model_id, mode, created_at FROM suggestion_events ORDER BY id"
    _seed(current)
    _seed(older)

    assert _one(current, odd) > 0
    assert _one(older, odd) == 0
    assert _all(current, ids) == _all(older, ids)


def test_a_small_share_of_candidates_is_malformed(either: psycopg.Connection) -> None:
    """Between 0.05 % and 2 % of events hold what a bug once wrote; most hold candidates, some hold none."""
    _seed(either)
    malformed, empty = _all(
        either,
        r"""SELECT count(*) FILTER (WHERE candidates::text !~ '^\[(\{"label": "[a-z]+", .*\})?\]$'), """
        "count(*) FILTER (WHERE candidates::text = '[]') FROM suggestion_events",
    )[0]

    assert 0.0005 < malformed / 3000 < 0.02
    assert 0.02 < empty / 3000 < 0.3


def test_the_reference_rows_are_there_once(either: psycopg.Connection) -> None:
    """The twelve reference events are added once, beside rows that are already there."""
    _seed(either, events=20)
    demo.reference_rows(either)
    demo.reference_rows(either)
    that_day = "created_at >= '2025-11-04' AND created_at < '2025-11-05' AND candidates::text LIKE '%0.82%'"

    assert _counts(either)["suggestion_events"] == 32
    assert _one(either, f"SELECT count(*) FROM suggestion_events WHERE {that_day}") == 12


def test_progress_ends_at_all_events(
    application_url: str, connect: Callable[[str], psycopg.Connection]
) -> None:
    """The callback hears of the table, of rising counts and at last of all events."""
    heard: list[tuple[str, int, int]] = []
    connection = connect(application_url)
    demo.seed(connection, events=50, days=3, seed=1, until=UNTIL, progress=lambda *told: heard.append(told))

    assert heard[-1] == ("suggestion_events", 50, 50)


def test_tables_that_are_not_there_are_an_error_that_says_so(
    empty_url: str, connect: Callable[[str], psycopg.Connection]
) -> None:
    """Without the application's tables, and for a form that does not exist, the error says what to do."""
    connection = connect(empty_url)

    with pytest.raises(UsageError, match="lacks the application's tables"):
        _seed(connection)
    with pytest.raises(UsageError, match="no form 'newer'"):
        demo.create_tables(connection, form="newer")
    with pytest.raises(UsageError, match="days 1 or more"):
        demo.seed(connection, events=1, days=0, seed=1, until=UNTIL)
