"""Mistakes in declarations of a team's first mart by day: what the writing of its revision says of each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from tests.application import Application, refused

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Connect = Callable[[str], psycopg.Connection]

SQL = """SELECT (r.at AT TIME ZONE 'UTC')::date AS day, sum(r.amount) AS amount
FROM public.refunds AS r GROUP BY 1"""


@pytest.fixture
def refunds(tmp_path: Path, empty_url: str) -> Application:
    """An application with one table; the first mart by day is declared, and nothing of ours installed."""
    with psycopg.connect(empty_url) as connection:
        connection.execute("CREATE TABLE public.refunds (id integer, at timestamptz, amount numeric)")
    made = Application(tmp_path / "app", empty_url, options={"tables": False})
    made.sources["refunds"] = {
        "columns": {"id": "integer", "at": "timestamptz", "amount": "number"},
        "day": "at",
        "day_rows": ["ledgerviews.in_days(refunds.at, lo, hi)"],
    }
    made.models["mart_refunds"] = {
        "kind": "materialized view",
        "grain": ["day"],
        "day": "day",
        "columns": {"day": "UTC day.", "amount": "Refunded."},
        "sql": SQL,
    }
    return made


def changed(application: Application, **source: Any) -> Application:
    """The same with another declaration of its source."""
    application.sources["refunds"] |= source
    return application


def test_single_days_wait_for_the_engine_too(refunds: Application) -> None:
    """The first revision brings the engine, of which only the conditions of single days call a function."""
    text = refunds.change()

    assert "op.ledgerviews_engine(version=3" in text
    assert refunds.differs() == []


@pytest.mark.parametrize("engine", [False, True])
def test_a_misspelt_column_in_day_rows_is_told_with_the_one_that_is_near(
    refunds: Application, *, engine: bool
) -> None:
    """With the engine and without; what else the column may be is said, too."""
    if engine:
        refunds.change()
    changed(refunds, day_rows=["ledgerviews.in_days(refunds.att, lo, hi)"])

    told = refused(refunds)

    assert "column refunds.att does not exist (in its SELECT of single days); nothing was written." in told
    assert told.endswith(
        "  Did you mean at? Else declare att among the columns of its source in sources.py, which are all"
        " that single days read, then write the revision again."
    )


def test_a_mistake_in_day_rows_is_told_by_the_source(refunds: Application) -> None:
    """The model's own SELECT is right, so that not its file is named."""
    changed(refunds, day_rows=["ledgerviews.in_dayz(refunds.at, lo, hi)"])

    told = refused(refunds)

    assert "ledgerviews.in_dayz(timestamp with time zone, date, date) does not exist" in told
    assert "  Mend the day_rows of public.refunds in sources.py, then write the revision again." in told


def test_the_first_revision_is_tried_with_the_engine(
    refunds: Application, empty_url: str, connect: Connect
) -> None:
    """Functions that may move, and a column that no source declares, are told before it is written."""
    connect(empty_url).execute(
        "CREATE SCHEMA x; CREATE FUNCTION x.fresh(timestamptz) RETURNS boolean LANGUAGE sql AS"
        " 'SELECT $1 > now() - make_interval(days => 30)';"
        "ALTER TABLE public.refunds ADD more integer"
    )
    text = refunds.models["mart_refunds"]["sql"]
    told = []
    for extra in ("count(*) FILTER (WHERE x.fresh(r.at))", "max(age(r.at))", "sum(r.more)"):
        refunds.models["mart_refunds"]["sql"] = text.replace("sum(r.amount)", extra)
        told.append(refused(refunds))
    refunds.models["mart_refunds"]["sql"] = text.replace(
        "FROM", "FROM (VALUES (1)) AS now (random) CROSS JOIN", 1
    )
    written = refunds.change()

    assert "x.fresh(timestamp with time zone) in mart_refunds.sql" in told[0]
    assert "age(timestamp with time zone) in mart_refunds.sql" in told[1]
    assert "among the columns of its source in sources.py" in told[2]
    assert "op.ledgerviews_engine(version=3" in written


def test_a_type_that_is_no_word_is_told_with_the_word(refunds: Application) -> None:
    """PostgreSQL's own name of a type, and all words that there are."""
    changed(refunds, columns=refunds.sources["refunds"]["columns"] | {"amount": "numeric"})

    told = refused(refunds)

    assert (
        "\n  public.refunds.amount is declared as numeric, and is numeric; write number (the words are text,"
        " enum, integer, number, uuid, json, jsonb, boolean, date, timestamp, timestamptz).\n" in told
    )


def test_a_day_of_a_type_without_a_word_is_told(
    refunds: Application, empty_url: str, connect: Connect
) -> None:
    """By the table's type, where the declaration names that."""
    connect(empty_url).execute("ALTER TABLE public.refunds ADD span interval")
    changed(refunds, day="span", columns=refunds.sources["refunds"]["columns"] | {"span": "interval"})

    told = refused(refunds)

    assert "public.refunds.span is the column of its day, and is interval, not date or timestamp or" in told
    assert "  Mend what Source public.refunds declares, or run the application's own migrations first" in told


