"""A mistake in a revision's file, or in an env.py, told to who wrote it: file, line, exception."""

from __future__ import annotations

import re
import traceback
from pathlib import Path
from types import ModuleType

import alembic
import psycopg
from alembic.util import CommandError
from sqlalchemy import exc as sqlalchemy_errors

from ledgerviews import db
from ledgerviews.errors import DatabaseError, LedgerviewsError, UsageError
from ledgerviews.revisions import flaw, no_python

from .sql_errors import in_one_line

_OURS = Path(__file__).resolve().parents[1]
_ALEMBIC = Path(alembic.__file__).resolve().parent
# As the engine's trigger says it.
_CHECK = re.compile(r"(?P<what>Check .+ of [^:]+\.(?P<relation>[^:.]+)): (?P<words>.*)", re.DOTALL)
_BEHIND = "\n)"
"""What it puts behind the expression."""
_MODULE = "<module>"
_AGAIN = "Mend it, then run the command again."
_RUNS_OURS = re.compile(r"ledgerviews\.schema(?: import [^\n]*|\.)\brun_migrations\b")


def mistake(exc: Exception, folder: Path) -> UsageError | None:
    """The error for what a file below ``folder`` is to blame for, as it was loaded; None for all else."""
    if isinstance(exc, (CommandError, LedgerviewsError, psycopg.Error, sqlalchemy_errors.DBAPIError)):
        return None
    if isinstance(exc, SyntaxError) and exc.filename is not None and _below(exc.filename, folder):
        return no_python(exc.filename, exc)
    if (place := _place(exc, folder)) is not None:
        return UsageError(f"{place}: {_words(exc, folder)}.", hint=_env_of_two_lines(exc, folder) or _AGAIN)
    if isinstance(exc, AttributeError) and isinstance(exc.obj, ModuleType):
        # Alembic looks for upgrade() and downgrade(), and no line of the file is run.
        file = exc.obj.__file__ or ""
        if _below(file, folder):
            return UsageError(f"{file} has no {exc.name}().", hint=_AGAIN)
    # Of these the traceback has no file: NUL in one, a parent that Alembic looks up in vain.
    return flaw(folder) if isinstance(exc, (SyntaxError, KeyError)) else None


def _env_of_two_lines(exc: Exception, folder: Path) -> str | None:
    """What an env.py may be that is not ours; None where it is another file, or is ours."""
    env = folder / "env.py"
    frames = traceback.extract_tb(exc.__traceback__)
    if not any(Path(frame.filename) == env for frame in frames) or _RUNS_OURS.search(env.read_text("utf-8")):
        return None
    return (
        "Mend it. Where it is there for ledgerviews alone, two lines are all of it: `from ledgerviews.schema"
        " import run_migrations` and `run_migrations()`. An application's own is run by `alembic` itself,"
        " with LEDGERVIEWS_MIGRATIONS not set."
    )


def failed(
    exc: Exception,
    folder: Path,
    *,
    at: tuple[str, ...] | None,
    target: str,
    connection: psycopg.Connection | None = None,
) -> LedgerviewsError | None:
    """The error for what was raised in a revision's upgrade() or downgrade(); None for all else.

    Args:
        exc: what was raised.
        folder: that of env.py and versions/.
        at: the revisions that the database is at now; None where it does not say.
        target: the database, for messages.
        connection: the one that it was raised on, to ask who holds a lock; None if unknown.
    """
    error: LedgerviewsError | None
    if isinstance(exc, (psycopg.Error, sqlalchemy_errors.DBAPIError)):
        # A revision may go past SQLAlchemy, to the driver.
        driver = exc if isinstance(exc, psycopg.Error) else exc.orig
        place = _place(exc, folder)
        if place is None or not isinstance(driver, psycopg.Error):
            return None
        error = db.translate(driver, target=target, connection=connection)
        error.message = f"{place}: {error.message}"
    elif (error := mistake(exc, folder)) is None:
        return None
    now = "" if at is None else f"; the database is at {', '.join(at) or 'no revision'}"
    kept = f"Nothing of its transaction was kept{now}."
    error.hint = f"{kept} {_AGAIN}" if error.hint in {None, _AGAIN} else f"{error.hint}\n  {kept}"
    return error


def unrun_check(exc: psycopg.Error) -> DatabaseError | None:
    """The error for a check that the engine cannot run, with its files; None for all else."""
    diag = exc.diag
    found = _CHECK.fullmatch(diag.message_primary or "")
    if found is None or "ledgerviews.check_added()" not in (diag.context or ""):
        return None
    held = f", and in {file}, which holds it, too" if (file := _running()) is not None else ""
    return DatabaseError(
        f"{found['what']} cannot be run: {in_one_line(found['words'], behind=_BEHIND)}; nothing was changed.",
        hint=f"Mend it in {found['relation']}.py{held}; or write the revision again, as long as no database"
        " is at it.",
    )


def _running() -> str | None:
    """The file whose code has called an operation of ours: the revision that runs."""
    for frame in reversed(traceback.extract_stack()):
        path = Path(frame.filename)
        if path.is_file() and not any(path.resolve().is_relative_to(one) for one in (_OURS, _ALEMBIC)):
            return frame.filename
    return None


def _place(exc: BaseException, folder: Path) -> str | None:
    """Where in a file of the folder it was raised, or what was called there that raised it.

    None where no file is to blame: an env.py is not, for what it has this package do, nor a revision for
    what the server answers to this package's own operations, which say themselves what is wrong.
    """
    frames = traceback.extract_tb(exc.__traceback__)
    inside = [number for number, frame in enumerate(frames) if _below(frame.filename, folder)]
    if not inside:
        return None
    frame, called = frames[inside[-1]], frames[inside[-1] + 1 :]
    own = _below(frame.filename, folder / "versions") and not isinstance(exc, psycopg.Error)
    if not own and any(_below(one.filename, _OURS) for one in called):
        return None
    function = f", in {frame.name}()" if frame.name != _MODULE else ""
    return f"{frame.filename}, line {frame.lineno}{function}"


def _words(exc: Exception, folder: Path) -> str:
    """The exception as Python says it, and where it was raised, if that is elsewhere."""
    told = "".join(traceback.format_exception_only(exc)).strip().rstrip(".")
    last = traceback.extract_tb(exc.__traceback__)[-1]
    if _below(last.filename, folder) or not Path(last.filename).is_file():
        return told
    return f"{told} (raised in {last.filename}, line {last.lineno})"


def _below(file: str, folder: Path) -> bool:
    path = Path(file)
    return path.resolve().is_relative_to(folder.resolve()) and path.is_file()
