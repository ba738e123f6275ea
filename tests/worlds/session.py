"""One world through its life: installed, used, changed by a revision, and back."""

from __future__ import annotations

import copy
import random
import threading
import time
from contextlib import AbstractContextManager, closing, contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import psycopg

from ledgerviews.errors import LedgerviewsError
from tests.worlds import additions, foreign, worlds
from tests.worlds.checks import Checks, DifferenceError, Tally
from tests.worlds.declared import MIGRATOR, World, before_and_after
from tests.worlds.drawing import Drawing
from tests.worlds.edits import Edits
from tests.worlds.fingerprint import Print, contents, fingerprint
from tests.worlds.names import quoted
from tests.worlds.worlds import LATE, Writers, execute, replace, write

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests import servers as pg
    from tests.worlds.additions import Addition
    from tests.worlds.declared import Specs
    from tests.worlds.foreign import Foreign

KILLED = ("terminat", "closed", "connection is lost")


@dataclass
class Session:
    """A world in a database, and what it takes to make another one like it."""

    url: str
    another: Callable[[], AbstractContextManager[str]]
    seed: int
    trace: Callable[[str], None]
    psql: str | None = None
    tally: Tally = field(default_factory=Tally)

    def __post_init__(self) -> None:
        """Draw everything from the seed."""
        self.rng, self.began = random.Random(self.seed), time.monotonic()
        self.drawing = Drawing(self.rng)
        self.world = self.drawing.world()
        self.foreign = foreign.draw(self.drawing, self.world)
        self.additions = additions.draw(self.drawing, self.world)
        # A rule over a column is as firm as a view over it.
        self.held = {number for one in self.additions if one.firm for number in one.columns}
        needed = self.held | {number for one in self.foreign for number in one.uses}
        edits = Edits(self.drawing, needed=needed, pinned={one.root for one in self.foreign})
        self.changed, self.done = edits.edited(self.world, self.rng.randint(2, 8))
        self.whole = self.rng.random() < 0.25
        self.everywhere = self.rng.random() < 0.5
        self.lasting = [one for one in self.additions if one.outlives(self.world, self.changed)]
        # Whether a kill came too late or not: what went on the way there does not come back.
        self.lossy = len(self.lasting) < len(self.additions)

    def run(self) -> Tally:
        """All of it; DifferenceError where something is not as it should be."""
        self.tally.worlds, self.tally.edits = 1, len(self.done)
        self.tally.relations = len(self.world.relations) + len(self.foreign)
        self._say(f"schema {self.world.schema}, {self.world.tracking}, migrator {self.world.migrator}")
        for one in self.world.relations:
            self._say(f"  {one.kind} {one.schema}.{one.name!a} over {self.world.find(one.source).name!a}")
        for done in self.done:
            self._say(f"  {done}")
        with closing(psycopg.connect(self.url, autocommit=True)) as connection:
            self.connection = connection
            self.checks = Checks(connection, self.tally)
            self._install(connection, self.url, self.world, self.additions)
            self._late_defaults(connection)
            first = fingerprint(connection)
            self._refused()
            self._circle()
            self._courteous()
            self._killed()
            self._upgrade()
            self._equal_fresh(self.changed, self.lasting)
            first_time = self.additions is not self.lasting
            self.checks.late(self.world, self.changed, everywhere=self.everywhere, first=first_time)
            self._used(self.changed)
            self._replace("downgrade", self.changed, self.world)
            if self.lossy:
                self._equal_fresh(self.world, self.lasting)
            else:
                self.checks.refresh()
                self.checks.equal("after the downgrade", first, fingerprint(connection))
            self.checks.late(self.changed, self.world, everywhere=self.everywhere, first=False)
            self._used(self.world)
        return self.tally

    # Steps ------------------------------------------------------------------------------------------------

    def _install(
        self, connection: psycopg.Connection, url: str, world: World, hand_made: list[Addition]
    ) -> None:
        worlds.prepare(connection, world)
        for table in world.tables:
            write(connection, self.rng, table, 60)
        replace(url, world, {}, world.specs())
        # One of ours may read one that no refresh renews, or the other way round.
        with suppress(psycopg.errors.ObjectNotInPrerequisiteState):
            self._fill_others(connection, world)
        connection.execute("CALL ledgerviews.refresh(scrub => false)")
        self._fill_others(connection, world)
        # Who may not own a thing could not replace it, and would be refused.
        role = [f"SET ROLE {MIGRATOR}"] if world.migrator else []
        others: list[Foreign | Addition] = [*self.foreign, *hand_made]
        for one in others:
            execute(connection, *role, *one.statements(world), "RESET ROLE")
        self._say("installed")

    def _upgrade(self) -> None:
        writers = None
        if self.rng.random() < 0.5:
            reads = [
                quoted(*self.world.place(one))
                for one in self.world.relations
                if (changed := self.changed.relation(one.number)) is not None
                and self.changed.place(changed) == self.world.place(one)
            ]
            reads += [one.place for one in self.foreign if one.kind in ("view", "materialized")]
            writers = Writers(self.url, self.world, self.seed, reads)
        old = self.checks.filled()
        try:
            self._replace("upgrade", self.world, self.changed)
        finally:
            if writers is not None:
                writers.close()
                self.tally.writes += writers.transactions
        self.checks.still_filled(old, self.changed)
        if writers is None:
            self.checks.rebuilt(old)
        if writers is not None or self.rng.random() < 0.5:
            self.checks.by_days(self.world, self.changed, quiet=writers is None)
        self.checks.refresh()
        self.checks.rows(self.changed)

    def _revision(self, before: World, after: World) -> tuple[Specs, Specs]:
        """What a revision holds: what differs, or everything."""
        return before_and_after(before, after, whole=self.whole)

    def _replace(self, what: str, before: World, after: World) -> None:
        was, shall = self._revision(before, after)
        keep = self.rng.random() < 0.2
        psql = self.psql if self.rng.random() < 0.2 else None
        self._say(f"{what}{' by psql' if psql else ''}: {sorted(was)} -> {sorted(shall)}")
        replace(self.url, after, was, shall, keep=keep, psql=psql)
        self.tally.replacements += 1
        self.tally.scripts += psql is not None
        self.checks.nothing_left(what)
        if keep:
            with self.connection.transaction():
                execute(
                    self.connection,
                    "SET LOCAL client_min_messages = warning",
                    *([f"SET LOCAL ROLE {MIGRATOR}"] if after.migrator else []),
                    "SELECT ledgerviews.drop_kept()",
                )

    def _refused(self) -> None:
        """A column that others need, or a relation under them, cannot go; it is said why."""
        for one in self.foreign:
            column = self.rng.choice(one.uses) if self.rng.random() < 0.6 else None
            changed = self._without(one.root, column) if self.rng.random() < 0.4 else None
            if changed is None:
                continue
            first = self._everything()
            names = [other.name for other in self.foreign if other.root == one.root]
            if column in self.held:
                names.append(self.world.find(one.root).name)
            try:
                replace(self.url, self.world, *self._revision(self.world, changed))
            except Exception as exc:  # whatever it is, it names who is in the way
                self._say(f"refused: {str(exc).splitlines()[0]}")
                if not any(name in str(exc) or quoted(name) in str(exc) for name in names):
                    raise DifferenceError(f"refused without a name: {exc}") from exc
            else:
                raise DifferenceError(f"not refused under {one.name!r}")
            self.tally.refused += 1
            self.checks.equal("after a refusal", first, self._everything())

    def _without(self, number: int, column: int | None) -> World | None:
        """The world without a relation, or without one of its columns, where only others need it."""
        changed = copy.deepcopy(self.world)
        one = changed.relation(number)
        if one is None or changed.readers(number):
            return None
        if column is None:
            changed.relations.remove(one)
        elif column in one.key or column in one.grouped or len(one.columns) == 1:
            return None
        else:
            one.columns = [other for other in one.columns if other.number != column]
            one.indexes = [(text, refs) for text, refs in one.indexes if column not in refs]
        return changed

    def _circle(self) -> None:
        """Two that read each other are refused by their names."""
        changed = copy.deepcopy(self.world)
        for one in changed.relations:
            source = changed.relation(one.source)
            if source is not None and source.kind == "view" and source.schema is one.schema is None:
                was, shall = before_and_after(changed, changed, whole=True)
                place = quoted("public", one.name)
                spec = shall[changed.key_of(source)]
                spec["definition"] = f"SELECT t.* FROM {place} AS t"
                spec["reads"] = [changed.key_of(one)]
                first = self._everything()
                try:
                    replace(self.url, self.world, was, shall)
                except (LedgerviewsError, psycopg.Error) as exc:
                    if one.name not in str(exc) or source.name not in str(exc):
                        raise DifferenceError(f"a circle is refused without names: {exc}") from exc
                else:
                    raise DifferenceError(f"{one.name!r} and {source.name!r} read each other")
                self.tally.refused += 1
                self.checks.equal("after a circle", first, self._everything())
                return

    def _courteous(self) -> None:
        """Until the exchange nothing is locked that a reader would notice."""
        first = self._everything()
        locks = worlds.build_only(self.url, self.world, *self._revision(self.world, self.changed))
        if locks:
            raise DifferenceError(f"locked while it is built: {locks}")
        self.checks.equal("after a build", first, self._everything())

    def _killed(self) -> None:
        """A backend that ends at any moment leaves everything as it was, or as it shall be."""
        was, shall = self._revision(self.world, self.changed)
        for _ in range(self.rng.choice((0, 1, 2))):
            first = self._everything()
            error = self._kill(was, shall, self.rng.random() * 0.7)
            self.tally.kills += 1
            self._wait_for_locks()
            if error is not None:
                self._say(f"killed: {type(error).__name__}")
                if not any(word in str(error) for word in KILLED):
                    raise DifferenceError("a killed replacement fails otherwise") from error
                self.tally.undone += 1
                self.checks.equal("after a kill", first, self._everything())
            else:
                self._say("killed too late")
                replace(self.url, self.world, shall, was)
                # What went with columns and kinds that were away is gone.
                self.additions = self.lasting
                self.checks.refresh()

    def _kill(self, was: Specs, shall: Specs, after: float) -> BaseException | None:
        pids: list[int] = []
        errors: list[BaseException] = []
        begun = threading.Event()

        def began(pid: int) -> None:
            pids.append(pid)
            begun.set()

        def work() -> None:
            try:
                replace(self.url, self.world, was, shall, began=began)
            except BaseException as exc:  # noqa: BLE001 (looked at by the caller)
                errors.append(exc)

        thread = threading.Thread(target=work)
        thread.start()
        begun.wait(30)
        time.sleep(after)
        self.connection.execute("SELECT pg_terminate_backend(%s)", pids)
        thread.join()
        return errors[0] if errors else None

    def _wait_for_locks(self) -> None:
        """A backend that ended gives its locks back a moment later."""
        with self.connection.transaction():
            execute(self.connection, "SET LOCAL lock_timeout = '30s'")
            execute(self.connection, "LOCK TABLE ledgerviews.refresh_lock IN EXCLUSIVE MODE")

    def _used(self, world: World) -> None:
        """The application goes on, and refreshes are exact."""
        for table in world.tables:
            write(self.connection, self.rng, table, 5)
        self.checks.by_days(self.world, self.changed, quiet=False)
        self.checks.rows(world)

    def _equal_fresh(self, world: World, hand_made: list[Addition]) -> None:
        """The schema is that of a database in which the world was installed at once."""
        self.checks.refresh()
        self._fill_others(self.connection, world)
        with self.another() as url, closing(psycopg.connect(url, autocommit=True)) as connection:
            self._install(connection, url, world, hand_made)
            self._late_defaults(connection)
            Checks(connection).declared(world)
            self.checks.equal("fresh and replaced", fingerprint(connection), fingerprint(self.connection))

    @staticmethod
    def _fill_others(connection: psycopg.Connection, world: World) -> None:
        """Materialized views without a key, which no refresh of ours renews."""
        for one in world.relations:
            if one.stored and not one.key:
                execute(connection, f"REFRESH MATERIALIZED VIEW {quoted(*world.place(one))}")

    def _late_defaults(self, connection: psycopg.Connection) -> None:
        """Default privileges that came after the installation: what was there before does not get them."""
        role = f"FOR ROLE {MIGRATOR} " if self.world.migrator else ""
        place = "" if self.everywhere else f"IN SCHEMA {quoted(self.world.schema)} "
        execute(connection, f"ALTER DEFAULT PRIVILEGES {role}{place}GRANT SELECT ON TABLES TO {LATE}")

    def _everything(self) -> Print:
        return fingerprint(self.connection, state=True) | contents(self.connection)

    def _say(self, line: str) -> None:
        self.trace(f"{time.monotonic() - self.began:6.1f} {line}")


def run(
    server: pg.PgServer,
    seed: int,
    trace: Callable[[str], None],
    prefix: str,
    *,
    mutate: Callable[[psycopg.Connection], None] | None = None,
) -> Tally:
    """One seed on a server; ``mutate`` makes its engine wrong first."""
    template = worlds.template(server, migrator=Drawing(random.Random(seed)).world().migrator)

    @contextmanager
    def database(name: str) -> Iterator[str]:
        with server.database(name, template=template) as url:
            if mutate is not None:
                with closing(psycopg.connect(url, autocommit=True)) as connection:
                    mutate(connection)
            yield url

    psql = str(server.bin_dir / "psql") if server.bin_dir is not None else None
    with database(f"{prefix}_{seed}") as url:
        return Session(url, lambda: database(f"{prefix}_{seed}_fresh"), seed, trace, psql).run()
