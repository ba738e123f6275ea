"""What others put on declared relations: views, materialized views, functions, triggers, rules."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tests.worlds.names import literal, quoted

if TYPE_CHECKING:
    import random

    from tests.worlds.declared import World
    from tests.worlds.drawing import Drawing

TEAM = "The team"
TEAM_ROLE = "worlds Team"
READER = "worlds_hand"


@dataclass
class Foreign:
    """An object that nobody declared, over a declared relation or over another one like it.

    Its columns are those of the relation in the end, by number; a view on a view has its own names.
    """

    number: int
    name: str
    kind: str  # view, materialized, function, rows or argument
    reads: int | None  # a declared relation
    over: Foreign | None  # or another one
    uses: list[int]  # columns of the declared relation
    grouped: bool = False
    extras: list[str] = field(default_factory=list)
    team: bool = True

    @property
    def place(self) -> str:
        """Its name, quoted."""
        return quoted(TEAM, self.name)

    @property
    def outputs(self) -> list[str]:
        """The names of its columns."""
        return [f"f{number} {self.number}" for number in range(len(self.uses))]

    @property
    def root(self) -> int:
        """The declared relation."""
        if self.over is not None:
            return self.over.root
        assert self.reads is not None
        return self.reads

    def statements(self, world: World) -> list[str]:
        """What makes it, and all that hangs on it."""
        relation = world.relation(self.root)
        assert relation is not None
        if self.over is None:
            target, names = quoted(*world.place(relation)), [relation.column(n).name for n in self.uses]
        else:
            target, names = self.over.place, self.over.outputs[: len(self.uses)]
        columns = [quoted("pub", name) for name in names]  # an alias that is a schema's name, too
        outputs = [quoted(name) for name in self.outputs]
        listed = [f"{column} AS {output}" for column, output in zip(columns, outputs, strict=True)]
        if self.grouped:
            listed = [f"pg_catalog.count({columns[0]}) AS {outputs[0]}"]
            listed += [
                f"{column} IS NULL AS {output}"
                for column, output in zip(columns[1:], outputs[1:], strict=True)
            ]
        rest = f" GROUP BY {', '.join(str(n + 2) for n in range(len(columns) - 1))}" if self.grouped else ""
        if len(columns) == 1:
            rest = ""
        select = f"SELECT {', '.join(listed)} FROM {target} AS pub{rest}"
        word = {"view": "VIEW", "materialized": "MATERIALIZED VIEW"}.get(self.kind, "FUNCTION")
        counted = f"BEGIN ATOMIC SELECT pg_catalog.count({columns[0]}) + lo FROM {target} AS pub; END"
        counted = f"LANGUAGE sql STABLE {counted}"
        listing = f"BEGIN ATOMIC SELECT 1, {columns[0]} IS NULL FROM {target} AS pub; END"
        listing = f"LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog {listing}"
        telling = f"IMMUTABLE RETURN (one).{quoted(names[0])} IS NULL"
        made, called = {
            "view": (f"CREATE VIEW {self.place} AS {select}", self.place),
            "materialized": (f"CREATE MATERIALIZED VIEW {self.place} AS {select}", self.place),
            "function": (
                f"CREATE FUNCTION {self.place}(lo integer DEFAULT 3) RETURNS bigint {counted}",
                f"{self.place}(integer)",
            ),
            "rows": (
                f"CREATE FUNCTION {self.place}() RETURNS TABLE (n bigint, gone boolean) {listing}",
                f"{self.place}()",
            ),
            "argument": (
                f"CREATE FUNCTION {self.place}(one {target}) RETURNS boolean LANGUAGE sql {telling}",
                f"{self.place}({target})",
            ),
        }[self.kind]
        parts = [made]
        for extra in self.extras:
            parts += self._extra(extra, word, called)
        if self.team:
            parts.append(f"ALTER {word} {called} OWNER TO {quoted(TEAM_ROLE)}")
        return parts

    def _extra(self, extra: str, word: str, called: str) -> list[str]:
        first, last = quoted(self.outputs[0]), quoted(self.outputs[-1])
        name = quoted(f"{extra} {self.number}")
        table = "FUNCTION" if word == "FUNCTION" else "TABLE"
        right = "EXECUTE" if word == "FUNCTION" else "SELECT"
        logs = f"INSERT INTO {quoted(TEAM)}.log VALUES ('it''s')"
        fires = f"EXECUTE FUNCTION {quoted(TEAM)}.refuse('{self.number}')"
        return {
            "comment": [f"COMMENT ON {word} {called} IS {literal(f'It is {self.number}')}"],
            "grant": [
                f"GRANT {right} ON {table} {called} TO {READER} WITH GRANT OPTION",
                f"REVOKE ALL ON {table} {called} FROM PUBLIC",
            ],
            "column grant": [f"GRANT SELECT ({first}) ON {called} TO {READER}"],
            "index": [f"CREATE INDEX {name} ON {called} ({first} DESC, ({last} IS NULL))"],
            "statistics": [
                f"CREATE STATISTICS {quoted(TEAM)}.{name} ON {first}, ({last} IS NULL) FROM {called}"
            ],
            "barrier": [f"ALTER VIEW {called} SET (security_barrier = true)"],
            "rule": [
                f"CREATE RULE {name} AS ON INSERT TO {called} DO INSTEAD {logs}",
                f"COMMENT ON RULE {name} ON {called} IS 'A rule.'",
            ],
            "trigger": [f"CREATE TRIGGER {name} INSTEAD OF UPDATE ON {called} FOR EACH ROW {fires}"],
        }[extra]


EXTRAS = {
    "view": ("comment", "grant", "column grant", "barrier", "rule", "trigger"),
    "materialized": ("comment", "grant", "column grant", "index", "statistics"),
    "function": ("comment", "grant"),
    "rows": ("comment", "grant"),
    "argument": ("comment", "grant"),
}
SETUP = f"""
CREATE SCHEMA {quoted(TEAM)};
CREATE TABLE {quoted(TEAM)}.log (line text);
CREATE FUNCTION {quoted(TEAM)}.refuse() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
"""


def draw(drawing: Drawing, world: World) -> list[Foreign]:
    """Some of them, at random."""
    rng: random.Random = drawing.rng
    found: list[Foreign] = []
    for _ in range(rng.randint(2, 6)):
        number, name = drawing.names.number(), drawing.names.relation()
        over = rng.choice([one for one in found if one.kind in ("view", "materialized")] or [None])
        kind = rng.choice(("view", "view", "materialized", "materialized", "function", "rows", "argument"))
        if over is not None and rng.random() < 0.4:
            uses = list(over.uses)
            one = Foreign(number, name, kind if kind != "argument" else "view", None, over, uses)
        else:
            relation = rng.choice(world.relations)
            uses = [
                c.number for c in rng.sample(relation.columns, min(len(relation.columns), rng.randint(1, 3)))
            ]
            one = Foreign(number, name, kind, relation.number, None, uses)
        if one.kind not in ("view", "materialized"):
            one.uses = one.uses[:1]
        one.grouped = rng.random() < 0.3 and kind in ("view", "materialized")
        one.extras = [extra for extra in EXTRAS[one.kind] if rng.random() < 0.4]
        one.team = rng.random() < 0.6
        found.append(one)
    return found
