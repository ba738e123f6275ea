"""CSV and NDJSON, as BigQuery loads them and as PostgreSQL's own COPY reads the first."""

from __future__ import annotations

import base64
import json
import math
import threading
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Self

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv

from bq_export.errors import ExportError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import IO

    from bq_export.types import Field


_EXACT_INTEGER = 2**53 - 1  # beyond it a JSON number may be read as a float


def refuse_arrays(fields: Sequence[Field]) -> None:
    """Raise where CSV does not hold a column."""
    if arrays := [one.name for one in fields if one.repeated]:
        raise ExportError(
            f"CSV holds no arrays: {', '.join(arrays)}.",
            hint="Use --format parquet or json, or declare Policy.STRING for the column.",
        )


class CsvSink:
    """A header, every text in quotes, so that an empty field without quotes is NULL and ``""`` is none.

    Bytes are base64. CSV has no arrays, so a relation with one is refused.
    """

    def __init__(self, file: IO[bytes], fields: Sequence[Field]) -> None:
        """Refuse what CSV does not hold."""
        refuse_arrays(fields)
        self._file = file
        self._schema = pa.schema([pa.field(one.name, _text_type(one)) for one in fields])
        self._lock = threading.Lock()

    def part(self) -> Self:
        """One thread's own way to write: the same for all."""
        return self

    def __enter__(self) -> Self:
        # A number in quotes is a number to BigQuery; text without them could be NULL.
        options = csv.WriteOptions(include_header=True, quoting_style="needed")
        self._writer = csv.CSVWriter(self._file, self._schema, write_options=options)
        return self

    def __exit__(self, *_: object) -> None:
        self._writer.close()

    def __call__(self, batch: pa.RecordBatch) -> None:
        arrays = [
            _as_text(column) if column.type != wanted else column
            for column, wanted in zip(batch.columns, self._schema.types, strict=True)
        ]
        with self._lock:
            self._writer.write_batch(pa.RecordBatch.from_arrays(arrays, schema=self._schema))


class JsonSink:
    """One object a line. What JSON's numbers would round is text, exactly: decimals, NaN, large integers."""

    def __init__(self, file: IO[bytes], fields: Sequence[Field]) -> None:
        """Begin."""
        del fields
        self._file = file
        self._lock = threading.Lock()

    def part(self) -> Self:
        """One thread's own way to write: the same for all."""
        return self

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None: ...

    def __call__(self, batch: pa.RecordBatch) -> None:
        lines = [json.dumps(_plain(row), ensure_ascii=False, default=_plain) for row in batch.to_pylist()]
        with self._lock:
            self._file.write("".join(f"{line}\n" for line in lines).encode())


def _text_type(one: Field) -> pa.DataType:
    keep = pa.types.is_integer(one.arrow) or pa.types.is_boolean(one.arrow) or pa.types.is_decimal(one.arrow)
    return one.arrow if keep else pa.string()


def _as_text(column: pa.Array) -> pa.Array:
    if pa.types.is_timestamp(column.type):
        shown = pc.strftime(column, format="%Y-%m-%d %H:%M:%S", locale="C")
        return pc.binary_join_element_wise(shown, "Z" if column.type.tz else "", "")
    if pa.types.is_binary(column.type):
        return pa.array([None if v is None else base64.b64encode(v).decode() for v in column.to_pylist()])
    if pa.types.is_floating(column.type):
        return pa.array([None if v is None else _float(v) for v in column.to_pylist()], pa.string())
    return pc.cast(column, pa.string())


def _float(value: float) -> str:
    return "NaN" if math.isnan(value) else repr(value).replace("inf", "Infinity")


def _plain(value: Any) -> Any:  # noqa: PLR0911 (one for each type)
    match value:
        case dict():
            return {name: _plain(one) for name, one in value.items()}
        case list():
            return [_plain(one) for one in value]
        case float() if not math.isfinite(value):
            return _float(value)
        case int() if abs(value) > _EXACT_INTEGER:
            return str(value)
        case Decimal():
            return f"{value:f}"
        case bytes():
            return base64.b64encode(value).decode()
        case datetime():
            text = value.replace(tzinfo=None).isoformat(" ")
            return (
                text
                if value.tzinfo is None
                else f"{value.astimezone(UTC).replace(tzinfo=None).isoformat(' ')}Z"
            )
        case date() | time():
            return value.isoformat()
        case _:
            return value
