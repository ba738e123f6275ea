"""What must hold of a world in a database, asked of PostgreSQL in plain SQL."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tests.worlds.fingerprint import differences
from tests.worlds.foreign import TEAM
from tests.worlds.names import quoted
from tests.worlds.worlds import LATE, execute

if TYPE_CHECKING:
    import psycopg

    from tests.worlds.declared import World
    from tests.worlds.fingerprint import Print


class DifferenceError(AssertionError):
    """The world is not as it should be."""


@dataclass
class Tally:
    """What was done, counted."""

    worlds: int = 0
    relations: int = 0
    edits: int = 0
    replacements: int = 0
    scripts: int = 0
    fingerprints: int = 0
    entries: int = 0
    rows: int = 0
    kills: int = 0
    undone: int = 0
    refused: int = 0
    writes: int = 0

    def add(self, other: Tally) -> None:
        """Count another one's, too."""
        for name, value in vars(other).items():
            setattr(self, name, getattr(self, name) + value)

    def __str__(self) -> str:
        """Only what was done."""
        return ", ".join(f"{value} {name}" for name, value in vars(self).items() if value)


@dataclass
class Checks:
    """The checks of one database."""

    connection: psycopg.Connection
    tally: Tally = field(default_factory=Tally)

    def equal(self, what: str, first: Print, second: Print) -> None:
        """Two fingerprints are one."""
        self.tally.fingerprints += 1
        self.tally.entries += len(first)
        if found := differences(first, second):
            raise DifferenceError(f"{what}: {len(found)} differences\n" + "\n".join(found[:25]))

    def rows(self, world: World) -> None:
        """Every materialized view that a refresh renews has the rows that its SELECT gives."""
        for one in world.relations:
            if one.stored and one.key:
                self._same_rows(quoted(*world.place(one)), world.select(one))

    def rebuilt(self, old: dict[str, int]) -> None:
        """What was built anew reads what stands now: its rows are those of its SELECT at once."""
        for name, oid in self.filled().items():
            if old.get(name) != oid:
                row = self.connection.execute("SELECT pg_get_viewdef(%s::regclass)", [name]).fetchone()
                assert row is not None
                self._same_rows(name, row[0].rstrip().removesuffix(";"))

    def filled(self) -> dict[str, int]:
        """The materialized views that have rows, with their oids."""
        rows = self.connection.execute(
            "SELECT format('%I.%I', n.nspname, c.relname), c.oid::int8 FROM pg_class AS c"
            " JOIN pg_namespace AS n ON n.oid = c.relnamespace WHERE c.relkind = 'm' AND c.relispopulated"
        )
        return dict(rows.fetchall())

    def still_filled(self, old: dict[str, int], world: World) -> None:
        """What had rows has rows, where it is still there."""
        names = self.filled()
        for one in world.relations:
            name = quoted_as_postgres(self.connection, *world.place(one))
            if one.stored and name in old and name not in names:
                raise DifferenceError(f"{name} has no rows any more")

    def refresh(self) -> int:
        """Refresh, without the scrub."""
        row = self.connection.execute("CALL ledgerviews.refresh(scrub => false)").fetchone()
        assert row is not None
        return int(row[0])

    def by_days(self, world: World, changed: World, *, quiet: bool) -> None:
        """The next refresh recomputes days only; none where all is quiet.

        Without triggers it recomputes what was built anew as a whole, and says so.
        """
        run = self.refresh()
        rows = self.connection.execute(
            "SELECT schema_name, relation_name, scope, reason FROM ledgerviews.run_relation"
            " WHERE run_id = %s",
            [run],
        ).fetchall()
        steps = {(schema, name): (scope, reason) for schema, name, scope, reason in rows}
        for one in changed.relations:
            was = world.relation(one.number)
            if was is None or (was.kind, one.kind) != ("by day", "by day"):
                continue
            if world.base(was).number != changed.base(one).number:
                continue
            for place in {changed.place(one), world.place(was)}:
                scope, reason = steps.get(place, ("none", ""))
                if world.tracking == "none" and reason.endswith("since the relation was replaced"):
                    continue
                if scope == "all" and (quiet or not reason.endswith("days changed")):
                    raise DifferenceError(f"{place} is recomputed as a whole: {reason}")
                if quiet and scope != "none" and world.tracking == "every write":
                    raise DifferenceError(f"{place} is recomputed for nothing: {scope}, {reason}")

    def declared(self, world: World) -> None:
        """Each relation is what a plain CREATE VIEW makes of its SELECT, with its comment and grants."""
        for one in world.relations:
            place = quoted(*world.place(one))
            target = quoted("ledgerviews", f"{world.rollup(one)}_whole") if one.kind == "by day" else place
            probe = quoted(TEAM, "probe")
            with self.connection.transaction(force_rollback=True):
                execute(self.connection, f"CREATE VIEW {probe} AS {world.select(one)}")
                query = "SELECT pg_get_viewdef(%s::regclass)"
                texts = [self.connection.execute(query, [name]).fetchone() for name in (target, probe)]
            if texts[0] != texts[1]:
                raise DifferenceError(f"{place} is not what is declared:\n{texts[0]}\n{texts[1]}")
            row = self.connection.execute("SELECT obj_description(%s::regclass)", [place]).fetchone()
            if one.comment is not None and row != (one.comment,):
                raise DifferenceError(f"{place} has the comment {row}")
            for role in one.grants:
                name = "public" if role == "PUBLIC" else role
                row = self.connection.execute(
                    "SELECT has_table_privilege(%s, %s, 'SELECT')", [name, place]
                ).fetchone()
                if row != (True,):
                    raise DifferenceError(f"{role} may not read {place}")

    def late(self, before: World, after: World, *, everywhere: bool, first: bool) -> None:
        """Only what is new has what default privileges give since a while; ``first``: nothing had before."""
        rows = self.connection.execute(
            "SELECT n.nspname, c.relname FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace,"
            " aclexplode(c.relacl) AS a WHERE a.grantee = %s::regrole AND n.nspname <> 'ledgerviews'",
            [LATE],
        ).fetchall()
        wanted = {after.place(one) for one in after.relations if before.relation(one.number) is None}
        if not everywhere:
            wanted = {place for place in wanted if place[0] == after.schema}
        if not wanted <= set(rows) or (first and set(rows) - wanted):
            raise DifferenceError(f"default privileges: {sorted(rows)} have them, {sorted(wanted)} should")

    def nothing_left(self, what: str) -> None:
        """No shadow schema outlives its transaction."""
        rows = self.connection.execute(
            "SELECT nspname FROM pg_namespace WHERE nspname LIKE 'ledgerviews\\_next\\_%'"
        ).fetchall()
        if rows:
            raise DifferenceError(f"{what}: {rows} is left")

    def _same_rows(self, place: str, select: str) -> None:
        row = self.connection.execute(
            f"SELECT (SELECT count(*) FROM {place}), (SELECT count(*) FROM ("
            f"(TABLE {place} EXCEPT ALL ({select})) UNION ALL"
            f" (({select}) EXCEPT ALL TABLE {place})) AS d)".encode()
        ).fetchone()
        assert row is not None
        self.tally.rows += row[0]
        if row[1]:
            raise DifferenceError(f"{place} has {row[1]} wrong rows")


def quoted_as_postgres(connection: psycopg.Connection, schema: str, name: str) -> str:
    """A name as format('%I.%I') writes it."""
    row = connection.execute("SELECT format('%%I.%%I', %s::text, %s::text)", [schema, name]).fetchone()
    assert row is not None
    return str(row[0])
