"""What can go wrong, each with the object, the cause and the next command, and its exit code.

The exit codes are one table for every command; ``docs/operations.md`` shows it to users.
"""

from __future__ import annotations

from typing import ClassVar

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
        return f"{self.message}\n  {self.hint}" if self.hint else self.message


class UsageError(LedgerviewsError):
    """The words of a command, or a setting, make no sense."""

    exit_code = EXIT_USAGE


class DeclarationError(LedgerviewsError):
    """The declared models contradict themselves."""

    exit_code = EXIT_USAGE


class UnreachableError(LedgerviewsError):
    """No connection to the database can be made, or it broke."""

    exit_code = EXIT_UNREACHABLE


class DriftError(LedgerviewsError):
    """The database is not at the state that this package knows."""

    exit_code = EXIT_DRIFT


class LockedError(LedgerviewsError):
    """Somebody else holds a lock that is needed."""

    exit_code = EXIT_LOCKED


class DatabaseError(LedgerviewsError):
    """PostgreSQL refused a statement."""


class InterruptedRunError(LedgerviewsError):
    """The user, or an administrator, cancelled the statement; everything was rolled back."""

    exit_code = EXIT_INTERRUPTED
