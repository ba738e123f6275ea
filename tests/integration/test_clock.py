"""Relations that read only published ones and the clock: renewed though nothing was written."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.replacing import SHOP, TOP, open_shop, replace

if TYPE_CHECKING:
    from collections.abc import Callable

    import psycopg

    Connect = Callable[[str], psycopg.Connection]

TODAY = """
CREATE FUNCTION public.today() RETURNS timestamptz LANGUAGE sql STABLE AS 'SELECT now()';
CREATE FUNCTION public.doubled(n numeric) RETURNS numeric LANGUAGE sql IMMUTABLE AS 'SELECT n * 2';
CREATE FUNCTION public.later(a date, b integer) RETURNS boolean LANGUAGE sql AS 'SELECT a > now()::date - b';
CREATE OPERATOR public.>>> (FUNCTION = public.later, LEFTARG = date, RIGHTARG = integer);
CREATE VIEW public.moment AS SELECT CURRENT_TIMESTAMP AS at;
"""


def with_column(expression: str) -> dict[str, Any]:
    """The relation on top, with one more column."""
    text = TOP["definition"].replace("AS orders\n", f"AS orders,\n({expression})::text AS more\n")
    return SHOP | {"top": TOP | {"definition": text, "columns": TOP["columns"] | {"more": "One more."}}}


@pytest.mark.parametrize(
    "expression",
    [
        "now()",
        "LOCALTIMESTAMP(6)",
        "max(d.day) - statement_timestamp()::timestamp::date + extract(epoch FROM statement_timestamp())",
        "age(clock_timestamp())",
        "public.today()",
        "SELECT m.at FROM public.moment AS m",
    ],
)
def test_what_reads_the_clock_is_renewed(empty_url: str, connect: Connect, expression: str) -> None:
    """However it asks for the time: nothing was written, and it shows another one after each refresh."""
    connection = connect(empty_url)
    connection.execute(TODAY)
    open_shop(connection, empty_url, foreign=False)
    replace(empty_url, SHOP, with_column(expression))
    shown = []
    for _ in range(2):
        connection.execute("CALL ledgerviews.refresh()")
        shown.append(connection.execute("SELECT min(more) FROM public.top").fetchall())

    assert shown[0] != shown[1]
    assert told(connection) == "all"


def test_an_operator_of_one_s_own_may_read_it(empty_url: str, connect: Connect) -> None:
    """By the function behind it, on which the relation itself does not depend."""
    connection = connect(empty_url)
    connection.execute(TODAY)
    open_shop(connection, empty_url, foreign=False)
    replace(empty_url, SHOP, with_column("max(d.day) OPERATOR(public.>>>) 3"))
    for _ in range(2):
        connection.execute("CALL ledgerviews.refresh()")

    assert told(connection) == "all"


@pytest.mark.parametrize(
    "expression",
    [
        "CURRENT_USER",
        "date_trunc('month', d.day::timestamptz)",
        "to_char(d.day::timestamptz, 'YYYY')",
        "age(d.day::timestamp, d.day::timestamp)",
        "public.doubled(sum(d.orders))",
        "ledgerviews.utc_day(d.day::timestamptz)",
    ],
)
def test_what_does_not_is_left_alone(empty_url: str, connect: Connect, expression: str) -> None:
    """What depends on settings, or only takes times, does not move: nothing is done."""
    connection = connect(empty_url)
    connection.execute(TODAY)
    open_shop(connection, empty_url, foreign=False)
    replace(empty_url, SHOP, with_column(expression))
    for _ in range(2):
        connection.execute("CALL ledgerviews.refresh()")

    assert told(connection) == "none"


def told(connection: psycopg.Connection) -> str:
    """What the last run recomputed of the relation on top."""
    scope: str = connection.execute(
        "SELECT scope FROM ledgerviews.run_relation WHERE relation_name = 'top' ORDER BY run_id DESC LIMIT 1"
    ).fetchall()[0][0]
    return scope
