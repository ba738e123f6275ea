"""What stands in the database, as the spec that a revision holds of it before it is changed. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from ledgerviews.sqltext import MODEL_SCHEMA, qualified_names, statement

if TYPE_CHECKING:
    from .keys import Spec
    from .live import Live, Place, Registered, State

_ATOMIC = re.compile(r"\A\s*BEGIN ATOMIC\s*|;\s*END\s*\Z")
"""What is around the one statement of a function of single days."""


def installed(after: Spec | None, live: Live, state: State, *, schema: str, settled: bool = False) -> Spec:
    """The spec of a relation as it stands: of its texts as they were written, where it is known.

    Args:
        after: what it is to become; what that does not declare of comments is left out.
        live: how it stands.
        state: what else stands.
        schema: the target schema.
        settled: its definition is that of ``after``, whatever its text says.
    """
    there = live.registered
    spec: Spec = {"kind": live.kind or (there.kind if there else "view")}
    if there is not None and (live.kind is None or there.printed is None or live.untouched):
        spec["definition"] = there.definition
    elif settled and after is not None:
        spec["definition"] = after["definition"]
    else:
        spec["definition"] = statement(live.printed or "")
    if there is not None and there.unique_key:
        spec["unique_key"] = list(there.unique_key)
    comments = {column.name: column.comment for column in live.columns if column.comment is not None}
    if live.comment is not None and (after is None or "comment" in after):
        spec["comment"] = live.comment
    if there is not None and there.day is not None:
        # What reads the rollup is made of these: one without a comment is a column, too.
        spec["columns"] = {column.name: column.comment or "" for column in live.columns}
    elif comments and (after is None or "columns" in after):
        spec["columns"] = comments
    spec["reads"] = _published_reads(spec["definition"], live, state, schema)
    if there is not None:
        if there.day is not None:
            spec |= {
                "day": there.day,
                "day_definition": _days(after if settled else None, live, there),
                "sources": list(there.sources),
            }
        if there.checks:
            spec["checks"] = there.checks
        spec |= {
            name: there.declared[name]
            for name in ("indexes", "options", "grants", "owner", "with_data")
            if name in there.declared
        }
    return spec if after is None else _in_words_of(after, spec, settled=settled)


def _days(after: Spec | None, live: Live, there: Registered) -> str | None:
    """The SELECT of single days: as it was composed; as it is printed, where a column was renamed since."""
    if live.days is None or there.printed_days is None or live.days in there.printed_days:
        return there.day_definition
    if after is not None and after.get("day_definition"):
        return str(after["day_definition"])
    text = _ATOMIC.sub("", live.days)
    for number, argument in enumerate(("lo", "hi"), start=1):
        text = re.sub(rf'"?\b{re.escape(f"{there.rollup}_days")}"?\.{argument}\b', f"${number}", text)
    return statement(text)


def _published_reads(text: str, live: Live, state: State, schema: str) -> list[str]:
    """The keys of the published relations that a text names."""
    names = qualified_names(text)
    written = (
        _written(place, one.registered, schema)
        for place, one in state.relations.items()
        if one.registered is not None and one is not live
    )
    return sorted(key for key, place in written if place in names)


def _in_words_of(after: Spec, spec: Spec, *, settled: bool) -> Spec:
    """The same in the same words and the same order, so that a revision shows only what differs."""
    if settled:
        spec["reads"] = after["reads"]
    if "with_data" in after:
        spec["with_data"] = after["with_data"]
    return {name: _alike(spec[name], after.get(name)) for name in [*after, *spec] if name in spec}


def _alike(before: Any, after: Any) -> Any:
    if isinstance(before, str) and isinstance(after, str) and before.strip() == after.strip():
        return after
    if isinstance(before, list) and isinstance(after, list) and in_any_order(before) == in_any_order(after):
        return after
    return before


def in_any_order(values: list[Any]) -> list[str]:
    """The values so that two lists of the same ones are equal, whatever their order."""
    return sorted(repr(sorted(one.items())) if isinstance(one, dict) else repr(one) for one in values)


def _written(place: Place, there: Registered, schema: str) -> tuple[str, Place]:
    """The key of a published relation, and how a text names it."""
    if place[0] == schema and not there.declared.get("exact"):
        return place[1], (MODEL_SCHEMA, place[1])
    return ".".join(place), place
