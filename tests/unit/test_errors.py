"""Errors with rows: what a failed check and a difference look like; and names, versions, durations."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import click
import pytest

from ledgerviews import db
from ledgerviews.cli import options
from ledgerviews.errors import CheckError, DifferenceError, LedgerviewsError, RowsError
from ledgerviews.refresh import cron
from ledgerviews.refresh.indexes import _Part
from ledgerviews.refresh.sources import Source, chosen

if TYPE_CHECKING:
    import psycopg

KEY = ["day", "mode"]


def _difference(*sample: dict[str, dict[str, Any]], count: int = 0) -> DifferenceError:
    found = {
        "schema": "public",
        "relation": "m",
        "differing_rows": count or len(sample),
        "sample": list(sample),
    }
    error = DifferenceError("Rows differ.", hint="Do this.", found=[found])
    error.keys["public.m"] = KEY
    return error


def test_a_failed_check_shows_its_rows_between_message_and_hint() -> None:
    """Relation, check, severity, how many, and each row on a line; a NULL is a NULL."""
    check = {"schema": "public", "relation": "m", "check": "positive", "severity": "error"}
    rows = [{"day": "2025-11-04", "n": None}, {"day": "2025-11-05", "n": -1}]
    error = CheckError("It failed.", hint="Mend it.", found=[{**check, "failed_rows": 1234, "sample": rows}])

    assert str(error).splitlines() == [
        "It failed.",
        "  public.m, positive (error): 1,234 rows, the first 2:",
        "    day=2025-11-04, n=NULL",
        "    day=2025-11-05, n=-1",
        "  Mend it.",
    ]
    assert error.details()["checks"][0]["failed_rows"] == 1234


def test_a_row_with_other_figures_shows_only_these() -> None:
    """Wrong and missing of one key are one line; a row on one side alone is shown whole."""
    wrong = {"day": "2025-11-04", "mode": "auto", "n": 3, "rate": 0.5}
    right = {"day": "2025-11-04", "mode": "auto", "n": 4, "rate": 0.5}
    error = _difference(
        {"missing": right},
        {"wrong": {**wrong, "mode": "x"}},
        {"wrong": wrong},
        {"missing": {**right, "mode": None}},
    )

    assert error.lines() == [
        "public.m: 4 rows:",
        "  day=2025-11-04, mode=auto: n is 3, must be 4",
        "  published, but no source gives it: day=2025-11-04, mode=x, n=3, rate=0.5",
        "  not published: day=2025-11-04, mode=NULL, n=4, rate=0.5",
    ]


def test_without_a_known_key_each_row_stands_alone() -> None:
    """A relation that is unknown, as after a lost connection, pairs no rows."""
    error = _difference({"missing": {"day": 1}}, {"wrong": {"day": 1}}, count=7)
    error.keys.clear()

    assert error.lines() == [
        "public.m: 7 rows, some of them:",
        "  not published: day=1",
        "  published, but no source gives it: day=1",
    ]


@pytest.mark.parametrize(("state", "kind"), [("LV001", CheckError), ("LV002", DifferenceError)])
def test_the_engine_s_two_errors_bring_their_rows(state: str, kind: type[RowsError]) -> None:
    """The detail is read as JSON, and shown to nobody as it is."""
    found = [{"schema": "public", "relation": "m", "check": "c", "severity": "error", "failed_rows": 0}]
    found = [{**one, "differing_rows": 0, "sample": None} for one in found]
    diag = SimpleNamespace(
        sqlstate=state, message_primary="No.", message_detail=json.dumps(found), message_hint="Do."
    )

    error = db.translate(cast("psycopg.Error", SimpleNamespace(diag=diag)))

    assert type(error) is kind
    assert (error.exit_code, error.hint) == (1, "Do.")
    assert "differing_rows" not in str(error)


@pytest.mark.parametrize(("text", "value"), [("5s", 5000), ("0", 0), ("2min", 120_000), ("250", 250)])
def test_a_duration_as_an_option(text: str, value: int) -> None:
    """It is written as in the settings."""
    assert options.Duration().convert(text, None, None) == value


@pytest.mark.parametrize("text", ["soon", "-1s", "1d", "", "99999999h"])
def test_what_is_no_duration(text: str) -> None:
    """Anything else is a usage error that says how to write it."""
    with pytest.raises(click.BadParameter, match="Write 500ms, 5s"):
        options.Duration().convert(text, None, None)


@pytest.mark.parametrize(
    ("version", "number"), [("1.4-1", (1, 4)), ("1.6", (1, 6)), ("1.10", (1, 10)), ("2", (2, 0))]
)
def test_versions_of_pg_cron(version: str, number: tuple[int, int]) -> None:
    """Debian's 1.4-1 is 1.4, and 1.10 comes after 1.9."""
    assert cron._number(version) == number


def _part(table: str, *columns: str) -> _Part:
    return _Part(relation=1, parent=None, schema="public", table=table, kind="r", columns=columns)


def test_an_index_s_name_is_no_longer_than_a_name_may_be() -> None:
    """Long names are cut, told apart by a digest, and stay recognisable; letters are cut whole."""
    names = [_part("ü" * 25 + end, "event_id").name for end in ("a", "b")]

    assert _part("orders", "day", "id").name == "orders_day_id_ledgerviews"
    assert len(set(names)) == 2
    assert all(len(name.encode()) <= 63 and name.endswith("_ledgerviews") for name in names)


def test_a_source_is_found_with_and_without_its_schema() -> None:
    """A name that two schemas have needs its schema."""

    def source(schema: str, table: str) -> Source:
        return Source(
            source=f"{schema}.{table}",
            schema=schema,
            table=table,
            tracking="none",
            scanned=True,
            problem=None,
            doubt=None,
            missing_indexes=[],
            owner="app",
            owned=True,
            engine_owner="app",
            engine_owned=True,
        )

    found = [source("a", "orders"), source("b", "orders"), source("a", "items")]

    assert chosen(found, []) == found
    assert chosen(found, ["items", "b.orders"]) == [found[1], found[2]]
    with pytest.raises(Exception, match="orders is more than one source"):
        chosen(found, ["orders"])


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\x1b[31mb", r"a\x1b[31mb"),
        ("a\nledgerviews: all fine", r"a\nledgerviews: all fine"),
        ("a:\n  - b\n  - c", "a:\n  - b\n  - c"),
        ("\u202eabc\u2028", r"\u202eabc\u2028"),
        ("日本 \u00a0\u3000é", "日本 \u00a0\u3000é"),
    ],
)
def test_an_error_obeys_nothing_that_it_repeats(text: str, shown: str) -> None:
    """In its message and its hint; its own indented lines stay, and letters and blanks of any kind."""
    error = LedgerviewsError(text, hint=text)

    assert str(error) == f"{shown}\n  {shown}"
    assert (error.message, error.hint) == (text, text)
