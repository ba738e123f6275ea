"""Engines that are wrong on purpose: what a fuzz must catch, and how an installed function is made wrong."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    import psycopg


@dataclass(frozen=True, kw_only=True)
class Mutant:
    """A wrong engine: how it comes about, and the fixed seed that finds it soonest."""

    mutate: Callable[[psycopg.Connection], None]
    seed: int

    @property
    def name(self) -> str:
        """Its name in a test's id."""
        return self.mutate.__name__

    def __str__(self) -> str:
        """What it gets wrong."""
        return (self.mutate.__doc__ or "").splitlines()[0]


def rewrite(connection: psycopg.Connection, function: str, *changes: tuple[str, str]) -> None:
    """Replace texts in an installed function or procedure, which must have each of them."""
    row = connection.execute("SELECT pg_get_functiondef(%s::regprocedure)", [function]).fetchone()
    assert row is not None
    text: str = row[0]
    for old, new in changes:
        assert old in text, f"{function} no longer has: {old}"
        text = text.replace(old, new)
    connection.execute(text.encode())
