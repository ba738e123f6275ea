"""Rows of one relation into one file: by one or two connections, with progress and figures in flight."""

from __future__ import annotations

import os
import threading
import time
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any, Protocol, cast

from bq_export.errors import ExportError
from bq_export.files.hashed import HashedFile
from bq_export.files.parquet import ParquetSink
from bq_export.source.rows import read_rows, readers_for
from bq_export.stats import Stats

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import date
    from pathlib import Path

    import pyarrow as pa

    from bq_export.source.relation import Relation
    from bq_export.source.snapshot import Snapshot
    from bq_export.types import Field

_PROGRESS_S = 2.0


class Sink(Protocol):
    """What threads fill a file through."""

    def part(self) -> Callable[[pa.RecordBatch], None]:
        """What one thread writes to."""

    def __enter__(self) -> Any: ...

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None: ...


@dataclass(frozen=True, kw_only=True)
class Extract:
    """A file that was written: its rows and bytes; figures of its columns and its SHA-256 if asked for."""

    path: Path
    rows: int
    size: int
    sha256: str
    stats: Stats | None


class _Counter:
    """Counts rows and bytes over all threads, and says so now and then."""

    def __init__(self, name: str, progress: Callable[[str], None]) -> None:
        self.rows = self.bytes = 0
        self._name, self._progress = name, progress
        self._lock = threading.Lock()
        self._told = time.monotonic()

    def add(self, batch: pa.RecordBatch) -> None:
        with self._lock:
            self.rows += batch.num_rows
            self.bytes += batch.nbytes
            if time.monotonic() - self._told < _PROGRESS_S:
                return
            self._told = time.monotonic()
        self._progress(f"{self._name}: {self.rows:,} rows, {self.bytes / 1e6:,.0f} MB read")


def extract(  # noqa: PLR0913 (what is read, where to, how much of it)
    snapshot: Snapshot,
    relation: Relation,
    path: Path,
    *,
    sink: Callable[[IO[bytes], Sequence[Field]], Sink] = ParquetSink,
    partitions: Sequence[date | None] | None = None,
    proof: bool = False,
    hashed: bool = False,
    progress: Callable[[str], None] = lambda _: None,
) -> Extract:
    """Write the rows of a relation, or of some of its partitions, as of the snapshot."""
    counter = _Counter(relation.qualified, progress)
    stats: list[Stats] = []

    def consumer(write: Callable[[pa.RecordBatch], None]) -> Callable[[pa.RecordBatch], None]:
        figures = Stats(fields=relation.fields)
        stats.append(figures)

        def consume(batch: pa.RecordBatch) -> None:
            if proof:
                figures.add(batch)
            try:
                write(batch)
            except OSError as exc:
                raise unwritten(path, exc) from exc
            counter.add(batch)

        return consume

    try:
        # The writers of Arrow write what is a file by its methods; a raw one of ours is.
        file = cast("IO[bytes]", HashedFile(path)) if hashed else path.open("wb")
        with file, sink(file, relation.fields) as filled:
            consumers = [consumer(filled.part()) for _ in range(readers_for(relation))]
            read_rows(snapshot, relation, consumers, partitions=partitions)
    except OSError as exc:
        raise unwritten(path, exc) from exc
    total = stats[0]
    for other in stats[1:]:
        total.merge(other)
    return Extract(
        path=path,
        rows=counter.rows,
        size=path.stat().st_size,
        sha256=file.sha256 if isinstance(file, HashedFile) else "",
        stats=total if proof else None,
    )


def unwritten(path: Path, exc: OSError) -> ExportError:
    """The error of a file that could not be written; Arrow's own has the number, but a text of its own."""
    cause = os.strerror(exc.errno) if exc.errno else str(exc).splitlines()[0]
    return ExportError(
        f"Cannot write {path}: {cause}.",
        hint="Make room, or write elsewhere: --to says where files go, TMPDIR where a run keeps its own.",
    )
