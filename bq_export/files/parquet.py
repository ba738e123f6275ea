"""Parquet as BigQuery reads it best: zstd, large row groups, a dictionary only where few values repeat."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Self

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from bq_export.types import arrow_schema

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from bq_export.types import Field

ROWS_PER_GROUP = 131_072
_BYTES_PER_GROUP = 48 << 20
_LEVEL = 1
_SAMPLE = 16_384
_FEW = 0.05  # distinct values per row, at most, for a dictionary to be worth its time


class ParquetSink:
    """One file that several threads fill, each by a part of its own; whole only when it was closed."""

    def __init__(self, path: Path, fields: Sequence[Field]) -> None:
        """Begin a file; its encoding is chosen by the first rows."""
        self.path = path
        self._schema = arrow_schema(list(fields))
        self._writer: pq.ParquetWriter | None = None
        self._lock = threading.Lock()
        self._parts: list[_Part] = []

    def part(self) -> _Part:
        """What one thread writes to."""
        part = _Part(self)
        self._parts.append(part)
        return part

    def write(self, table: pa.Table) -> None:
        """Write one row group."""
        with self._lock:
            if self._writer is None:
                self._writer = self._begin(table)
            self._writer.write_table(table, row_group_size=table.num_rows)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None:
                for part in self._parts:
                    part.flush()
                if self._writer is None:
                    self.write(self._schema.empty_table())
        finally:
            if self._writer is not None:
                self._writer.close()

    def _begin(self, table: pa.Table) -> pq.ParquetWriter:
        return pq.ParquetWriter(
            self.path,
            self._schema,
            compression="zstd",
            compression_level=_LEVEL,
            use_dictionary=_repeating(table),
            write_statistics=False,
            store_schema=False,  # Arrow's own schema would only confuse other readers' types
        )


class _Part:
    """The rows of one thread on their way into the next row group."""

    def __init__(self, sink: ParquetSink) -> None:
        self._sink = sink
        self._batches: list[pa.RecordBatch] = []
        self._rows = self._bytes = 0

    def __call__(self, batch: pa.RecordBatch) -> None:
        if not batch.num_rows:
            return
        self._batches.append(batch)
        self._rows += batch.num_rows
        self._bytes += batch.nbytes
        if self._rows >= ROWS_PER_GROUP or self._bytes >= _BYTES_PER_GROUP:
            self.flush()

    def flush(self) -> None:
        """Hand what was gathered to the file."""
        if self._batches:
            table = pa.Table.from_batches(self._batches)
            self._batches, self._rows, self._bytes = [], 0, 0
            self._sink.write(table)


def _repeating(table: pa.Table) -> list[str] | bool:
    """The columns whose first rows repeat few values."""
    if not table.num_rows:
        return False
    table = table.slice(0, _SAMPLE)
    found = [
        name
        for name in table.column_names
        if not pa.types.is_list(table.schema.field(name).type)
        and pc.count_distinct(table.column(name)).as_py() <= _FEW * table.num_rows
    ]
    return found or False
