"""What differs between what is declared and what stands in the database. Pure.

A definition is unchanged where its text is the one that was installed and the database prints what it printed
then. Only the others are compared as PostgreSQL prints them (``normal``).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ledgerviews.errors import DeclarationError, DriftError

from .aspects import aspects_of, same_expressions, same_indexes, same_options, same_text
from .installed import installed
from .keys import SOURCE, Spec, located
from .moving import require_steady
from .specs import ordered

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from .live import Live, Place, Registered, State
    from .printed import Normal

    Ours = Callable[[Place, Registered], bool]

CREATE, DROP, CHANGE, RENAME = "create", "drop", "change", "rename"


@dataclass(frozen=True, kw_only=True)
class Difference:
    """One relation, or source, of which code and database differ.

    Attributes:
        key: its key among the specs; of a renamed one the new one.
        what: create, drop, change or rename.
        before: its spec as it stands; None where it does not.
        after: its spec as it is declared; None where it is not.
        aspects: what differs: kind, definition, columns, comment, unique key, indexes, options, grants,
            owner, checks, rollup, registration, history; ``reads`` where only what it reads changes it.
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
    """The specs to be printed under temporary names: whatever texts do not settle, and what reads that.

    New ones are among them, so that one that cannot be created is told before a revision says so.
    """
    found: dict[str, Spec] = {}
    for key, spec in specs.items():
        if spec["kind"] == SOURCE:
            continue
        place = _place(key, spec, state, schema)
        live = state.relations.get(place)
        stands = live is not None and live.kind == spec["kind"]
        settled = (
            live is not None
            and same_text(spec, live)
            and same_indexes(place[1], spec, live)
            and same_options(spec, live)
            and same_expressions(spec, live)
        )
        if stands and settled and not any(read in found for read in spec.get("reads", ())):
            continue
        found[key] = spec
    return found


def printed_standing(
    specs: Mapping[str, Spec], state: State, *, schema: str
) -> dict[str, tuple[str | None, str | None]]:
    """What is printed of the definitions that stand, and of their functions of single days, by key."""
    found = {}
    for key, spec in specs.items():
        live = state.relations.get(_place(key, spec, state, schema))
        if live is not None and live.kind == spec["kind"]:
            found[key] = (live.printed, live.days)
    return found


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
        normal = normals.get(key)
        _require_columns(key, after, _given(after, live, normal))
        _require_date(key, after, normal)
        require_steady(key, after, normals, specs)
        if live is None or live.kind is None:
            found.append(Difference(key=key, what=CREATE, after=after, live=live, normal=normal))
            continue
        if live.kind not in {"view", "materialized view"}:
            raise DriftError(
                f"{'.'.join(place)} is a {live.kind}, so no {spec['kind']} can have its name.",
                hint="Rename one of them.",
            )
        aspects = tuple(aspects_of(key, place, after, live, normal, state))
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
    others = {
        source
        for live in state.relations.values()
        if (there := live.registered) is not None and state.of_another(there)
        for source in there.sources
    }
    found += [
        Difference(key=key, what=DROP, before=spec)
        for key, spec in reversed(list(state.sources.items()))
        if key not in specs and key not in others and any(one.get("kind") == SOURCE for one in specs.values())
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


def _given(spec: Spec, live: Live | None, normal: Normal | None) -> list[str] | None:
    """The columns that the declared SELECT gives; None where nobody knows them.

    Where nothing had to be printed it is the one that stands.
    """
    if normal is not None:
        return None if normal.printed is None else [column.name for column in normal.columns]
    return list(live.gives) if live is not None and same_text(spec, live) else None


def _require_columns(key: str, spec: Spec, given: Sequence[str] | None) -> None:
    """Raise DeclarationError where a model declares others than its SELECT gives, or in another order."""
    if given is None or "columns" not in spec or "." in key:
        return
    declared = list(spec["columns"])
    lacking = ", ".join(name for name in declared if name not in given)
    more = ", ".join(name for name in given if name not in declared)
    if lacking and more:
        raise DeclarationError(
            f"Model {key} declares {lacking}, which its SELECT does not give; that gives {more}, which its"
            " columns do not declare.",
            hint=f"Have {key}.py and {key}.sql name the same columns.",
        )
    if lacking:
        raise DeclarationError(
            f"Model {key} declares {lacking}, which its SELECT does not give.",
            hint=f"Take it out of the columns in {key}.py, or have {key}.sql give it.",
        )
    if more:
        raise DeclarationError(
            f"The SELECT of model {key} gives {more}, which its columns do not declare.",
            hint=f"Declare each in {key}.py, with a line on what it holds, or take it out of {key}.sql.",
        )
    if declared != list(given):
        raise DeclarationError(
            f"Model {key} declares its columns in another order than its SELECT gives them:"
            f" {', '.join(given)}.",
            hint=f"Declare them in {key}.py in that order, or have {key}.sql give them in the other.",
        )


def _require_date(key: str, spec: Spec, normal: Normal | None) -> None:
    """Raise DeclarationError where the column of a model's day is of no type that has days only."""
    day = spec.get("day")
    for column in normal.columns if normal is not None else ():
        # Types that are not PostgreSQL's own have their schema; one may well be a domain over date.
        if column.name == day and column.type != "date" and "." not in column.type:
            raise DeclarationError(
                f"The day of model {key} is its column {day}, which is of type {column.type}.",
                hint=f"Have {key}.sql give a date, as ledgerviews.utc_day(…) does, or declare no day in"
                f" {key}.py.",
            )


def _source(key: str, spec: Spec, state: State) -> list[Difference]:
    before = state.sources.get(key)
    if before is None:
        return [Difference(key=key, what=CREATE, after=spec)]
    if {name: value for name, value in before.items() if value} == {n: v for n, v in spec.items() if v}:
        return []
    return [Difference(key=key, what=CHANGE, before=before, after=spec, aspects=("source",))]
