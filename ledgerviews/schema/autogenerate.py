"""Our part of ``alembic revision --autogenerate`` and ``alembic check``, where env.py calls ``declare``."""

from __future__ import annotations

import inspect
import logging
import sys
from collections.abc import Sequence
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any

import psycopg
from alembic.autogenerate import comparators
from alembic.operations import ops
from alembic.util import CommandError

from ledgerviews import db
from ledgerviews.config import ENGINE_VERSION
from ledgerviews.errors import DeclarationError, LedgerviewsError, UnwritableError
from ledgerviews.queries import query
from ledgerviews.sqltext import MODEL_SCHEMA

from . import role_look
from .compare import DROP
from .declare import INFO, Comparison, Declared, compared
from .denied import require_allowed
from .dropping import require_unread
from .engine_look import in_words
from .engine_versions import SCHEMA
from .execute import SETTINGS, version_table, writing
from .execute import in_words as place_in_words
from .freeze import literal
from .frozen_operations import FrozenEngineOp, FrozenReplaceOp, FrozenTrackOp
from .keys import located
from .refusals import require_possible
from .releasing import released

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from alembic.autogenerate.api import AutogenContext

    from .compare import Difference
    from .keys import Spec
    from .live import Place, Run

LOG = "alembic.autogenerate.ledgerviews"
"""The logger that tells what does not end a comparison; a configuration by Alembic's template shows it."""

# Alembic 1.18 and later run what is registered here before their own, unless it is said otherwise.
_FIRST: dict[str, Any] = {}
_LAST: dict[str, Any] = {}
if "priority" in inspect.signature(comparators.dispatch_for).parameters:
    from alembic.util import DispatchPriority

    _FIRST, _LAST = {"priority": DispatchPriority.FIRST}, {"priority": DispatchPriority.LAST}


@comparators.dispatch_for("schema", **_FIRST)
def _look_away(
    _autogen_context: AutogenContext, _upgrade_ops: ops.UpgradeOps, schemas: set[str | None]
) -> None:
    """Have Alembic not look at our schema at all, where it asks us first: some types there are news to it."""
    schemas.discard(SCHEMA)


@cache
def come_last() -> None:
    """Have our part run after what env.py has imported: alembic-utils', above all, in any Alembic."""
    comparators.dispatch_for("schema", **_LAST)(_compare)


@comparators.dispatch_for("schema", **_LAST)
def _leave_ours(
    autogen_context: AutogenContext, upgrade_ops: ops.UpgradeOps, _schemas: set[str | None]
) -> None:
    """Take out what Alembic would do to our tables, under an env.py that declares nothing, too."""
    all_metadata = _all_metadata(autogen_context)
    upgrade_ops.ops[:] = [one for one in upgrade_ops.ops if not _not_theirs(one, all_metadata)]


def _all_metadata(autogen_context: AutogenContext) -> list[Any]:
    metadata = autogen_context.metadata
    return list(metadata) if isinstance(metadata, Sequence) else [metadata]


def _compare(autogen_context: AutogenContext, upgrade_ops: ops.UpgradeOps, _schemas: set[str | None]) -> None:
    """Put our operation between what it needs and what needs it."""
    all_metadata = _all_metadata(autogen_context)
    wanted = next((one.info[INFO] for one in all_metadata if one is not None and INFO in one.info), None)
    if wanted is None:
        return
    run = _runner(autogen_context)
    with _command_errors(autogen_context):
        found = compared(
            run,
            wanted,
            history=_history(run, autogen_context),
            theirs=_packaged(autogen_context) and bool(wanted.entities),
        )
        if not writing(autogen_context.migration_context):
            require_allowed(found, schema=wanted.schema, connection=_asked(autogen_context))
        places = {located(key, wanted.schema) for key in found.specs} | set(found.state.relations)
        early, late = _parted([one for one in upgrade_ops.ops if not _of_alembic_utils(one, places)])
        first, own, last = _operations(found, wanted, autogen_context, others=bool(early))
        dialect = autogen_context.dialect
        default = (dialect.default_schema_name if dialect else None) or MODEL_SCHEMA
        require_unread(
            run,
            late,
            found,
            schema=wanted.schema,
            default_schema=default,
            writing=writing(autogen_context.migration_context),
        )
        early = released(run, early, engine=found.state.engine, default_schema=default)
    for line in role_look.in_words(found.missing_roles):
        logging.getLogger(LOG).warning(line)
    upgrade_ops.ops[:] = [*first, *early, *own, *late, *last]


