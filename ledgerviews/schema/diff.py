"""``ledgerviews diff``: what differs between code and database, with what depends on it; changes nothing."""

from __future__ import annotations

import json
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import psycopg

from ledgerviews import db, revisions
from ledgerviews.catalog import load
from ledgerviews.errors import DriftError
from ledgerviews.queries import query

from . import contract, role_look
from .compare import unknown
from .declare import Declared, compared
from .denied import require_allowed
from .difftext import written
from .engine_look import in_words
from .engine_versions import SCHEMA
from .keys import located
from .live import NEEDED_ENGINE
from .plan import Relation, plan
from .refusals import faults

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ledgerviews.config import Settings

    from .compare import Difference
    from .declare import Comparison
    from .live import Run
    from .plan import Step


@dataclass(frozen=True, kw_only=True)
class Diff:
    """What differs.

    Attributes:
        differences: one for each relation or source.
        steps: what it would take.
        text: all of it as SQL; empty where nothing differs.
        notes: what could not be compared here, and what else keeps the database from being as declared.
        altered: those of the notes that are on functions of the engine that were altered.
        first: a line on each thing to mend before a revision can be written.
        current: whether nothing differs and no migration is pending.
    """

    differences: tuple[Difference, ...]
    steps: tuple[Step, ...]
    text: str
    notes: tuple[str, ...]
    altered: tuple[str, ...]
    first: tuple[str, ...]
    current: bool


def diff(settings: Settings) -> Diff:
    """Compare the models of the settings with the database, in one transaction that is rolled back."""
    wanted = Declared(catalog=load(settings.models), entities=None, schema=settings.schema)
    with (
        closing(db.connect(settings)) as connection,
        db.translated(target=db.describe_target(settings), connection=connection, task=db.Task.LOOK),
    ):
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        connection.autocommit = False
        db.look_only(connection, settings)
        run = runner(connection)
        pending = _pending(run, settings, database=connection.info.dbname)
        found = compared(run, wanted, history=_history(run, settings))
        if not found.state.engine:
            raise revisions.not_installed(connection.info.dbname, settings.migrations)
        if found.state.engine < NEEDED_ENGINE:
            raise DriftError(
                f"The engine in database {connection.info.dbname!r} is version {found.state.engine};"
                f" to compare takes version {NEEDED_ENGINE}.",
                hint="Run `ledgerviews db upgrade`.",
            )
        if missing := db.missing_schema(connection, settings.schema):
            raise DriftError(missing.message, hint=missing.hint)
        require_allowed(found, schema=settings.schema, connection=connection)
        relations = closure(run, found, settings.schema) if found.differences else ()
        connection.rollback()
    steps = plan(found.differences, relations, schema=settings.schema)
    notes = [*pending, *role_look.in_words(found.missing_roles)]
    if blind := unknown(found.specs, found.state, schema=settings.schema):
        notes.append(
            f"Nothing can be created here, and nobody knows how PostgreSQL printed {', '.join(blind)} when"
            " it was installed: only its text was compared."
        )
    elif found.differences and not found.state.may_create:
        notes.append(
            "Compared by the texts that were recorded: nothing can be created here (a read-only server, or"
            " no privilege TEMPORARY), so that a definition that only reads otherwise shows as changed."
        )
    notes += [
        f"{source}: {', '.join(amiss)}; each refresh recomputes all."
        f" Run `ledgerviews tracking install {source}`."
        for source, amiss in found.state.untracked.items()
    ]
    altered = [
        f"{line}, not as engine version {found.state.engine} makes it."
        " `ledgerviews db revision -m TEXT` writes a revision that makes it anew."
        for line in in_words(found.altered)
    ]
    misfits = contract.in_words(found.misfits)
    return Diff(
        differences=tuple(found.differences),
        steps=tuple(steps),
        text=written(found.differences, steps, relations, schema=settings.schema, catalog=wanted.catalog),
        notes=(*notes, *misfits, *altered),
        altered=tuple(altered),
        first=tuple(
            f"{' '.join([fault.told, *fault.shown]) if fault.told.endswith(':') else fault.told + '.'}"
            f" {fault.mend}."
            for fault in faults(found, catalog=wanted.catalog, schema=settings.schema)
        ),
        current=not (found.differences or pending or found.state.untracked or found.altered or found.misfits),
    )


def _history(run: Run, settings: Settings) -> str | None:
    """The version table of our own env.py; None where another one may run the revisions."""
    if settings.migrations is None:
        return None
    return str(run(query("history"), {"version_table": f"{SCHEMA}.alembic_version"})[0][0] or "")


def closure(run: Run, found: Comparison, schema: str) -> Sequence[Relation]:
    """The relations that differ, and all that reads them, published or not."""
    places = {located(key, schema) for one in found.differences for key in (one.key, one.former) if key}
    asked = json.dumps([{"schema_name": place[0], "relation_name": place[1]} for place in sorted(places)])
    rows = run(query("dependents"), {"wanted": asked})
    inner = {f"{row[0]}.{row[1]}": frozenset(row[3]) for row in rows if row[0] == SCHEMA}
    told = []
    for schema_name, name, kind, reads, size in rows:
        if schema_name == SCHEMA:
            continue
        live = found.state.relations.get((schema_name, name))
        there = live.registered if live is not None else None
        told.append(
            Relation(
                place=(schema_name, name),
                kind=kind,
                reads=_through(frozenset(reads), inner),
                source_bytes=int(size),
                published=there is not None,
                seconds=there.seconds if there is not None else None,
            )
        )
    return told


def _through(reads: frozenset[str], inner: Mapping[str, frozenset[str]]) -> frozenset[str]:
    """What is read by way of rollups, too, which belong to the relation that reads them."""
    found: set[str] = set()
    for read in reads:
        found |= _through(inner[read], inner) if read in inner else {read}
    return frozenset(found)


def runner(connection: psycopg.Connection) -> Run:
    """Run statements on a connection of ours."""

    def run(text: str, parameters: Mapping[str, Any] | None) -> list[tuple[Any, ...]]:
        cursor = connection.execute(text.encode(), parameters)
        return cursor.fetchall() if cursor.description else []

    return run


def _pending(run: Run, settings: Settings, *, database: str) -> list[str]:
    """A line where the database is not at the newest revision."""
    if settings.migrations is None:
        return []
    (_, version_table), *_ = run(query("installed"), None)
    at = frozenset(row[0] for row in run(query("database_heads"), None)) if version_table else frozenset()
    problem = revisions.behind(database, at, settings.migrations)
    return [f"{problem.message} {problem.hint}"] if problem else []
