"""Random worlds: what is declared at first."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.worlds.declared import DECLARED_ROLES, OWNERS, Column, Relation, Table, World, text_of
from tests.worlds.names import Names

if TYPE_CHECKING:
    import random

TABLE_COLUMNS = {"id": "num", "at": "time", "word": "text", "amount": "num", "count": "num", "flag": "bool"}
SCHEMAS = ("public", "Reports", "pub")
OTHER_SCHEMA = "The other"


class Drawing:
    """Draws parts of a world."""

    def __init__(self, rng: random.Random) -> None:
        """Draw from ``rng``."""
        self.rng = rng
        self.names = Names(rng)

    def world(self) -> World:
        """A new one."""
        rng = self.rng
        world = World(
            schema=rng.choice(SCHEMAS),
            tables=[self._table() for _ in range(rng.choice((1, 1, 2)))],
            relations=[],
            tracking=rng.choice(("closed days", "every write", "every write", "none")),
            populate=rng.random() < 0.4,
            migrator=rng.random() < 0.35,
        )
        for _ in range(rng.randint(3, 8)):
            world.relations.append(self.relation(world))
        return world

    def relation(self, world: World, source: int | None = None) -> Relation:
        """A relation over something that is there; deep chains are as likely as wide ones."""
        rng = self.rng
        if source is None:
            recent = [one.number for one in world.relations[-3:]]
            source = rng.choice([*(table.number for table in world.tables), *recent, *recent])
        read = world.find(source)
        number, name = self.names.number(), self.names.relation()
        schema = OTHER_SCHEMA if rng.random() < 0.3 else None
        kinds = ["view", "view", "materialized", "materialized"]
        if isinstance(read, Table) or (world.plain(read) and self._time(read) is not None):
            kinds += ["by day"] * 3
        kind = rng.choice(kinds)
        # Entities have no days, and need no key.
        one = Relation(number, None if kind == "by day" else schema, name, kind, source, [])
        self._columns(one, read)
        if one.schema is not None:
            one.comment = None if rng.random() < 0.5 else self.words()
        else:
            one.comment = self.words()
        if one.stored and rng.random() < 0.5:
            self.add_index(one)
        if not one.stored and rng.random() < 0.3:
            one.options["security_barrier"] = "true"
        if one.stored and rng.random() < 0.2:
            one.options["fillfactor"] = "70"
        for role in DECLARED_ROLES:
            if rng.random() < 0.25:
                one.grants[role] = ["SELECT"]
        if rng.random() < 0.2:
            one.owner = rng.choice(OWNERS)
        return one

    def words(self) -> str:
        """A comment."""
        return self.rng.choice(("It's {}.", 'Says "{}"', "Größe {}; -- $$", "\\ {}")).format(
            self.names.number()
        )

    def column_over(self, read: Table | Relation, *, grouped: bool) -> Column:
        """A column made of one of what is read; of its group, where it is grouped."""
        rng = self.rng
        source = rng.choice(read.columns)
        family, template = source.family, "{0}"
        if grouped:
            template, family = rng.choice(
                [("pg_catalog.count(*)", "num"), ("pg_catalog.count({0})", "num")]
                + [("pg_catalog.max({0})", family)] * (family != "bool")
                + [("pg_catalog.sum({0})::numeric", "num")] * (family == "num")
                + [("pg_catalog.bool_or({0})", "bool")] * (family == "bool")
            )
        elif rng.random() < 0.5:
            template, family = self._expression(family)
        refs = [source.number] if "{0}" in template else []
        return Column(self.names.number(), self.names.column(), template, refs, family, [], self.words())

    def _expression(self, family: str) -> tuple[str, str]:
        choices = [
            ("{0} IS NULL", "bool"),
            ("{0}::text", "text"),
            # Like a name, in a literal: nothing may move there.
            (text_of(self.rng.choice(('public.m1 "pub"."m2" ', "it's \\ $sql$ pub.m3", "50%% :x"))), "text"),
        ]
        choices += {
            "num": [
                ("{0} + 1", "num"),
                ("CASE WHEN {0} > 3 THEN 1 ELSE 0 END", "num"),
                ("{0}::numeric", "num"),
            ],
            "text": [
                ("pg_catalog.upper({0})", "text"),
                ("pg_catalog.length({0})", "num"),
                ('{0} COLLATE "C"', "text"),
                ("{0}::varchar(40)", "text"),
            ],
            "bool": [("NOT {0}", "bool")],
            "date": [("{0} + 1", "date")],
            "time": [("ledgerviews.utc_day({0})", "date")],
        }[family] * 2
        template, made = self.rng.choice(choices)
        return (f"{template}::text" if template.startswith(("'", " E'")) else template), made

    def add_index(self, one: Relation) -> None:
        """Declare one more index."""
        column = self.rng.choice(one.columns)
        text = self.rng.choice(
            (
                "({0})",
                "({0} DESC NULLS LAST)",
                "USING brin ({0})",
                "(({0} IS NULL))",
                "({0}) WHERE {0} IS NOT NULL",
            )
        )
        if "brin" in text and column.family == "bool":
            text = "({0})"
        if (text, [column.number]) not in one.indexes:
            one.indexes.append((text, [column.number]))

    def _columns(self, one: Relation, read: Table | Relation) -> None:
        rng = self.rng
        grouped = one.kind == "by day" or rng.random() < 0.25
        key = [self._key_column(one, read, grouped=grouped)]
        if grouped:
            others = [column for column in read.columns if column.family == "text"]
            if others and rng.random() < 0.5:
                text = "COALESCE({0}, '')::text"
                word = rng.choice(others).number
                key.append(Column(self.names.number(), self.names.column(), text, [word], "text", [], "Key."))
            one.grouped = [column.number for column in key]
        one.key = [column.number for column in key] if one.stored and self._unique(one, read) else []
        if one.stored and not one.key and one.schema is None:
            one.kind = "view"
        if one.kind == "by day":
            one.day = key[0].number
        one.columns = key + [self.column_over(read, grouped=grouped) for _ in range(rng.randint(1, 4))]
        if rng.random() < 0.4:
            rng.shuffle(one.columns)
        if rng.random() < 0.3:
            one.condition_ref = rng.choice(read.columns).number
            one.condition = "{0} IS NOT NULL"
        if one.key and rng.random() < 0.4:
            one.checks = [
                {"name": "filled", "kind": "not_null", "columns": [key[0].name], "expression": None}
            ]
            one.checks[0]["severity"] = "warn"

    def _key_column(self, one: Relation, read: Table | Relation, *, grouped: bool) -> Column:
        """The day of one by day; what is grouped by; or what is unique in what is read."""
        number, name = self.names.number(), self.names.column()
        if one.kind == "by day":
            at = read.column("at") if isinstance(read, Table) else self._time(read)
            assert at is not None
            return Column(number, name, "ledgerviews.utc_day({0})", [at.number], "date", [], "Day.")
        if grouped:
            column = self.rng.choice(read.columns)
            text = "COALESCE({0}::text, '')" if column.family == "bool" else "{0}"
            family = "text" if column.family == "bool" else column.family
            return Column(number, name, text, [column.number], family, [], "Group.")
        unique = self._unique_column(read) or read.columns[0]
        return Column(number, name, "{0}", [unique.number], unique.family, [], "Key.")

    def _unique(self, one: Relation, read: Table | Relation) -> bool:
        return bool(one.grouped) or self._unique_column(read) is not None

    def _unique_column(self, read: Table | Relation) -> Column | None:
        """A column that is unique by itself, as what comes from an id is."""
        if isinstance(read, Table):
            return read.column("id")
        if len(read.grouped) == 1:
            return read.column(read.grouped[0]) if read.has(read.grouped[0]) else None
        if read.grouped:
            return None
        return next((column for column in read.columns if column.unique), None)

    def _time(self, read: Relation) -> Column | None:
        if read.grouped:
            return None
        return next((c for c in read.columns if c.family == "time" and c.template == "{0}"), None)

    def _table(self) -> Table:
        columns = []
        for role, family in TABLE_COLUMNS.items():
            name = role if self.rng.random() < 0.5 else self.names.column()
            columns.append(Column(self.names.number(), name, role, [], family))
        return Table(self.names.number(), self.names.thing("table"), columns)
