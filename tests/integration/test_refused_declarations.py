"""Mistakes in declarations of a team's first mart by day: what the writing of its revision says of each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from alembic.util import CommandError

from ledgerviews.errors import DeclarationError
from tests.application import Application

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


def refused(application: Application) -> str:
    """What the attempt to write a revision says; no file is left of it."""
    versions = application.folder / "versions"
    before = sorted(versions.glob("*.py")) if versions.exists() else []
    with pytest.raises(CommandError) as caught:
        application.revision()
    assert sorted(versions.glob("*.py")) == before
    assert isinstance(caught.value.__cause__, DeclarationError)
    return str(caught.value)


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
