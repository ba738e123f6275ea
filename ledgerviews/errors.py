"""What can go wrong, each with the object, the cause and the next command, and its exit code.

The exit codes are one table for every command; ``docs/operations.md`` shows it to users.
"""

from __future__ import annotations

import re
from collections import defaultdict
from typing import TYPE_CHECKING, Any, ClassVar
from unicodedata import category

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_ENGINE_ROW = "INSERT INTO ledgerviews.engine (version) VALUES ({})"
_FORGED = re.compile(r"\n(?!  )")

EXIT_OK = 0
EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_UNREACHABLE = 3
EXIT_DRIFT = 4
EXIT_LOCKED = 5
EXIT_INTERRUPTED = 130


class LedgerviewsError(Exception):
    """Something failed that the user can mend; the text says what, why and how."""

    exit_code: ClassVar[int] = EXIT_FAILED

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        """Keep the message, and the next thing to do about it as ``hint``."""
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return told("\n  ".join([self.message, *self.lines(), *([self.hint] if self.hint else [])]))

    def lines(self) -> list[str]:
        """What stands between the message and the hint."""
        return []

    def details(self) -> dict[str, Any]:
        """What --json adds to the message and the hint."""
        return {}


class UsageError(LedgerviewsError):
    """The words of a command, or a setting, make no sense."""

    exit_code = EXIT_USAGE


class DeclarationError(LedgerviewsError):
    """The declared models contradict themselves."""

    exit_code = EXIT_USAGE

    def __init__(self, message: str, *, hint: str | None = None, shown: Sequence[str] = ()) -> None:
        """Keep the lines of a text that show where it is wrong, too."""
        super().__init__(message, hint=hint)
        self.shown = tuple(shown)

    def lines(self) -> list[str]:
        """Where the text is wrong."""
        return list(self.shown)


class UnreadableError(DeclarationError):
    """The SELECT of a model cannot be read without the database, which may tell more of it.

    Attributes:
        name: the model's.
        text: its SELECT.
    """

    def __init__(self, message: str, *, hint: str, name: str, text: str) -> None:
        """Keep the text."""
        super().__init__(message, hint=hint)
        self.name, self.text = name, text


class UnwritableError(DeclarationError):
    """Code and database differ, and no revision can be written of what is declared."""

    exit_code = EXIT_DRIFT


class UnreachableError(LedgerviewsError):
    """No connection to the database can be made, or it broke."""

    exit_code = EXIT_UNREACHABLE


class SessionEndedError(UnreachableError):
    """A connection that stood was ended by the server, or broke; what it had not committed is undone.

    Attributes:
        by_server: whether the server said so itself, so that the session has ended there, too.
    """

    def __init__(self, message: str, *, hint: str | None = None, by_server: bool) -> None:
        """Keep who ended it, too."""
        super().__init__(message, hint=hint)
        self.by_server = by_server


class DriftError(LedgerviewsError):
    """The database is not at the state that this package knows."""

    exit_code = EXIT_DRIFT


class EngineRowError(DriftError):
    """The row that says which version the engine has is gone."""

    def __init__(self, *, shown: int) -> None:
        """Tell what puts it back: the version that the engine's tables and functions show."""
        super().__init__(
            "The row of the table ledgerviews.engine is gone, which says the engine's version.",
            hint=f"Put it back: {_ENGINE_ROW.format(shown)}; which is what its tables and functions"
            " show. What else was set in it, as keep_runs, is then the default.",
        )


class LockedError(LedgerviewsError):
    """Somebody else holds a lock that is needed."""

    exit_code = EXIT_LOCKED


class DatabaseError(LedgerviewsError):
    """PostgreSQL refused a statement."""


