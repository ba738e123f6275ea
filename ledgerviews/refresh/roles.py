"""Grants for the roles beside the owner."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg

from ledgerviews import db
from ledgerviews.db import Task
from ledgerviews.errors import DatabaseError, UsageError

from . import engine

if TYPE_CHECKING:
    from collections.abc import Callable

    from ledgerviews.config import Settings


def grant_refresh(settings: Settings, role: str, *, progress: Callable[[str], None]) -> None:
    """Let a role refresh (PostgreSQL 17 and later), without reading the sources."""
    _grant(settings, "SELECT ledgerviews.grant_refresh(%s::name)", role, progress)


def grant_read(settings: Settings, role: str, *, progress: Callable[[str], None]) -> None:
    """Let a role read the published relations."""
    _grant(settings, "SELECT ledgerviews.grant_read(%s::name)", role, progress)


def _grant(settings: Settings, statement: str, role: str, progress: Callable[[str], None]) -> None:
    with engine.session(db.looking(settings), progress=progress, task=Task.OWN) as connection:
        try:
            connection.execute(statement.encode(), [role])
        except psycopg.errors.UndefinedObject as exc:
            raise UsageError(exc.diag.message_primary or str(exc), hint=exc.diag.message_hint) from exc
        except psycopg.errors.FeatureNotSupported as exc:
            raise DatabaseError(exc.diag.message_primary or str(exc), hint=exc.diag.message_hint) from exc
