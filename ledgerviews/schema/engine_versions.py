"""The engine's frozen SQL, version by version, and the way from one to another."""

from __future__ import annotations

from importlib.resources import files
from typing import TYPE_CHECKING

from ledgerviews.errors import UsageError

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

SCHEMA = "ledgerviews"
LATEST = 1


def script(previous: int, version: int) -> str:
    """The SQL that takes a database from one engine version to another; 0 is no engine."""
    for number in (previous, version):
        if not 0 <= number <= LATEST:
            raise UsageError(
                f"There is no engine version {number}; this package has 1 to {LATEST}.",
                hint="Upgrade the package ledgerviews, or name a version that it has.",
            )
    if version >= previous:
        parts = [_folder(number) / "install.sql" for number in range(previous + 1, version + 1)]
    else:
        parts = [_folder(number) / "remove.sql" for number in range(previous, version, -1)]
    return "\n".join(part.read_text(encoding="utf-8") for part in parts)


def _folder(version: int) -> Traversable:
    return files("ledgerviews.schema") / "engine" / f"v{version}"
