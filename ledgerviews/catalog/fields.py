"""What a field of a declaration must be before anything is asked of it, and which name was meant."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Any

from ledgerviews.errors import DeclarationError


def require_tuples(owner: str, of: type, /, **fields: Any) -> None:
    """Raise DeclarationError where a field holds a single one of what it is to hold a tuple of, or others.

    A string is a sequence of its letters, so Python itself finds nothing wrong with one.
    """
    one = "string" if of is str else of.__name__
    for name, value in fields.items():
        if isinstance(value, (str, of)) or not isinstance(value, Iterable):
            raise DeclarationError(
                f"{owner}: its {name} {_verb(name)} {_a(value)}, where a tuple of {one}s is expected.",
                hint=f"Write {name}=(…,), with a comma after the {_word(value)}.",
            )
        if wrong := [held for held in value if not isinstance(held, of)]:
            raise DeclarationError(
                f"{owner}: its {name} {_holds(name)} {wrong[0]!r}, which is no {one}.",
                hint=f"Write {name}=(…,), a tuple of {one}s.",
            )


def require_one(owner: str, of: type, /, *, optional: bool = False, **fields: Any) -> None:
    """Raise DeclarationError where a field is none of what it is to be, or is empty text.

    None leaves an ``optional`` one out; an empty string would be taken for a name.
    """
    one, written = ("string", '"…"') if of is str else (of.__name__, f"{of.__name__}(…)")
    for name, value in fields.items():
        if value is None and optional:
            continue
        if not isinstance(value, of):
            wrong = f"{_a(value)}, where {_article(one)} {one} is expected"
        elif isinstance(value, str) and not value.strip():
            wrong = "empty"
        else:
            continue
        raise DeclarationError(
            f"{owner}: its {name} {_verb(name)} {wrong}.",
            hint=f"Write {name}={written}{', or leave it out' if optional else ''}.",
        )


def require_mapping(owner: str, written: str, /, *, texts: bool = True, **fields: Any) -> None:
    """Raise DeclarationError where a field is no mapping of names, to ``texts`` or whatever, none empty.

    ``written`` is what to write for it, as ``{"…": "…"}: each column's name, and a line on it``.
    """
    for name, value in fields.items():
        hint = f"Write {name}={written}."
        if not isinstance(value, Mapping):
            raise DeclarationError(
                f"{owner}: its {name} {_verb(name)} {_a(value)}, where a dict is expected.", hint=hint
            )
        for key, held in value.items():
            looked_at = [(key, f"the name {key!r}")]
            if texts:
                looked_at.append((held, f"{held!r} for {key}"))
            for one, words in looked_at:
                if not isinstance(one, str) or not one.strip():
                    lacks = "is empty" if isinstance(one, str) else "is no string"
                    raise DeclarationError(
                        f"{owner}: its {name} {_holds(name)} {words}, which {lacks}.", hint=hint
                    )


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """The end of a sentence on an unknown name: the one that is near, if there is one."""
    near = get_close_matches(name, sorted(known), n=1)
    return f"; did you mean {near[0]}?" if near else "."


def _verb(name: str) -> str:
    return "are" if name.lower().endswith("s") else "is"


def _holds(name: str) -> str:
    return "hold" if _verb(name) == "are" else "holds"


def _a(value: Any) -> str:
    return "None" if value is None else f"{_article(_word(value))} {_word(value)}"


def _article(word: str) -> str:
    return "an" if word[0].lower() in "aeio" else "a"


def _word(value: Any) -> str:
    return "string" if isinstance(value, str) else type(value).__name__
