"""The indexes that the narrowed queries need on the application's tables: which lack, and making them."""

from __future__ import annotations

import threading
from contextlib import closing
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, LiteralString

import psycopg
from psycopg import sql

from ledgerviews import db
from ledgerviews.db import Task
from ledgerviews.errors import DatabaseError, InterruptedRunError, LedgerviewsError, LockedError
from ledgerviews.queries import query

from . import engine

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ledgerviews.config import Settings

_LONGEST_NAME = 63  # bytes


@dataclass(frozen=True, kw_only=True)
class WantedIndex:
    """An index that a source wants.

    Attributes:
        source: ``schema.table``.
        columns: those that it begins with.
        present: whether a valid index begins with them.
        owner: the role that owns the table.
        owned: whether this role has the owner's rights.
        rows: about how many rows the table has.
        table_bytes: how large it is.
        gone: columns that the table does not have, or no more under that name.
        index_bytes: about how large the index becomes.
        statements: what makes it.
    """

    source: str
    columns: tuple[str, ...]
    present: bool
    owner: str
    owned: bool
    rows: int
    table_bytes: int
    gone: list[str]
    index_bytes: int
    statements: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class _Part:
    """A table or partition on which an index is made; the parent's is made of its partitions' own."""

    relation: int
    parent: int | None
    schema: str
    table: str
    kind: str
    columns: tuple[str, ...]

    @property
    def name(self) -> str:
        """The index's name: its own for table and columns, and recognisable."""
        whole = f"{self.table}_{'_'.join(self.columns)}_ledgerviews"
        if len(whole.encode()) <= _LONGEST_NAME:
            return whole
        digest = sha256(whole.encode()).hexdigest()[:8]
        return f"{whole.encode()[:41].decode(errors='ignore')}_{digest}_ledgerviews"

    @property
    def index(self) -> sql.Identifier:
        return sql.Identifier(self.schema, self.name)

    def create(self) -> sql.Composed:
        """CREATE INDEX: of a partitioned table only its frame, which locks for a moment."""
        frame = self.kind == "p"
        return sql.SQL("CREATE INDEX {}IF NOT EXISTS {} ON {}{} ({})").format(
            sql.SQL("" if frame else "CONCURRENTLY "),
            sql.Identifier(self.name),
            sql.SQL("ONLY " if frame else ""),
            sql.Identifier(self.schema, self.table),
            sql.SQL(", ").join(map(sql.Identifier, self.columns)),
        )

    def attach(self, parts: Sequence[_Part]) -> sql.Composed | None:
        """ALTER INDEX … ATTACH PARTITION, of a partition's."""
        for parent in parts:
            if parent.relation == self.parent:
                return sql.SQL("ALTER INDEX {} ATTACH PARTITION {}").format(parent.index, self.index)
        return None


def wanted(settings: Settings) -> tuple[WantedIndex, ...]:
    """All of them, those that are there too."""
    with engine.session(db.looking(settings), task=Task.LOOK) as connection:
        return tuple(one for one, _ in _wanted(connection))


def require_possible(index: WantedIndex) -> None:
    """Raise DatabaseError where this role may not create it, or the table has not all of its columns."""
    if index.gone:
        raise DatabaseError(
            f"{index.source} has no column {', '.join(index.gone)}, so it cannot be indexed as declared.",
            hint="Where the application renamed it, write the new name into the source's `indexes`, and a"
            " revision: `ledgerviews db revision -m TEXT`. Refreshes are exact without the index.",
        )
    if not index.owned:
        raise DatabaseError(
            f"Only the owner of {index.source}, {index.owner}, may create an index on it.",
            hint="Connect as a member of it, or have it run: " + "; ".join(index.statements) + ".",
        )


def install(settings: Settings, index: WantedIndex, *, progress: Callable[[str], None]) -> None:
    """Create a missing index CONCURRENTLY, of a partitioned table one partition after the other.

    ``progress`` gets a line for each index; the statements are the caller's to show, before it asks.
    Neither readers nor writers wait. It waits itself for transactions that are older than it; a lock time-out
    in the settings ends that. An invalid index that a failed attempt left is dropped first.

    Raises LockedError where the time-out passed or another session builds it, DatabaseError for what cannot
    be indexed, and InterruptedRunError on Ctrl-C; a half-made index is dropped.
    """
    require_possible(index)
    with engine.session(settings, progress=progress) as connection:
        parts = next(
            parts
            for one, parts in _wanted(connection)
            if (one.source, one.columns) == (index.source, index.columns)
        )
        for part in parts:
            if part.kind not in {"r", "p"}:
                raise DatabaseError(
                    f"{index.source} cannot be indexed: {part.schema}.{part.table} is no table here.",
                    hint="Refreshes are exact without it, and slower.",
                )
        for part in parts:
            _build(settings, connection, part, progress)
        for part in reversed(parts):
            if (statement := part.attach(parts)) is not None:
                progress(f"Attaching the index {part.schema}.{part.name}")
                connection.execute(statement)
        still = [one for one, _ in _wanted(connection) if one.source == index.source and not one.present]
        if any(one.columns == index.columns for one in still):
            raise DatabaseError(
                f"The index {parts[0].name} on {index.source} is there, and not valid.",
                hint=f"Drop it (DROP INDEX {parts[0].index.as_string(None)}), and try again.",
            )


