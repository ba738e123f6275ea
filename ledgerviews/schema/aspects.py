"""In what a declared relation and the one that stands differ, one aspect after the other. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ledgerviews.sqltext import statement

from .installed import in_any_order
from .keys import declared_index
from .printed import plain

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from .keys import Spec
    from .live import Live, Place, Registered, State
    from .printed import Normal

_TRUE, _FALSE = frozenset({"true", "on", "1", "yes"}), frozenset({"false", "off", "0", "no"})


def aspects_of(  # noqa: C901, PLR0912, PLR0913, PLR0917 (one line for each thing that is compared)
    key: str, place: Place, spec: Spec, live: Live, normal: Normal | None, state: State
) -> Iterator[str]:
    """In what a declared relation and the one under its name differ, in the words of ``Difference``."""
    there = live.registered
    if live.kind != spec["kind"]:
        yield "kind"
    if _definition_differs(spec, live, normal, state):
        yield "reads" if same_text(spec, live) else "definition"
    elif spec.get("day") and [c.name for c in live.columns] != list(spec["columns"]):
        yield "definition"
    if live.missing or live.altered:
        yield "rollup"
    if there is None and "." not in key:
        yield "registration"
    if there is not None and state.of_another(there):
        yield "history"
    if "comment" in spec and spec["comment"] != live.comment:
        yield "comment"
    comments = {column.name: column.comment for column in live.columns}
    declared = spec.get("columns", {})
    if any(comments.get(name) != line for name, line in declared.items()):
        yield "columns"
    if "unique_key" in spec or there is not None:
        wanted = spec.get("unique_key", [])
        if (there is not None and there.unique_key != wanted) or not _has_key(wanted, live):
            yield "unique key"
    were = set(there.declared.get("indexes", [])) if there is not None else set()
    lacking = not same_indexes(place[1], spec, live) and not _has_indexes(spec, live, normal)
    if lacking or were - set(spec.get("indexes", [])):
        yield "indexes"
    before = there.declared if there is not None else {}
    if _options_differ(before.get("options", {}), spec.get("options", {}), live.options):
        yield "options"
    if _grants_differ(before.get("grants", {}), spec.get("grants", {}), live.grants):
        yield "grants"
    if "owner" in spec and spec["owner"] != live.owner:
        yield "owner"
    if in_any_order(spec.get("checks", [])) != in_any_order(there.checks if there else []):
        yield "checks"


def _definition_differs(spec: Spec, live: Live, normal: Normal | None, state: State) -> bool:
    there = live.registered
    if normal is None:
        if not state.may_create and (there is None or there.printed is None):
            # All that can be known there; whoever asks is told (``unknown``).
            return there is not None and not same_words(spec, there)
        return not same_text(spec, live)
    if normal.printed is None:
        return not same_text(spec, live)
    if (there.day if there else None) != spec.get("day"):
        return True
    return (
        plain(live.printed) not in {normal.printed, normal.printed_again}
        or plain(live.days) not in {normal.days, normal.days_again}
        or [column[:3] for column in sorted(normal.columns)]
        != [column[:3] for column in sorted(live.columns)]
    )


def _has_key(wanted: list[str], live: Live) -> bool:
    """Whether there is a valid unique index of just these columns; a view needs none."""
    return not wanted or any(
        index.unique and index.plain and index.valid and list(index.columns) == wanted
        for index in live.indexes
    )


def _has_indexes(spec: Spec, live: Live, normal: Normal | None) -> bool:
    if normal is None or not normal.indexes:
        return not spec.get("indexes")
    standing = {index.definition for index in live.indexes if index.valid}
    return all(one in standing for one in normal.indexes)


def _options_differ(before: Mapping[str, str], after: Mapping[str, str], live: Mapping[str, str]) -> bool:
    return any(
        name not in live or _option(live[name]) != _option(value) for name, value in after.items()
    ) or any(name in live for name in before if name not in after)


def _option(value: str) -> str:
    text = str(value).lower()
    return "true" if text in _TRUE else "false" if text in _FALSE else text


def _grants_differ(
    before: Mapping[str, list[str]], after: Mapping[str, list[str]], live: Mapping[str, list[str]]
) -> bool:
    """Whether a declared privilege is missing, or one that is declared no longer still stands."""
    return any(
        privilege not in live.get(role, []) for role, privileges in after.items() for privilege in privileges
    ) or any(
        privilege in live.get(role, []) and privilege not in after.get(role, [])
        for role, privileges in before.items()
        for privilege in privileges
    )


def same_text(spec: Spec, live: Live) -> bool:
    """Whether what was installed is what is declared, and still stands."""
    there = live.registered
    return there is not None and live.untouched and same_words(spec, there)


def same_words(spec: Spec, there: Registered) -> bool:
    """Whether the texts that were installed are those that are declared."""
    return (
        there.kind == spec["kind"]
        and there.definition.strip() == statement(spec["definition"]).strip()
        and there.day == spec.get("day")
        and (there.day_definition or "").strip() == statement(spec.get("day_definition") or "").strip()
    )


def same_indexes(name: str, spec: Spec, live: Live) -> bool:
    """Whether the declared indexes were installed in the same words, and stand under their names."""
    wanted = spec.get("indexes", [])
    were = live.registered.declared.get("indexes", []) if live.registered else []
    standing = {index.name for index in live.indexes if index.valid}
    return not wanted or (
        set(wanted) <= set(were) and all(declared_index(name, one) in standing for one in wanted)
    )


def same_options(spec: Spec, live: Live) -> bool:
    """Whether all declared options stand."""
    return not _options_differ({}, spec.get("options", {}), live.options)


def same_expressions(spec: Spec, live: Live) -> bool:
    """Whether all expressions of the declared checks were installed, so that the engine has run them."""
    were = {check.get("expression") for check in (live.registered.checks if live.registered else ())}
    return {check.get("expression") for check in spec.get("checks", ())} <= were | {None}
