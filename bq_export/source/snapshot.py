"""One moment of the database, shared by every connection of a run."""

from __future__ import annotations

import os
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import psycopg
from psycopg import IsolationLevel
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from bq_export.errors import RewrittenError, UnsteadyError
from bq_export.source.statements import SESSION
from ledgerviews.db import CONNECT_TIMEOUT_S, connect, conninfo, describe_target, translated

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from ledgerviews.config import Settings

APPLICATION = "bq-export"
# A connection of ours waits for the other side with a lock or a snapshot that nobody else can hold for it.
IDLE = {"idle_in_transaction_session_timeout": "0", "idle_session_timeout": "0"}
_MOMENTS = 3
_T = TypeVar("_T")


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """The connection that holds the moment, its exported name, and how another connection joins it."""

    connection: psycopg.Connection
    name: str
    conninfo: str
    target: str


@contextmanager
def open_snapshot(settings: Settings) -> Iterator[Snapshot]:
    """Begin a read-only REPEATABLE READ transaction, export its snapshot, and hold it for the block."""
    target = describe_target(settings)
    connection = connect(settings, application=APPLICATION)
    try:
        with translated(target=target):
            set_all(connection, SESSION | IDLE)
            connection.isolation_level = IsolationLevel.REPEATABLE_READ
            connection.read_only = True
            connection.autocommit = False
            row = connection.execute("SELECT pg_catalog.pg_export_snapshot()").fetchone()
        assert row is not None  # noqa: S101
        yield Snapshot(connection=connection, name=row[0], conninfo=_reader_conninfo(settings), target=target)
    finally:
        connection.close()


def set_all(connection: psycopg.Connection, settings: Mapping[str, str]) -> None:
    """Set a session's parameters."""
    for name, value in settings.items():
        connection.execute("SELECT pg_catalog.set_config(%s, %s, false)", [name, value])


def at_one_moment(
    settings: Settings, work: Callable[[Snapshot], _T], *, progress: Callable[[str], None]
) -> _T:
    """Do the work in a snapshot, and in a newer one where a relation was not the same all through it."""
    for _ in range(_MOMENTS - 1):
        try:
            with open_snapshot(settings) as snapshot:
                return work(snapshot)
        except (RewrittenError, UnsteadyError) as exc:
            progress(f"{exc.message} Beginning again.")
    with open_snapshot(settings) as snapshot:
        return work(snapshot)


def _reader_conninfo(settings: Settings) -> str:
    """How ADBC's own libpq connects: as we do, and in a transaction that may join the snapshot.

    ADBC begins its transactions itself, so the isolation level has to be the session's default.
    """
    given = conninfo_to_dict(conninfo(settings.database_url))
    ours = {
        "default_transaction_isolation": "repeatable read",
        "default_transaction_read_only": "on",
        **SESSION,
        **IDLE,
    }
    asked = given.get("options") or os.environ.get("PGOPTIONS") or ""
    set_ = " ".join(f"-c {name}={value.replace(' ', chr(92) + ' ')}" for name, value in ours.items())
    given["options"] = f"{asked} {set_}".strip()
    given.setdefault("fallback_application_name", APPLICATION)
    given.setdefault("client_encoding", "utf8")
    given.setdefault("connect_timeout", os.environ.get("PGCONNECT_TIMEOUT") or CONNECT_TIMEOUT_S)
    return make_conninfo("", **given)
