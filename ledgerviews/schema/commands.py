"""Alembic's commands as functions over Settings, for the command line and for tests."""

from __future__ import annotations

import logging
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, TextIO

from alembic import command
from alembic.config import Config
from alembic.util import CommandError

from ledgerviews.errors import DriftError, LedgerviewsError, UsageError
from ledgerviews.revisions import location

from .execute import SETTINGS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ledgerviews.config import Settings


def config(settings: Settings, *, stdout: TextIO | None = None) -> Config:
    """An Alembic Config for these settings; no ini file is read."""
    if settings.migrations is None:
        raise UsageError(
            f"It is not known where the revisions of {settings.models} are.",
            hint="Set LEDGERVIEWS_MIGRATIONS to package:folder or to a path, or use Alembic's own command.",
        )
    made = Config(stdout=stdout or sys.stdout, output_buffer=stdout)
    folder = str(location(settings.migrations))
    made.set_main_option("script_location", folder.replace("%", "%%"))
    made.attributes[SETTINGS] = settings
    return made


def upgrade(
    settings: Settings, revision: str = "head", *, sql: bool = False, stdout: TextIO | None = None
) -> None:
    """Upgrade to a revision; ``sql`` prints the script instead of running it."""
    with _own_errors():
        command.upgrade(config(settings, stdout=stdout), revision, sql=sql)


def downgrade(settings: Settings, revision: str, *, sql: bool = False, stdout: TextIO | None = None) -> None:
    """Downgrade to a revision; ``sql`` prints the script instead of running it."""
    with _own_errors():
        command.downgrade(config(settings, stdout=stdout), revision, sql=sql)


def current(settings: Settings, *, stdout: TextIO | None = None) -> None:
    """Print the revision that the database is at."""
    with _own_errors():
        command.current(config(settings, stdout=stdout))


def history(settings: Settings, *, stdout: TextIO | None = None) -> None:
    """Print the revisions that there are, newest first."""
    with _own_errors():
        command.history(config(settings, stdout=stdout))


def check(settings: Settings, *, stdout: TextIO | None = None) -> None:
    """Raise DriftError where the database is not at head."""
    try:
        with _own_errors():
            command.check(config(settings, stdout=stdout))
    except LedgerviewsError as exc:
        if type(exc) is LedgerviewsError:
            raise DriftError(exc.message, hint="Run `ledgerviews db upgrade`.") from exc
        raise


@contextmanager
def progress(stream: TextIO) -> Iterator[None]:
    """Show Alembic's own line for each revision that runs."""
    logger = logging.getLogger("alembic.runtime.migration")
    handler = logging.StreamHandler(stream)
    handler.addFilter(lambda record: record.getMessage().startswith("Running"))
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)


@contextmanager
def _own_errors() -> Iterator[None]:
    """Give back the error, with its exit code, that env.py had to wrap for Alembic."""
    try:
        yield
    except (ValueError, AssertionError) as exc:
        # What Alembic lets through where a revision is no revision at all.
        raise UsageError(
            "That is no revision.",
            hint="`ledgerviews db history` lists them; head, base, -1 and +1 work, too.",
        ) from exc
    except CommandError as exc:
        if isinstance(exc.__cause__, LedgerviewsError):
            raise exc.__cause__ from None
        if "Can't locate revision" in str(exc):
            raise UsageError(
                f"{exc}.",
                hint="`ledgerviews db history` lists the revisions of this package; where the database is at "
                "another one, the package here is older than the one that migrated it.",
            ) from exc
        raise LedgerviewsError(str(exc)) from exc
