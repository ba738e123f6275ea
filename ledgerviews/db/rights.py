"""Which command or statement gives a role the rights that it lacks, by what it was about to do."""

from __future__ import annotations

import re
import shlex
from enum import StrEnum
from typing import Any, LiteralString

import psycopg
from psycopg import sql

from ledgerviews.errors import UsageError
from ledgerviews.queries import query

_PLAIN = re.compile(r"[a-z_][a-z0-9_]*")
_DENIED = re.compile(r"permission denied for (?P<kind>[a-z ]+?) (?P<name>\S.*)")
_OWNER = re.compile(r"must be owner of (?P<kind>[a-z ]+?) (?P<name>\S.*)")
_RELATIONS = frozenset({"table", "view", "materialized view", "foreign table", "relation"})
_ANYBODY = "to the role that you connect as"
_LACKING = {
    "permission denied for database (.+)": "Have its owner run GRANT CREATE ON DATABASE {0} {me}.",
    "permission denied for schema (.+)": "Have its owner run GRANT USAGE, CREATE ON SCHEMA {0} {me}; USAGE is"
    " enough to read.",
    "permission denied for (?:table|view|materialized view) (.+)": "Connect as the owner of {0}, or have it"
    " run GRANT SELECT ON {0} {me}; of ours `ledgerviews status` says all that is missing.",
    "must be owner of (.+)": "Connect as the owner of {0}, or as a member of that role.",
    'must be able to SET ROLE "(.+)"': "Run GRANT {0} {me}, or declare another owner.",
    'must be member of role "(.+)"': "Run GRANT {0} {me}, or declare another owner.",
}
"""What gives a right, by what PostgreSQL says where it lacks."""
_MAINTAIN = 170000
"""The first server that lets others than an owner refresh."""


class Task(StrEnum):
    """What a session is for, which decides the rights that it takes."""

    REFRESH = "refresh"
    VERIFY = "verify"
    LOOK = "look"
    OWN = "own"
    MIGRATE = "migrate"


def mend(message: str, connection: psycopg.Connection | None, task: Task) -> str:
    """What gives this session's role the rights for a task, by the server's English words.

    The connection's transaction is rolled back; without one nobody and nothing can be named.
    """
    if connection is None or connection.closed:
        return _by_words(message, _ANYBODY, [])
    denied = _DENIED.fullmatch(message)
    if task is Task.MIGRATE or denied is None:
        return _migrate(connection, message)
    match task:
        case Task.LOOK:
            return _look(connection)
        case Task.VERIFY:
            return _verify(connection, denied["name"])
        case Task.REFRESH:
            return _refresh(connection)
    return _as_owner(connection)


def _migrate(connection: psycopg.Connection, message: str) -> str:
    """What of ours only the owner has, and for all else what PostgreSQL's words come to."""
    found = _DENIED.fullmatch(message) or _OWNER.fullmatch(message)
    known = _named(connection, found["name"]) if found and found["kind"] in _RELATIONS else []
    ours = bool(known) and all(schema == "ledgerviews" for schema, *_ in known)
    if ours or message == "permission denied for schema ledgerviews":
        return _as_owner(connection)
    return _by_words(message, f"TO {_role(connection)}", known)


def _by_words(message: str, me: str, known: list[tuple[str, str, str]]) -> str:
    """What gives the right that lacked; a relation that is the only one of its name is named in full."""
    for pattern, text in _LACKING.items():
        if found := re.search(pattern, message):
            names = found.groups()
            if len(known) == 1:
                _, name, owner = known[0]
                if message.startswith("must be owner"):
                    return f"Connect as {owner}, the owner of {name}, or as a member of that role."
                names = (name,)
            return text.format(*names, me=me)
    return "Grant it, or connect as the owner."


def _look(connection: psycopg.Connection) -> str:
    role = _role(connection)
    return (
        f"Have {_owner(connection)} run GRANT USAGE ON SCHEMA ledgerviews TO {role}; GRANT SELECT ON ALL"
        f" TABLES IN SCHEMA ledgerviews TO {role}; and `ledgerviews grant reader {_word(connection)}`, again"
        " after each upgrade."
    )


def _as_owner(connection: psycopg.Connection) -> str:
    return f"Run it as {_owner(connection)}, or as a member of that role."


def _refresh(connection: psycopg.Connection, *, besides: str = "") -> str:
    if connection.info.server_version < _MAINTAIN:
        return f"{_as_owner(connection)} Before PostgreSQL 17 only an owner may refresh."
    return (
        f"Have {_owner(connection)} run `ledgerviews grant refresher {_word(connection)}`, again after each"
        f" upgrade; or run this as the owner.{besides}"
    )


def _verify(connection: psycopg.Connection, name: str) -> str:
    """The SELECT on what is read with this role's own rights, and a refresher's where these lack, too."""
    unread = _unread(connection)
    # A refresher may read the marts.
    others = [relation for relation, mart in unread if not mart]
    why = "what is not computed by day is compared with the rights of who verifies"
    if name in {relation.rpartition(".")[2] for relation, _ in unread}:
        wanted = ", ".join(relation for relation, _ in unread)
        return f"Have its owner run GRANT SELECT ON {wanted} TO {_role(connection)}: {why}."
    besides = f" And GRANT SELECT ON {', '.join(others)} TO {_role(connection)}: {why}." if others else ""
    return _refresh(connection, besides=besides)


def _role(connection: psycopg.Connection) -> str:
    """This session's role as a statement has it, which a person reads: a plain name stands as it is."""
    name = connection.info.user
    return name if _PLAIN.fullmatch(name) else '"' + name.replace('"', '""') + '"'


def _word(connection: psycopg.Connection) -> str:
    return shlex.quote(connection.info.user)


def _owner(connection: psycopg.Connection) -> str:
    rows = _asked(connection, query("schema_owner"), schema="ledgerviews")
    return f"the owner of the schema ledgerviews ({rows[0][0]})" if rows else "the owner"


def _unread(connection: psycopg.Connection) -> list[tuple[str, bool]]:
    """What marts that are not computed by day read and this role may not, and whether it is a mart."""
    return [(row[0], row[1]) for row in _asked(connection, query("unread"))]


def _named(connection: psycopg.Connection, name: str) -> list[tuple[str, str, str]]:
    """The relations of a name that this role has not all rights on: schema, full name, owner."""
    return [(row[0], row[1], row[2]) for row in _asked(connection, query("named_relations"), name=name)]


def _asked(connection: psycopg.Connection, asked: LiteralString, **parameters: str) -> list[tuple[Any, ...]]:
    """The rows of a query; none where this role may not ask."""
    try:
        connection.rollback()
        return connection.execute(asked, parameters).fetchall()
    except psycopg.Error:
        return []


def require_trusted_schema(connection: psycopg.Connection) -> bool:
    """Whether there is a schema ledgerviews; raise UsageError for that of a role whom we need not trust.

    It may hold views, functions and triggers of its owner's, which would run with our rights.
    """
    found = connection.execute(query("schema_owner"), {"schema": "ledgerviews"}).fetchall()
    for owner, trusted in found:
        if not trusted:
            raise UsageError(
                f"The schema ledgerviews in database {connection.info.dbname!r} belongs to {owner!r},"
                " whom this role need not trust; nothing was done.",
                hint=f"Connect as {owner!r} or a member of it, or look at what it holds and run"
                f" ALTER SCHEMA ledgerviews OWNER TO {sql.Identifier(connection.info.user).as_string()}.",
            )
    return bool(found)
