"""The words of specs: where a key's relation stands, what a declared index says, and its name. Pure."""

from __future__ import annotations

from hashlib import sha256
from typing import Any

Spec = dict[str, Any]
SOURCE = "source"
LONGEST_NAME = 63  # bytes; PostgreSQL cuts what is longer in silence


def located(key: str, schema: str) -> tuple[str, str]:
    """Schema and name of what a key stands for, where models are published in ``schema``."""
    before, dot, after = key.partition(".")
    return (before, after) if dot else (schema, key)


def split_index(text: str) -> tuple[str, str]:
    """What stands before INDEX in the statement, and what after the relation's name."""
    return ("UNIQUE ", text[len("UNIQUE ") :]) if text.upper().startswith("UNIQUE ") else ("", text)


def declared_index(relation: str, text: str) -> str:
    """The name of an index that is declared as what follows CREATE INDEX … ON relation."""
    digest = sha256(text.encode()).hexdigest()[:8]
    room = LONGEST_NAME - len("__idx") - len(digest)
    return f"{relation.encode()[:room].decode(errors='ignore')}_{digest}_idx"
