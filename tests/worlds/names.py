"""Names that need quoting, and texts that look like SQL."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import random

_LONGEST = 63  # bytes
_SHAPES = (
    "{}",
    "{}",
    "Upper{}",
    "blank {}",
    'quo"te {}',
    "it's {}",
    "größe_{}",
    "日本語{}",
    "a%b:c {}",
    "$sql$ {}",
    "back\\{}",
    "select {}",
)


class Names:
    """Gives names, each once, so that none is ever mistaken for another."""

    def __init__(self, rng: random.Random) -> None:
        """Draw from ``rng``."""
        self._rng = rng
        self._numbers = itertools.count(1)

    def relation(self) -> str:
        """A relation's, at times as long as PostgreSQL allows."""
        name = self._rng.choice(_SHAPES).format(f"m{next(self._numbers)}")
        if self._rng.random() < 0.12:
            filler = self._rng.choice(("x", "é"))
            while len((name + filler).encode()) <= _LONGEST:
                name += filler
        return name

    def column(self) -> str:
        """A column's."""
        shape = self._rng.choice(_SHAPES) if self._rng.random() < 0.3 else "{}"
        return shape.format(f"c{next(self._numbers)}")

    def thing(self, kind: str) -> str:
        """That of an index, a trigger and the like."""
        shape = self._rng.choice(_SHAPES) if self._rng.random() < 0.3 else "{}"
        return shape.format(f"{kind}{next(self._numbers)}")

    def number(self) -> int:
        """One that was never given before."""
        return next(self._numbers)


def quoted(*parts: str) -> str:
    """An identifier, quoted."""
    return ".".join('"' + part.replace('"', '""') + '"' for part in parts)


def literal(text: str) -> str:
    """A string, quoted."""
    escape = " E" if "\\" in text else ""
    return escape + "'" + text.replace("\\", "\\\\" if escape else "\\").replace("'", "''") + "'"
