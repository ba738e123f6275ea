"""What stands in the database, beside what the code declares."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Any, Protocol

import psycopg
from psycopg import sql

from ledgerviews import db
from ledgerviews.catalog import load
from ledgerviews.errors import DatabaseError, LockedError
from ledgerviews.queries import query

from . import sources
from .preflight import RELEASING_ENGINE, drift, engine_version
from .status_report import (
    ANOTHER_SCHEMA,
    DIFFERS,
    ELSEWHERE,
    GONE,
    NO_INDEX,
    NOT_COMPARED,
    NOT_DECLARED,
    NOT_INSTALLED,
    RELEASED,
    RENAMED,
    UP_TO_DATE,
    Drift,
    LastRun,
    RelationStatus,
    Status,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ledgerviews.config import Settings
    from ledgerviews.errors import LedgerviewsError

_WORDS = {"change": DIFFERS, "rename": RENAMED, "drop": NOT_DECLARED, "create": NOT_INSTALLED}


class Compared(Protocol):
    """What the comparison of code and database found, as ``ledgerviews.schema.standing`` gives it."""

    @property
    def relations(self) -> Mapping[tuple[str, str], tuple[str, str]]:
        """What differs, by schema and name; and in what, or to which name."""

    @property
    def others(self) -> tuple[str, ...]:
        """A line on each difference that is none of a relation."""

    @property
    def first(self) -> tuple[str, ...]:
        """A line on each thing to mend before a revision can be written of what differs."""

    @property
    def refused(self) -> LedgerviewsError | None:
        """Why nothing could be compared."""


def status(settings: Settings, compared: Compared) -> Status:
    """Read the state of every published relation in one connection; changes nothing.

    Args:
        settings: where the database and the models are.
        compared: in what code and database differ.
    """
    catalog = load(settings.models)
    declared = {(settings.schema, model.name): model for model in catalog.models.values()}
    with (
        closing(db.connect(settings)) as connection,
        db.translated(target=db.describe_target(settings), connection=connection, task=db.Task.LOOK),
    ):
        # One transaction, so nothing of this stays with a pooled session, and all comes from one moment.
        connection.read_only = True
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        connection.autocommit = False
        db.look_only(connection, settings)
        connection.execute("SET LOCAL search_path = pg_catalog, pg_temp")
        problem: LedgerviewsError | None = drift(connection, settings)
        (engine, _), *_ = connection.execute(query("installed")).fetchall()
        rows = connection.execute(query("relations")).fetchall() if engine else []
        runs = connection.execute(query("last_run")).fetchall() if engine else []
        version = engine_version(connection) if engine else 0
        incremental = version >= 2  # noqa: PLR2004 (the engine that computes by day)
        tracked = sources.read(connection) if incremental else ()
        state = {row[:2]: row[2:] for row in connection.execute(query("condition"))} if incremental else {}
        verified = connection.execute(query("verified")).fetchall()[0] if incremental else (None,) * 5
        off = _taken_off(connection, rows) if version >= RELEASING_ENGINE else set()
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
    if problem is None and refused is not None and not isinstance(refused, DatabaseError | LockedError):
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
        first=compared.first,
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
