"""What a revision replaces, from its specs before and after, each relation after what it reads. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ledgerviews.errors import UsageError
from ledgerviews.sqltext import identifiers, qualified_names, retarget, statement

from .keys import located

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    Spec = Mapping[str, Any]
    Specs = Mapping[str, Spec]

_DECLARED = ("indexes", "options", "grants", "owner", "with_data")
_NEEDED = {"view": ("definition",), "materialized view": ("definition",), "source": ("day",)}
_NEEDED_BY_DAY = ("day_definition", "columns", "unique_key")


@dataclass(frozen=True, kw_only=True)
class Staged:
    """One relation of a replacement.

    Attributes:
        schema: where it stands, or shall.
        name: its name, the new one where it is renamed.
        spec: what it shall be; None where it goes.
        was: what it was; None where it is new.
        was_named: its name before, where that is another one.
        as_is: whether its text is run as it is, under the session's search_path.
    """

    schema: str
    name: str
    spec: Spec | None
    was: Spec | None
    was_named: str | None = None
    as_is: bool = False


def plan(before: Specs, after: Specs, *, schema: str) -> list[Staged]:
    """What changes between two dicts of specs: what is read first, then who reads it; what goes, last.

    ``renamed_from`` on either side ties two names together, so that a downgrade renames back.
    """
    before, after = _relations(before), _relations(after)
    renamed = {name: old for name, spec in after.items() if (old := _old_name(name, spec)) in before}
    renamed |= {new: name for name, spec in before.items() if (new := _old_name(name, spec)) in after}
    renamed = {new: old for new, old in renamed.items() if new not in before and old not in after}
    staged = [
        Staged(
            schema=located(name, schema)[0],
            name=located(name, schema)[1],
            spec=spec,
            was=before.get(renamed.get(name, name)),
            was_named=located(renamed[name], schema)[1] if name in renamed else None,
            as_is="." in name,
        )
        for name, spec in after.items()
    ]
    gone = [
        Staged(schema=located(name, schema)[0], name=located(name, schema)[1], spec=None, was=before[name])
        for name in before
        if name not in after and name not in renamed.values()
    ]
    return _ordered(staged, schema) + gone


def may_be_filled(item: Staged) -> bool:
    """Whether it is a new materialized view, and nobody said WITH NO DATA."""
    spec = item.spec or {}
    new = item.was is None and spec.get("kind") == "materialized view"
    return new and bool(spec.get("with_data", True))


def require(specs: Specs, side: str) -> None:
    """Raise UsageError where a spec lacks what it cannot do without: in a revision that was edited by hand.

    Args:
        specs: by key.
        side: where they come from, for the error.
    """
    for key, spec in specs.items():
        kind = spec.get("kind")
        if kind is not None and kind not in _NEEDED:
            raise UsageError(
                f"The spec of {key} in {side} has the kind {kind!r}; nothing was changed.",
                hint=f"A kind is one of: {', '.join(_NEEDED)}.",
            )
        needed: tuple[str, ...] = ("kind",) if kind is None else _NEEDED[kind]
        if kind != "source" and spec.get("day") is not None:
            needed += _NEEDED_BY_DAY
        if lacking := [name for name in needed if not spec.get(name)]:
            raise UsageError(
                f"The spec of {key} in {side} has no {' and no '.join(map(repr, lacking))};"
                " nothing was changed.",
                hint="Add it to the revision, as `ledgerviews db revision` writes it.",
            )


def sources(specs: Specs) -> dict[str, dict[str, Any]]:
    """The sources among the specs, by ``schema.table``, as arguments of op.ledgerviews_create_source."""
    found = {}
    for key, spec in specs.items():
        if spec["kind"] == "source":
            schema, _, name = key.rpartition(".")
            arguments = {"schema": schema or "public", "name": name} | {
                name: value for name, value in spec.items() if name != "kind" and value is not None
            }
            found[f"{arguments['schema']}.{arguments['name']}"] = arguments
    return found


def made_anew(before: Mapping[str, Any], after: Mapping[str, Any]) -> bool:
    """Whether the log and the triggers of a source are others; the indexes that it wants are only noted."""
    return {**before, "indexes": ()} != {**after, "indexes": ()}


def declared(item: Staged) -> dict[str, Any]:
    """What the registry keeps of a spec beside columns of its own; ``exact``: its key had a schema."""
    found = {name: value for name, value in (item.spec or {}).items() if name in _DECLARED}
    return found | ({"exact": True} if item.as_is else {})


def _relations(specs: Specs) -> dict[str, Spec]:
    return {name: spec for name, spec in specs.items() if spec["kind"] != "source"}


def _old_name(name: str, spec: Spec) -> str | None:
    """The key that the spec's former name has: in the same schema as its present one."""
    old = spec.get("renamed_from")
    if old is None:
        return None
    prefix, dot, _ = name.rpartition(".")
    return str(old) if "." in old else f"{prefix}{dot}{old}"


def body_of(item: Staged, definition: str, schema: str) -> str:
    """The SELECT with the names of where it is installed."""
    text = statement(definition)
    if item.as_is or item.spec is None:
        return text
    return retarget(text, relations={*item.spec.get("reads", ()), item.name}, schema=schema)


def _ordered(staged: Sequence[Staged], schema: str) -> list[Staged]:
    """The relations, each after those that it reads; a circle is refused by name."""
    names = {(item.schema, item.name): item for item in staged}
    firm: dict[tuple[str, str], frozenset[tuple[str, str]]] = {}
    loose: dict[tuple[str, str], frozenset[tuple[str, str]]] = {}
    for place, item in names.items():
        text = body_of(item, item.spec["definition"], schema) if item.spec else ""
        firm[place] = (qualified_names(text) & names.keys()) - {place}
        # A name without its schema may be that of a column, too.
        words = identifiers(text) if item.as_is else frozenset[str]()
        loose[place] = frozenset(other for other in names if other[1] in words) - {place}
    done: list[tuple[str, str]] = []
    while len(done) < len(names):
        waiting = [place for place in names if place not in done]
        ready = [place for place in waiting if (firm[place] | loose[place]) <= set(done)]
        ready = ready or [place for place in waiting if firm[place] <= set(done)][:1]
        if not ready:
            circle = ", ".join(sorted(".".join(place) for place in waiting))
            raise UsageError(
                f"These relations read each other in a circle: {circle}.", hint="Break the circle in one."
            )
        done += ready
    return [names[place] for place in done]