def filtered(application: Application, condition: str) -> Application:
    """The same with a condition in the mart's SELECT."""
    application.models["mart_refunds"]["sql"] = SQL.replace(" GROUP BY", f" WHERE {condition} GROUP BY")
    return application


MOVING = {
    "r.at > now() - interval '90 days'": "now()",
    "r.at::date > current_date - 90": "CURRENT_DATE",
    "r.at > CURRENT_TIMESTAMP(0) - interval '1 day'": "CURRENT_TIMESTAMP",
    "r.at < localtimestamp": "LOCALTIMESTAMP",
    "r.at < pg_catalog.clock_timestamp()": "clock_timestamp()",
    "random() < 0.1": "random()",
}


@pytest.mark.parametrize("engine", [False, True])
@pytest.mark.parametrize(("condition", "call"), MOVING.items())
def test_what_reads_the_clock_is_not_computed_by_day(
    refunds: Application, condition: str, call: str, *, engine: bool
) -> None:
    """With the engine, and by its name before the revision that brings that; why, and what to do."""
    if engine:
        refunds.change()

    told = refused(filtered(refunds, condition))

    assert told == (
        f"Model mart_refunds is computed by day, and calls {call} in mart_refunds.sql: a day is"
        " computed again only when its rows change, so what that gives would go stale.\n"
        "  Do without it, and filter where mart_refunds is read; or declare no day in mart_refunds.py, so"
        " that each refresh computes the whole."
    )


@pytest.mark.parametrize(
    "condition",
    [
        "date_trunc('day', r.at) > timestamptz 'now' - interval '1 day'",
        "to_char(r.at, 'YYYY') > '2000' AND current_user <> 'now()'",
        "(r.at AT TIME ZONE 'Europe/Berlin')::date > '2000-01-01' AND public.steady() = 1",
        "age(r.at, '2000-01-01') > '1 day' AND extract(year FROM r.at) > 2000",
    ],
)
def test_what_only_depends_on_settings_is_computed_by_day(
    refunds: Application, empty_url: str, connect: Connect, condition: str
) -> None:
    """Conversions, formats and functions that say that they are STABLE are common, and right."""
    connect(empty_url).execute(
        "CREATE FUNCTION public.steady() RETURNS int LANGUAGE plpgsql STABLE AS 'BEGIN RETURN 1; END'"
    )

    filtered(refunds, condition).change()

    assert refunds.differs() == []


def test_what_a_view_calls_counts_for_the_mart_that_reads_it(
    refunds: Application, empty_url: str, connect: Connect
) -> None:
    """A view two steps below, a function of the team's, and age(): each by its place; a view alone may."""
    connect(empty_url).execute(
        "CREATE FUNCTION public.moving() RETURNS int LANGUAGE plpgsql AS 'BEGIN RETURN 1; END'"
    )
    view = {"kind": "view", "grain": [], "columns": dict.fromkeys(("at", "amount"), "A column.")}
    refunds.models["stg_all"] = view | {"sql": "SELECT r.at, r.amount FROM public.refunds AS r"}
    refunds.models["stg"] = view | {"sql": "SELECT a.at, a.amount FROM public.stg_all AS a"}
    refunds.models["mart_refunds"]["sql"] = SQL.replace("public.refunds", "public.stg")
    refunds.change()
    refunds.models["stg_all"]["sql"] += " WHERE age(r.at) > '1 day' AND public.moving() = 1"

    told = refused(refunds)
    mart = refunds.models.pop("mart_refunds")
    alone = refunds.change()
    refunds.models["mart_refunds"] = mart | {"day": None}
    whole = refunds.change()

    assert "calls age(timestamp with time zone) in stg_all.sql, public.moving() in stg_all.sql:" in told
    assert told.endswith(
        " computes the whole. A function of yours that does not: ALTER FUNCTION public.moving() STABLE."
    )
    assert "age(r.at)" in alone
    assert '"mart_refunds"' in whole


@pytest.mark.parametrize(
    ("expression", "said"),
    [
        ("  amount - 1", "it is of type numeric, and must be a condition, of type boolean"),
        ("(day, amount)", "it must be a condition, of type boolean"),
        ("amount > 0 AND day", "argument of AND must be type boolean, not type date"),
    ],
)
def test_a_check_that_is_no_condition_is_told_by_its_type(
    refunds: Application, expression: str, said: str
) -> None:
    """Not by the NOT that it is tried with; what stands within it is told in PostgreSQL's own words."""
    refunds.change()
    refunds.models["mart_refunds"]["checks"] = [
        {"name": "some", "kind": "expression", "expression": expression}
    ]

    told = refused(refunds)

    assert told.startswith(f"Check some of mart_refunds cannot be run: {said}; nothing was written.\n  LINE")
    assert "NOT" not in told
