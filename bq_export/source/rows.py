"""A relation's rows as Arrow batches, by ADBC, from one or two connections on the shared snapshot."""

from __future__ import annotations

import re
import threading
import time
from contextlib import closing, contextmanager, suppress
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc
from adbc_driver_postgresql import dbapi

from bq_export.errors import ExportError, ValueOutOfRangeError
from bq_export.source.fingerprints import MISFIT_HINT, example_of_misfit, has_misfit, misfit_message
from bq_export.source.relation import PAGES_FOR_TWO
from bq_export.source.statements import select_rows
from bq_export.source.values import MARK
from bq_export.types import arrow_schema
from ledgerviews.errors import UnreachableError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from datetime import date

    from psycopg import sql

    from bq_export.source.relation import Relation
    from bq_export.source.snapshot import Snapshot
    from bq_export.types import Field
    from ledgerviews.errors import LedgerviewsError

    Consumer = Callable[[pa.RecordBatch], None]

# Bytes of COPY data that ADBC gathers into one batch: what bounds the memory.
_BATCH_BYTES = 4 << 20
_RANGES = 64  # of pages, that two connections take turns at
_DIGITS = 19  # of a bigint, at most
_CANCEL_S = 1.0  # after which a reader that goes on is cancelled again
_STOP_S = 10.0  # for readers to end; of a server that answers nothing they never would
_SERVER = re.compile(r"(?P<level>ERROR|FATAL|PANIC):\s+(?P<cause>.*)")
_LOST = ("server closed the connection", "connection to server", "no connection to the server")


def read_rows(
    snapshot: Snapshot,
    relation: Relation,
    consumers: Sequence[Consumer],
    *,
    partitions: Sequence[date | None] | None = None,
) -> None:
    """Hand every batch to a consumer; each consumer is called by one thread of its own.

    With two consumers a relation with storage is read by two connections, which take turns at ranges of its
    pages, so that neither waits at the end for the other's half.
    """
    statements: SimpleQueue[sql.Composed] = SimpleQueue()
    for statement in _statements(relation, partitions, len(consumers)):
        statements.put(statement)
    failures: list[BaseException] = []
    running = _Running()

    def work(consumer: Consumer) -> None:
        try:
            _read(snapshot, relation, statements, consumer, running)
        except BaseException as exc:  # noqa: BLE001 (raised again by the caller's thread)
            failures.append(exc)
            running.stop()

    used = consumers[: statements.qsize()]
    threads = [threading.Thread(target=work, args=(one,), daemon=True) for one in used]
    for thread in threads:
        thread.start()
    try:
        running.wait_for(threads)
    except BaseException:  # a signal
        running.stop()
        running.wait_for(threads)  # they use what the caller closes
        raise
    if failures:
        raise failures[0]


class _Running:
    """The cursors that read now; whoever waits for them is not waiting in the driver, and hears signals."""

    def __init__(self) -> None:
        self.stopped = threading.Event()
        self._cursors: set[dbapi.Cursor] = set()
        self._lock = threading.Lock()

    @contextmanager
    def using(self, cursor: dbapi.Cursor) -> Iterator[None]:
        """Let a cursor be cancelled within the block."""
        with self._lock:
            self._cursors.add(cursor)
        try:
            yield
        finally:
            with self._lock:
                self._cursors.remove(cursor)

    def stop(self) -> None:
        """Let all end soon: between two batches, or by cancelling their statements."""
        self.stopped.set()
        # A server that answers nothing keeps whoever cancels waiting, too.
        threading.Thread(target=self._cancel, daemon=True).start()

    def _cancel(self) -> None:
        if not self._lock.acquire(blocking=False):
            return  # another cancels, or none reads yet: asked again soon
        try:
            for cursor in self._cursors:
                with suppress(dbapi.Error):
                    cursor.adbc_cancel()
        finally:
            self._lock.release()

    def wait_for(self, threads: Sequence[threading.Thread]) -> None:
        """Wait until all have ended, once they are stopped for a while only.

        A statement that began while it was cancelled is cancelled again.
        """
        deadline: float | None = None
        for thread in threads:
            while thread.is_alive() and (deadline is None or time.monotonic() < deadline):
                thread.join(_CANCEL_S)
                if self.stopped.is_set():
                    deadline = deadline or time.monotonic() + _STOP_S
                    self.stop()


def readers_for(relation: Relation) -> int:
    """How many connections read a relation."""
    return 2 if relation.pages >= PAGES_FOR_TWO else 1


