"""Alembic operations for revisions: ``op.ledgerviews_engine``, ``…_create_view`` and their like.

They are frozen: an old revision calls them with the text that it installed, for ever. Each runs online and
offline (``--sql``), and sends its SQL as it is written: no colon or percent sign means anything in it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from alembic.operations import MigrateOperation, Operations

from ledgerviews.catalog import Check, require_tuples

from . import engine_versions, statements
from .execute import installed_version, offline, run, settings_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


@Operations.register_operation("ledgerviews_engine")
@dataclass(frozen=True)
class EngineOp(MigrateOperation):
    """Bring the SQL engine to a version; 0 takes it out."""

    version: int
    previous: int | None = None

    @classmethod
    def ledgerviews_engine(cls, operations: Operations, *, version: int, previous: int | None = None) -> None:
        """Install or change the engine in the schema ``ledgerviews``.

        Args:
            operations: Alembic's own.
            version: the version to reach; 0 takes the engine out (refused while relations are published).
            previous: the version that stands there; read from the database where it is not said, and taken
                for ``version - 1`` (or the latest, for 0) offline.
        """
        operations.invoke(cls(version, previous))


@Operations.register_operation("ledgerviews_create_view")
@Operations.register_operation("ledgerviews_create_materialized_view")
@dataclass(frozen=True)
class CreateOp(MigrateOperation):
    """Create a published relation with its comments, unique index and entry in the registry."""

    name: str
    kind: str
    definition: str
    reads: Sequence[str]
    comment: str
    columns: Mapping[str, str]
    unique_key: Sequence[str] = ()
    by_day: statements.ByDay | None = None
    checks: Sequence[Check] = ()
    take_up: bool = False

    @classmethod
    def ledgerviews_create_view(  # noqa: PLR0913 (the frozen form of a declaration)
        cls,
        operations: Operations,
        name: str,
        definition: str,
        *,
        comment: str,
        columns: Mapping[str, str],
        reads: Sequence[str] = (),
    ) -> None:
        """Create a view in the target schema.

        Args:
            operations: Alembic's own.
            name: the relation's name.
            definition: one SELECT, written against ``public``.
            comment: the relation's comment.
            columns: each column with its comment.
            reads: the published relations that the definition names, to be moved with it.
        """
        require_tuples(f"Relation {name}", str, reads=reads)
        operations.invoke(cls(name, "view", definition, reads, comment, columns))

    @classmethod
    def ledgerviews_create_materialized_view(  # noqa: PLR0913 (the frozen form of a declaration)
        cls,
        operations: Operations,
        name: str,
        definition: str,
        *,
        unique_key: Sequence[str],
        comment: str,
        columns: Mapping[str, str],
        reads: Sequence[str] = (),
        day: str | None = None,
        day_definition: str | None = None,
        sources: Sequence[str] = (),
        checks: Sequence[Mapping[str, Any]] = (),
        take_up: bool = False,
    ) -> None:
        """Create a materialized view, unpopulated unless LEDGERVIEWS_POPULATE is set.

        Args:
            operations: Alembic's own.
            name: the relation's name.
            definition: one SELECT, written against ``public``.
            unique_key: the columns of the unique index that REFRESH … CONCURRENTLY needs.
            comment: the relation's comment.
            columns: each column with its comment.
            reads: the published relations that the definition names, to be moved with it.
            day: the column of the key that holds the day, where it is computed by day. Then also:
            day_definition: the SELECT of the days from ``$1`` up to, not including, ``$2``.
            sources: the tables, ``schema.name``, that its days depend on.
            checks: what must hold, each the arguments of ``ledgerviews.catalog.Check``.
            take_up: give it the rows and grants of the one that was dropped with ``set_aside``.
        """
        require_tuples(f"Relation {name}", str, unique_key=unique_key, reads=reads, sources=sources)
        by_day = None
        if day is not None and day_definition is not None:
            by_day = statements.ByDay(column=day, definition=day_definition, sources=sources)
        operations.invoke(
            cls(
                name,
                "materialized view",
                definition,
                reads,
                comment,
                columns,
                unique_key,
                by_day,
                tuple(Check(**check) for check in checks),
                take_up,
            )
        )


@Operations.register_operation("ledgerviews_drop_view")
@Operations.register_operation("ledgerviews_drop_materialized_view")
@dataclass(frozen=True)
class DropOp(MigrateOperation):
    """Drop a published relation and its entry in the registry."""

    name: str
    kind: str
    by_day: bool = False
    set_aside: bool = False

    @classmethod
    def ledgerviews_drop_view(cls, operations: Operations, name: str) -> None:
        """Drop a view; what still reads it stops this."""
        operations.invoke(cls(name, "view"))

    @classmethod
    def ledgerviews_drop_materialized_view(
        cls, operations: Operations, name: str, *, by_day: bool = False, set_aside: bool = False
    ) -> None:
        """Drop a materialized view; what still reads it stops this.

        Args:
            operations: Alembic's own.
            name: the relation's name.
            by_day: whether it is computed by day: its rollup goes, too.
            set_aside: keep its rows and grants for one that is created in its place in the same transaction.
        """
        operations.invoke(cls(name, "materialized view", by_day, set_aside))


@Operations.implementation_for(EngineOp)
def _engine(operations: Operations, operation: EngineOp) -> None:
    previous = operation.previous
    if previous is None:
        previous = (
            _assumed_version(operation.version) if offline(operations) else installed_version(operations)
        )
    script = engine_versions.script(previous, operation.version)
    run(operations, script and f"CREATE SCHEMA IF NOT EXISTS {engine_versions.SCHEMA};\n{script}")


@Operations.implementation_for(CreateOp)
def _create(operations: Operations, operation: CreateOp) -> None:
    settings = settings_of(operations)
    script = statements.create(
        schema=settings.schema,
        name=operation.name,
        kind=operation.kind,
        definition=operation.definition,
        reads=operation.reads,
        comment=operation.comment,
        columns=operation.columns,
        unique_key=operation.unique_key,
        populate=settings.populate and not operation.take_up,
        by_day=operation.by_day,
        checks=operation.checks,
    )
    if operation.take_up:
        script += statements.take_up(schema=settings.schema, name=operation.name)
    run(operations, script)


@Operations.implementation_for(DropOp)
def _drop(operations: Operations, operation: DropOp) -> None:
    schema = settings_of(operations).schema
    script = statements.drop(schema=schema, name=operation.name, kind=operation.kind, by_day=operation.by_day)
    if operation.set_aside:
        script = statements.set_aside(schema=schema, name=operation.name) + script
    run(operations, script)


def _assumed_version(version: int) -> int:
    return version - 1 if version else engine_versions.LATEST
