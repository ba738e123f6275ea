"""Both sides compared, cell by cell: a sum over the rows of each day, then the rows of days that differ.

Reading a table's rows costs nothing in BigQuery, so this bills nothing. Memory holds the sums, and the rows
of the days that differ.
"""

from __future__ import annotations

import hashlib
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from bq_export.errors import ExportError
from bq_export.gather import today
from bq_export.loader.session import open_target
from bq_export.plan import plan_relation, unexpired
from bq_export.source.fingerprints import WHOLE, key_of, read_partitions
from bq_export.source.relation import exported, read_relation
from bq_export.source.rows import read_rows
from bq_export.source.snapshot import at_one_moment
from bq_export.state import export_lock, open_state
from ledgerviews import catalog

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    import pyarrow as pa

    from bq_export.loader.session import Target
    from bq_export.settings import ExportSettings
    from bq_export.source.relation import Relation
    from bq_export.source.snapshot import Snapshot
    from bq_export.state import State
    from ledgerviews.config import Settings

    Row = tuple[Any, ...]

_MODULUS = 2**128
_LINES = 20
_PAGE = 20_000


@dataclass(frozen=True, kw_only=True)
class Verified:
    """How one relation compares: days that are equal, that differ, and that changed since the last export.

    ``columns`` are those that the target has and the relation has not.
    """

    schema: str
    name: str
    rows: int
    equal: int
    differing: tuple[str, ...]
    pending: tuple[str, ...]
    lines: tuple[str, ...]
    columns: tuple[str, ...] = ()


def verify(
    settings: Settings, export: ExportSettings, *, names: Sequence[str] = (), progress: Callable[[str], None]
) -> list[Verified]:
    """Compare the relations of those names, or all, with their tables."""
    models = exported(catalog.load(settings.models), names)
    with ExitStack() as stack:
        state = stack.enter_context(open_state(settings, target=export.target))
        # Nobody publishes while we read.
        stack.enter_context(export_lock(state, settings, wait=True, progress=progress))
        target = stack.enter_context(open_target(export, progress=progress))

        def compare(snapshot: Snapshot) -> list[Verified]:
            relations = [read_relation(snapshot.connection, m, schema=settings.schema) for m in models]
            found = []
            for relation in relations:
                progress(f"{relation.qualified}: comparing")
                found.append(_verify(snapshot, state, target, relation))
            return found

        return at_one_moment(settings, compare, progress=progress)


def _verify(snapshot: Snapshot, state: State, target: Target, relation: Relation) -> Verified:
    memory = state.table(relation.qualified)
    table = target.tables.read(relation.name)
    if memory is None or table is None:
        raise ExportError(
            f"{relation.qualified} was never exported to {target.tables.full_name(relation.name)}.",
            hint="Run `bq-export run` first.",
        )
    plan = plan_relation(
        relation,
        read_partitions(snapshot, relation),
        memory,
        full=False,
        today=today(),
        expiration_days=table.expiration_days,
    )
    pending = {*plan.sent, *plan.vanished}
    here: dict[str, list[int]] = {}
    _source_rows(snapshot, relation, lambda row: _add(here, relation, row))
    there: dict[str, list[int]] = {}
    for row in _target_rows(target, relation):
        _add(there, relation, row)
    # What the target forgets by its age may be gone already, or not yet.
    there, _ = unexpired(there, today(), table.expiration_days)
    kept = plan.partitions if relation.partition is not None else {WHOLE: None}
    keys = {*kept, *there}
    differing = tuple(sorted(k for k in keys - pending if here.get(k) != there.get(k)))
    # Of a day that changed since, the target must still hold as many rows as were sent.
    differing += tuple(
        sorted(
            key
            for key in pending
            if key in memory.partitions
            and memory.partitions[key].fingerprint is not None
            and there.get(key, [0])[0] != memory.partitions[key].row_count
        )
    )
    names = {one.name.lower() for one in relation.fields}
    lines = tuple(_lines(snapshot, target, relation, {*differing} - pending)) if differing else ()
    return Verified(
        schema=relation.schema,
        name=relation.name,
        rows=sum(count for count, _ in there.values()),
        equal=len(keys - pending - {*differing}),
        differing=differing,
        pending=tuple(sorted(pending)),
        lines=lines,
        columns=tuple(one.name for one in table.columns if one.name.lower() not in names),
    )


def _source_rows(snapshot: Snapshot, relation: Relation, take: Callable[[Row], None]) -> None:
    def consume(batch: pa.RecordBatch) -> None:
        for row in zip(*(column.to_pylist() for column in batch.columns), strict=True):
            take(row)

    read_rows(snapshot, relation, [consume])


def _target_rows(target: Target, relation: Relation) -> Iterator[Row]:
    names = [one.name for one in relation.fields]
    return target.tables.rows(relation.name, names, page=_PAGE)


def _add(sums: dict[str, list[int]], relation: Relation, row: Row) -> None:
    cells = canonical(row)
    digest = hashlib.blake2b(repr(cells).encode(), digest_size=16).digest()
    entry = sums.setdefault(_key(relation, row), [0, 0])
    entry[0] += 1
    entry[1] = (entry[1] + int.from_bytes(digest)) % _MODULUS


def _key(relation: Relation, row: Row) -> str:
    for one, value in zip(relation.fields, row, strict=True):
        if one.name == relation.export.partition:
            return key_of(value)
    return WHOLE


def canonical(row: Iterable[Any]) -> Row:
    """A row's cells in one form, whichever side they come from."""
    return tuple(_cell(value) for value in row)


def _cell(value: Any) -> Any:
    match value:
        case float():
            return "nan" if value != value else value + 0.0  # noqa: PLR0124 (NaN; and -0.0 is 0.0)
        case Decimal():
            text = f"{value:f}"  # normalize() would round to 28 digits
            return text.rstrip("0").rstrip(".") if "." in text else text
        case datetime() if value.tzinfo is not None:
            return value.astimezone(UTC).isoformat()
        case list() | tuple():
            return tuple(_cell(one) for one in value)
        case None | bool() | int() | str() | bytes():
            return value
        case _:
            return str(value)


def _lines(snapshot: Snapshot, target: Target, relation: Relation, keys: set[str]) -> Iterator[str]:
    """What differs, a line for each cell or row, at most a few."""
    grain = [n for n, one in enumerate(relation.fields) if one.name in relation.grain]
    here: dict[Row, list[Row]] = {}
    there: dict[Row, list[Row]] = {}

    def collect(found: dict[Row, list[Row]], row: Row) -> None:
        if _key(relation, row) in keys:
            cells = canonical(row)
            found.setdefault(tuple(cells[n] for n in grain) or cells, []).append(cells)

    _source_rows(snapshot, relation, lambda row: collect(here, row))
    for row in _target_rows(target, relation):
        collect(there, row)
    told = 0
    for key in sorted({*here, *there}, key=repr):
        ours, theirs = here.get(key, []), there.get(key, [])
        for line in _compared(relation, key, ours, theirs):
            told += 1
            if told > _LINES:
                yield "…"
                return
            yield line


def _compared(relation: Relation, key: Row, ours: list[Row], theirs: list[Row]) -> Iterator[str]:
    shown = ", ".join(str(one) for one in key)
    if len(ours) == len(theirs) == 1:
        for one, a, b in zip(relation.fields, ours[0], theirs[0], strict=True):
            if a != b:
                yield f"({shown}) {one.name}: {a!r} at the source, {b!r} at the target"
    elif sorted(ours, key=repr) != sorted(theirs, key=repr):
        yield f"({shown}): {len(ours)} rows at the source, {len(theirs)} at the target"
