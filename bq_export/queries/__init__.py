"""Every catalog query, in a .sql file of its own: its first line, a comment, says what it answers."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import LiteralString


@cache
def query(name: str) -> LiteralString:
    """The text of ``name``.sql, with psycopg placeholders."""
    return files(__name__).joinpath(f"{name}.sql").read_text(encoding="utf-8")
