"""A world: the application's tables, and the relations that are declared over them.

Relations and columns have numbers that outlive their names, so that an edit changes one place and every text
that follows from it is written anew.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from ledgerviews.schema import incremental, keys, statements
from tests.worlds.names import literal, quoted

Specs = dict[str, dict[str, Any]]

APPLICATION = "app"
MIGRATOR = "worlds_migrator"
OWNERS = ("worlds_owner", "worlds Owner")
DECLARED_ROLES = ("worlds_reads", "worlds Reads", "PUBLIC")


@dataclass
class Column:
    """A column: an expression over columns of what is read, which have the numbers in ``refs``.

    ``casts`` are put around it; a family tells what may be made of it: num, text, bool, date or time.
    """

    number: int
    name: str
    template: str
    refs: list[int]
    family: str
    casts: list[str] = field(default_factory=list)
    comment: str = ""
    unique: bool = False


@dataclass
class Table:
    """A table of the application."""

    number: int
    name: str
    columns: list[Column]

    @property
    def place(self) -> tuple[str, str]:
        """Schema and name."""
        return APPLICATION, self.name

    def column(self, role: str) -> Column:
        """The column that plays a role: id, at, word, amount, count or flag."""
        return next(column for column in self.columns if column.template == role)


@dataclass
class Relation:
    """A relation as it is declared."""

    number: int
    schema: str | None  # None: the target schema, as a model; else exactly there, as an entity
    name: str
    kind: str  # view, materialized or by day
    source: int  # the number of what it reads
    columns: list[Column]
    key: list[int] = field(default_factory=list)
    grouped: list[int] = field(default_factory=list)
    day: int | None = None
    condition: str = ""  # over {0}
    condition_ref: int = 0
    comment: str | None = ""
    indexes: list[tuple[str, list[int]]] = field(default_factory=list)
    options: dict[str, str] = field(default_factory=dict)
    grants: dict[str, list[str]] = field(default_factory=dict)
    owner: str | None = None
    checks: list[dict[str, Any]] = field(default_factory=list)

    def column(self, number: int) -> Column:
        """The column with a number."""
        return next(column for column in self.columns if column.number == number)

    def has(self, number: int) -> bool:
        """Whether a column is still there."""
        return any(column.number == number for column in self.columns)

    @property
    def stored(self) -> bool:
        """Whether it is a materialized view."""
        return self.kind != "view"

    @property
    def used(self) -> set[int]:
        """The columns of what it reads that it needs."""
        found = {ref for column in self.columns for ref in column.refs}
        return found | ({self.condition_ref} if self.condition else set())


@dataclass
class World:
    """Everything that is declared, and how it is installed."""

    schema: str
    tables: list[Table]
    relations: list[Relation]
    tracking: str
    populate: bool
    migrator: bool

    def find(self, number: int) -> Table | Relation:
        """The table or relation with a number."""
        everything: list[Table | Relation] = [*self.tables, *self.relations]
        return next(one for one in everything if one.number == number)

    def relation(self, number: int) -> Relation | None:
        """The relation with a number, where there still is one."""
        return next((one for one in self.relations if one.number == number), None)

    def readers(self, number: int) -> list[Relation]:
        """The declared relations that read one."""
        return [one for one in self.relations if one.source == number]

    def place(self, one: Table | Relation) -> tuple[str, str]:
        """Schema and name."""
        return one.place if isinstance(one, Table) else (one.schema or self.schema, one.name)

    def base(self, one: Relation) -> Table:
        """The table that it comes from in the end."""
        source = self.find(one.source)
        return source if isinstance(source, Table) else self.base(source)

    def select(self, one: Relation, *, days: bool = False, written: bool = False) -> str:
        """Its SELECT; ``written``: as a declaration holds it, with models in public."""
        source = self.find(one.source)
        place = self.place(source)
        if written and isinstance(source, Relation) and source.schema is None and one.schema is None:
            place = ("public", source.name)
        names = {column.number: quoted("t", column.name) for column in source.columns}
        lines = []
        for column in one.columns:
            text = column.template.format(*(names[ref] for ref in column.refs))
            for cast in column.casts:
                text = f"({text}){cast}"
            lines.append(f"    {text} AS {quoted(column.name)}")
        conditions = []
        if one.condition:
            conditions.append(one.condition.format(names[one.condition_ref]))
        if days:
            day = one.column(one.day or 0)
            conditions.append(f"ledgerviews.in_days({names[day.refs[0]]}, $1, $2)")
        where = f"\nWHERE {' AND '.join(conditions)}" if conditions else ""
        positions = [
            str(place + 1) for place, column in enumerate(one.columns) if column.number in one.grouped
        ]
        group = f"\nGROUP BY {', '.join(positions)}" if positions else ""
        listed = ",\n".join(lines)
        return f"SELECT\n{listed}\nFROM {quoted(*place)} AS t{where}{group}"

    def plain(self, one: Table | Relation) -> bool:
        """Whether nothing stored stands between it and its table."""
        return isinstance(one, Table) or (one.kind == "view" and self.plain(self.find(one.source)))

    def feeds_days(self, one: Relation) -> bool:
        """Whether days are computed from it, by way of views."""
        return any(
            reader.kind == "by day" or (reader.kind == "view" and self.feeds_days(reader))
            for reader in self.readers(one.number)
        )

    def key_of(self, one: Relation) -> str:
        """Its key in a dict of specs."""
        return one.name if one.schema is None else f"{one.schema}.{one.name}"

    def specs(self) -> Specs:
        """All of it, as a revision holds it."""
        found: Specs = {}
        for table in self.tables:
            if any(one.kind == "by day" and self.base(one) is table for one in self.relations):
                found[f"{APPLICATION}.{table.name}"] = {"kind": "source", "day": table.column("at").name}
        for one in self.relations:
            found[self.key_of(one)] = self._spec(one)
        return found

    def _spec(self, one: Relation) -> dict[str, Any]:
        source = self.find(one.source)
        reads = [self.key_of(source)] if isinstance(source, Relation) else []
        spec: dict[str, Any] = {
            "kind": "materialized view" if one.stored else "view",
            "definition": f"-- {one.name!a} it's $sql$ /* %s :x\n{self.select(one, written=True)} -- end",
            "reads": reads,
            "indexes": [self.index_text(one, text, refs) for text, refs in one.indexes],
            "options": dict(one.options),
            "grants": {role: list(names) for role, names in one.grants.items()},
        }
        if one.comment is not None:
            spec["comment"] = one.comment
            spec["columns"] = {column.name: column.comment for column in one.columns}
        if one.key and one.stored:
            spec["unique_key"] = [one.column(number).name for number in one.key]
            spec["checks"] = one.checks
        elif one.stored and not self.populate:
            spec["with_data"] = False
        if one.kind == "by day":
            spec["day"] = one.column(one.day or 0).name
            spec["day_definition"] = self.select(one, days=True, written=True)
            spec["sources"] = [f"{APPLICATION}.{self.base(one).name}"]
        if one.owner:
            spec["owner"] = one.owner
        return spec

    @staticmethod
    def index_text(one: Relation, text: str, refs: list[int]) -> str:
        """What follows CREATE INDEX name ON relation."""
        return text.format(*(quoted(one.column(ref).name) for ref in refs))

    def index_name(self, one: Relation, text: str, refs: list[int]) -> str:
        """The name that a declared index gets."""
        return keys.declared_index(one.name, self.index_text(one, text, refs))

    def rollup(self, one: Relation) -> str:
        """The table that holds the rows of one that is computed by day."""
        return incremental.rollup_name(*self.place(one))

    def key_index(self, one: Relation) -> str:
        """The name of its unique index."""
        return statements.index_name(one.name)


def before_and_after(world: World, changed: World, *, whole: bool = False) -> tuple[Specs, Specs]:
    """The two dicts of a revision: what differs, or the ``whole``; renamed ones know each other's names."""
    before, after = world.specs(), changed.specs()
    for one in changed.relations:
        was = world.relation(one.number)
        if was is not None and was.name != one.name:
            after[changed.key_of(one)]["renamed_from"] = was.name
            before[world.key_of(was)]["renamed_from"] = one.name
    if whole:
        return before, after
    same = {key for key, spec in before.items() if after.get(key) == spec}
    return (
        {key: spec for key, spec in before.items() if key not in same},
        {key: spec for key, spec in after.items() if key not in same},
    )


def text_of(text: str) -> str:
    """A literal, for a template that is filled with str.format."""
    return literal(text).replace("{", "{{").replace("}", "}}")