class RowsError(LedgerviewsError):
    """Rows are not as they must be; they come along.

    Attributes:
        found: what the engine told, one for each check or relation, with ``sample``, some of the rows.
        keys: the columns that tell a relation's rows apart, by ``schema.relation``, where they are known.
    """

    name: ClassVar[str]

    def __init__(self, message: str, *, hint: str | None = None, found: Sequence[dict[str, Any]]) -> None:
        """Keep the rows beside the message."""
        super().__init__(message, hint=hint)
        self.found = found
        self.keys: dict[str, list[str]] = {}

    def details(self) -> dict[str, Any]:
        """The rows as the engine told them."""
        return {self.name: list(self.found)}


class CheckError(RowsError):
    """A check of the recomputed rows failed, so nothing was published."""

    name = "checks"

    def lines(self) -> list[str]:
        """Each check with the rows that fail it."""
        told = []
        for check in self.found:
            count, sample = check["failed_rows"], check["sample"] or []
            told.append(
                f"{check['schema']}.{check['relation']}, {check['check']} ({check['severity']}): "
                f"{_rows(count)}{_of(sample, count)}"
            )
            told += [f"  {row_in_words(row)}" for row in sample]
        return told


class DifferenceError(RowsError):
    """Published rows are not what the sources give."""

    name = "differences"

    def lines(self) -> list[str]:
        """Each row that differs: by its key, with what is published and what the sources give."""
        told = []
        for one in self.found:
            relation, count = f"{one['schema']}.{one['relation']}", one["differing_rows"]
            # A row with other figures is two of the sample, and one line.
            some = ", some of them:" if len(one["sample"] or []) < count else ":"
            told.append(f"{relation}: {_rows(count)}{some}")
            told += [f"  {line}" for line in _differences(one["sample"] or [], self.keys.get(relation, []))]
        return told


def _rows(count: int) -> str:
    return f"{count:,} row{'' if count == 1 else 's'}"


def _of(sample: Sequence[object], count: int) -> str:
    return f", the first {len(sample)}:" if len(sample) < count else ":"


def row_in_words(row: dict[str, Any]) -> str:
    """A row for people: each column with its value."""
    return ", ".join(f"{visible(column)}={_value(value)}" for column, value in row.items())


def _value(value: object) -> str:
    return "NULL" if value is None else visible(str(value))


def visible(text: str, *, keep: str = "") -> str:
    """Text that others wrote, each character that a terminal obeys as Python escapes it.

    Whoever writes rows could else forge lines of ours. What is in ``keep`` stays.
    """
    if text.isprintable():
        return text
    return "".join(_shown(character) if character not in keep else character for character in text)


def told(text: str) -> str:
    """A message with others' words in it; its own lines after the first are indented by two blanks."""
    return _FORGED.sub(r"\\n", visible(text, keep="\n"))


def _shown(character: str) -> str:
    # A blank of another width is shown as it is: it moves nothing.
    harmless = character.isprintable() or category(character) == "Zs"
    return character if harmless else character.encode("unicode_escape").decode("ascii")


def _differences(sample: Sequence[dict[str, Any]], key: Sequence[str]) -> Iterator[str]:
    """A line for each row; a row that is published with other figures shows these only."""
    found: dict[tuple[str, ...], dict[str, dict[str, Any]]] = defaultdict(dict)
    for number, one in enumerate(sample):
        for state, row in one.items():
            name = tuple(f"{visible(column)}={_value(row.get(column))}" for column in key) or (str(number),)
            found[name][state] = row
    for name, states in found.items():
        if len(states) == 1:
            ((state, row),) = states.items()
            told = {"missing": "not published", "wrong": "published, but no source gives it"}[state]
            yield f"{told}: {row_in_words(row)}"
        else:
            wrong, right = states["wrong"], states["missing"]
            figures = [
                f"{visible(column)} is {_value(wrong.get(column))}, must be {_value(value)}"
                for column, value in right.items()
                if wrong.get(column) != value
            ]
            yield f"{', '.join(name)}: {'; '.join(figures)}"


class InterruptedRunError(LedgerviewsError):
    """The user, or an administrator, cancelled the statement; its transaction was rolled back."""

    exit_code = EXIT_INTERRUPTED
