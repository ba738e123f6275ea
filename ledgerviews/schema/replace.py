"""The Alembic operation ``op.ledgerviews_replace``: from what relations were to what they shall be.

Frozen, like those that create and drop: a revision holds both sides as specs. The engine does the work, in
the revision's own transaction: it builds beside what stands, and exchanges at the end.
"""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import psycopg
from alembic.operations import MigrateOperation, Operations
from psycopg import sql

from ledgerviews.errors import DatabaseError, UsageError
from ledgerviews.queries import query

from . import session, stage_sql, staging, statements, unrefreshed
from .execute import (
    command_errors,
    installed_version,
    offline,
    remember_history,
    settings_of,
    tell_direction,
)
from .incremental import ParentTable
from .mistakes import unrun_check

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import sqlalchemy

    from ledgerviews.config import Settings

ENGINE = 3
SWAP_WAIT_MS = 20
"""How long the locks of one attempt to exchange may take together: so long readers wait for it."""
ATTEMPTS = 3
"""How often a replacement in a transaction of its own begins again after a conflict with another session."""

_HEADER = re.compile(r'CREATE (?:VIEW|MATERIALIZED VIEW|FUNCTION) [^.]+\."?([^".(]+?)"?(\(| AS\n)')
_MINE = re.compile(r'"?ledgerviews_next_[0-9a-f]{8}"?\.')


@Operations.register_operation("ledgerviews_replace")
@dataclass(frozen=True)
class ReplaceOp(MigrateOperation):
    """Change published relations, whatever reads them."""

    before: Mapping[str, Mapping[str, Any]]
    after: Mapping[str, Mapping[str, Any]]
    fill: bool = False

    @classmethod
    def ledgerviews_replace(
        cls,
        operations: Operations,
        before: Mapping[str, Mapping[str, Any]],
        after: Mapping[str, Mapping[str, Any]],
        *,
        fill: bool = False,
    ) -> None:
        """Create what is in ``after`` only, drop what is in ``before`` only, replace what differs.

        Args:
            operations: Alembic's own.
            before: the specs of the relations as the revision before left them, by name.
            after: the specs as this one leaves them; ``renamed_from`` in one makes it a rename.
            fill: whether a materialized view that is created is filled: on the way back, where it had rows.
        """
        operations.invoke(cls(before, after, fill))

    def reverse(self) -> ReplaceOp:
        """The operation that takes this one back."""
        return ReplaceOp(self.after, self.before)


@Operations.implementation_for(ReplaceOp)
def _replace(operations: Operations, operation: ReplaceOp) -> None:
    with command_errors(operations):
        _run(operations, operation)


def _run(operations: Operations, operation: ReplaceOp) -> None:
    text = remember_history(operations) + tell_direction(operations)
    settings = settings_of(operations)
    text += script(operation.before, operation.after, settings=settings, fill=operation.fill)
    if offline(operations):
        operations.get_context().impl.static_output(text)
        return
    if installed_version(operations) < ENGINE:
        raise UsageError(
            f"op.ledgerviews_replace needs engine version {ENGINE}.",
            hint=f"Put op.ledgerviews_engine(version={ENGINE}) before it, or into an earlier revision.",
        )
    bind = operations.get_bind()
    raw = _driver(bind)
    sent = _encoded(text, raw.info.encoding)
    for attempt in range(1, ATTEMPTS + 1):
        own = not bind.in_nested_transaction() and _begin_anew(raw)
        if own and attempt > 1:
            _outwait_scrubs(raw)
        try:
            with raw.cursor() as cursor, session.read_alike(cursor):
                cursor.execute(sent)
        except psycopg.errors.SerializationFailure:
            # A scrub noted its work after our snapshot; in a transaction of our own nothing else is lost.
            if not own or attempt == ATTEMPTS:
                raise
            raw.rollback()
        except psycopg.Error as exc:
            if error := _located(exc) or unrun_check(exc):
                raise error from exc
            raise
        else:
            return


def _driver(bind: sqlalchemy.Connection) -> psycopg.Connection:
    """The connection itself; raises UsageError where it is none of psycopg 3."""
    raw = bind.connection.driver_connection
    if not isinstance(raw, psycopg.Connection):
        raise UsageError(
            f"op.ledgerviews_replace needs psycopg 3, and this connection is one of {type(raw).__module__}.",
            hint="Have env.py connect to postgresql+psycopg://…, and install psycopg.",
        )
    return raw


def _encoded(text: str, encoding: str) -> bytes:
    """The text as the connection reads it, which is as the database has it unless somebody said otherwise."""
    try:
        return text.encode(encoding)
    except UnicodeEncodeError as exc:
        raise UsageError(
            f"The revision holds {exc.object[exc.start]!r}, which the connection's {encoding} lacks.",
            hint="Connect with client_encoding=utf8 if the database can hold it, or use other letters.",
        ) from None


