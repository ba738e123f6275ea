"""What a field of a declaration must be before anything is asked of it, and which name was meant."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Any

from ledgerviews.errors import DeclarationError


def require_tuples(owner: str, of: type, **fields: Any) -> None:
    """Raise DeclarationError where a field holds a single one of what it is to hold a tuple of, or others.

    A string is a sequence of its letters, so Python itself finds nothing wrong with one.
    """
    one = "string" if of is str else of.__name__
    for name, value in fields.items():
        if isinstance(value, (str, of)) or not isinstance(value, Iterable):
            raise DeclarationError(
                f"{owner}: its {name} {_verb(name)} a {_word(value)}, where a tuple of {one}s is expected.",
                hint=f"Write {name}=(…,), with a comma after the {_word(value)}.",
            )
        if wrong := [held for held in value if not isinstance(held, of)]:
            holds = "hold" if _verb(name) == "are" else "holds"
            raise DeclarationError(
                f"{owner}: its {name} {holds} {wrong[0]!r}, which is no {one}.",
                hint=f"Write {name}=(…,), a tuple of {one}s.",
            )


def require_columns(owner: str, columns: Any, line: str) -> None:
    """Raise DeclarationError where columns are no mapping; ``line`` is what stands beside each name."""
    if not isinstance(columns, Mapping):
        raise DeclarationError(
            f"{owner}: its columns are a {_word(columns)}, where a dict is expected.",
            hint=f'Write columns={{"…": "…"}}: each column\'s name, and {line}.',
        )


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """The end of a sentence on an unknown name: the one that is near, if there is one."""
    near = get_close_matches(name, sorted(known), n=1)
    return f"; did you mean {near[0]}?" if near else "."


def _verb(name: str) -> str:
    return "are" if name.lower().endswith("s") else "is"


def _word(value: Any) -> str:
    return "string" if isinstance(value, str) else type(value).__name__