def _statements(
    relation: Relation, partitions: Sequence[date | None] | None, number: int
) -> list[sql.Composed]:
    if number == 1 or readers_for(relation) == 1:
        return [select_rows(relation, partitions=partitions)]
    starts = [relation.pages * n // _RANGES for n in range(_RANGES)]
    return [
        select_rows(relation, partitions=partitions, pages=(start, end))
        for start, end in zip(starts, [*starts[1:], None], strict=True)
    ]


def _read(
    snapshot: Snapshot,
    relation: Relation,
    statements: SimpleQueue[sql.Composed],
    consumer: Consumer,
    running: _Running,
) -> None:
    schema = arrow_schema(list(relation.fields))
    try:
        with (
            closing(dbapi.connect(snapshot.conninfo)) as connection,
            closing(connection.cursor()) as cursor,
            running.using(cursor),
        ):
            cursor.adbc_statement.set_options(**{"adbc.postgresql.batch_size_hint_bytes": str(_BATCH_BYTES)})
            # The name is the server's own, hexadecimal and dashes; SET takes no parameter.
            cursor.execute(f"SET TRANSACTION SNAPSHOT '{snapshot.name}'")
            while not running.stopped.is_set() and (statement := _next(statements)) is not None:
                cursor.execute(statement.as_string())
                with cursor.fetch_record_batch() as reader:
                    for batch in reader:
                        if running.stopped.is_set():
                            return
                        consumer(_converted(batch, relation.fields, schema))
    except _MisfitError as exc:
        raise example_of_misfit(snapshot, relation, exc.field) from exc
    except (dbapi.Error, OSError, pa.ArrowException) as exc:
        if "bigint" in str(exc):  # NaN that is to be one; the stream has no SQLSTATE
            for one in relation.fields:
                if one.unscaled and has_misfit(snapshot, relation, one):
                    raise example_of_misfit(snapshot, relation, one) from exc
        raise _translated(exc, relation) from exc


def _next(statements: SimpleQueue[sql.Composed]) -> sql.Composed | None:
    try:
        return statements.get_nowait()
    except Empty:
        return None


def _converted(batch: pa.RecordBatch, fields: Sequence[Field], schema: pa.Schema) -> pa.RecordBatch:
    """The batch in the types that leave; a cast that would lose anything raises."""
    arrays = []
    for number, one in enumerate(fields):
        array = batch.column(number)
        if isinstance(array, pa.ExtensionArray):
            array = array.storage
        if one.repeated:
            values = array.flatten()
            if values.type != one.arrow.value_type:
                values = pc.cast(values, one.arrow.value_type)
            lengths = pc.fill_null(pc.list_value_length(array), 0)
            ends = pc.cumulative_sum(lengths)
            offsets = pa.concat_arrays([pa.array([0], ends.type), ends])
            array = pa.ListArray.from_arrays(offsets, values, type=one.arrow)
        elif one.unscaled:
            array = _scaled(array, one)
        elif array.type != one.arrow:
            array = _cast(array, one)
        if one.bounds is not None:
            _check_bounds(array, one, one.bounds)
        arrays.append(array)
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


class _MisfitError(Exception):
    """A value that the target's type does not hold, in a column of that field."""

    def __init__(self, field: Field) -> None:
        super().__init__(field.name)
        self.field = field


def _cast(array: pa.Array, one: Field) -> pa.Array:
    try:
        return pc.cast(array, one.arrow)
    except pa.ArrowInvalid as exc:
        if one.fails_in_flight:
            raise _MisfitError(one) from exc
        raise


def _scaled(array: pa.Array, one: Field) -> pa.Array:
    """The decimals whose digits these integers are: the same bits under another type."""
    digits = pc.cast(array, pa.decimal128(_DIGITS, 0))
    return pa.Array.from_buffers(one.arrow, len(digits), digits.buffers(), digits.null_count, digits.offset)


def _check_bounds(array: pa.Array, one: Field, bounds: tuple[int, int]) -> None:
    ends = pc.min_max(array.view(pa.int32() if pa.types.is_date32(array.type) else pa.int64()))
    low, high = ends["min"].as_py(), ends["max"].as_py()
    if low is not None and (low < bounds[0] or high > bounds[1]):
        raise _MisfitError(one)


def _translated(exc: Exception, relation: Relation) -> LedgerviewsError:
    text = str(exc)
    _, found, rest = text.partition(f'"{MARK}:')
    if found:
        column, _, value = rest.rpartition('"')[0].partition(":")
        told = f"{column}, as {value.splitlines()[0] if value else 'an empty text'}"
        return ValueOutOfRangeError(misfit_message(relation, told), hint=MISFIT_HINT)
    server = _SERVER.search(text)
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    cause = server["cause"].strip() if server else (lines[0] if lines else type(exc).__name__)
    message = f"Cannot read {relation.qualified}: {cause.removeprefix('[libpq] ')}"
    if (server and server["level"] != "ERROR") or any(lost in text for lost in _LOST):
        return UnreachableError(message, hint="Check that the server runs, and run again.")
    return ExportError(message)
