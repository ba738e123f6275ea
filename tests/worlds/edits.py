"""Random edits of the declarations, as a team makes them in one revision."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

from tests.worlds.declared import DECLARED_ROLES, OWNERS, Column, Relation, Table, World

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

    from tests.worlds.drawing import Drawing

CASTS = {
    "num": ("::bigint", "::numeric(14,2)", "::numeric"),
    "text": ("::varchar(60)", "::text", ' COLLATE "C"'),
    "time": ("::timestamptz(0)", "::timestamp"),
    "date": ("::timestamp", "::date"),
    "bool": ("::boolean",),
}


class Edits:
    """Edits a copy of a world.

    ``needed`` tells which columns others than declared relations need, so that these edits leave them their
    names; ``pinned`` are relations that must stay.
    """

    def __init__(self, drawing: Drawing, *, needed: set[int], pinned: set[int]) -> None:
        """Draw from what drew the world."""
        self._drawing = drawing
        self._rng: random.Random = drawing.rng
        self._needed = needed
        self._pinned = pinned

    def edited(self, world: World, count: int) -> tuple[World, list[str]]:
        """A changed world, and what was done."""
        changed = copy.deepcopy(world)
        done: list[str] = []
        edits: list[Callable[[World, Relation], str | None]] = [
            self.append_column,
            self.append_column,
            self.insert_column,
            self.change_expression,
            self.change_type,
            self.change_type,
            self.rename_column,
            self.drop_column,
            self.drop_column,
            self.reorder,
            self.change_condition,
            self.rename,
            self.rename,
            self.remove,
            self.remove,
            self.change_kind,
            self.change_kind,
            self.change_key,
            self.comment_only,
            self.change_options,
            self.change_grants,
            self.change_indexes,
            self.change_owner,
            self.change_checks,
        ]
        tries = 0
        while len(done) < count and tries < 60:
            tries += 1
            draw = self._rng.random()
            if draw < 0.08 or not changed.relations:
                changed.relations.append(self._drawing.relation(changed))
                done.append(f"add {changed.relations[-1].name!r}")
            elif draw < 0.16:
                done += filter(None, [self.interpose(changed, self._rng.choice(changed.relations))])
            else:
                one = self._rng.choice(changed.relations)
                edit = self._rng.choice(edits)
                name = one.name
                if said := edit(changed, one):
                    done.append(f"{said} of {name!r}")
        return changed, done

    def _own(self, world: World, one: Relation) -> Column:
        return self._drawing.column_over(world.find(one.source), grouped=bool(one.grouped))

    def _free(self, world: World, one: Relation, column: Column) -> bool:
        """Whether nothing needs a column by its name but texts that are written anew."""
        return column.number not in self._needed

    def _unread(self, world: World, one: Relation, column: Column) -> bool:
        return (
            self._free(world, one, column)
            and column.number not in one.key
            and column.number not in one.grouped
            and not any(column.number in reader.used for reader in world.readers(one.number))
        )

    def append_column(self, world: World, one: Relation) -> str:
        """What PostgreSQL can do in place."""
        one.columns.append(self._own(world, one))
        return "append a column"

    def insert_column(self, world: World, one: Relation) -> str:
        """What it cannot do."""
        one.columns.insert(0, self._own(world, one))
        return "insert a column"

    def change_expression(self, world: World, one: Relation) -> str | None:
        """Other values of the same type."""
        places = [
            place
            for place, column in enumerate(one.columns)
            if column.number not in (*one.key, *one.grouped) and column.refs and not column.casts
        ]
        if not places:
            return None
        column = one.columns[self._rng.choice(places)]
        around = {"num": "({} - 1)", "text": "pg_catalog.lower({})", "bool": "(NOT {})"}.get(column.family)
        if around is None or "varchar" in column.template or "COLLATE" in column.template:
            return None
        column.template = around.format(column.template.replace("{", "{{").replace("}", "}}")).format("{0}")
        return "change an expression"

    def change_type(self, world: World, one: Relation) -> str | None:
        """Another type of the same family, so that texts over it stay right."""
        columns = [column for column in one.columns if column.number != one.day]
        if not columns:
            return None
        column = self._rng.choice(columns)
        cast = self._rng.choice(CASTS[column.family])
        if column.family in ("time", "date") and any(
            column.number in reader.used for reader in world.readers(one.number)
        ):
            return None
        column.casts = [*column.casts, cast][-2:]
        return f"change a type to {cast}"

    def rename_column(self, world: World, one: Relation) -> str | None:
        """A new name; readers of ours follow in their texts."""
        column = self._rng.choice(one.columns)
        if not self._free(world, one, column):
            return None
        column.name = self._drawing.names.column()
        for check in one.checks:
            if column.number == one.key[0]:
                check["columns"] = [column.name]
        return "rename a column"

    def drop_column(self, world: World, one: Relation) -> str | None:
        """One that nothing reads."""
        columns = [column for column in one.columns if self._unread(world, one, column)]
        if not columns or len(one.columns) < 2:
            return None
        gone = self._rng.choice(columns)
        one.columns.remove(gone)
        one.indexes = [(text, refs) for text, refs in one.indexes if gone.number not in refs]
        return "drop a column"

    def reorder(self, world: World, one: Relation) -> str | None:
        """The same columns in another order."""
        if len(one.columns) < 2:
            return None
        one.columns.append(one.columns.pop(0))
        return "reorder the columns"

    def change_condition(self, world: World, one: Relation) -> str:
        """Other rows."""
        if one.condition:
            one.condition = ""
        else:
            one.condition_ref = self._rng.choice(world.find(one.source).columns).number
            one.condition = "{0} IS NOT NULL"
        return "change the condition"

    def rename(self, world: World, one: Relation) -> str:
        """A new name for the relation."""
        one.name = self._drawing.names.relation()
        return f"rename to {one.name!r}"

    def remove(self, world: World, one: Relation) -> str | None:
        """Away, where nothing needs it."""
        if one.number in self._pinned or world.readers(one.number):
            return None
        world.relations.remove(one)
        return "removal"

    def change_kind(self, world: World, one: Relation) -> str | None:
        """From a view to a materialized one, to one by day, and back."""
        read = world.find(one.source)
        if one.kind == "view":
            if not one.grouped and not any(column.unique for column in one.columns):
                return None
            if world.feeds_days(one):
                return None
            one.kind = "materialized"
            one.key = list(one.grouped) or [next(c.number for c in one.columns if c.unique)]
            one.options = {}
        elif one.kind == "by day":
            one.kind, one.day = "materialized", None
        elif (
            one.schema is None
            and one.key
            and self._rng.random() < 0.5
            and isinstance(read, Table)
            and one.grouped
            and (day := one.column(one.grouped[0])).template == "ledgerviews.utc_day({0})"
            and not day.casts
            and one.grouped[0] in one.key
        ):
            one.kind, one.day = "by day", day.number
        else:
            one.kind, one.key, one.indexes, one.options, one.checks = "view", [], [], {}, []
        return f"change the kind to {one.kind}"

    def change_key(self, world: World, one: Relation) -> str | None:
        """The same key in another order, or with one column more."""
        if not one.stored or not one.key:
            return None
        if len(one.key) > 1:
            one.key = [*one.key[1:], one.key[0]]
        else:
            others = [c for c in one.columns if c.number not in one.key]
            # One by day tells its rows apart by its key: no column of it may be NULL.
            if not others or one.kind == "by day":
                return None
            one.key = [*one.key, self._rng.choice(others).number]
        return "change the unique key"

    def comment_only(self, world: World, one: Relation) -> str | None:
        """Other words."""
        if one.comment is None:
            return None
        if self._rng.random() < 0.5:
            one.comment = self._drawing.words()
        else:
            self._rng.choice(one.columns).comment += " More."
        return "change a comment"

    def change_options(self, world: World, one: Relation) -> str:
        """Others, or none."""
        if one.options:
            one.options = {}
        elif one.stored:
            one.options = {"fillfactor": "80"}
        else:
            one.options = {self._rng.choice(("security_barrier", "security_invoker")): "true"}
        return f"change the options to {one.options}"

    def change_grants(self, world: World, one: Relation) -> str:
        """One more, one less."""
        role = self._rng.choice(DECLARED_ROLES)
        if role in one.grants:
            del one.grants[role]
        else:
            one.grants[role] = self._rng.choice((["SELECT"], ["SELECT", "REFERENCES"]))
        return f"change the grants of {role}"

    def change_indexes(self, world: World, one: Relation) -> str | None:
        """One more, one less."""
        if not one.stored:
            return None
        if one.indexes and self._rng.random() < 0.5:
            one.indexes.pop()
        else:
            self._drawing.add_index(one)
        return "change the indexes"

    def change_owner(self, world: World, one: Relation) -> str | None:
        """Another one; what was not declared could not be taken back."""
        if one.owner is None:
            return None
        one.owner = self._rng.choice(OWNERS)
        return f"change the owner to {one.owner}"

    def change_checks(self, world: World, one: Relation) -> str | None:
        """Others, or none."""
        if not one.stored or not one.key:
            return None
        if one.checks:
            one.checks = []
        else:
            columns = [one.column(one.key[0]).name]
            one.checks = [
                {
                    "name": "it's",
                    "kind": "not_null",
                    "columns": columns,
                    "expression": None,
                    "severity": "warn",
                }
            ]
        return "change the checks"

    def interpose(self, world: World, one: Relation) -> str | None:
        """A new view between a relation and what it reads."""
        if one.kind == "by day":
            return None
        read = world.find(one.source)
        names = self._drawing.names
        columns = [
            Column(
                names.number(),
                names.column(),
                "{0}",
                [column.number],
                column.family,
                [],
                "Copied.",
                column.unique,
            )
            for column in read.columns
        ]
        number = {column.refs[0]: column.number for column in columns}
        between = Relation(names.number(), None, names.relation(), "view", read.number, columns)
        between.comment = self._drawing.words()
        for column in one.columns:
            column.refs = [number[ref] for ref in column.refs]
        if one.condition:
            one.condition_ref = number[one.condition_ref]
        one.source = between.number
        world.relations.insert(world.relations.index(one), between)
        return f"interpose {between.name!r} before {one.name!r}"
