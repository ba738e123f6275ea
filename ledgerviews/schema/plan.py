"""What it takes to go from what stands to what is declared: step by step, with locks and an estimate. Pure.

It tells what ``op.ledgerviews_replace`` will do; the operation itself looks again, at the time.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ledgerviews.errors import DeclarationError
from ledgerviews.sqltext import qualified_names

from .compare import CREATE, DROP, RENAME
from .keys import SOURCE, located

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from .compare import Difference
    from .live import Column, Place

CREATED = "create"
IN_PLACE = "replace in place"
SWAPPED = "rebuild and swap"
DROPPED = "drop"
RENAMED = "rename"
METADATA = "metadata only"
INDEXED = "indexes, built in place"
TRACKED = "track the source"

_BUILDS = frozenset({"kind", "definition", "reads", "rollup", "registration"})
_REBUILD_BYTES_PER_SECOND = 50_000_000  # what a plain aggregate reads on one core; only an order of magnitude
_LOCKS = {
    CREATED: "ACCESS SHARE on what it reads",
    IN_PLACE: "ACCESS EXCLUSIVE for the swap (milliseconds)",
    SWAPPED: "ACCESS SHARE on what it reads while it is built, ACCESS EXCLUSIVE for the swap (milliseconds)",
    DROPPED: "ACCESS EXCLUSIVE",
    RENAMED: "ACCESS EXCLUSIVE (milliseconds)",
    TRACKED: "SHARE ROW EXCLUSIVE on the table, for its triggers",
}
# The strongest is said.
_METADATA_LOCKS = {
    "options": "ACCESS EXCLUSIVE (milliseconds)",
    "owner": "ACCESS EXCLUSIVE (milliseconds)",
    "indexes": "SHARE while an index is built",
    "unique key": "SHARE while an index is built",
    "comment": "SHARE UPDATE EXCLUSIVE",
    "columns": "SHARE UPDATE EXCLUSIVE",
}


@dataclass(frozen=True, kw_only=True)
class Relation:
    """A relation that reads what changes, or changes itself, as the catalog has it.

    Attributes:
        place: schema and name.
        kind: view or materialized view.
        reads: all that it reads, ``schema.name``.
        source_bytes: the size of the tables below it.
        published: whether it is in the registry.
        seconds: how long all of it last took to compute, where that is known.
    """

    place: Place
    kind: str
    reads: frozenset[str]
    source_bytes: int = 0
    published: bool = True
    seconds: float | None = None

    @property
    def name(self) -> str:
        """The name with its schema."""
        return ".".join(self.place)


@dataclass(frozen=True, kw_only=True)
class Step:
    """What happens to one relation.

    Attributes:
        action: one of the module's constants.
        name: ``schema.name``.
        kind: view, materialized view or source.
        lock: what is locked, and how.
        ours: whether it is published, or declared.
        seconds: how long building it took the last time.
        source_bytes: what is read to build it; None where nothing is built.
        because: the relation of ours whose change this follows; None for one that changed itself.
    """

    action: str
    name: str
    kind: str
    lock: str
    ours: bool = True
    seconds: float | None = None
    source_bytes: int | None = None
    because: str | None = None

    @property
    def estimate(self) -> float | None:
        """Seconds that building it may take; None where nothing is built."""
        if self.source_bytes is None:
            return None
        return self.seconds if self.seconds is not None else self.source_bytes / _REBUILD_BYTES_PER_SECOND


def plan(differences: Sequence[Difference], relations: Iterable[Relation], *, schema: str) -> list[Step]:
    """The steps, each after those of all that it reads; what is dropped goes last, readers first.

    Args:
        differences: what differs, in dependency order.
        relations: the closure of it: all that changes and all that reads that, at any depth.
        schema: the target schema.

    Raises DeclarationError where a new definition would read its own readers.
    """
    known = {relation.name: relation for relation in relations}
    changed = {_target(one, schema): one for one in differences}
    stood = {name: _name(located(one.former or one.key, schema)) for name, one in changed.items()}
    own = {name: _own(name, one, known.get(stood[name])) for name, one in changed.items() if one.what != DROP}
    gone = {name for name, one in changed.items() if one.what == DROP} | _former(differences, schema)
    _refuse_circles(changed, known)
    # What reads a relation knows it by the name that it has until then.
    standing = {stood[name]: step for name, step in own.items()}
    followers: dict[str, Step] = {}
    for name in _ordered(known):
        relation = known[name]
        if (name in own and own[name].action not in {METADATA, INDEXED, RENAMED}) or name in gone:
            continue
        cause = next((read for read in sorted(relation.reads) if _moves(read, standing, followers)), None)
        if cause is None or relation.kind == "function":
            continue
        # A view keeps on reading an object that is replaced in place, and is pointed at one that is swapped.
        step = _step(IN_PLACE if relation.kind == "view" else SWAPPED, relation, because=cause)
        if name in own:
            own[name] = standing[name] = step
        else:
            followers[name] = step
    steps = [*own.values()]
    for name, step in followers.items():
        position = max(
            (place + 1 for place, one in enumerate(steps) if one.name in known[name].reads),
            default=len(steps),
        )
        steps.insert(position, step)
    return [*steps, *(_dropped(name, one) for name, one in changed.items() if one.what == DROP)]


def compatible(before: Sequence[Column], after: Sequence[Column]) -> bool:
    """Whether CREATE OR REPLACE VIEW takes the new columns: the old ones first, as they were."""
    return [one[:3] for one in after[: len(before)]] == [one[:3] for one in before]


def _own(name: str, one: Difference, relation: Relation | None) -> Step:
    spec = one.after or {}
    kind = spec["kind"]
    seconds = one.live.registered.seconds if one.live is not None and one.live.registered else None
    size = relation.source_bytes if relation is not None else None
    if kind == SOURCE and one.what != CREATE and set(one.aspects) == {"indexes"}:
        # Which ones are wanted is only noted: `ledgerviews index install` makes them.
        return Step(action=METADATA, name=name, kind=kind, lock="none")
    if kind == SOURCE:
        return Step(action=TRACKED, name=name, kind=kind, lock=_LOCKS[TRACKED])
    if one.what == CREATE:
        return Step(action=CREATED, name=name, kind=kind, lock=_LOCKS[CREATED])
    if not _BUILDS & set(one.aspects):
        built = {"indexes", "unique key"} & set(one.aspects)
        action = RENAMED if one.what == RENAME else INDEXED if built else METADATA
        lock = _LOCKS.get(action) or next(
            (lock for aspect, lock in _METADATA_LOCKS.items() if aspect in one.aspects), "none"
        )
        return Step(action=action, name=name, kind=kind, lock=lock)
    columns = one.normal.columns if one.normal is not None and one.normal.printed is not None else None
    fits = one.live is not None and columns is not None and compatible(one.live.columns, columns)
    in_place = kind == "view" and "kind" not in one.aspects and fits
    return Step(
        action=IN_PLACE if in_place else SWAPPED,
        name=name,
        kind=kind,
        lock=_LOCKS[IN_PLACE if in_place else SWAPPED],
        seconds=seconds,
        source_bytes=(size or 0) if kind != "view" else None,
    )


def _step(action: str, relation: Relation, *, because: str) -> Step:
    return Step(
        action=action,
        name=relation.name,
        kind=relation.kind,
        lock=_LOCKS[action],
        ours=relation.published,
        seconds=relation.seconds,
        source_bytes=relation.source_bytes if relation.kind != "view" else None,
        because=because,
    )


def _dropped(name: str, one: Difference) -> Step:
    kind = (one.before or {})["kind"]
    return Step(action=DROPPED, name=name, kind=kind, lock=_LOCKS[DROPPED])


def _moves(read: str, own: Mapping[str, Step], followers: Mapping[str, Step]) -> bool:
    """Whether rows, columns or the object itself of what is read change."""
    step = own.get(read) or followers.get(read)
    return step is not None and step.action in {IN_PLACE, SWAPPED}


def _refuse_circles(changed: Mapping[str, Difference], known: Mapping[str, Relation]) -> None:
    """Raise DeclarationError where a definition names what reads it in the database, and still will."""
    for name, one in changed.items():
        text = (one.after or {}).get("definition")
        if text is None:
            continue
        named = {f"{schema}.{relation}" for schema, relation in qualified_names(text)}
        for read in sorted(named & set(known)):
            if read in changed or (path := _path(read, name, changed, known)) is None:
                continue
            raise DeclarationError(
                f"{name} would read its own reader: " + " -> ".join([name, *path]) + ".",
                hint=f"Change {read} first, or leave it out of the new definition.",
            )


def _path(
    start: str, end: str, changed: Mapping[str, Difference], known: Mapping[str, Relation]
) -> list[str] | None:
    """How one relation reads another one through those that do not change."""
    if start == end:
        return [end]
    if start in changed or start not in known:
        return None
    for read in sorted(known[start].reads):
        if (path := _path(read, end, changed, known)) is not None:
            return [start, *path]
    return None


def _ordered(known: Mapping[str, Relation]) -> list[str]:
    order: list[str] = []

    def visit(name: str) -> None:
        if name in known and name not in order:
            for read in sorted(known[name].reads):
                visit(read)
            order.append(name)

    for name in sorted(known):
        visit(name)
    return order


def _target(one: Difference, schema: str) -> str:
    return _name(located(one.key, schema))


def _former(differences: Sequence[Difference], schema: str) -> set[str]:
    return {_name(located(one.former, schema)) for one in differences if one.former is not None}


def _name(place: Place) -> str:
    return ".".join(place)
