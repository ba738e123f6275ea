"""What stands in the database of all that is compared, read without touching it."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from ledgerviews.errors import EngineRowError
from ledgerviews.queries import query

from .keys import SOURCE, Spec, located
from .specs import checked

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    Run = Callable[[str, Mapping[str, Any] | None], list[tuple[Any, ...]]]
    """Runs a statement with psycopg placeholders, and gives its rows."""

NEEDED_ENGINE = 3
Place = tuple[str, str]


class Column(NamedTuple):
    """A column as the catalog has it."""

    name: str
    type: str
    collation: str
    comment: str | None


@dataclass(frozen=True, kw_only=True)
class Index:
    """An index; ``definition`` is what follows the relation's name in CREATE INDEX."""

    name: str
    definition: str
    columns: tuple[str, ...]
    unique: bool
    plain: bool
    valid: bool


@dataclass(frozen=True, kw_only=True)
class Registered:
    """What the registry says of a relation: how it was installed.

    Attributes:
        kind: view or materialized view.
        definition: its SELECT as it was written.
        unique_key: the columns of its key.
        day: its day column, where it is computed by day.
        day_definition: the SELECT of single days as it was composed.
        sources: what its days depend on.
        rollup: the table that holds its rows.
        printed: how PostgreSQL printed its SELECT right after it was installed; None where nobody knows.
        printed_days: the same of the function of single days.
        declared: the indexes, options, grants and owner that were declared.
        checks: its checks.
        seconds: how long it last took to compute all of it.
        body: its SELECT as it was run.
        history: the version table of the revisions that installed it; None where nobody knows.
    """

    kind: str
    definition: str
    unique_key: list[str] = field(default_factory=list)
    day: str | None = None
    day_definition: str | None = None
    sources: list[str] = field(default_factory=list)
    rollup: str | None = None
    printed: str | None = None
    printed_days: str | None = None
    declared: dict[str, Any] = field(default_factory=dict)
    checks: list[dict[str, Any]] = field(default_factory=list)
    seconds: float | None = None
    body: str | None = None
    history: str | None = None


@dataclass(frozen=True, kw_only=True)
class Live:
    """A relation as it stands; ``kind`` is None where only the registry knows it.

    Attributes:
        kind: view, materialized view, table …
        printed: its SELECT, of all its rows, as PostgreSQL prints it.
        printed_days: the function of single days.
        days: the body of that.
        missing: the parts of its rollup that are gone.
        altered: what else of it is not as it was made, in words: its rollup, the function of single days, or
            what it reads of the rollup itself.
        columns: in their order.
        gives: the names of those of its SELECT, of which its rollup is made.
        comment: the relation's.
        indexes: all of them.
        options: of the relation.
        owner: who owns it.
        grants: privileges by role, but the owner's.
        registered: what the registry says.
    """

    kind: str | None
    printed: str | None = None
    printed_days: str | None = None
    days: str | None = None
    missing: tuple[str, ...] = ()
    altered: tuple[str, ...] = ()
    columns: tuple[Column, ...] = ()
    gives: tuple[str, ...] = ()
    comment: str | None = None
    indexes: tuple[Index, ...] = ()
    options: Mapping[str, str] = field(default_factory=dict)
    owner: str | None = None
    grants: Mapping[str, list[str]] = field(default_factory=dict)
    registered: Registered | None = None

    @property
    def untouched(self) -> bool:
        """Whether it is what was installed, by what was printed then and is printed now."""
        there = self.registered
        return (
            there is not None
            and there.printed is not None
            and (self.kind, self.printed, self.printed_days)
            == (there.kind, there.printed, there.printed_days)
            and not self.missing
        )


@dataclass(frozen=True, kw_only=True)
class State:
    """The relations by place, published or asked for, and the tracked sources.

    Attributes:
        engine: the version of the engine; 0 for none.
        relations: by schema and name.
        sources: the spec of each tracked source, by ``schema.name``.
        untracked: the tracked sources whose triggers are not as they were put on, and what became of them.
        may_create: whether definitions can be printed under temporary names here.
        history: the version table of the revisions that ask; None where nobody knows.
    """

    engine: int
    relations: Mapping[Place, Live]
    sources: Mapping[str, Spec]
    untracked: Mapping[str, tuple[str, ...]]
    may_create: bool
    history: str | None = None

    def of_another(self, there: Registered) -> bool:
        """Whether another history of revisions installed it."""
        return self.history is not None and there.history not in {None, self.history}


