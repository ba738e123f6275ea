"""Where a text is wrong: the line and a mark, as psql shows them."""

from __future__ import annotations

import pytest

from ledgerviews.schema.pointing import pointed


@pytest.mark.parametrize(
    ("text", "at", "shown"),
    [
        ("SELECT oops", 7, ("LINE 1: SELECT oops", "               ^")),
        ("SELECT\n  a b\r\nFROM", 11, ("LINE 2:   a b", "            ^")),
        ("SELECT\n\ta b", 8, ("LINE 2:  a b", "         ^")),
        ("SELECT", 6, ("LINE 1: SELECT", "              ^")),
        ("é SELECT", 2, ("LINE 1: é SELECT", "          ^")),
    ],
)
def test_the_mark_stands_below_the_place(text: str, at: int, shown: tuple[str, str]) -> None:
    """A tab takes one column, as in psql; the end of the text is a place, too."""
    assert pointed(text, at) == shown
