"""One world through its life: installed, used, changed by a revision, and back."""

from __future__ import annotations

import random
import threading
import time
from contextlib import closing, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import psycopg

from tests.worlds import additions, foreign, worlds
from tests.worlds.declared import MIGRATOR, Relation, World, before_and_after
from tests.worlds.drawing import Drawing
from tests.worlds.edits import Edits
from tests.worlds.fingerprint import Print, contents, differences, fingerprint
from tests.worlds.names import quoted
from tests.worlds.worlds import LATE, Writers, execute, replace, write

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from tests.worlds.additions import Addition
    from tests.worlds.foreign import Foreign

_NEXT = "SELECT nspname FROM pg_namespace WHERE nspname LIKE 'ledgerviews\\_next\\_%'"


class DifferenceError(AssertionError):
    """The world is not as it should be."""


@dataclass
class Tally:
    """What was done."""

    worlds: int = 0
    edits: int = 0
    replacements: int = 0
    compared: int = 0
    entries: int = 0
    rows_checked: int = 0
    kills: int = 0
    killed_in_time: int = 0
    refused: int = 0
    writes: int = 0

    def add(self, other: Tally) -> None:
        """Count another one's, too."""
        for name, value in vars(other).items():
            setattr(self, name, getattr(self, name) + value)