class Conditions(NamedTuple):
    """What can be done here, and how names without a schema are looked up.

    Attributes:
        may_create: whether definitions can be printed under temporary names.
        search_path: the session's setting.
        schemas: those on it that exist.
        engine: the version of the engine; 0 for none.
    """

    may_create: bool
    search_path: str
    schemas: tuple[str, ...]
    engine: int


def conditions(run: Run) -> Conditions:
    """Ask the database what can be done."""
    ((may, path, schemas, engine),) = run(query("may_compare"), None)
    version, shown = run(query("engine_version"), None)[0] if engine else (0, 0)
    if version is None:
        raise EngineRowError(shown=shown)
    return Conditions(bool(may), path, tuple(json.loads(schemas)), int(version))


def read(
    run: Run, specs: Mapping[str, Spec], found: Conditions, *, schema: str, history: str | None = None
) -> State:
    """Read all of it; every name must be printed with its schema, so nothing else may be on the search_path.

    Args:
        run: runs a statement in a transaction.
        specs: what is declared; the rest of what is compared is in the registry.
        found: the conditions.
        schema: the target schema.
        history: the version table of the revisions that ask, where that is known.
    """
    run("SELECT pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true)", None)
    known = found.engine >= NEEDED_ENGINE
    registered = {
        (row[0], row[1]): _registered(json.loads(row[2]))
        for row in (run(query("registry"), None) if known else ())
    }
    sources, untracked = _sources(run(query("tracked"), None) if known else ())
    wanted = _places(specs, schema) | set(registered)
    relations: dict[Place, Live] = {
        place: Live(kind=None, registered=registered[place]) for place in registered
    }
    asked = [
        {
            "schema_name": place[0],
            "relation_name": place[1],
            **(
                {"rollup": there.rollup, "unique_key": there.unique_key, "day": there.day}
                if (there := registered.get(place)) is not None
                else {}
            ),
        }
        for place in sorted(wanted)
    ]
    for schema_name, name, text in run(query("live"), {"wanted": json.dumps(asked)}):
        place = (schema_name, name)
        relations[place] = _live(json.loads(text), registered.get(place))
    return State(
        engine=found.engine,
        relations=relations,
        sources=sources,
        untracked=untracked,
        may_create=found.may_create,
        history=history,
    )


def _places(specs: Mapping[str, Spec], schema: str) -> set[Place]:
    found = set()
    for key, spec in specs.items():
        if spec["kind"] != SOURCE:
            found.add(located(key, schema))
            if former := spec.get("renamed_from"):
                found.add((located(key, schema)[0], located(former, schema)[1]))
    return found


def _registered(found: Mapping[str, Any]) -> Registered:
    return Registered(**{**found, "checks": [checked(check) for check in found.get("checks") or ()]})


def _live(found: Mapping[str, Any], registered: Registered | None) -> Live:
    return Live(
        kind=found["kind"],
        printed=found["printed"],
        printed_days=found["printed_days"],
        days=found["days"],
        missing=tuple(found["missing"]),
        altered=tuple(found["altered"]),
        columns=tuple(Column(*column) for column in found["columns"] or ()),
        gives=tuple(found["gives"] or ()),
        comment=found["comment"],
        indexes=tuple(
            Index(**{**index, "columns": tuple(index["columns"] or ())}) for index in found["indexes"] or ()
        ),
        options=dict(option.partition("=")[::2] for option in found["options"] or ()),
        owner=found["owner"],
        grants=found["grants"] or {},
        registered=registered,
    )


def _sources(rows: Iterable[tuple[Any, ...]]) -> tuple[dict[str, Spec], dict[str, tuple[str, ...]]]:
    """The specs of the tracked sources, and those whose triggers are not as they were put on."""
    found = {name: json.loads(text) for name, text in rows}
    specs: dict[str, Spec] = {}
    for name, row in found.items():
        spec: Spec = {"kind": SOURCE, "name": row["name"], "schema": row["schema"], "day": row["day"]}
        if row["key"] is not None:
            spec["key"] = row["key"]
        if row["parent"] is not None:
            parent = found[row["parent"]]
            spec["parent"] = {name: parent[name] for name in ("schema", "name", "key", "day")}
        if row["indexes"]:
            spec["indexes"] = row["indexes"]
        specs[name] = spec
    return specs, {name: tuple(row["amiss"]) for name, row in found.items() if row["amiss"]}
