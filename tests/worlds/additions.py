"""What was put on declared relations by hand, and which of it outlives an edit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.worlds.declared import OWNERS, Table
from tests.worlds.foreign import READER, TEAM
from tests.worlds.names import literal, quoted

if TYPE_CHECKING:
    import random

    from tests.worlds.declared import Column, Relation, World
    from tests.worlds.drawing import Drawing

OTHER = "worlds_second_hand"
EARLY = "worlds_early"


@dataclass
class Addition:
    """Statements over {rel}, {word}, {schema}, {rollup} and the columns {0}, {1}."""

    relation: int
    columns: list[int]
    parts: list[str]
    needs: str = "any"  # any, view, stored or by day: what the relation must be
    firm: bool = False  # a column of it cannot go

    def statements(self, world: World) -> list[str]:
        """What is run."""
        one = world.relation(self.relation)
        assert one is not None
        schema, name = world.place(one)
        fields = {
            "rel": quoted(schema, name),
            "word": "MATERIALIZED VIEW" if one.stored else "VIEW",
            "schema": quoted(schema),
            "rollup": quoted("ledgerviews", world.rollup(one)),
        }
        columns = [quoted(one.column(number).name) for number in self.columns]
        return [part.format(*columns, **fields) for part in self.parts]

    def outlives(self, before: World, after: World) -> bool:
        """Whether a replacement keeps it: where the relation is still of its kind and has the columns."""
        was, one = before.relation(self.relation), after.relation(self.relation)
        if was is None or one is None or not self._fits(one):
            return False
        if self.needs == "by day" and was.kind != "by day":
            return False
        return all(one.has(n) and one.column(n).name == was.column(n).name for n in self.columns)

    def _fits(self, one: Relation) -> bool:
        return {
            "any": True,
            "view": not one.stored,
            "stored": one.stored,
            "by day": one.kind == "by day",
        }[self.needs]


def draw(drawing: Drawing, world: World) -> list[Addition]:
    """Some of them, at random; owners first, because grants are theirs."""
    rng = drawing.rng
    found = [
        Addition(one.number, [], [f"ALTER {{word}} {{rel}} OWNER TO {quoted(rng.choice(OWNERS))}"])
        for one in world.relations
        if one.owner is None and rng.random() < 0.15
    ]
    for one in world.relations:
        found += [_grant(drawing, one) for _ in range(rng.randint(0, 4))]
        for _ in range(rng.randint(0, 3)):
            found += _on_stored(drawing, one) if one.stored else _on_view(drawing, world, one)
        if one.comment is None and rng.random() < 0.5:
            column = rng.choice(one.columns)
            found.append(
                Addition(one.number, [column.number], ["COMMENT ON COLUMN {rel}.{0} IS 'It''s by hand.'"])
            )
            found.append(Addition(one.number, [], ["COMMENT ON {word} {rel} IS 'By hand.'"]))
        if one.kind == "by day" and rng.random() < 0.3:
            name = quoted(drawing.names.thing("byhand"))
            index = [f"CREATE INDEX {name} ON {{rollup}} ({{0}})"]
            found.append(Addition(one.number, [rng.choice(one.columns).number], index, "by day"))
            found.append(Addition(one.number, [], [f"GRANT SELECT ON {{rollup}} TO {READER}"], "by day"))
    return found


def _grant(drawing: Drawing, one: Relation) -> Addition:
    rng = drawing.rng
    column = rng.choice(one.columns).number
    columns, parts = rng.choice(
        (
            ([], [f"GRANT SELECT ON {{rel}} TO {READER}"]),
            ([], [f"GRANT ALL ON {{rel}} TO {OTHER}"]),
            (
                [],
                [
                    f"GRANT SELECT ON {{rel}} TO {READER} WITH GRANT OPTION",
                    f"SET ROLE {READER}",
                    f"GRANT SELECT ON {{rel}} TO {OTHER}",
                    "RESET ROLE",
                ],
            ),
            ([column], [f"GRANT SELECT ({{0}}) ON {{rel}} TO {OTHER} WITH GRANT OPTION"]),
            ([column], [f"GRANT SELECT ({{0}}), REFERENCES ({{0}}) ON {{rel}} TO {READER}"]),
            # Not to a role that is declared: to revoke its SELECT takes what it has on columns, too.
            ([column], ["GRANT SELECT ({0}) ON {rel} TO pg_monitor"]),
            ([], [f"REVOKE ALL ON {{rel}} FROM {EARLY}"]),
        )
    )
    return Addition(one.number, list(columns), list(parts))


def _on_stored(drawing: Drawing, one: Relation) -> list[Addition]:
    rng = drawing.rng
    first, second = rng.choice(one.columns), rng.choice(one.columns)
    name = quoted(drawing.names.thing("byhand"))
    both = [first.number, second.number]
    kind = rng.choice(("index", "index", "index", "statistics", "statistics", "target", "storage", "options"))
    if kind == "index":
        parts = _index(rng, name, first)
        # One that does not name the second column outlives it.
        return [Addition(one.number, both if "{1}" in parts[0] else both[:1], parts, "stored")]
    if kind == "statistics":
        schema = rng.choice(("{schema}", "{schema}", quoted(TEAM)))
        # Nothing that depends on the columns' types, and at least two.
        parts = [f"CREATE STATISTICS {schema}.{name} ON ({{0}} IS NULL), ({{1}} IS NOT NULL) FROM {{rel}}"]
        if first is not second:
            parts = [f"CREATE STATISTICS {schema}.{name} (ndistinct, mcv) ON {{0}}, {{1}} FROM {{rel}}"]
        if rng.random() < 0.5:
            parts += [f"ALTER STATISTICS {schema}.{name} SET STATISTICS 55"]
            parts += [f"COMMENT ON STATISTICS {schema}.{name} IS 'Of both.'"]
        return [Addition(one.number, both, parts, "stored")]
    if kind == "target":
        parts = ["ALTER MATERIALIZED VIEW {rel} ALTER COLUMN {0} SET STATISTICS 33"]
        parts += ["ALTER MATERIALIZED VIEW {rel} ALTER COLUMN {0} SET (n_distinct = 7)"]
        return [Addition(one.number, both[:1], parts, "stored")]
    if kind == "storage" and first.family == "text":
        parts = ["ALTER MATERIALIZED VIEW {rel} ALTER COLUMN {0} SET STORAGE EXTERNAL"]
        parts += ["ALTER MATERIALIZED VIEW {rel} ALTER COLUMN {0} SET COMPRESSION pglz"]
        return [Addition(one.number, both[:1], parts, "stored")]
    parts = ["ALTER MATERIALIZED VIEW {rel} SET (autovacuum_enabled = false)"]
    return [Addition(one.number, [], parts, "stored")]


def _index(rng: random.Random, name: str, first: Column) -> list[str]:
    parts = [
        f"CREATE INDEX {name} ON {{rel}} "
        + rng.choice(
            (
                "({0} DESC NULLS LAST, {1})",
                "({0}) INCLUDE ({1})",
                "(({0} IS NULL), {1}) WITH (fillfactor = 60)",
                "({0}) WHERE {1} IS NOT NULL",
                "USING hash ({0})",
                "(({0} IS NULL))",
                "({0}) INCLUDE ({1})"
                if first.family == "bool"
                else "USING brin ({0}) WITH (pages_per_range = 8)",
            )
        )
    ]
    if "((" in parts[0] and rng.random() < 0.7:
        parts.append(f"ALTER INDEX {{schema}}.{name} ALTER COLUMN 1 SET STATISTICS 77")
    if rng.random() < 0.5:
        parts.append(f"COMMENT ON INDEX {{schema}}.{name} IS {literal('For %s :x')}")
    if rng.random() < 0.3 and "USING" not in parts[0] and "WHERE" not in parts[0]:
        parts.append(f"ALTER MATERIALIZED VIEW {{rel}} CLUSTER ON {name}")
    return parts


def _on_view(drawing: Drawing, world: World, one: Relation) -> list[Addition]:
    rng = drawing.rng
    name = quoted(drawing.names.thing("byhand"))
    column = rng.choice(one.columns)
    kind = rng.choice(("rule", "trigger", "default", "option"))
    if kind == "default" and column.family == "bool":
        parts = ["ALTER VIEW {rel} ALTER COLUMN {0} SET DEFAULT true"]
        return [Addition(one.number, [column.number], parts, "view")]
    if kind == "option" and not one.grouped and isinstance(world.find(one.source), Table):
        return [Addition(one.number, [], ["ALTER VIEW {rel} SET (check_option = local)"], "view")]
    if kind == "trigger":
        fires = f"EXECUTE FUNCTION {quoted(TEAM)}.refuse('%s', ':x')"
        parts = [
            f"CREATE TRIGGER {name} INSTEAD OF INSERT OR DELETE ON {{rel}} FOR EACH ROW {fires}",
            f"COMMENT ON TRIGGER {name} ON {{rel}} IS 'A trigger.'",
        ]
        return [Addition(one.number, [], parts, "view")]
    does = f"INSERT INTO {quoted(TEAM)}.log SELECT 'gone' WHERE old.{{0}} IS NOT NULL"
    parts = [
        f"CREATE RULE {name} AS ON DELETE TO {{rel}} DO INSTEAD {does}",
        f"COMMENT ON RULE {name} ON {{rel}} IS 'A rule.'",
    ]
    return [Addition(one.number, [column.number], parts, "view", firm=True)]
