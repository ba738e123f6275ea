"""Which command or statement gives a role the rights that it lacks, by what it was about to do."""

from __future__ import annotations

import re
import shlex
from contextlib import contextmanager
from enum import StrEnum
from typing import TYPE_CHECKING

import psycopg

from ledgerviews import db
from ledgerviews.errors import DatabaseError
from ledgerviews.queries import query

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ledgerviews.config import Settings

_PLAIN = re.compile(r"[a-z_][a-z0-9_]*")


class Task(StrEnum):
    """What a session is for, which decides the rights that it takes."""

    REFRESH = "refresh"
    VERIFY = "verify"
    LOOK = "look"
    OWN = "own"


@contextmanager
def told(connection: psycopg.Connection, settings: Settings, task: Task) -> Iterator[None]:
    """Say of a permission that is denied inside the block what gives it, to the role by its name."""
    try:
        yield
    except psycopg.errors.InsufficientPrivilege as exc:
        message = exc.diag.message_primary or str(exc)
        if not message.startswith("permission denied for "):
            raise  # such as `must be owner of`: translated with its own mend
        hint = exc.diag.message_hint or mend(connection, task)
        raise DatabaseError(f"{message} ({db.describe_target(settings)}).", hint=hint) from exc


def mend(connection: psycopg.Connection, task: Task) -> str:
    """What gives this session's role the rights for a task; its transaction is rolled back."""
    name = connection.info.user
    word = shlex.quote(name)
    # The statement is shown to a person, so a plain name stands as one writes it.
    role = name if _PLAIN.fullmatch(name) else '"' + name.replace('"', '""') + '"'
    owner = _owner(connection)
    match task:
        case Task.LOOK:
            return (
                f"Have {owner} run GRANT USAGE ON SCHEMA ledgerviews TO {role}; GRANT SELECT ON ALL TABLES IN"
                f" SCHEMA ledgerviews TO {role}; and `ledgerviews grant reader {word}`, again after each"
                " upgrade."
            )
        case Task.OWN:
            return f"Run it as {owner}, or as a member of that role."
        case Task.VERIFY if unread := _unread(connection):
            return (
                f"Have its owner run GRANT SELECT ON {', '.join(unread)} TO {role}: what is not computed"
                " by day is compared with the rights of who verifies."
            )
    return (
        f"Have {owner} run `ledgerviews grant refresher {word}`, again after each upgrade; or run this as"
        " the owner."
    )


def _owner(connection: psycopg.Connection) -> str:
    try:
        connection.rollback()
        rows = connection.execute(query("schema_owner"), {"schema": "ledgerviews"}).fetchall()
    except psycopg.Error:
        rows = []
    return f"the owner of the schema ledgerviews ({rows[0][0]})" if rows else "the owner"


def _unread(connection: psycopg.Connection) -> list[str]:
    """What marts that are not computed by day read and this role may not."""
    try:
        return [row[0] for row in connection.execute(query("unread")).fetchall()]
    except psycopg.Error:
        return []
