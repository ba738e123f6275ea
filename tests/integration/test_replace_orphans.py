"""op.ledgerviews_replace between two refreshes: what nobody had observed when it computed is still told."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

import psycopg
import pytest

from ledgerviews.catalog import load
from ledgerviews.schema.specs import declared
from tests import histories
from tests.replacing import replace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import LiteralString

    Connect = Callable[[str], psycopg.Connection]

EVENTS, ANSWERS = "public.suggestion_events", "public.suggestion_feedback"
KEY = "00000000-0000-0000-0000-000000000007"
MART = "mart_suggestions_feedback_daily"
EVENT: LiteralString = (
    "INSERT INTO public.suggestion_events (id, txn_id, candidates, mode, created_at)"
    " VALUES (%s, 1, '[]', 'auto', '2026-03-07 10:00')"
)
ANSWER: LiteralString = (
    "INSERT INTO public.suggestion_feedback (event_id, txn_id, action, label, created_at)"
    " VALUES (%s, 1, 'reject', 'a', '2026-02-02 10:00 UTC')"
)


@pytest.fixture
def session(installed_url: str) -> Iterator[psycopg.Connection]:
    """A session on a database without foreign keys, of 40 days with an event each, refreshed."""
    with closing(psycopg.connect(installed_url, autocommit=True)) as connection:
        histories.lift_constraints(connection)
        connection.execute(
            "INSERT INTO public.suggestion_events (txn_id, candidates, mode, created_at)"
            " SELECT 1, '[]', 'auto', timestamp '2025-10-01' + n * interval '1 day'"
            " FROM generate_series(1, 40) AS n"
        )
        refresh(connection)
        yield connection


def refresh(connection: psycopg.Connection) -> dict[str, tuple[str, str]]:
    """Refresh without the scrub; the scope and the reason of each relation."""
    row = connection.execute("CALL ledgerviews.refresh(scrub => false)").fetchone()
    assert row is not None
    found = connection.execute(
        "SELECT relation_name, scope, reason FROM ledgerviews.run_relation WHERE run_id = %s", [row[0]]
    )
    return {name: (scope, reason) for name, scope, reason in found}


def replace_mart(url: str) -> None:
    """Replace the mart of the answers by one that gives the same figures."""
    before = declared(load("ledgerviews.models"), schema="public")
    mart = before[MART]
    after = before | {
        MART: mart | {"definition": f"SELECT * FROM (\n{mart['definition'].rstrip().rstrip(';')}\n) AS same"}
    }
    replace(url, before, after)


def differing(connection: psycopg.Connection) -> int:
    """The rows in which the mart of the answers is not what the sources give."""
    whole = f"ledgerviews.{MART}_rollup_whole"
    row = connection.execute(
        f"SELECT count(*) FROM ((TABLE public.{MART} EXCEPT ALL TABLE {whole})"
        f" UNION ALL (TABLE {whole} EXCEPT ALL TABLE public.{MART})) AS d".encode()
    ).fetchone()
    assert row is not None
    return int(row[0])


def test_an_orphan_that_only_the_replacement_saw_is_adopted(
    installed_url: str, session: psycopg.Connection
) -> None:
    """An answer that a replacement counts on its own day leaves it when its event comes before a refresh."""
    session.execute(ANSWER, [KEY])
    replace_mart(installed_url)
    counted = session.execute(f"SELECT rejects FROM public.{MART} WHERE rejects > 0").fetchall()
    session.execute(EVENT, [KEY])

    scope, _ = refresh(session)[MART]

    assert counted == [(1,)]
    assert scope == "days"
    assert differing(session) == 0


@pytest.mark.parametrize("untracked", [EVENTS, ANSWERS])
def test_what_came_and_went_around_a_replacement_of_untracked_rows(
    installed_url: str, session: psycopg.Connection, untracked: str
) -> None:
    """Rows without triggers that a replacement counted, and that went unseen, are in no figure any more."""
    session.execute("SELECT ledgerviews.untrack(%s)", [untracked])
    refresh(session)
    if untracked == EVENTS:
        session.execute(EVENT, [KEY])
    session.execute(ANSWER, [KEY])
    replace_mart(installed_url)
    session.execute("DELETE FROM public.suggestion_feedback WHERE event_id = %s", [KEY])
    session.execute("DELETE FROM public.suggestion_events WHERE id = %s", [KEY])

    refresh(session)

    assert differing(session) == 0
    assert refresh(session)[MART][0] != "all"
