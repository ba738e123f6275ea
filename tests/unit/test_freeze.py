"""The text of a revision: it gives back what was frozen, and shows only what differs."""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ledgerviews.schema.freeze import frozen

TEXT = st.text(max_size=30) | st.sampled_from(
    ['a\n"""', "a\n\\", 'a\n"', "%(x)s :x\n' \" \\n", "\n", "\r\nx"]
)
VALUE = TEXT | st.lists(TEXT, max_size=3) | st.dictionaries(TEXT, TEXT, max_size=3)
SPEC = st.dictionaries(st.sampled_from(["kind", "definition", "comment", "columns", "reads"]), VALUE)
SPECS = st.dictionaries(st.sampled_from(["a", "b", "public.c", "d e"]), SPEC, max_size=4)


def performed(text: str) -> dict[str, Any]:
    """What the text assigns."""
    names: dict[str, Any] = {}
    exec(text, names)
    return names


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(before=SPECS, after=SPECS)
def test_a_frozen_text_gives_back_what_was_frozen(
    before: dict[str, dict[str, Any]], after: dict[str, dict[str, Any]]
) -> None:
    """Whatever the texts hold, character by character."""
    names = performed(frozen(before, after))

    assert names["views_before"] == before
    assert names["views_after"] == after


def test_only_what_differs_is_repeated() -> None:
    """SQL of several lines stands as it was written, and what stays is taken over."""
    before = {"m": {"kind": "view", "definition": "SELECT 1\nAS a", "comment": "It's one."}}
    after = {"m": before["m"] | {"definition": "SELECT 2\n  AS a"}}

    assert (
        frozen(before, after)
        == '''\
views_before = {
    "m": {
        "kind": "view",
        "definition": """\\
SELECT 1
AS a""",
        "comment": "It's one.",
    },
}

views_after = {
    "m": views_before["m"] | {
        "definition": """\\
SELECT 2
  AS a""",
    },
}'''
    )


def test_what_is_declared_no_longer_and_what_is_renamed() -> None:
    """A key that goes has the whole spec written; a renamed one is taken over from its former name."""
    before = {"m": {"kind": "view", "owner": "x"}, "old": {"kind": "view", "renamed_from": "new"}}
    after = {"m": {"kind": "view"}, "new": {"kind": "view", "renamed_from": "old"}}

    text = frozen(before, after)

    assert performed(text)["views_after"] == after
    assert '"new": views_before["old"] | {' in text
