"""Alembic operations on the sources: ``op.ledgerviews_create_source`` and ``op.ledgerviews_drop_source``.

Frozen, like those of the relations.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from alembic.operations import MigrateOperation, Operations

from ledgerviews.catalog import require_tuples

from . import statements
from .execute import run, settings_of
from .incremental import ParentTable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


@Operations.register_operation("ledgerviews_create_source")
@dataclass(frozen=True)
class CreateSourceOp(MigrateOperation):
    """Track the writes to a table of the application, by day."""

    schema: str
    name: str
    day: str
    key: str | None
    parent: ParentTable | None
    indexes: Sequence[str]

    @classmethod
    def ledgerviews_create_source(  # noqa: PLR0913 (the frozen form of a declaration)
        cls,
        operations: Operations,
        name: str,
        *,
        day: str,
        schema: str = "public",
        key: str | None = None,
        parent: Mapping[str, str] | None = None,
        indexes: Sequence[str] = (),
    ) -> None:
        """Make the log of a table's changed days; ``ledgerviews_track_sources`` then has it written.

        Args:
            operations: Alembic's own.
            name: the table's name.
            day: the column of a row's own time.
            schema: where the table stands.
            key: of a table with a parent, the column that points at it; of a parent, the one pointed at.
            parent: ``schema``, ``name``, ``key`` and ``day`` of the table whose row gives this one its day.
            indexes: leading columns, comma-separated, of the indexes that single days need.
        """
        require_tuples(f"Source {schema}.{name}", str, indexes=indexes)
        operations.invoke(
            cls(schema, name, day, key, ParentTable(**parent) if parent is not None else None, indexes)
        )


@Operations.register_operation("ledgerviews_track_sources")
@Operations.register_operation("ledgerviews_untrack_sources")
@dataclass(frozen=True)
class TrackSourcesOp(MigrateOperation):
    """Put the triggers on tables, or take them off: all together, and last in a revision."""

    sources: Sequence[str]
    track: bool

    @classmethod
    def ledgerviews_track_sources(cls, operations: Operations, sources: Sequence[str]) -> None:
        """Put the triggers on that LEDGERVIEWS_TRACKING says.

        Call it last in a revision, once, with all sources (``schema.table``): the locks on the tables are
        taken together without waiting long, and held until the revision ends.
        """
        require_tuples("ledgerviews_track_sources", str, sources=sources)
        operations.invoke(cls(sources, track=True))

    @classmethod
    def ledgerviews_untrack_sources(cls, operations: Operations, sources: Sequence[str]) -> None:
        """Take the triggers off; call it as late as what is dropped after it allows."""
        require_tuples("ledgerviews_untrack_sources", str, sources=sources)
        operations.invoke(cls(sources, track=False))


@Operations.register_operation("ledgerviews_drop_source")
@dataclass(frozen=True)
class DropSourceOp(MigrateOperation):
    """Track a table no longer."""

    schema: str
    name: str

    @classmethod
    def ledgerviews_drop_source(cls, operations: Operations, name: str, *, schema: str = "public") -> None:
        """Take the triggers off a table and its log away."""
        operations.invoke(cls(schema, name))


@Operations.implementation_for(CreateSourceOp)
def _create_source(operations: Operations, operation: CreateSourceOp) -> None:
    run(
        operations,
        statements.create_source(
            schema=operation.schema,
            name=operation.name,
            day=operation.day,
            key=operation.key,
            parent=operation.parent,
            indexes=operation.indexes,
        ),
    )


@Operations.implementation_for(TrackSourcesOp)
def _track_sources(operations: Operations, operation: TrackSourcesOp) -> None:
    tracking = settings_of(operations).tracking if operation.track else "none"
    run(operations, statements.track_sources(operation.sources, tracking=tracking))


@Operations.implementation_for(DropSourceOp)
def _drop_source(operations: Operations, operation: DropSourceOp) -> None:
    run(operations, statements.drop_source(schema=operation.schema, name=operation.name))
