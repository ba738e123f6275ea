"""Which command or statement gives a role the rights that it lacks, by what it was about to do."""

from __future__ import annotations

import re
import shlex
from enum import StrEnum
from typing import Any, LiteralString, NamedTuple

import psycopg

from ledgerviews.errors import UsageError
from ledgerviews.queries import query
from ledgerviews.sqltext import identifier

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
_OURS = "ledgerviews"
_WHY = "what is not computed by day is compared with the rights of who verifies"
_MAINTAIN = 170000
"""The first server that lets others than an owner refresh."""


class Task(StrEnum):
    """What a session is for, which decides the rights that it takes."""

    REFRESH = "refresh"
    VERIFY = "verify"
    LOOK = "look"
    COMPARE = "compare"
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
    if denied["kind"] == "schema" and denied["name"] != _OURS:
        return _use(connection, denied["name"], task)
    return _by_task(connection, message, denied["name"], task)


def _by_task(connection: psycopg.Connection, message: str, name: str, task: Task) -> str:
    """What gives the right to something of ours, or to a table or a function."""
    match task:
        case Task.COMPARE:
            return _migrate(connection, message)
        case Task.LOOK:
            return _look(connection)
        case Task.VERIFY:
            return _verify(connection, name)
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
    if name in {one.relation.rpartition(".")[2] for one in unread}:
        return f"Have its owner run {_grants(connection, unread)}: {_WHY}."
    # A refresher may read the marts.
    others = [one for one in unread if not one.mart]
    besides = f" And {_grants(connection, others)}: {_WHY}." if others else ""
    return _refresh(connection, besides=besides)


def _use(connection: psycopg.Connection, schema: str, task: Task) -> str:
    """The USAGE on a schema of others, which no grant of ours gives; to verify takes more than that."""
    usage = f"GRANT USAGE ON SCHEMA {identifier(schema)} TO {_role(connection)}"
    told = f"Have {_owner(connection, schema)} run {usage}"
    unread = _unread(connection) if task is Task.VERIFY else []
    besides = _grants(connection, unread, without=usage)
    return f"{told}; and {besides}: {_WHY}." if besides else f"{told}."


def _grants(connection: psycopg.Connection, unread: list[_Unread], *, without: str = "") -> str:
    """The statements that let this role read the relations, but for one."""
    role = _role(connection)
    usages = {f"GRANT USAGE ON SCHEMA {one.schema} TO {role}": None for one in unread if one.schema}
    tables = ", ".join(one.relation for one in unread if not one.selectable)
    selects = [f"GRANT SELECT ON {tables} TO {role}"] if tables else []
    return "; ".join([*(one for one in usages if one != without), *selects])


def _role(connection: psycopg.Connection) -> str:
    """This session's role as a statement has it, which a person reads: a plain name stands as it is."""
    return identifier(connection.info.user)


def _word(connection: psycopg.Connection) -> str:
    return shlex.quote(connection.info.user)


def _owner(connection: psycopg.Connection, schema: str = _OURS) -> str:
    rows = _asked(connection, query("schema_owner"), schema=schema)
    return f"the owner of the schema {schema} ({rows[0][0]})" if rows else "the owner"


class _Unread(NamedTuple):
    """What a mart that is not computed by day reads, and this role may not."""

    relation: str
    mart: bool
    schema: str | None
    """The one to be used first; None where this role may use it."""
    selectable: bool


def _unread(connection: psycopg.Connection) -> list[_Unread]:
    return [_Unread(*row) for row in _asked(connection, query("unread"))]


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
                hint=f"Connect as {owner!r} or a member of it; who may become it adds"
                f" options=-c%20role={owner} to the URL. Else look at what the schema holds, and give it and"
                " all in it to a role that you trust.",
            )
    return bool(found)
