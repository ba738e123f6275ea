"""Where a text is wrong, as psql shows it: the line with its number, and a mark below the place. Pure."""

from __future__ import annotations

import string
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ledgerviews.catalog import Catalog


def pointed(text: str, at: int) -> tuple[str, str]:
    """The line of a position, which counts from 0, and the mark below it."""
    before = text[:at]
    number = before.count("\n") + 1
    begins = before.rfind("\n") + 1
    line = text[begins:].partition("\n")[0].rstrip()
    head = f"LINE {number}: "
    # One column for each character, whatever it is: as psql does of a tab.
    return head + line.replace("\t", " "), " " * (len(head) + at - begins) + "^"


def in_file(catalog: Catalog | None, name: str, part: str, at: int, text: str) -> tuple[str, str]:
    """The same of a part of a spec; the lines of a model's SELECT are those of its file.

    Args:
        catalog: the models.
        name: the key of the spec.
        part: ``definition`` or ``day_definition``.
        at: the position in the text, from 0.
        text: that part of the spec.
    """
    if catalog is None or name not in catalog.models or part != "definition":
        return pointed(text, at)
    file = catalog.models[name].text
    return pointed(file, at + len(file) - len(file.lstrip(string.whitespace)))
