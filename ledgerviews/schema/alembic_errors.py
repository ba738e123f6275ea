"""Errors of Alembic's commands in our words, with their exit code."""

from __future__ import annotations

import re
from contextlib import contextmanager
from typing import TYPE_CHECKING

import psycopg
from alembic.util import CommandError
from sqlalchemy.exc import DBAPIError

from ledgerviews import db, revisions
from ledgerviews.errors import DatabaseError, LedgerviewsError, UsageError

from .mistakes import failed, mistake

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ledgerviews.config import Settings

_BEYOND = re.compile(r"Relative revision (\S+) didn't produce \d+ migrations")
_UPWARDS = re.compile(r"Destination (\S+) is not a valid downgrade target")


@contextmanager
def own_errors(settings: Settings) -> Iterator[None]:
    """Give back the error, with its exit code, that env.py had to wrap for Alembic, and mistakes in files."""
    try:
        yield
    except LedgerviewsError:
        raise
    except CommandError as exc:
        if isinstance(exc.__cause__, LedgerviewsError):
            raise exc.__cause__ from None
        raise _of_alembic(exc, settings) from exc
    except (DBAPIError, psycopg.Error) as exc:
        raise _refused(exc, settings) from exc
    except Exception as exc:
        if wrong := mistake(exc, revisions.location(settings.migrations or "")):
            raise wrong from exc
        if not isinstance(exc, (ValueError, AssertionError)):
            raise
        # What Alembic lets through where a revision is no revision at all.
        raise UsageError(
            "That is no revision.",
            hint="`ledgerviews db history` lists them; head, base, -1 and +1 work, too.",
        ) from exc


def _refused(exc: DBAPIError | psycopg.Error, settings: Settings) -> LedgerviewsError:
    """What the database refused, in our words; an application's own env.py translates nothing."""
    target = db.describe_target(settings)
    if told := failed(exc, revisions.location(settings.migrations or ""), at=None, target=target):
        return told
    driver = exc if isinstance(exc, psycopg.Error) else exc.orig
    if isinstance(driver, psycopg.Error):
        return db.translate(driver, target=target)
    return DatabaseError(str(driver).strip())


def _of_alembic(exc: CommandError, settings: Settings) -> LedgerviewsError:
    """Our error for one of Alembic's own."""
    here = settings.migrations or ""
    if "Can't locate revision" in str(exc):
        return UsageError(
            f"{exc}.",
            hint=f"`ledgerviews db history` lists those in {revisions.location(here) / 'versions'}. If the"
            f" database is at it: {revisions.elsewhere(here)}",
        )
    if "Multiple head" in str(exc) and (forked := revisions.fork(here)):
        return forked
    if "Ambiguous walk" in str(exc):
        return UsageError(
            "The newest revision joins two, so a number of steps does not tell which way to go.",
            hint="Name the revision to downgrade to: `ledgerviews db history` lists them.",
        )
    if beyond := _BEYOND.search(str(exc)):
        return UsageError(
            f"{beyond[1]} is further than the revisions go from there.",
            hint="`ledgerviews db current` tells where the database is, `ledgerviews db history` lists the"
            " revisions; base is before the first one, head the newest.",
        )
    if upwards := _UPWARDS.search(str(exc)):
        return UsageError(
            f"No revision leads from there back to {upwards[1]}.",
            hint="`ledgerviews db history` lists the revisions, newest first; `ledgerviews db upgrade` is the"
            " way forwards.",
        )
    return LedgerviewsError(str(exc))
