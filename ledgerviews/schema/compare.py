"""What differs between what is declared and what stands in the database. Pure.

A definition is unchanged where its text is the one that was installed and the database prints what it printed
then. Only the others are compared as PostgreSQL prints them (``normal``).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ledgerviews.errors import DeclarationError, DriftError
from ledgerviews.sqltext import MODEL_SCHEMA, qualified_names, statement

from .normal import plain
from .specs import SOURCE, Spec, located, ordered
from .staging import declared_index

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from .live import Live, Place, Registered, State
    from .normal import Normal

    Ours = Callable[[Place, Registered], bool]

CREATE, DROP, CHANGE, RENAME = "create", "drop", "change", "rename"
_TRUE, _FALSE = frozenset({"true", "on", "1", "yes"}), frozenset({"false", "off", "0", "no"})


@dataclass(frozen=True, kw_only=True)
class Difference:
    """One relation, or source, of which code and database differ.

    Attributes:
        key: its key among the specs; of a renamed one the new one.
        what: create, drop, change or rename.
        before: its spec as it stands; None where it does not.
        after: its spec as it is declared; None where it is not.
        aspects: what differs: kind, definition, columns, comment, unique key, indexes, options, grants,
            owner, checks, rollup, registration; ``reads`` where only what it reads changes it.
        former: the key that it had.
        live: how it stands.
        normal: its declared definition as PostgreSQL prints it.
    """

    key: str
    what: str
    before: Spec | None = None
    after: Spec | None = None
    aspects: tuple[str, ...] = ()
    former: str | None = None
    live: Live | None = None
    normal: Normal | None = None


def in_question(specs: Mapping[str, Spec], state: State, *, schema: str) -> dict[str, Spec]:
    """The specs to be printed under temporary names: whatever texts do not settle, and what reads that."""
    found: dict[str, Spec] = {}
    needed = False
    for key, spec in specs.items():
        if spec["kind"] == SOURCE:
            continue
        place = _place(key, spec, state, schema)
        live = state.relations.get(place)
        stands = live is not None and live.kind == spec["kind"]
        settled = live is not None and _same_text(spec, live) and _same_indexes(place[1], spec, live)
        if stands and settled and not any(read in found for read in spec.get("reads", ())):
            continue
        needed = needed or stands
        found[key] = spec
    return found if needed else {}


def differences(
    specs: Mapping[str, Spec],
    state: State,
    normals: Mapping[str, Normal],
    *,
    schema: str,
    ours: Ours,
) -> list[Difference]:
    """Everything that differs, in dependency order; first what is dropped, last readers first.

    Args:
        specs: what is declared.
        state: what stands.
        normals: what was printed of the specs in question; empty where that is not possible.
        schema: the target schema.
        ours: whether a published relation that is not declared is to be dropped.

    Raises DeclarationError where a spec cannot be, DriftError where something else bears its name.
    """
    found: list[Difference] = []
    taken: set[Place] = set()
    for key, spec in specs.items():
        if spec["kind"] == SOURCE:
            found += _source(key, spec, state)
            continue
        place = _place(key, spec, state, schema)
        taken.add(place)
        live = state.relations.get(place)
        after = {name: value for name, value in spec.items() if name != "renamed_from"}
        if live is None or live.kind is None:
            found.append(Difference(key=key, what=CREATE, after=after, live=live))
            continue
        if live.kind not in {"view", "materialized view"}:
            raise DriftError(
                f"{'.'.join(place)} is a {live.kind}, so no {spec['kind']} can have its name.",
                hint="Rename one of them.",
            )
        normal = normals.get(key)
        _require_columns(key, after, normal)
        aspects = tuple(_aspects(key, place, after, live, normal, state))
        renamed = place != located(key, schema)
        if not aspects and not renamed:
            continue
        before = installed(after, live, state, schema=schema, settled="definition" not in aspects)
        former = _key(key, place) if renamed else None
        if former is not None:
            after = {**after, "renamed_from": former}
            before = {**before, "renamed_from": key}
        found.append(
            Difference(
                key=key,
                what=RENAME if renamed else CHANGE,
                before=before,
                after=after,
                aspects=aspects,
                former=former,
                live=live,
                normal=normal,
            )
        )
    gone = {
        (place[1] if place[0] == schema and not there.declared.get("exact") else ".".join(place)): live
        for place, live in state.relations.items()
        if (there := live.registered) is not None and place not in taken and ours(place, there)
    }
    dropped = {key: installed(None, live, state, schema=schema) for key, live in gone.items()}
    for key in reversed(ordered(dropped)):
        found.append(Difference(key=key, what=DROP, before=dropped[key], live=gone[key]))
    found += [
        Difference(key=key, what=DROP, before=spec)
        for key, spec in reversed(list(state.sources.items()))
        if key not in specs and any(one.get("kind") == SOURCE for one in specs.values())
    ]
    return found


def unknown(specs: Mapping[str, Spec], state: State, *, schema: str) -> list[str]:
    """The keys of whose definitions only the text can be compared, because nothing can be created here."""
    if state.may_create:
        return []
    found = []
    for key, spec in specs.items():
        live = None if spec["kind"] == SOURCE else state.relations.get(_place(key, spec, state, schema))
        there = live.registered if live is not None else None
        if live is not None and live.kind == spec["kind"] and (there is None or there.printed is None):
            found.append(key)
    return found


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
    if comments and (after is None or "columns" in after):
        spec["columns"] = comments
    spec["reads"] = _published_reads(spec["definition"], live, state, schema)
    if there is not None:
        if there.day is not None:
            spec |= {"day": there.day, "day_definition": there.day_definition, "sources": list(there.sources)}
        if there.checks:
            spec["checks"] = there.checks
        spec |= {
            name: there.declared[name]
            for name in ("indexes", "options", "grants", "owner", "with_data")
            if name in there.declared
        }
    return spec if after is None else _in_words_of(after, spec, settled=settled)


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
    if isinstance(before, list) and isinstance(after, list) and _sorted(before) == _sorted(after):
        return after
    return before


def _sorted(values: list[Any]) -> list[str]:
    return sorted(repr(sorted(one.items())) if isinstance(one, dict) else repr(one) for one in values)


def _written(place: Place, there: Registered, schema: str) -> tuple[str, Place]:
    """The key of a published relation, and how a text names it."""
    if place[0] == schema and not there.declared.get("exact"):
        return place[1], (MODEL_SCHEMA, place[1])
    return ".".join(place), place


def _place(key: str, spec: Spec, state: State, schema: str) -> Place:
    """Where a declared relation stands: under its former name, as long as it has not been renamed."""
    place = located(key, schema)
    former = spec.get("renamed_from")
    if former is None or ((live := state.relations.get(place)) is not None and live.kind is not None):
        return place
    old = (place[0], located(former, schema)[1])
    live = state.relations.get(old)
    return old if live is not None and live.kind in {"view", "materialized view"} else place


def _key(key: str, place: Place) -> str:
    return ".".join(place) if "." in key else place[1]


def _same_text(spec: Spec, live: Live) -> bool:
    """Whether what was installed is what is declared, and still stands."""
    there = live.registered
    return there is not None and live.untouched and _same_words(spec, there)


def _same_words(spec: Spec, there: Registered) -> bool:
    return (
        there.kind == spec["kind"]
        and there.definition.strip() == statement(spec["definition"]).strip()
        and there.day == spec.get("day")
        and (there.day_definition or "").strip() == statement(spec.get("day_definition") or "").strip()
    )


def _same_indexes(name: str, spec: Spec, live: Live) -> bool:
    """Whether the declared indexes were installed in the same words, and stand under their names."""
    wanted = spec.get("indexes", [])
    were = live.registered.declared.get("indexes", []) if live.registered else []
    standing = {index.name for index in live.indexes if index.valid}
    return not wanted or (
        set(wanted) <= set(were) and all(declared_index(name, one) in standing for one in wanted)
    )


def _require_columns(key: str, spec: Spec, normal: Normal | None) -> None:
    """Raise DeclarationError where a model declares other columns than its SELECT gives."""
    if normal is None or normal.printed is None or "columns" not in spec or "." in key:
        return
    given = [column.name for column in normal.columns]
    if lacking := [name for name in spec["columns"] if name not in given]:
        raise DeclarationError(f"Model {key} declares {', '.join(lacking)}, which its SELECT does not give.")
    if more := [name for name in given if name not in spec["columns"]]:
        raise DeclarationError(
            f"The SELECT of model {key} gives {', '.join(more)}, which its columns do not declare.",
            hint="Declare each column, with a line on what it holds.",
        )


def _aspects(  # noqa: C901, PLR0912, PLR0913, PLR0917 (one line for each thing that is compared)
    key: str, place: Place, spec: Spec, live: Live, normal: Normal | None, state: State
) -> Iterator[str]:
    there = live.registered
    if live.kind != spec["kind"]:
        yield "kind"
    if _definition_differs(spec, live, normal, state):
        yield "reads" if _same_text(spec, live) else "definition"
    elif spec.get("day") and [c.name for c in live.columns] != list(spec["columns"]):
        yield "definition"
    if live.missing:
        yield "rollup"
    if there is None and "." not in key:
        yield "registration"
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
    lacking = not _same_indexes(place[1], spec, live) and not _has_indexes(spec, live, normal)
    if lacking or were - set(spec.get("indexes", [])):
        yield "indexes"
    before = there.declared if there is not None else {}
    if _options_differ(before.get("options", {}), spec.get("options", {}), live.options):
        yield "options"
    if _grants_differ(before.get("grants", {}), spec.get("grants", {}), live.grants):
        yield "grants"
    if "owner" in spec and spec["owner"] != live.owner:
        yield "owner"
    if _sorted(spec.get("checks", [])) != _sorted(there.checks if there else []):
        yield "checks"


def _definition_differs(spec: Spec, live: Live, normal: Normal | None, state: State) -> bool:
    there = live.registered
    if normal is None:
        if not state.may_create and (there is None or there.printed is None):
            # All that can be known there; whoever asks is told (``unknown``).
            return there is not None and not _same_words(spec, there)
        return not _same_text(spec, live)
    if normal.printed is None:
        return not _same_text(spec, live)
    if (there.day if there else None) != spec.get("day"):
        return True
    return (
        normal.printed != plain(live.printed)
        or normal.days != plain(live.days)
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


def _source(key: str, spec: Spec, state: State) -> list[Difference]:
    before = state.sources.get(key)
    if before is None:
        return [Difference(key=key, what=CREATE, after=spec)]
    if {name: value for name, value in before.items() if value} == {n: v for n, v in spec.items() if v}:
        return []
    return [Difference(key=key, what=CHANGE, before=before, after=spec, aspects=("source",))]
