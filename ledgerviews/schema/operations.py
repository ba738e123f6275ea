"""Alembic operations for revisions: ``op.ledgerviews_engine``, ``…_create_view`` and their like.

They are frozen: an old revision calls them with the text that it installed, for ever. Each runs online and
offline (``--sql``), and sends its SQL as it is written: no colon or percent sign means anything in it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from alembic.operations import MigrateOperation, Operations

from ledgerviews.catalog import Check
from ledgerviews.config import Settings
from ledgerviews.queries import query

from . import engine_versions, statements
from .incremental import ParentTable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

SETTINGS = "ledgerviews_settings"
"""The key under which an Alembic Config's attributes carry the Settings."""


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
        """Make the log of a table's changed days, and put the triggers on that LEDGERVIEWS_TRACKING says.

        Args:
            operations: Alembic's own.
            name: the table's name.
            day: the column of a row's own time.
            schema: where the table stands.
            key: of a table with a parent, the column that points at it; of a parent, the one pointed at.
            parent: ``schema``, ``name``, ``key`` and ``day`` of the table whose row gives this one its day.
            indexes: leading columns, comma-separated, of the indexes that single days need.
        """
        operations.invoke(
            cls(schema, name, day, key, ParentTable(**parent) if parent is not None else None, indexes)
        )


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


@Operations.implementation_for(EngineOp)
def _engine(operations: Operations, operation: EngineOp) -> None:
    previous = operation.previous
    if previous is None:
        previous = (
            _assumed_version(operation.version) if _offline(operations) else _installed_version(operations)
        )
    script = engine_versions.script(previous, operation.version)
    _run(operations, script and f"CREATE SCHEMA IF NOT EXISTS {engine_versions.SCHEMA};\n{script}")


@Operations.implementation_for(CreateOp)
def _create(operations: Operations, operation: CreateOp) -> None:
    settings = _settings(operations)
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
    _run(operations, script)


@Operations.implementation_for(DropOp)
def _drop(operations: Operations, operation: DropOp) -> None:
    schema = _settings(operations).schema
    script = statements.drop(schema=schema, name=operation.name, kind=operation.kind, by_day=operation.by_day)
    if operation.set_aside:
        script = statements.set_aside(schema=schema, name=operation.name) + script
    _run(operations, script)


@Operations.implementation_for(CreateSourceOp)
def _create_source(operations: Operations, operation: CreateSourceOp) -> None:
    _run(
        operations,
        statements.create_source(
            schema=operation.schema,
            name=operation.name,
            day=operation.day,
            key=operation.key,
            parent=operation.parent,
            indexes=operation.indexes,
            tracking=_settings(operations).tracking,
        ),
    )


@Operations.implementation_for(DropSourceOp)
def _drop_source(operations: Operations, operation: DropSourceOp) -> None:
    _run(operations, statements.drop_source(schema=operation.schema, name=operation.name))


def _settings(operations: Operations) -> Settings:
    """The settings of this run; from the environment where another env.py runs the revision."""
    config = operations.get_context().config
    settings = config.attributes.get(SETTINGS) if config is not None else None
    return settings if isinstance(settings, Settings) else Settings.from_environment()


def _offline(operations: Operations) -> bool:
    return bool(operations.get_context().as_sql)


def _assumed_version(version: int) -> int:
    return version - 1 if version else engine_versions.LATEST


def _installed_version(operations: Operations) -> int:
    cursor = _cursor(operations)
    cursor.execute(query("installed"))
    if not cursor.fetchone()[0]:
        return 0
    cursor.execute(query("engine_version"))
    row = cursor.fetchone()
    return int(row[0]) if row else 0


_GUARD = """\
SET LOCAL search_path = pg_catalog, pg_temp;
DO $body$
BEGIN
    IF pg_catalog.to_regclass('ledgerviews.refresh_lock') IS NOT NULL THEN
        LOCK TABLE ledgerviews.refresh_lock IN EXCLUSIVE MODE;
    END IF;
END
$body$;
"""
"""No schema in front of pg_catalog gives our SQL another meaning, and no refresh runs beside it."""


def _run(operations: Operations, script: str) -> None:
    """Run a script of any number of statements as it is written, or print it offline."""
    if not script:
        return
    if _offline(operations):
        output = operations.get_context().impl.static_output
        output(_GUARD + script + "SET LOCAL search_path TO DEFAULT;\n")
        return
    # The driver's own cursor: SQLAlchemy would read :name and %% in the text.
    cursor = _cursor(operations)
    cursor.execute("SELECT pg_catalog.current_setting('search_path')")
    ((path,),) = cursor.fetchall()
    cursor.execute(_GUARD + script)
    cursor.execute("SELECT pg_catalog.set_config('search_path', %s, true)", [path])


def _cursor(operations: Operations) -> Any:
    connection = operations.get_bind()
    return connection.connection.cursor()
