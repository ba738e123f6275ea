"""What stands in the database, beside what the code declares."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import psycopg
from psycopg import sql

from ledgerviews import db
from ledgerviews.catalog import load
from ledgerviews.errors import DatabaseError
from ledgerviews.queries import query

from . import sources
from .preflight import drift, engine_version

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import date, datetime

    from ledgerviews.config import Settings
    from ledgerviews.errors import LedgerviewsError

UP_TO_DATE = "up to date"
DIFFERS = "differs"
RENAMED = "renamed in code"
NOT_INSTALLED = "not installed"
NOT_DECLARED = "not declared"
ELSEWHERE = "declared in an env.py"
ANOTHER_SCHEMA = "in another schema"
RELEASED = "released"
GONE = "dropped by hand"
NO_INDEX = "unique index missing"
NOT_COMPARED = "not compared"

_MENDS = {
    DIFFERS: "`ledgerviews diff` shows it as SQL, `ledgerviews db revision -m TEXT` writes a revision.",
    RENAMED: "`ledgerviews db revision -m TEXT` writes the revision that renames it.",
    NOT_INSTALLED: "Write a revision that installs it, or set LEDGERVIEWS_SCHEMA to where it stands.",
    NOT_DECLARED: "Drop it by a revision, or set LEDGERVIEWS_MODELS to its own.",
    GONE: "Downgrade to the revision before the one that creates it, and upgrade again.",
    NO_INDEX: "`ledgerviews refresh` tells the CREATE UNIQUE INDEX that brings it back.",
}
_WORDS = {"change": DIFFERS, "rename": RENAMED, "drop": NOT_DECLARED, "create": NOT_INSTALLED}
# What code and database agree in, and what the comparison leaves to others.
_AGREED = frozenset({UP_TO_DATE, ELSEWHERE, ANOTHER_SCHEMA, NOT_COMPARED})


class Compared(Protocol):
    """What the comparison of code and database found, as ``ledgerviews.schema.standing`` gives it."""

    @property
    def relations(self) -> Mapping[tuple[str, str], tuple[str, str]]:
        """What differs, by schema and name; and in what, or to which name."""

    @property
    def others(self) -> tuple[str, ...]:
        """A line on each difference that is none of a relation."""

    @property
    def refused(self) -> LedgerviewsError | None:
        """Why nothing could be compared."""


@dataclass(frozen=True, kw_only=True)
class RelationStatus:
    """One published relation; what does not apply to its kind is None.

    Attributes:
        schema: where it stands.
        name: its name.
        kind: view or materialized view.
        rows: exact count, of a populated materialized view.
        size_bytes: with its indexes.
        populated: whether it can be read.
        last_refresh: end of the last refresh that was committed.
        definition: one of the module's constants: whether code and database agree.
        detail: in what they differ, or the name that it is to have.
        rebuild: why the next refresh recomputes all of it; None where days are enough.
        scrubbed_at: when the rolling scrub last verified days of it.
        scrubbed_to: the scrub has verified all days before this one in its present round.
    """

    schema: str
    name: str
    kind: str
    rows: int | None = None
    size_bytes: int | None = None
    populated: bool | None = None
    last_refresh: datetime | None = None
    definition: str
    detail: str | None = None
    rebuild: str | None = None
    scrubbed_at: datetime | None = None
    scrubbed_to: date | None = None


@dataclass(frozen=True, kw_only=True)
class Drift:
    """What a scrub found."""

    run_id: int
    at: datetime
    text: str


@dataclass(frozen=True, kw_only=True)
class LastRun:
    """The latest run that was begun, whatever became of it."""

    run_id: int
    state: str
    started_at: datetime
    finished_at: datetime | None
    error: str | None


@dataclass(frozen=True, kw_only=True)
class Status:
    """All of it; ``problem`` and ``hint`` say what keeps the database from being at the packaged revision.

    Attributes:
        relations: each published relation.
        sources: the tables that they are computed from by day.
        last_run: the latest run.
        verified_at: when all was last compared with a full recompute.
        drift: what the scrub found the last time that it found anything.
        differences: a line on each difference of code and database that is none of a relation.
        unknown: why definitions were not compared, where nothing else is wrong.
        problem: what keeps the database from being at the packaged revision.
        hint: what to do about that.
    """

    relations: tuple[RelationStatus, ...]
    sources: tuple[sources.Source, ...]
    last_run: LastRun | None
    verified_at: datetime | None
    drift: Drift | None
    differences: tuple[str, ...]
    unknown: str | None
    problem: str | None
    hint: str | None

    @property
    def advice(self) -> tuple[str, ...]:
        """A line on what to do about each kind of difference."""
        if self.problem is not None:
            return ()
        found: dict[str, list[str]] = {}
        for relation in self.relations:
            detail = f" ({relation.detail})" if relation.detail else ""
            found.setdefault(relation.definition, []).append(f"{relation.schema}.{relation.name}{detail}")
        told = [
            f"{definition}: {', '.join(names)}. {_MENDS[definition]}"
            for definition, names in found.items()
            if definition in _MENDS
        ]
        return (*told, *self.differences)

    @property
    def notes(self) -> tuple[str, ...]:
        """A line on each thing that makes refreshes slower than they could be, or will make the next one."""
        lines = [f"Definitions were not compared: {self.unknown}"] if self.unknown else []
        for source in self.sources:
            if source.mend:
                lines.append(f"{source.source}: {source.problem}; each refresh recomputes all. {source.mend}")
            lines += [
                f"{source.source} has no index on ({columns.replace(',', ', ')}): refreshes are exact, and"
                " slower. Run `ledgerviews index install`."
                for columns in source.missing_indexes
            ]
        lines += [
            f"{relation.schema}.{relation.name}: the next refresh recomputes all days: {relation.rebuild}."
            for relation in self.relations
            if relation.rebuild and relation.populated
        ]
        doubts = [
            f"{source.source}: {source.doubt}, so the next refresh recomputes all days."
            for source in self.sources
            if source.doubt and not source.problem and any(relation.populated for relation in self.relations)
        ]
        return (*lines, *doubts)

    @property
    def current(self) -> bool:
        """Whether code and database agree in everything that was compared."""
        return (
            self.problem is None
            and not self.differences
            and all(relation.definition in _AGREED for relation in self.relations)
        )


def status(settings: Settings, compared: Compared) -> Status:
    """Read the state of every published relation in one connection; changes nothing.

    Args:
        settings: where the database and the models are.
        compared: in what code and database differ.
    """
    catalog = load(settings.models)
    declared = {(settings.schema, model.name): model for model in catalog.models.values()}
    with closing(db.connect(settings)) as connection, db.translated(target=db.describe_target(settings)):
        # One transaction, so nothing of this stays with a pooled session, and all comes from one moment.
        connection.read_only = True
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        connection.autocommit = False
        connection.execute("SET LOCAL search_path = pg_catalog, pg_temp")
        problem: LedgerviewsError | None = drift(connection, settings)
        (engine, _), *_ = connection.execute(query("installed")).fetchall()
        rows = connection.execute(query("relations")).fetchall() if engine else []
        runs = connection.execute(query("last_run")).fetchall() if engine else []
        incremental = engine and engine_version(connection) >= 2  # noqa: PLR2004 (the engine that computes by day)
        tracked = sources.read(connection) if incremental else ()
        state = {row[:2]: row[2:] for row in connection.execute(query("condition"))} if incremental else {}
        verified = connection.execute(query("verified")).fetchall()[0] if incremental else (None,) * 5
        off = _taken_off(connection, rows) if engine and engine_version(connection) >= 3 else set()  # noqa: PLR2004
        found = [
            _found(
                connection, row, state.get(row[:2]), _agreement(row, compared, off, schema=settings.schema)
            )
            for row in rows
        ]
    seen = {(relation.schema, relation.name) for relation in found}
    # Where one is renamed, its row says so.
    seen |= {
        (settings.schema, relation.detail.removeprefix(f"{settings.schema}."))
        for relation in found
        if relation.definition == RENAMED and relation.detail
    }
    refused = compared.refused
    if problem is None and refused is not None and not isinstance(refused, DatabaseError):
        problem = refused
    missing = [
        RelationStatus(schema=schema, name=name, kind=str(model.kind), definition=NOT_INSTALLED)
        for (schema, name), model in declared.items()
        if (schema, name) not in seen
    ]
    order = {key: position for position, key in enumerate(declared)}
    return Status(
        relations=tuple(
            sorted(
                [*found, *missing],
                key=lambda r: (order.get((r.schema, r.name), len(order)), r.schema, r.name),
            )
        ),
        sources=tracked,
        verified_at=verified[1],
        drift=Drift(run_id=verified[2], at=verified[3], text=verified[4]) if verified[2] else None,
        last_run=LastRun(**dict(zip(LastRun.__dataclass_fields__, runs[0], strict=True))) if runs else None,
        differences=compared.others,
        unknown=str(refused) if problem is None and refused is not None else None,
        problem=problem.message if problem else None,
        hint=problem.hint if problem else None,
    )


def _found(
    connection: psycopg.Connection,
    row: tuple[Any, ...],
    state: tuple[Any, ...] | None,
    agreement: tuple[str, str | None],
) -> RelationStatus:
    schema, name, kind, found_kind, populated, size_bytes, _, last_refresh, _ = row
    rebuild, refreshed_at, scrubbed_at, scrubbed_to = state or (None,) * 4
    stored = found_kind == "materialized view"
    return RelationStatus(
        schema=schema,
        name=name,
        kind=kind,
        rows=_count(connection, schema, name) if stored and populated else None,
        size_bytes=size_bytes,
        populated=populated if stored else None,
        last_refresh=refreshed_at or last_refresh,
        definition=agreement[0],
        detail=agreement[1],
        rebuild=rebuild,
        scrubbed_at=scrubbed_at,
        scrubbed_to=scrubbed_to,
    )


def _agreement(
    row: tuple[Any, ...], compared: Compared, off: set[tuple[str, str]], *, schema: str
) -> tuple[str, str | None]:
    """Whether code and database agree on a relation that was installed, and in what they do not."""
    place, kind, found_kind, indexed, entity = row[:2], row[2], row[3], row[6], row[8]
    if place in off:
        return RELEASED, None
    if found_kind != kind:
        return GONE, None
    if found_kind == "materialized view" and not indexed:
        return NO_INDEX, None
    if entity or place[0] != schema:
        return (ELSEWHERE if entity else ANOTHER_SCHEMA), None
    if compared.refused is not None:
        return NOT_COMPARED, None
    what, detail = compared.relations.get(place, (None, None))
    return (_WORDS[what], detail or None) if what is not None else (UP_TO_DATE, None)


def _taken_off(connection: psycopg.Connection, rows: Sequence[tuple[Any, ...]]) -> set[tuple[str, str]]:
    """The relations of which something is taken off while a table is released."""
    if connection.execute(query("released")).fetchall()[0][0] is None:
        return set()
    try:
        with connection.transaction():
            return {(row[0], row[1]) for row in connection.execute(query("taken_off")).fetchall()}
    except psycopg.errors.InsufficientPrivilege:
        # What is not there is taken off, as far as this role can see.
        return {(row[0], row[1]) for row in rows if row[3] is None}


def _count(connection: psycopg.Connection, schema: str, name: str) -> int:
    statement = sql.SQL("SELECT pg_catalog.count(*) FROM {}").format(sql.Identifier(schema, name))
    return int(connection.execute(statement).fetchall()[0][0])
