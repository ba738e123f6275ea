"""Every type of PostgreSQL, with the values of its own regression tests: as it was, or not at all."""

from __future__ import annotations

import math
import uuid
from datetime import UTC, date, datetime
from datetime import time as clock
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bq_export.errors import ValueOutOfRangeError
from bq_export.extract import extract
from bq_export.source.fingerprints import read_partitions, total_misfits
from bq_export.source.relation import Relation, read_relation
from bq_export.source.snapshot import open_snapshot
from ledgerviews.catalog import Export, Kind, Model, Policy
from ledgerviews.config import Settings

# type, value as SQL, BigQuery's type, what arrives
EXACT: list[tuple[str, str, str, Any]] = [
    ("boolean", "true", "BOOL", True),
    ("smallint", "-32768", "INT64", -32768),
    ("integer", "2147483647", "INT64", 2147483647),
    ("bigint", "-9223372036854775808", "INT64", -9223372036854775808),
    ("oid", "4294967295", "INT64", 4294967295),
    ("real", "1.17549435e-38", "FLOAT64", 1.1754943508222875e-38),
    ("real", "0.1", "FLOAT64", 0.10000000149011612),
    ("double precision", "0.1", "FLOAT64", 0.1),
    ("double precision", "'Infinity'", "FLOAT64", math.inf),
    ("double precision", "5e-324", "FLOAT64", 5e-324),
    ("numeric(10, 2)", "1.10", "NUMERIC(10, 2)", Decimal("1.10")),
    (
        "numeric(38, 9)",
        "99999999999999999999999999999.999999999",
        "NUMERIC(38, 9)",
        Decimal("99999999999999999999999999999.999999999"),
    ),
    ("numeric(38, 10)", "-0.0000000001", "BIGNUMERIC(38, 10)", Decimal("-0.0000000001")),
    ("numeric(76, 38)", "1e37", "BIGNUMERIC(76, 38)", Decimal("1e37")),
    ("numeric(77, 38)", "1e38", "STRING", "1" + "0" * 38 + "." + "0" * 38),
    ("numeric(5, -2)", "12345", "NUMERIC(7)", Decimal(12300)),
    ("numeric(2, 5)", "0.00012", "NUMERIC(5, 5)", Decimal("0.00012")),
    ("numeric", "1.10", "STRING", "1.10"),
    ("numeric", "'NaN'", "STRING", "NaN"),
    ("numeric", "'-Infinity'", "STRING", "-Infinity"),
    ("money", "'-92233720368547758.08'", "NUMERIC", Decimal("-92233720368547758.08")),
    ("text", "'é𝄞' || chr(1) || '\\0' || E'\\n'", "STRING", "é𝄞\x01\\0\n"),
    ("text", "''", "STRING", ""),
    ("varchar(5)", "'ab '", "STRING", "ab "),
    ("char(5)", "'ab'", "STRING", "ab   "),
    ("uuid", "'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11'", "STRING", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"),
    ("bytea", "'\\x00ff'", "BYTES", b"\x00\xff"),
    ("jsonb", "'null'", "STRING", "null"),
    ("jsonb", "'{\"a\": 1.10}'", "STRING", '{"a": 1.10}'),
    ("json", '\'{"a":  1, "a": 2}\'', "STRING", '{"a":  1, "a": 2}'),
    ("date", "'0001-01-01'", "DATE", date(1, 1, 1)),
    ("date", "'9999-12-31'", "DATE", date(9999, 12, 31)),
    ("timestamp", "'9999-12-31 23:59:59.999999'", "DATETIME", datetime(9999, 12, 31, 23, 59, 59, 999999)),  # noqa: DTZ001
    (
        "timestamptz",
        "'2025-03-30 01:59:59.999999 Europe/Berlin'",
        "TIMESTAMP",
        datetime(2025, 3, 30, 0, 59, 59, 999999, UTC),
    ),
    (
        "timestamptz",
        "'2025-10-26 02:30:00 Europe/Berlin'",
        "TIMESTAMP",
        datetime(2025, 10, 26, 1, 30, tzinfo=UTC),
    ),
    ("time", "'23:59:59.999999'", "TIME", clock(23, 59, 59, 999999)),
    ("timetz", "'24:00:00-07'", "STRING", "24:00:00-07"),
    ("interval", "'1 year 2 mons -3 days 04:05:06.7'", "STRING", "1 year 2 mons -3 days +04:05:06.7"),
    ("int4range", "'[1,5)'", "STRING", "[1,5)"),
    ("tstzrange", "'empty'", "STRING", "empty"),
    ("inet", "'::1/128'", "STRING", "::1/128"),
    ("bit(3)", "B'101'", "STRING", "101"),
    ("point", "'(1,2)'", "STRING", "(1,2)"),
    ("mood", "'sad ☹'", "STRING", "sad ☹"),
    ("positive", "7", "INT64", 7),
    ("price", "1.50", "NUMERIC(8, 2)", Decimal("1.50")),
    ("text[]", '\'{a,"b,c",""}\'', "ARRAY<STRING>", ["a", "b,c", ""]),
    ("text[]", "'{}'", "ARRAY<STRING>", []),
    ("integer[]", "'{1,-2}'", "ARRAY<INT64>", [1, -2]),
    ("double precision[]", "'{0.1,NaN}'", "ARRAY<FLOAT64>", [0.1, math.nan]),
    (
        "uuid[]",
        "ARRAY['a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'::uuid]",
        "ARRAY<STRING>",
        [str(uuid.UUID("a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"))],
    ),
    ("mood[]", "'{happy}'", "ARRAY<STRING>", ["happy"]),
    ("numeric[]", "'{1.10,NULL}'", "STRING", "[1.10, null]"),
    ("date[]", "'{infinity}'", "STRING", '["infinity"]'),
]
# type, value, what a NULL policy makes of it
MISFITS: list[tuple[str, str, Any]] = [
    ("date", "'infinity'", None),
    ("date", "'-infinity'", None),
    ("date", "'0044-03-15 BC'", None),
    ("date", "'10000-01-01'", None),
    ("timestamp", "'294276-12-31 23:59:59'", None),
    ("timestamp", "'infinity'", None),
    ("timestamptz", "'0001-01-01 00:00:00+01'", None),
    ("timestamptz", "'-infinity'", None),
    ("time", "'24:00:00'", None),
    ("numeric(10, 2)", "'NaN'", None),
    ("integer[]", "'{1,NULL}'", []),
    ("integer[]", "'{{1,2},{3,4}}'", []),
    ("integer[]", "'[0:1]={1,2}'", []),
    ("integer[]", "NULL", []),
]
PREPARE = """
CREATE TYPE public.mood AS ENUM ('happy', 'sad ☹');
CREATE DOMAIN public.positive AS integer CHECK (value > 0);
CREATE DOMAIN public.price AS numeric(8, 2);
"""


def _relation(url: str, connection: psycopg.Connection, **export: Any) -> tuple[Relation, Settings]:
    columns = dict.fromkeys(
        row[0]
        for row in connection.execute(
            "SELECT attname FROM pg_attribute WHERE attrelid = 'public.mart'::regclass AND attnum > 0"
        )
    )
    model = Model.beside(
        str(Path("mart.py")),
        kind=Kind.VIEW,
        description="A mart.",
        grain=(),
        columns=dict.fromkeys(columns, "."),
        export=Export(**export),
    )
    return read_relation(connection, model, schema="public"), Settings(database_url=url)


def _cells(path: Path) -> list[dict[str, Any]]:
    return [dict(row) for row in pq.read_table(path).to_pylist()]


def _shown(field: Any) -> str:
    return f"ARRAY<{field.type}>" if field.repeated else field.type


def test_every_type_arrives_as_it_was(empty_url: str, tmp_path: Path) -> None:
    """Each value arrives exactly, in the type of the table; NULL as NULL."""
    with psycopg.connect(empty_url, autocommit=True) as connection:
        connection.execute(PREPARE.encode())
        columns = ", ".join(f"c{n} {kind}" for n, (kind, *_) in enumerate(EXACT))
        connection.execute(f"CREATE TABLE public.mart ({columns})".encode())
        values = ", ".join(value for _, value, *_ in EXACT)
        connection.execute(f"INSERT INTO public.mart VALUES ({values})".encode())
        relation, settings = _relation(empty_url, connection)
    with open_snapshot(settings) as snapshot:
        done = extract(snapshot, relation, tmp_path / "f.parquet", proof=True)
    (row,) = _cells(done.path)

    assert [_shown(one) for one in relation.fields] == [kind for _, _, kind, _ in EXACT]
    wrong = [
        (kind, cell, wanted)
        for (kind, _, _, wanted), cell in zip(EXACT, row.values(), strict=True)
        if cell != wanted and repr(cell) != repr(wanted)  # NaN equals itself by its name only
    ]
    assert wrong == []


def test_null_is_null_and_minus_zero_is_minus_zero(empty_url: str, tmp_path: Path) -> None:
    """SQL NULL stays apart from jsonb's null, an empty text and an empty array; -0.0 keeps its sign."""
    with psycopg.connect(empty_url, autocommit=True) as connection:
        connection.execute(
            "CREATE TABLE public.mart (n bigint, j jsonb, t text, f float8, d date, x numeric(5, 2))"
        )
        connection.execute(
            "INSERT INTO public.mart VALUES (1, NULL, NULL, '-0', NULL, NULL), (2, 'null', '', 0, now(), 0)"
        )
        relation, settings = _relation(empty_url, connection)
    with open_snapshot(settings) as snapshot:
        rows = _cells(extract(snapshot, relation, tmp_path / "f.parquet").path)

    assert [(r["j"], r["t"], r["d"] is None, r["x"]) for r in rows] == [
        (None, None, True, None),
        ("null", "", False, Decimal("0.00")),
    ]
    assert [math.copysign(1, r["f"]) for r in rows] == [-1, 1]


@pytest.mark.parametrize(("kind", "value", "made"), MISFITS)
def test_a_value_that_does_not_fit(empty_url: str, tmp_path: Path, kind: str, value: str, made: Any) -> None:
    """By default it fails, told by column, before and while rows are read; as NULL or text it is counted."""
    with psycopg.connect(empty_url, autocommit=True) as connection:
        connection.execute(f"CREATE TABLE public.mart (c {kind})".encode())
        connection.execute(f"INSERT INTO public.mart VALUES ({value})".encode())
        failing, settings = _relation(empty_url, connection)
        nulling, _ = _relation(empty_url, connection, policy={"c": Policy.NULL})
        texting, _ = _relation(empty_url, connection, policy={"c": Policy.STRING})
        (text,) = connection.execute("SELECT c::text FROM public.mart").fetchone() or ("",)
    with open_snapshot(settings) as snapshot:
        with pytest.raises(ValueOutOfRangeError, match=r"public.mart.* c \(1 values"):
            read_partitions(snapshot, failing)
        with pytest.raises(ValueOutOfRangeError, match=r"public\.mart"):
            extract(snapshot, failing, tmp_path / "f.parquet")
        counted = [total_misfits(read_partitions(snapshot, one)) for one in (nulling, texting)]
        nulled = _cells(extract(snapshot, nulling, tmp_path / "n.parquet").path)
        texted = _cells(extract(snapshot, texting, tmp_path / "t.parquet").path)

    assert counted == [{"c": 1}, {"c": 1} if text else {}]  # as text NULL is NULL, and no misfit
    assert nulled == [{"c": made}]
    assert texting.fields[0].type == "STRING"
    if not kind.endswith("[]"):
        assert texted == [{"c": text}]


@pytest.mark.parametrize(
    ("value", "fits"), [("1.10", True), ("1.101", False), ("99999.99", False), ("Infinity", False)]
)
def test_a_bare_numeric_by_its_declaration(empty_url: str, tmp_path: Path, value: str, *, fits: bool) -> None:
    """A numeric without precision travels by the declared one; what that would round does not fit."""
    with psycopg.connect(empty_url, autocommit=True) as connection:
        connection.execute(f"CREATE VIEW public.mart AS SELECT '{value}'::numeric AS c".encode())
        relation, settings = _relation(empty_url, connection, numeric={"c": (6, 2)})
    assert relation.fields[0].type == "NUMERIC(6, 2)"
    with open_snapshot(settings) as snapshot:
        if fits:
            assert _cells(extract(snapshot, relation, tmp_path / "f.parquet").path) == [
                {"c": Decimal("1.10")}
            ]
        else:
            with pytest.raises(ValueOutOfRangeError):
                extract(snapshot, relation, tmp_path / "f.parquet")


def test_figures_in_flight_are_python_s(empty_url: str, tmp_path: Path) -> None:
    """Sums, NULLs and extremes over many batches equal those that Python computes of the same rows."""
    with psycopg.connect(empty_url, autocommit=True) as connection:
        connection.execute(
            "CREATE TABLE public.mart AS"
            " SELECT 9223372036854775807 - g AS big, (g * 1.001)::numeric(12, 3) AS num,"
            " sqrt(g) AS f, CASE WHEN g % 7 > 0 THEN 'é' || g END AS t, date '2026-01-01' + g % 400 AS d"
            " FROM generate_series(1, 200000) AS g"
        )
        relation, settings = _relation(empty_url, connection)
        rows = connection.execute("SELECT * FROM public.mart").fetchall()
    with open_snapshot(settings) as snapshot:
        stats = extract(snapshot, relation, tmp_path / "f.parquet", proof=True).stats
    assert stats is not None
    big, num, f, t, d = zip(*rows, strict=True)
    texts = [one for one in t if one is not None]

    assert stats.rows == len(rows)
    assert stats.columns["big"].total == sum(big)
    assert (stats.columns["num"].total, stats.columns["num"].minimum) == (sum(num), min(num))
    assert math.isclose(float(stats.columns["f"].total), math.fsum(f), rel_tol=1e-12)
    assert stats.columns["t"].nulls == len(rows) - len(texts)
    assert stats.columns["t"].total == sum(len(one.encode()) for one in texts)
    assert (stats.columns["t"].minimum, stats.columns["t"].maximum) == (min(texts), max(texts))
    assert stats.columns["d"].total == sum((one - date(1970, 1, 1)).days for one in d)


def test_two_readers_see_every_row_once(empty_url: str, tmp_path: Path) -> None:
    """A relation of many pages is read by two connections, and the file has each row once."""
    with psycopg.connect(empty_url, autocommit=True) as connection:
        connection.execute(
            "CREATE TABLE public.mart AS SELECT g::bigint AS n, repeat('x', 200) AS t"
            " FROM generate_series(1, 80000) AS g"
        )
        relation, settings = _relation(empty_url, connection)
    assert relation.pages >= 2000
    with open_snapshot(settings) as snapshot:
        done = extract(snapshot, relation, tmp_path / "f.parquet")

    assert sorted(pq.read_table(done.path, columns=["n"]).column("n").to_pylist()) == list(range(1, 80001))
    assert isinstance(pq.read_schema(done.path).field("t").type, pa.DataType)