def _history(run: Run, autogen_context: AutogenContext) -> str:
    """The version table of this history; empty where it stands not yet."""
    context = autogen_context.migration_context
    return str(run(query("history"), {"version_table": version_table(context)})[0][0] or "")


def _operations(
    found: Comparison, wanted: Declared, autogen_context: AutogenContext, *, others: bool
) -> tuple[list[ops.MigrateOperation], list[ops.MigrateOperation], list[ops.MigrateOperation]]:
    """The operations that go first, in the middle, and last."""
    version = found.state.engine
    if not found.specs and not version:
        return [], [], []
    engine = [FrozenEngineOp(ENGINE_VERSION, version)] if version < ENGINE_VERSION else []
    if found.altered:
        engine = [FrozenEngineOp(version, version, tuple(in_words(found.altered)))]
    if engine and version and not found.altered:
        # An older registry does not tell what was installed; the next revision compares.
        return [*engine], [], []
    require_possible(
        found,
        catalog=wanted.catalog,
        schema=wanted.schema,
        others=others,
        writing=writing(autogen_context.migration_context),
    )
    before, after = views(found.differences)
    own: list[ops.MigrateOperation] = []
    if found.differences:
        told = tuple(
            (one.what, *((one.former,) if one.former else ()), one.key, *one.aspects)
            for one in found.differences
        )
        contract = _contract(found, wanted) if _packaged(autogen_context) else ""
        own.append(FrozenReplaceOp(before, after, told=told, contract=contract))
    lost = {source: what for source, what in found.state.untracked.items() if source in found.specs}
    last: list[ops.MigrateOperation] = []
    if lost:
        amiss = tuple(f"{source}: {', '.join(what)}" for source, what in lost.items())
        last.append(FrozenTrackOp(list(lost), track=True, amiss=amiss))
    return [*engine], own, last


def _packaged(autogen_context: AutogenContext) -> bool:
    """Whether this package's own env.py runs it, on a session of its own."""
    context = autogen_context.migration_context
    return context is not None and context.config is not None and SETTINGS in context.config.attributes


def views(differences: Sequence[Difference]) -> tuple[dict[str, Spec], dict[str, Spec]]:
    """What the operation is called with: the relations as they stand, and as they are to stand."""
    changing = [one for one in differences if one.what != DROP]
    before = {one.former or one.key: one.before for one in changing if one.before is not None}
    # Dropped ones come readers first; a dict of specs has them last.
    before |= {one.key: one.before for one in reversed(differences) if one.what == DROP and one.before}
    after = {one.key: one.after for one in changing if one.after is not None}
    return before, after


def _contract(found: Comparison, wanted: Declared) -> str:
    """What the new definitions read of the application's tables; checked before anything is changed."""
    if wanted.catalog is None:
        return ""
    read = {
        source.qualified: dict(source.columns)
        for one in found.differences
        if one.key in wanted.catalog.models and one.what != DROP
        for source in wanted.catalog.sources_of(one.key)
    }
    return f"source_contract = {literal({name: read[name] for name in sorted(read)})}\n" if read else ""


