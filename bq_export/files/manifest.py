"""The extract to files: one for each relation, its schema, a manifest, and the lines that load them."""

from __future__ import annotations

import fcntl
import json
import os
import shlex
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bq_export.extract import extract, unwritten
from bq_export.files.parquet import ParquetSink
from bq_export.files.text import CsvSink, JsonSink, refuse_arrays
from bq_export.source.misfits import count_misfits
from bq_export.source.relation import exported, read_relation
from bq_export.source.snapshot import at_one_moment
from bq_export.target import table_spec
from ledgerviews import catalog
from ledgerviews.errors import LockedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from typing import IO

    from bq_export.extract import Sink
    from bq_export.source.relation import Relation
    from bq_export.source.snapshot import Snapshot
    from bq_export.types import Field
    from ledgerviews.config import Settings

SINKS: dict[str, Callable[[IO[bytes], Sequence[Field]], Sink]] = {
    "parquet": ParquetSink,
    "csv": CsvSink,
    "json": JsonSink,
}
_SUFFIX = {"parquet": "parquet", "csv": "csv", "json": "ndjson"}
_BQ_FORMAT = {
    "parquet": ["--source_format=PARQUET", "--parquet_enable_list_inference"],
    "csv": ["--source_format=CSV", "--skip_leading_rows=1", "--allow_quoted_newlines"],
    "json": ["--source_format=NEWLINE_DELIMITED_JSON"],
}
MANIFEST = "manifest.json"
_PART = ".bq-export-part-"  # before the name of a file that is not whole yet; nobody else's begins so


@dataclass(frozen=True, kw_only=True)
class Written:
    """One file: whose rows, how many, how large, its SHA-256, and how `bq` loads it."""

    schema: str
    name: str
    file: str
    rows: int
    bytes: int
    sha256: str
    load: str
    misfits: Mapping[str, int] = field(default_factory=dict)


def write_files(
    settings: Settings,
    folder: Path,
    *,
    names: Sequence[str] = (),
    kind: str = "parquet",
    progress: Callable[[str], None],
) -> list[Written]:
    """Write the relations of those names, or all, as of one moment; the manifest comes last."""
    models = exported(catalog.load(settings.models), names)

    def write(snapshot: Snapshot) -> list[Written]:
        taken = datetime.now(UTC)
        relations = [read_relation(snapshot.connection, m, schema=settings.schema) for m in models]
        # Whatever is refused is refused before a file of an earlier time is touched.
        schemas = [_bq_schema(relation) for relation in relations]
        if kind == "csv":
            for relation in relations:
                refuse_arrays(relation.fields)
        (folder / MANIFEST).unlink(missing_ok=True)  # it vouches for files that are about to change
        found = []
        for relation, schema in zip(relations, schemas, strict=True):
            found.append(_written(snapshot, relation, folder, kind, progress))
            _write(folder / f"{relation.name}.schema.json", schema)
            progress(f"{relation.qualified}: {found[-1].rows:,} rows in {found[-1].file}")
        content = {"version": 1, "format": kind, "snapshot_at": taken.isoformat()}
        _write(folder / MANIFEST, {**content, "relations": [asdict(one) for one in found]})
        return found

    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _alone(folder):
            for part in folder.glob(f"{_PART}*"):  # of a run that was killed
                part.unlink()
            return at_one_moment(settings, write, progress=progress)
    except OSError as exc:
        raise unwritten(Path(exc.filename or folder), exc) from exc


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Hold the folder for the block: two that write to it would leave a manifest that vouches for neither."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)  # the system gives it back when the process ends
        yield
    except BlockingIOError:
        raise LockedError(
            f"Another bq-export is writing to {folder}.", hint="Wait for it, or write elsewhere: --to."
        ) from None
    finally:
        os.close(handle)


def _written(
    snapshot: Snapshot, relation: Relation, folder: Path, kind: str, progress: Callable[[str], None]
) -> Written:
    """Write one relation's file, which is there whole or not at all."""
    misfits = count_misfits(snapshot, relation)
    final = folder / f"{relation.name}.{_SUFFIX[kind]}"
    part = final.with_name(f"{_PART}{final.name}")
    try:
        done = extract(snapshot, relation, part, sink=SINKS[kind], hashed=True, progress=progress)
        part.replace(final)
    finally:
        part.unlink(missing_ok=True)
    return Written(
        schema=relation.schema,
        name=relation.name,
        file=final.name,
        rows=done.rows,
        bytes=done.size,
        sha256=done.sha256,
        load=load_line(relation, final.name, kind),
        misfits=misfits,
    )


def load_line(relation: Relation, file: str, kind: str) -> str:
    """The `bq load` line that makes and fills a table of the same shape as `bq-export run` does."""
    words = ["bq", "load", "--replace", *_BQ_FORMAT[kind]]
    export = relation.export
    if export.partition is not None:
        words += ["--time_partitioning_type=DAY", f"--time_partitioning_field={export.partition}"]
        if export.partition_expiration_days is not None:
            words.append(f"--time_partitioning_expiration={export.partition_expiration_days * 86_400}")
        if export.require_partition_filter:
            words.append("--require_partition_filter")
    if export.cluster:
        words.append(f"--clustering_fields={','.join(export.cluster)}")
    line = " ".join(shlex.quote(word) for word in words)
    schema = f"{relation.name}.schema.json"
    return f'{line} "$GCP_PROJECT:$BQ_DATASET.{relation.name}" {shlex.quote(file)} {shlex.quote(schema)}'


def _bq_schema(relation: Relation) -> list[dict[str, Any]]:
    fields = []
    for one in table_spec(relation).columns:
        kind, _, parameters = one.type.partition("(")
        entry: dict[str, Any] = {
            "name": one.name,
            "type": kind,
            "mode": "REPEATED" if one.repeated else "NULLABLE",
        }
        if one.description:
            entry["description"] = one.description
        given = zip(("precision", "scale"), parameters.rstrip(")").split(", "), strict=False)
        entry |= {name: value for name, value in given if value}
        fields.append(entry)
    return fields


def _write(path: Path, content: Any) -> None:
    part = path.with_name(f"{_PART}{path.name}")
    try:
        part.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