@dataclass
class Session:
    """A world in a database, and what it takes to make another one like it."""

    url: str
    another: Callable[[], AbstractContextManager[str]]
    seed: int
    trace: Callable[[str], None]
    rng: random.Random = field(init=False)
    tally: Tally = field(default_factory=Tally)

    def __post_init__(self) -> None:
        """Draw everything from the seed."""
        self.rng, self.began = random.Random(self.seed), time.monotonic()
        self.drawing = Drawing(self.rng)
        self.world = self.drawing.world()
        self.foreign = foreign.draw(self.drawing, self.world)
        self.additions = additions.draw(self.drawing, self.world)
        needed = {number for one in self.foreign for number in one.uses}
        # A rule over a column is as firm as a view over it.
        self.held = {number for one in self.additions if one.firm for number in one.columns}
        needed |= self.held
        self.edits = Edits(self.drawing, needed=needed, pinned={one.root for one in self.foreign})
        self.changed, self.done = self.edits.edited(self.world, self.rng.randint(1, 6))

    def run(self) -> Tally:
        """All of it; DifferenceError where something is not as it should be."""
        self.tally.worlds, self.tally.edits = 1, len(self.done)
        self._say(f"schema {self.world.schema!r}, tracking {self.world.tracking}, migrator {self.world.migrator}")
        for one in self.world.relations:
            self._say(f"  {one.kind} {one.schema}.{one.name!a} over {self.world.find(one.source).name!a}")
        for done in self.done:
            self._say(f"  edit: {done}")
        with closing(psycopg.connect(self.url, autocommit=True)) as connection:
            self.connection = connection
            self._install(connection, self.url, self.world, self.additions)
            self._late_privileges()
            first = fingerprint(connection)
            self._refused()
            self._killed()
            self._upgrade()
            lasting = [one for one in self.additions if one.outlives(self.world, self.changed)]
            self._equal_fresh(self.changed, lasting, self.world)
            self._used(self.changed)
            self._replace("downgrade", self.changed, self.world)
            lost = [one for one in self.additions if one not in lasting]
            self._say(f"downgraded; {len(lost)} hand-made things are lost")
            if lost:
                self._equal_fresh(self.world, lasting, self.changed)
            else:
                self._refresh()
                self._compare("after the downgrade", first, fingerprint(connection))
                self._late(self.changed, self.world)
            self._used(self.world)
        return self.tally

    # Steps ------------------------------------------------------------------------------------------------

    def _install(self, connection: psycopg.Connection, url: str, world: World, hand_made: list[Addition]) -> None:
        worlds.prepare(connection, world)
        for table in world.tables:
            write(connection, self.rng, table, 60)
        replace(url, world, {}, world.specs())
        connection.execute("CALL ledgerviews.refresh(scrub => false)")
        self._fill_others(connection, world)
        for one in self.foreign:
            # Who may not own a thing could not replace it, and is refused by its name.
            role = [f"SET ROLE {MIGRATOR}"] if world.migrator else []
            execute(connection, *role, *one.statements(world), "RESET ROLE")
        for addition in hand_made:
            if world.migrator:
                execute(connection, f"SET ROLE {MIGRATOR}")
            execute(connection, *addition.statements(world), "RESET ROLE")
        self._say("installed")

    def _upgrade(self) -> None:
        writers = None
        if self.rng.random() < 0.5:
            same = [one for one in self.world.relations if self._same_name(one)]
            reads = [quoted(*self.world.place(one)) for one in same]
            reads += [one.place for one in self.foreign if one.kind in ("view", "materialized")]
            writers = Writers(self.url, self.world, self.seed, reads)
        old = self._oids()
        try:
            self._replace("upgrade", self.world, self.changed)
        finally:
            if writers is not None:
                writers.close()
                self.tally.writes += writers.transactions
        if writers is None:
            self._rebuilt_is_right(self.changed, old)
        if writers is not None or self.rng.random() < 0.5:
            self._not_full(quiet=writers is None)
        self._refresh()
        self._right(self.changed)

    def _replace(self, what: str, before: World, after: World) -> None:
        was, shall = before_and_after(before, after)
        self._say(f"{what}: {sorted(was)} -> {sorted(shall)}")
        keep = self.rng.random() < 0.2
        replace(self.url, after, was, shall, keep=keep)
        self.tally.replacements += 1
        if self.connection.execute(_NEXT).fetchall():
            raise DifferenceError(f"{what}: a shadow schema is left")
        if keep:
            self._drop_kept()

    def _drop_kept(self) -> None:
        """What was kept goes, as the next replacement would have it."""
        rows = self.connection.execute(
            "SELECT nspname FROM pg_namespace WHERE nspname LIKE 'ledgerviews\\_old\\_%'"
        ).fetchall()
        with self.connection.transaction():
            execute(self.connection, "SET LOCAL client_min_messages = warning", "SELECT ledgerviews.drop_kept()")
        self._say(f"kept: {len(rows)} schemas")

    def _refused(self) -> None:
        """A column that others need, or a relation under them, cannot go; nothing changes, and it is said why."""
        for one in self.foreign:
            if self.rng.random() > 0.4:
                continue
            bad = before_and_after(self.world, self.world)
            changed = self._without(one.root, self.rng.choice(one.uses) if self.rng.random() < 0.6 else None)
            if changed is None:
                continue
            was, shall = bad = before_and_after(self.world, changed)
            first = fingerprint(self.connection, state=True) | contents(self.connection)
            try:
                replace(self.url, self.world, was, shall)
            except Exception as exc:
                message = str(exc)
                self._say(f"refused: {message.splitlines()[0]}")
                if not any(other.name in message or quoted(other.name) in message for other in self._over(one.root)):
                    raise DifferenceError(f"refused without a name: {message}") from exc
            else:
                raise DifferenceError(f"not refused: {sorted(was)} -> {sorted(shall)} under {one.name!r}")
            self.tally.refused += 1
            again = fingerprint(self.connection, state=True) | contents(self.connection)
            self._compare("after a refusal", first, again)

    def _over(self, root: int) -> list[Foreign]:
        return [one for one in self.foreign if one.root == root]

    def _without(self, number: int, column: int | None) -> World | None:
        """The world without a relation, or without one of its columns, where only others need it."""
        import copy

        changed = copy.deepcopy(self.world)
        one = changed.relation(number)
        if one is None or changed.readers(number):
            return None
        if column is None:
            changed.relations.remove(one)
        elif column in self.held or column in one.key or column in one.grouped or len(one.columns) < 2:
            return None
        else:
            one.columns = [c for c in one.columns if c.number != column]
            one.indexes = [(text, refs) for text, refs in one.indexes if column not in refs]
        return changed

    def _killed(self) -> None:
        """A backend that ends at any moment leaves everything as it was, or as it shall be."""
        was, shall = before_and_after(self.world, self.changed)
        took = 0.6
        for _ in range(self.rng.choice((0, 1, 2))):
            first = fingerprint(self.connection, state=True) | contents(self.connection)
            pids: list[int] = []
            outcome: list[BaseException] = []
            begun = threading.Event()

            def began(pid: int) -> None:
                pids.append(pid)
                begun.set()

            def work() -> None:
                try:
                    replace(self.url, self.world, was, shall, began=began)
                except BaseException as exc:  # noqa: BLE001
                    outcome.append(exc)

            start = time.monotonic()
            thread = threading.Thread(target=work)
            thread.start()
            begun.wait(10)
            time.sleep(self.rng.random() * took)
            self.connection.execute("SELECT pg_terminate_backend(%s, 10000)", pids)
            thread.join()
            took = max(0.3, time.monotonic() - start) if not outcome else took
            self.tally.kills += 1
            with suppress(psycopg.Error):
                self._wait_for_locks()
            if outcome:
                self.tally.killed_in_time += 1
                self._say(f"killed: {type(outcome[0]).__name__}")
                if not any(word in str(outcome[0]) for word in ("terminat", "closed", "connection is lost")):
                    raise DifferenceError("a killed replacement fails otherwise") from outcome[0]
                again = fingerprint(self.connection, state=True) | contents(self.connection)
                self._compare("after a kill", first, again)
            else:
                self._say("killed too late")
                replace(self.url, self.world, shall, was)
                self._restore()
                self._refresh()

    def _restore(self) -> None:
        """Put back by hand what goes with columns and kinds that were away."""
        for one in self.additions:
            if not one.outlives(self.world, self.changed):
                self.additions = [other for other in self.additions if other is not one]

    def _wait_for_locks(self) -> None:
        """A backend that ended gives its locks back a moment later."""
        self.connection.execute("SET lock_timeout = '10s'")
        with self.connection.transaction():
            self.connection.execute("LOCK TABLE ledgerviews.refresh_lock IN EXCLUSIVE MODE")
        self.connection.execute("RESET lock_timeout")

    def _used(self, world: World) -> None:
        """The application goes on, and refreshes are exact."""
        for table in world.tables:
            write(self.connection, self.rng, table, 5)
        self._not_full()
        self._right(world)

    # What must hold ---------------------------------------------------------------------------------------

    def _refresh(self) -> int:
        row = self.connection.execute("CALL ledgerviews.refresh(scrub => false)").fetchone()
        assert row is not None
        return int(row[0])

    def _not_full(self, *, quiet: bool = False) -> None:
        """One by day that both revisions know is recomputed by its days; quiet: and nothing was written."""
        run = self._refresh()
        rows = self.connection.execute(
            "SELECT schema_name, relation_name, scope, reason FROM ledgerviews.run_relation WHERE run_id = %s", [run]
        ).fetchall()
        steps = {(schema, name): (scope, reason) for schema, name, scope, reason in rows}
        for one in self.changed.relations:
            was = self.world.relation(one.number)
            if was is None or was.kind != "by day" or one.kind != "by day" or self._sources_differ(was, one):
                continue
            for place in (self.changed.place(one), self.world.place(was)):
                scope, reason = steps.get(place, ("none", ""))
                if scope == "all" and (quiet or not reason.endswith("days changed")):
                    raise DifferenceError(f"{place} is recomputed as a whole: {reason}")

    def _sources_differ(self, was: Relation, one: Relation) -> bool:
        return self.world.base(was).number != self.changed.base(one).number

    def _right(self, world: World) -> None:
        """Every materialized view has the rows that its SELECT gives."""
        for one in world.relations:
            if one.stored and one.key:
                self._same_rows(quoted(*world.place(one)), world.select(one))

    def _same_rows(self, place: str, select: str) -> None:
        row = self.connection.execute(
            f"SELECT (SELECT count(*) FROM {place}), (SELECT count(*) FROM ((TABLE {place} EXCEPT ALL ({select}))"
            f" UNION ALL (({select}) EXCEPT ALL TABLE {place})) AS d)".encode()
        ).fetchone()
        assert row is not None
        self.tally.rows_checked += row[0]
        if row[1]:
            raise DifferenceError(f"{place} has {row[1]} wrong rows")

    def _rebuilt_is_right(self, world: World, old: dict[str, int]) -> None:
        """What was built anew reads what stands now: its rows are those of its SELECT at once."""
        for name, oid in self._oids().items():
            if old.get(name) == oid:
                continue
            row = self.connection.execute("SELECT pg_get_viewdef(%s::regclass)", [name]).fetchone()
            assert row is not None
            self._same_rows(name, row[0].rstrip().removesuffix(";"))

    def _oids(self) -> dict[str, int]:
        rows = self.connection.execute(
            "SELECT format('%I.%I', n.nspname, c.relname), c.oid::int8 FROM pg_class AS c JOIN pg_namespace AS n"
            " ON n.oid = c.relnamespace WHERE c.relkind = 'm' AND c.relispopulated"
        ).fetchall()
        return dict(rows)

    def _equal_fresh(self, world: World, hand_made: list[Addition], before: World) -> None:
        """The schema is that of a database in which the world was installed at once."""
        self._refresh()
        self._fill_others(self.connection, world)
        with self.another() as url, closing(psycopg.connect(url, autocommit=True)) as connection:
            self._install(connection, url, world, hand_made)
            self._late_defaults(connection)
            self._declared(connection, world)
            self._compare("fresh and replaced", fingerprint(connection), fingerprint(self.connection))
        self._late(before, world)

    def _fill_others(self, connection: psycopg.Connection, world: World) -> None:
        """Materialized views that no refresh of ours renews."""
        for one in world.relations:
            if one.stored and not one.key:
                execute(connection, f"REFRESH MATERIALIZED VIEW {quoted(*world.place(one))}")

    def _compare(self, what: str, first: Print, second: Print) -> None:
        self.tally.compared += 1
        self.tally.entries += len(first)
        if found := differences(first, second):
            raise DifferenceError(f"{what}: {len(found)} differences\n" + "\n".join(found[:25]))

    def _declared(self, connection: psycopg.Connection, world: World) -> None:
        """Even the fresh one is only right if it is as declared: asked of PostgreSQL in plain SQL."""
        for one in world.relations:
            place = quoted(*world.place(one))
            target = quoted("ledgerviews", f"{world.rollup(one)}_whole") if one.kind == "by day" else place
            with connection.transaction(force_rollback=True):
                execute(connection, f"CREATE VIEW {quoted('The team', 'probe')} AS {world.select(one)}")
                query = f"SELECT pg_get_viewdef('{{}}'::regclass), obj_description('{place}'::regclass)"
                texts = [
                    connection.execute("SELECT pg_get_viewdef(%s::regclass)", [name]).fetchone()
                    for name in (target, '"The team"."probe"')
                ]
            if texts[0] != texts[1]:
                raise DifferenceError(f"{place} is not what is declared:\n{texts[0]}\n{texts[1]}")
            row = connection.execute("SELECT obj_description(%s::regclass)", [place]).fetchone()
            if one.comment is not None and row != (one.comment,):
                raise DifferenceError(f"{place} has the comment {row}")
            for role in one.grants:
                row = connection.execute(
                    "SELECT has_table_privilege(%s, %s, 'SELECT')", [role.lower() if role == "PUBLIC" else role, place]
                ).fetchone()
                if row != (True,):
                    raise DifferenceError(f"{role} may not read {place}")

    def _same_name(self, one: Relation) -> bool:
        changed = self.changed.relation(one.number)
        return changed is not None and self.changed.place(changed) == self.world.place(one)

    # Default privileges that came after the installation -------------------------------------------------

    def _late_privileges(self) -> None:
        self.late = self.rng.choice(("", f"IN SCHEMA {quoted(self.world.schema)} "))
        self._late_defaults(self.connection)

    def _late_defaults(self, connection: psycopg.Connection) -> None:
        role = f"FOR ROLE {MIGRATOR} " if self.world.migrator else ""
        execute(connection, f"ALTER DEFAULT PRIVILEGES {role}{self.late}GRANT SELECT ON TABLES TO {LATE}")

    def _late(self, before: World, after: World) -> None:
        """Only what is new has got what the default privileges give now."""
        rows = self.connection.execute(
            "SELECT n.nspname, c.relname FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace,"
            f" aclexplode(c.relacl) AS a WHERE a.grantee = '{LATE}'::regrole AND n.nspname <> 'ledgerviews'".encode()
        ).fetchall()
        new = [one for one in after.relations if before.relation(one.number) is None]
        wanted = {after.place(one) for one in new}
        if self.late:
            wanted = {place for place in wanted if place[0] == after.schema}
        # What was new before may stand there with it.
        if not wanted <= set(rows) or (set(rows) - wanted and before is self.world):
            raise DifferenceError(f"default privileges: {sorted(rows)} have them, {sorted(wanted)} should")

    def _say(self, line: str) -> None:
        self.trace(f"{time.monotonic() - self.began:6.1f} {line}")


def run(server: Any, seed: int, trace: Callable[[str], None], prefix: str) -> Tally:
    """One seed on a server."""
    from contextlib import contextmanager

    @contextmanager
    def another() -> Iterator[str]:
        with server.database(f"{prefix}_{seed}_fresh", template=template) as url:
            yield url

    migrator = Drawing(random.Random(seed)).world().migrator
    template = worlds.template(server, migrator=migrator)
    with server.database(f"{prefix}_{seed}", template=template) as url:
        return Session(url, another, seed, trace).run()
