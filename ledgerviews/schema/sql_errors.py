"""What PostgreSQL says of a statement that it refuses: its code, its words, the place; of either driver."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

from .trial import undone

if TYPE_CHECKING:
    from .live import Run

SYNTAX = "42601"
ENDS_EARLY = "syntax error at end of input"
"""As PostgreSQL says it of a statement that ends there."""
_READ_ONLY = "25006"
# Syntax and names, values, features that are not there, what depends on something else, a full nesting.
_TEXT_IS_WRONG = frozenset({"42", "22", "0A", "2B", "54", "3F", "21"})


def is_about_the_text(exc: Exception) -> bool:
    """Whether an error of psycopg or psycopg2 says that a statement cannot be run as it is written."""
    state = sqlstate(exc)
    return state is not None and state[:2] in _TEXT_IS_WRONG


def sqlstate(exc: Exception) -> str | None:
    """The code of psycopg's and psycopg2's errors."""
    return getattr(exc, "sqlstate", None) or getattr(exc, "pgcode", None)


def message(exc: Any, *, behind: str = "") -> str:
    """What PostgreSQL says, in one line, without what we put ``behind`` the text that it repeats."""
    told = str(getattr(getattr(exc, "diag", None), "message_primary", None) or exc)
    return in_one_line(told, behind=behind)


def in_one_line(told: str, *, behind: str = "") -> str:
    """A message in one line, without what we put ``behind`` the text that it repeats."""
    if behind:
        # Quotes stand around the text, of whatever kind the language of messages has.
        told = re.sub(rf"{re.escape(behind)}(?=\W{{1,3}}$)", "", told)
    return " ".join(line.strip() for line in told.splitlines() if line.strip())


def position(exc: Any) -> int | None:
    """Where in the statement PostgreSQL points at, from 0."""
    found = getattr(getattr(exc, "diag", None), "statement_position", None)
    return int(found) - 1 if found else None


class Wrong(NamedTuple):
    """What is wrong with a text, and where, from 0; None where nobody knows it."""

    error: str
    at: int | None


def syntax_error(run: Run, text: str) -> Wrong | None:
    """What PostgreSQL says of a SELECT that it cannot read; None where it can."""
    begin = "CREATE TEMPORARY VIEW pg_temp.ledgerviews_read AS\n"
    with undone(run, "ledgerviews_read"):
        try:
            run(begin + text, None)
        except Exception as exc:
            state = sqlstate(exc) or ""
            if state != SYNTAX and (is_about_the_text(exc) or state == _READ_ONLY):
                return None
            if state != SYNTAX:
                raise
            found = position(exc)
            at = None if found is None else min(max(found - len(begin), 0), len(text))
            return Wrong(message(exc), at)
    return None
