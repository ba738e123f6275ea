"""The sources: how their writes are tracked, and putting the triggers on and off."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ledgerviews import db
from ledgerviews.db import Task
from ledgerviews.errors import DatabaseError, UsageError
from ledgerviews.queries import query

from . import engine
from .preflight import RELEASING_ENGINE, engine_version

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import psycopg

    from ledgerviews.config import Settings

_MENDS = {
    "it is gone": "Restore it, or downgrade what reads it.",
    "a trigger of ours is missing": "Run `ledgerviews tracking install {mode}{source}`.",
    "a trigger of ours is not ENABLE ALWAYS": "Run `ledgerviews tracking install {mode}{source}`.",
    "a column that its triggers log was renamed": "Run `ledgerviews tracking install {mode}{source}`.",
}
_UNTRACKABLE = "Run `ledgerviews tracking remove {source}`: each refresh then scans it."


@dataclass(frozen=True, kw_only=True)
class Source:
    """A table of the application that relations are computed from by day.

    Attributes:
        source: ``schema.table``.
        schema: its schema.
        table: its name.
        tracking: ``closed days``, ``every write`` or ``none``.
        scanned: whether each refresh scans it, because it or its parent has no triggers.
        problem: why its writes cannot be tracked, so that each refresh recomputes all; None where they can.
        doubt: why only the next refresh recomputes all.
        missing_indexes: leading columns, comma-separated, of the indexes that it lacks.
        owner: the role that owns it; None where it is gone.
        owned: whether this role has the owner's rights.
        engine_owner: the role that owns the schema ledgerviews' tables.
        engine_owned: whether this role has that one's rights.
        released: whether something is released, so that what is off comes back with it.
    """

    source: str
    schema: str
    table: str
    tracking: str
    scanned: bool
    problem: str | None
    doubt: str | None
    missing_indexes: list[str]
    owner: str | None
    owned: bool
    engine_owner: str
    engine_owned: bool
    released: bool = False

    @property
    def tracked(self) -> str:
        """How it is tracked, in a word or two."""
        if not self.scanned:
            return self.tracking
        return "none (scanned)" if self.tracking == "none" else "scanned, as its parent"

    @property
    def mend(self) -> str | None:
        """What to do about the problem."""
        if self.problem is None:
            return None
        if self.released and self.owner is not None:
            return "Run `ledgerviews restore`: while a table is released, triggers are off with it."
        mode = "--mode every-write " if self.tracking == "every write" else ""
        return _MENDS.get(self.problem, _UNTRACKABLE).format(source=self.source, mode=mode)


def read(connection: psycopg.Connection) -> tuple[Source, ...]:
    """All of them, by name."""
    rows = connection.execute(query("sources")).fetchall()
    released = engine_version(connection) >= RELEASING_ENGINE and (
        connection.execute(query("released")).fetchall()[0][0] is not None
    )
    names = list(Source.__dataclass_fields__)[:-1]
    return tuple(Source(**dict(zip(names, row, strict=True)), released=released) for row in rows)


def sources(settings: Settings) -> tuple[Source, ...]:
    """All of them, by name, in a connection of its own."""
    with engine.session(db.looking(settings), reading=True, task=Task.LOOK) as connection:
        return read(connection)


def chosen(found: Sequence[Source], names: Sequence[str]) -> list[Source]:
    """Those that are named, with or without their schema; none named is all. Raises UsageError."""
    if not names:
        return list(found)
    by_name: dict[str, list[Source]] = {}
    for source in found:
        for name in (source.source, source.table):
            by_name.setdefault(name, []).append(source)
    for name in names:
        if len(by_name.get(name, [])) != 1:
            many = "more than one source" if name in by_name else "no source of the installed relations"
            raise UsageError(
                f"{name} is {many}.",
                hint="The sources are: " + (", ".join(source.source for source in found) or "none") + ".",
            )
    return [source for source in found if source in [by_name[name][0] for name in names]]


def track(
    settings: Settings,
    names: Sequence[str],
    tracking: str,
    *,
    attempts: int,
    progress: Callable[[str], None],
) -> tuple[list[Source], list[Source], list[Source]]:
    """Have writes to the sources tracked so, or not (``none``).

    Gives those changed, those that were so, and those that have triggers and are scanned, as their parent is.

    A source that is tracked so already stays as it is, since new triggers would mean a full refresh. Raises
    DatabaseError where this role may not, before anything is done, and LockedError where a table was in use
    at each attempt; writers are never held up.
    """
    with engine.session(db.looking(settings), progress=progress, task=Task.OWN) as connection:
        all_of_them = chosen(read(connection), names)
        changed = [one for one in all_of_them if one.tracking != tracking or one.problem is not None]
        if tracking == "none":
            changed = [one for one in changed if one.tracking != "none"]
        for source in changed:
            _require_owner(source)
        for source in changed:
            progress(f"{source.source}: {_SAID[tracking]}")
            if tracking != "none":
                connection.execute("SELECT ledgerviews.follow_renames()")
            connection.execute(
                "SELECT ledgerviews.track(%s::text, %s::text, %s::integer)",
                [source.source, tracking, attempts],
            )
        beside = [one for one in read(connection) if one.scanned and one.tracking != "none"]
    return changed, [one for one in all_of_them if one not in changed], beside


_SAID = {
    "closed days": "putting triggers on that log writes to any day but today",
    "every write": "putting triggers on that log every write",
    "none": "taking our triggers off",
}


def _require_owner(source: Source) -> None:
    """Triggers that are ENABLE ALWAYS need the table's owner; noting it needs the engine's."""
    if source.owner is None:
        raise UsageError(f"{source.source} is gone.", hint="Restore it, or downgrade what reads it.")
    rights = {source.owner: source.owned, source.engine_owner: source.engine_owned}
    lacking = [role for role, has in rights.items() if not has]
    if lacking:
        raise DatabaseError(
            f"Only a role with the rights of {' and '.join(lacking)} may change the triggers on"
            f" {source.source}: the table is {source.owner}'s, the engine {source.engine_owner}'s.",
            hint="Connect as a superuser or a member of both (GRANT … TO …), or leave the tracking out:"
            " each refresh then scans the table.",
        )
