"""Parquet as BigQuery reads it best: zstd, large row groups, a dictionary only where few values repeat."""

from __future__ import annotations

import threading
from queue import Queue
from typing import TYPE_CHECKING, Self

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from bq_export.types import arrow_schema

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import IO

    from bq_export.types import Field

ROWS_PER_GROUP = 131_072
_BYTES_PER_GROUP = 48 << 20
_BATCHES_WAITING = 6
_LEVEL = 1
_SAMPLE = 16_384
_FEW = 0.05  # distinct values per row, at most, for a dictionary to be worth its time


class ParquetSink:
    """Parquet that several threads fill and one of its own writes; whole only when it was closed.

    So nobody waits for the encoding but by the length of the queue, which bounds the memory.
    """

    def __init__(self, file: IO[bytes], fields: Sequence[Field]) -> None:
        """Begin; the encoding is chosen by the first rows."""
        self._file = file
        self._schema = arrow_schema(list(fields))
        self._writer: pq.ParquetWriter | None = None
        self._queue: Queue[pa.RecordBatch | None] = Queue(_BATCHES_WAITING)
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._work, daemon=True)

    def part(self) -> Callable[[pa.RecordBatch], None]:
        """What one thread writes to: the same for all."""
        return self._put

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            self._failure = self._failure or Abandoned()
        self._queue.put(None)
        self._thread.join()
        try:
            if self._failure is None and self._writer is None:
                self._write(self._schema.empty_table())  # its schema alone
        finally:
            if self._writer is not None:
                self._writer.close()
        if kind is None and self._failure is not None:
            raise self._failure

    def _put(self, batch: pa.RecordBatch) -> None:
        if self._failure is not None:
            raise self._failure
        if batch.num_rows:
            self._queue.put(batch)

    def _work(self) -> None:
        """Gather batches into row groups until the end; after a failure only take them: nobody waits."""
        batches: list[pa.RecordBatch] = []
        rows = size = 0
        while (batch := self._queue.get()) is not None:
            if self._failure is not None:
                batches = []
                continue
            batches.append(batch)
            rows, size = rows + batch.num_rows, size + batch.nbytes
            if rows >= ROWS_PER_GROUP or size >= _BYTES_PER_GROUP:
                self._attempt(batches)
                batches, rows, size = [], 0, 0
        if batches and self._failure is None:
            self._attempt(batches)

    def _attempt(self, batches: list[pa.RecordBatch]) -> None:
        try:
            self._write(pa.Table.from_batches(batches))
        except BaseException as exc:  # noqa: BLE001 (raised again by whoever fills, or closes)
            self._failure = exc

    def _write(self, table: pa.Table) -> None:
        """Write one row group."""
        if self._writer is None:
            self._writer = pq.ParquetWriter(
                self._file,
                self._schema,
                compression="zstd",
                compression_level=_LEVEL,
                use_dictionary=_repeating(table),
                write_statistics=False,
                store_schema=False,  # Arrow's own schema would only confuse other readers' types
            )
        if table.num_rows:
            self._writer.write_table(table, row_group_size=table.num_rows)


class Abandoned(Exception):  # noqa: N818 (no error: why the rest is not written)
    """Whoever filled the file failed."""


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