def script(
    before: Mapping[str, Mapping[str, Any]],
    after: Mapping[str, Mapping[str, Any]],
    *,
    settings: Settings,
    fill: bool = False,
) -> str:
    """The SQL of a replacement, which runs in the driver and in psql alike. Pure."""
    staging.require(before, "views_before")
    staging.require(after, "views_after")
    items = staging.plan(before, after, schema=settings.schema)
    known = {(item.schema, item.name) for item in items if item.spec is not None}
    were, shall = staging.sources(before), staging.sources(after)
    new = [name for name in shall if name not in were]
    both = [name for name in shall if name in were and shall[name] != were[name]]
    changed = _with_children([name for name in both if staging.made_anew(were[name], shall[name])], shall)
    gone = [name for name in were if name not in shall]
    # A new child of a changed parent is made twice: for what is built, and once its parent is there again.
    known_sources = shall | were
    tracked = sql.Literal(settings.tracking)
    parts = [
        # All that pg_stat_activity shows of it.
        "-- op.ledgerviews_replace\n",
        session.OURS,
        *(_create_source(shall[name]) for name in _parents_first(new, shall)),
        f"SELECT ledgerviews.replace_begin({session.THEIR_PATH});\n",
        *(stage_sql.stage(item, schema=settings.schema, known=known, fill=fill) for item in items),
        f"SELECT ledgerviews.build(populate => {'true' if settings.populate else 'false'});\n",
        sql.SQL(
            "SELECT ledgerviews.swap(keep => {}, wait_ms => {}, patience_ms => {},"
            " track => {}::text[], tracking => {}, untrack => {}::text[]);\n"
        )
        .format(
            sql.Literal(settings.keep_replaced),
            sql.Literal(SWAP_WAIT_MS),
            sql.Literal(settings.swap_timeout_ms),
            sql.Literal([name for name in new if name not in changed] if settings.tracking != "none" else []),
            tracked,
            sql.Literal([*changed, *gone]),
        )
        .as_string(None),
        # Their triggers are off, so nothing here waits.
        *(
            _drop_source(known_sources[name])
            for name in reversed(_parents_first([*changed, *gone], known_sources))
        ),
        *(_create_source(shall[name]) for name in _parents_first(changed, shall)),
    ]
    parts += unrefreshed.statements(items)
    parts += [_want_indexes(shall[name]) for name in both if name not in changed]
    if changed:
        parts.append(statements.track_sources(changed, tracking=settings.tracking))
    return "".join([*parts, session.THEIRS])


def _create_source(arguments: Mapping[str, Any]) -> str:
    parent = arguments.get("parent")
    return statements.create_source(
        schema=arguments["schema"],
        name=arguments["name"],
        day=arguments["day"],
        key=arguments.get("key"),
        parent=ParentTable(**parent) if parent is not None else None,
        indexes=arguments.get("indexes", ()),
    )


def _want_indexes(arguments: Mapping[str, Any]) -> str:
    return statements.want_indexes(
        schema=arguments["schema"], name=arguments["name"], indexes=arguments.get("indexes", ())
    )


def _drop_source(arguments: Mapping[str, Any]) -> str:
    return statements.drop_source(schema=arguments["schema"], name=arguments["name"])


def _parent(arguments: Mapping[str, Any]) -> str | None:
    parent = arguments.get("parent")
    return f"{parent['schema']}.{parent['name']}" if parent else None


def _parents_first(names: Sequence[str], sources: Mapping[str, Mapping[str, Any]]) -> list[str]:
    return sorted(names, key=lambda name: _parent(sources[name]) is not None)


def _with_children(names: Sequence[str], sources: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """The changed sources, and those whose days come from one of them."""
    return [name for name in sources if name in names or _parent(sources[name]) in names]


def _begin_anew(raw: psycopg.Connection) -> bool:
    """Begin the transaction again in one snapshot for all, where it has written nothing yet.

    The sources are locked before the snapshot: a TRUNCATE between the two would hide rows from it.
    """
    if raw.autocommit:
        return False
    row = raw.execute(query("transaction")).fetchone()
    if row is None or not row[0]:
        return False
    _, role, path, lock_timeout, statement_timeout, tables = row
    raw.commit()
    begin = [
        sql.SQL("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"),
        sql.SQL("SET LOCAL search_path TO {}").format(sql.SQL(path or "''")),
        sql.SQL("SET LOCAL lock_timeout TO {}").format(sql.Literal(lock_timeout)),
        sql.SQL("SET LOCAL statement_timeout TO {}").format(sql.Literal(statement_timeout)),
    ]
    if role != "none":
        begin.append(sql.SQL("SET LOCAL ROLE {}").format(sql.Identifier(role)))
    begin.append(sql.SQL("LOCK TABLE ledgerviews.refresh_lock IN EXCLUSIVE MODE"))
    if tables:
        begin.append(sql.SQL("LOCK TABLE {} IN ACCESS SHARE MODE").format(sql.SQL(", ".join(tables))))
    # None of these takes a snapshot.
    raw.execute(sql.SQL("; ").join(begin))
    return True


def _outwait_scrubs(raw: psycopg.Connection) -> None:
    """Let scrubs end before the snapshot is taken; no refresh begins another one while its lock is held.

    A scrub reads the state first and notes its work last. The lock is given back at once; a savepoint takes
    no snapshot.
    """
    raw.execute("SAVEPOINT ledgerviews_scrubs")
    with suppress(psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected):
        raw.execute("LOCK TABLE ledgerviews.relation_state IN ACCESS EXCLUSIVE MODE")
    raw.execute("ROLLBACK TO SAVEPOINT ledgerviews_scrubs")


def _located(exc: psycopg.Error) -> DatabaseError | None:
    """An error in a SELECT of the revision, with the relation and the line that PostgreSQL tells."""
    diag = exc.diag
    text, position = diag.internal_query, diag.internal_position
    if not text or not position or not (header := _HEADER.match(text)):
        return None
    before = text[: int(position) - 1]
    first = text[: text.index("\n", header.end() - 1)].count("\n") + 1 if header[2] != "(" else 2
    line = before.count("\n") - first + 1
    wrong = text.splitlines()[before.count("\n")].strip().removesuffix(";")
    name = header[1].removesuffix("_rollup_days")
    which = "day_definition" if name != header[1] else "SELECT"
    return DatabaseError(
        f"{name} cannot be built: {_MINE.sub('', diag.message_primary or '')}"
        f" (line {line} of its {which}: {wrong}); nothing was changed.",
        hint=diag.message_hint or "Mend the SELECT, and the revision that holds it.",
    )