def _not_theirs(one: ops.MigrateOperation, metadata: Sequence[Any]) -> bool:
    """Whether Alembic took our tables for forgotten ones, or a view for a table that is to be made."""
    if isinstance(one, (ops.DropTableOp, ops.ModifyTableOps)):
        return one.schema == SCHEMA
    if isinstance(one, ops.CreateTableOp):
        key = f"{one.schema}.{one.table_name}" if one.schema else one.table_name
        table = next((some.tables[key] for some in metadata if some is not None and key in some.tables), None)
        # SQLAlchemy 2.1 keeps its own views among the tables.
        return bool(getattr(table, "is_view", False))
    return False


def _of_alembic_utils(one: ops.MigrateOperation, ours: set[Place]) -> bool:
    """Whether alembic-utils would drop or change what is compared here, or whatever it finds.

    It looks as soon as it is imported, if only for its classes: where nothing was registered with it, all is
    foreign to it.
    """
    if not type(one).__module__.startswith("alembic_utils."):
        return False
    registry = sys.modules["alembic_utils.replaceable_entity"].registry
    target = getattr(one, "target", None)
    place = (
        str(getattr(target, "schema", "")),
        str(getattr(target, "table", getattr(target, "signature", ""))),
    )
    return not registry.entities() or place[0] == SCHEMA or place in ours


def _parted(
    found: Sequence[ops.MigrateOperation],
) -> tuple[list[ops.MigrateOperation], list[ops.MigrateOperation]]:
    """What comes before our relations are replaced, and after: dropped tables and columns."""
    early: list[ops.MigrateOperation] = []
    late: list[ops.MigrateOperation] = []
    for one in found:
        if isinstance(one, ops.DropTableOp):
            late.append(one)
        elif isinstance(one, ops.ModifyTableOps):
            dropped = [part for part in one.ops if isinstance(part, ops.DropColumnOp)]
            others = [part for part in one.ops if not isinstance(part, ops.DropColumnOp)]
            if others:
                early.append(ops.ModifyTableOps(one.table_name, others, schema=one.schema))
            if dropped:
                late.append(ops.ModifyTableOps(one.table_name, dropped, schema=one.schema))
        else:
            early.append(one)
    return early, late


def _runner(autogen_context: AutogenContext) -> Run:
    """Statements go to the driver as they are: SQLAlchemy would read colons in them."""
    connection = autogen_context.connection
    assert connection is not None  # noqa: S101 (autogenerate is never offline)

    def run(text: str, parameters: Mapping[str, Any] | None) -> list[tuple[Any, ...]]:
        cursor = connection.connection.cursor()
        try:
            cursor.execute(text, parameters) if parameters is not None else cursor.execute(text)
            return [tuple(row) for row in cursor.fetchall()] if cursor.description else []
        finally:
            cursor.close()

    return run


@contextmanager
def _command_errors(autogen_context: AutogenContext) -> Iterator[None]:
    """Whatever goes wrong is a line of Alembic's, not a traceback."""
    try:
        yield
    except DeclarationError as exc:
        told: DeclarationError = exc
        if not writing(autogen_context.migration_context):
            # What is declared is not what stands, and `check` says so by its code, whatever is in the way.
            told = UnwritableError(exc.message, hint=exc.hint, shown=exc.shown)
        raise CommandError(str(told)) from told
    except LedgerviewsError as exc:
        raise CommandError(str(exc)) from exc
    except psycopg.Error as exc:
        assert autogen_context.connection is not None  # noqa: S101 (autogenerate is never offline)
        place = place_in_words(autogen_context.connection.connection.driver_connection)
        error = db.translate(exc, target=place, connection=_asked(autogen_context))
        raise CommandError(str(error)) from error


def _asked(autogen_context: AutogenContext) -> psycopg.Connection | None:
    """The connection, to ask who holds a lock, or gives a right; None where it is none of psycopg 3."""
    assert autogen_context.connection is not None  # noqa: S101 (autogenerate is never offline)
    raw = autogen_context.connection.connection.driver_connection
    return raw if isinstance(raw, psycopg.Connection) else None