def _wanted(connection: psycopg.Connection) -> list[tuple[WantedIndex, list[_Part]]]:
    found = []
    rows = connection.execute(query("wanted_indexes")).fetchall()
    for source, text, present, relation, _kind, owner, owned, estimate, size, gone in rows:
        columns = tuple(text.split(","))
        parts = [
            _Part(**dict(zip(_Part.__dataclass_fields__, (*row, columns), strict=True)))
            for row in connection.execute(query("index_parts"), {"relation": relation})
        ]
        attached = [statement for part in reversed(parts) if (statement := part.attach(parts)) is not None]
        statements = [*(part.create() for part in parts), *attached]
        found.append(
            (
                WantedIndex(
                    source=source,
                    columns=columns,
                    present=present,
                    owner=owner,
                    owned=owned,
                    rows=estimate,
                    table_bytes=size,
                    gone=gone,
                    # A tuple of a btree index: its header and pointer, and about 16 bytes for each column.
                    index_bytes=int(estimate * (12 + 16 * len(columns)) / 0.9),
                    statements=tuple(statement.as_string(connection) for statement in statements),
                ),
                parts,
            )
        )
    return found


def _build(
    settings: Settings, connection: psycopg.Connection, part: _Part, progress: Callable[[str], None]
) -> None:
    named = connection.execute(query("named_index"), {"schema": part.schema, "name": part.name}).fetchall()
    if named:
        relation, valid, building = named[0]
        if building is not None:
            raise LockedError(
                f"Process {building} is building the index {part.name} just now.", hint="Wait for it."
            )
        if relation != part.relation:
            raise DatabaseError(
                f"{part.schema}.{part.name} is something else already, so the index cannot take that name.",
                hint="Rename it, or create the index yourself: " + part.create().as_string(connection) + ".",
            )
        if valid or part.kind == "p":
            return
        progress(f"Dropping the invalid index {part.schema}.{part.name} of an attempt that failed")
        connection.execute(sql.SQL("DROP INDEX CONCURRENTLY IF EXISTS {}").format(part.index))
    progress(f"Creating the index {part.schema}.{part.name}")
    _execute(settings, connection, part, progress)


def _execute(
    settings: Settings, connection: psycopg.Connection, part: _Part, progress: Callable[[str], None]
) -> None:
    """Run CREATE INDEX in a thread, and tell meanwhile how far it is."""
    failed: list[psycopg.Error] = []

    def run() -> None:
        try:
            connection.execute(part.create())
        except psycopg.Error as exc:
            failed.append(exc)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        with closing(db.connect(settings)) as watcher:
            told = ""
            while thread.is_alive():
                thread.join(1.0)
                if thread.is_alive() and (line := _progress(watcher, connection.info.backend_pid)) != told:
                    progress(line)
                    told = line
    except KeyboardInterrupt:
        connection.cancel_safe()
        thread.join()
        _clear(connection, part)
        raise InterruptedRunError(f"Interrupted: the index {part.name} was not made.") from None
    except LedgerviewsError:
        thread.join()  # the progress alone cannot be told
    thread.join()
    if failed:
        _clear(connection, part)
        if isinstance(failed[0], psycopg.errors.LockNotAvailable):
            raise LockedError(
                f"The lock time-out passed while the index {part.name} waited for older transactions.",
                hint="See pg_stat_activity for them; try again, or raise --lock-timeout (0 is no limit).",
            ) from failed[0]
        raise failed[0]


def _progress(watcher: psycopg.Connection, pid: int) -> str:
    rows = watcher.execute(query("index_progress"), {"pid": pid}).fetchall()
    if not rows:
        return ""
    phase, blocks, all_blocks, tuples, all_tuples = rows[0]
    done, total = (blocks, all_blocks) if all_blocks else (tuples, all_tuples)
    # In tens, so that a log of it is short.
    return f"  {phase}" + (f", {10 * (10 * done // total)} %" if total else "")


def _clear(connection: psycopg.Connection, part: _Part) -> None:
    """Drop what a failed attempt left; where that fails, too, the next attempt does it."""
    drop: LiteralString = "DROP INDEX CONCURRENTLY IF EXISTS {}"
    try:
        if not connection.closed:
            connection.execute(sql.SQL(drop).format(part.index))
    except psycopg.Error:
        return
