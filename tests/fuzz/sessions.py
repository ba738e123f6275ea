"""One seed's run: writers, clock, alterations and refreshes in one thread, so that the seed tells all."""

from __future__ import annotations

import random
import time
from contextlib import ExitStack, closing
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg import errors

from tests.fuzz import scenes, values, worlds
from tests.fuzz.oddities import empty_a_mart
from tests.fuzz.refreshes import Call, DifferenceError, Rows, Tally, compare, marts_of, read
from tests.fuzz.worlds import BEGINNING, GATE, MARTS
from tests.fuzz.writers import ZONES, Prepared, Writer
from tests.fuzz.writes import Write, copy_feedback, insert_events, insert_transactions

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

WRITERS = 5
_MAY_FAIL = (errors.LockNotAvailable, errors.SerializationFailure, errors.DeadlockDetected)


class Session:
    """Everything that a run has open; ``step`` does one thing."""

    def __init__(
        self,
        url: str,
        seed: int,
        *,
        world: worlds.World | None = None,
        trace: Callable[[str], None] | None = None,
    ) -> None:
        """Connect, and fill the tables of a clone of the world's template."""
        self.rng = random.Random(seed)
        self.world = world or worlds.draw(random.Random(seed))
        self.tally = Tally()
        self.url = url
        self.trace = trace or (lambda _line: None)
        self.stack = ExitStack()
        self.hours = 0
        self.published: dict[str, Any] = {}
        self.main = self._connect()
        self.observer = self._connect()
        self.gate = self._connect()
        worlds.prepare(self.main, self.world)
        prepared = Prepared(allowed=self._setting("max_prepared_transactions") != "0")
        self.writers = [
            Writer(
                number=number,
                connection=self._connect(),
                rng=self.rng,
                world=self.world,
                prepared=prepared,
                done=self.tally.done,
            )
            for number in range(WRITERS)
        ]
        self._fill()

    @property
    def now(self) -> datetime:
        """The time that the engine has."""
        return BEGINNING + timedelta(hours=self.hours)

    def close(self) -> None:
        """Close all connections; prepared transactions go first, for they would outlive the database's."""
        for name in self.writers[0].prepared.names:
            self.observer.execute(f"ROLLBACK PREPARED '{name}'".encode())
        self.stack.close()

    def step(self) -> None:
        """Do one thing."""
        dice = self.rng.random()
        if dice < 0.10:
            self.refresh()
        elif dice < 0.12:
            self.move_clock(self.rng.choice((1, 5, 5, 24, 30)))
        elif dice < 0.17:
            odd = self.world.busy > 0 and self.rng.random() < 0.5
            scene = self.rng.choice(scenes.ODD if odd else scenes.USUAL)
            self.trace(f"scene: {scene.__name__}")
            self.tally.scenes[scene.__name__] += 1
            scene(self)
        elif dice < 0.17 + self.world.busy:
            self._alter()
        else:
            self._write()

    def finish(self) -> None:
        """End what is open; a last refresh must be right, by the plain Python oracle too."""
        from tests.fuzz.plain import compare_with_oracle

        self.quiet()
        self._plain("", MARTS)
        self.tally.compared += compare_with_oracle(self.observer)
        for scope, count in self.observer.execute(
            "SELECT scope, count(*) FROM ledgerviews.run_relation"
            " WHERE relation_name <> 'mart_suggestions_kpis' GROUP BY 1"
        ):
            self.tally.scopes[scope] += count

    # Writers -----------------------------------------------------------------------------------------

    def _write(self) -> None:
        writer = self.rng.choice(self.writers)
        writer.step(self.now)
        self.trace(f"writer {writer.tell()}")

    def quiet(self) -> None:
        """End all transactions."""
        for writer in self.writers:
            writer.end()
        self.writers[0].end_prepared()
        self.trace("\n".join(f"writer {writer.tell()}" for writer in self.writers))

    def wander(self) -> None:
        """Let any writers do anything."""
        for _ in range(self.rng.randrange(3)):
            self._write()

    def event_ids(self) -> list[str]:
        """The ids that there are; none while a writer's TRUNCATE keeps everybody from looking."""
        try:
            rows = self.observer.execute(
                "SELECT event_id::text FROM fuzz.stg_suggestion_events ORDER BY event_id"
            )
        except errors.LockNotAvailable:
            return []
        return [row[0] for row in rows]

    def _alter(self, *, without: Callable[[Write], None] | None = None) -> None:
        if self.rng.random() < 0.8:
            self.quiet()
        writer = self.rng.choice(self.writers)
        writer.end()
        before = self.tally.done["empty_a_mart"]
        writer.alone(self.now, without)
        if self.tally.done["empty_a_mart"] > before:
            self.published.pop("mart_suggestions_feedback_daily", None)
        if self.rng.random() < 0.4:  # or else whatever lost a trigger is rebuilt from then on
            writer.mend()
        self.trace(f"alone: writer {writer.tell()}")

    def move_clock(self, hours: int) -> None:
        """Let hours pass."""
        self.hours += hours
        self.observer.execute("SELECT setval('fuzz.hours', %s)", [self.hours])
        self.trace(f"clock: {self.now}")

    # Refreshes ---------------------------------------------------------------------------------------

    def refresh(self) -> None:
        """Refresh in some way, and compare."""
        kind = self.rng.choice(
            ("all",) * 8
            + ("single",) * 5
            + ("paused",) * 5
            + ("full", "verify", "blocking", "killed", "check")
        )
        scrub = self.rng.choice(("true", "false"))
        self.trace(f"refresh: {kind}, scrub {scrub}")
        if kind == "single":
            name, upstream = self.rng.choice(MARTS), self.rng.random() < 0.7
            arguments = f"relation => '{name}', upstream => {upstream}, scrub => {scrub}"
            self._plain(arguments, marts_of([name], upstream=upstream), kind)
        elif kind in {"paused", "killed"}:
            self._paused(f"scrub => {scrub}", kind)
        elif kind == "check":
            self._failing_check()
        else:
            mode = "incremental" if kind == "all" else kind
            self._plain(f"mode => '{mode}', scrub => {scrub}", MARTS, kind)

    def _plain(self, arguments: str, marts: tuple[str, ...], kind: str = "all") -> None:
        call = Call(connection=self.main, arguments=arguments)
        error = call.run()
        if error is None:
            self.tally.refreshes[kind] += 1
            self._compare(marts, None)
        else:
            self._failed(error, "upstream => False" in arguments)

    def _paused(self, arguments: str, kind: str) -> None:
        """Hold a refresh at its snapshot while writers go on; then let it go on, or end it."""
        self.gate.execute("SELECT pg_advisory_lock(%s)", [GATE])
        connection = self._connect()
        call = Call(connection=connection, arguments=arguments)
        call.start()
        waits = call.waits(self.observer)
        try:
            expected = self._expected(MARTS) if waits else None
            self._meanwhile()
            if kind == "killed":
                end = self.rng.choice(("pg_terminate_backend", "pg_cancel_backend"))
                delay = self.rng.choice((None, 0.01, 0.05))
                if delay is not None:
                    self.gate.execute("SELECT pg_advisory_unlock(%s)", [GATE])
                    time.sleep(delay)
                self.observer.execute(f"SELECT {end}(%s)".encode(), [call.pid])
        finally:
            self.gate.execute("SELECT pg_advisory_unlock_all()")
        error = call.join()
        connection.close()
        if error is None or self._state_of_last_run() == "succeeded":
            self.tally.refreshes[kind] += 1
            if not waits or call.began_again:
                self._compare(MARTS, None)
            elif expected is not None:
                self._compare(MARTS, expected)
            else:  # somebody had locked a table when it took its snapshot
                self.tally.refreshes["uncompared"] += 1
                self.published.clear()
        elif kind == "killed":
            self.tally.refreshes["killed"] += 1
            self._unchanged()
        else:
            self._failed(error, unpopulated=False)

    def _meanwhile(self) -> None:
        for _ in range(self.rng.randint(2, 8)):
            if self.rng.random() < 0.1:
                self.move_clock(self.rng.choice((5, 24)))
            elif self.rng.random() < self.world.busy * 2:
                self._alter(without=empty_a_mart)
            else:
                self._write()

    def _failing_check(self) -> None:
        self.main.execute(
            "INSERT INTO ledgerviews.relation_check"
            " (schema_name, relation_name, check_name, kind, expression, severity)"
            " VALUES ('public', 'mart_suggestions_kpis', 'fuzz', 'expression', 'false', 'error')"
        )
        call = Call(connection=self.main, arguments="mode => 'full'")
        error = call.run()
        self.main.execute("DELETE FROM ledgerviews.relation_check WHERE check_name = 'fuzz'")
        if error is not None and error.sqlstate == "LV001":
            self.tally.refreshes["failing"] += 1
            self._unchanged()
        elif error is not None:
            self._failed(error, unpopulated=False)
        elif self.main.execute("SELECT EXISTS (SELECT FROM public.mart_suggestions_kpis)").fetchone() == (
            True,
        ):
            raise DifferenceError("a refresh published what its check refuses")
        else:
            self.tally.refreshes["full"] += 1
            self._compare(MARTS, None)

    def _failed(self, error: psycopg.Error, unpopulated: bool) -> None:
        if error.sqlstate == "LV002":
            raise DifferenceError(f"verify: {error}") from error
        if not isinstance(error, _MAY_FAIL) and not (
            unpopulated and isinstance(error, errors.ObjectNotInPrerequisiteState)
        ):
            raise error
        self.trace(f"refresh failed: {error}")
        self.tally.refreshes["failed"] += 1
        self._unchanged()

    # Comparisons -------------------------------------------------------------------------------------

    def _expected(self, marts: tuple[str, ...]) -> Rows | None:
        try:
            return read(self.observer, "fuzz", marts)
        except errors.LockNotAvailable:
            return None

    def _compare(self, marts: tuple[str, ...], expected: Rows | None) -> None:
        expected = expected or self._expected(marts)
        if marts == ("mart_suggestions_kpis",) and expected is not None:
            # Without what it reads, it is what its SELECT makes of that.
            try:
                expected = read(self.observer, "fuzz_published", marts)
            except errors.ObjectNotInPrerequisiteState:  # what it reads was emptied, and it left as it was
                expected = None
        self._unchanged(but=marts)
        published = read(self.observer, "public", marts)
        self.published |= published
        if expected is None:
            self.tally.refreshes["uncompared"] += 1
            return
        self.tally.compared += compare(expected, published)
        self.tally.comparisons += 1
        row = self.observer.execute(
            "SELECT (SELECT string_agg(drift, '; ') FROM ledgerviews.run),"
            " (SELECT count(*) FROM ledgerviews.run WHERE state IN ('waiting', 'running'))"
        ).fetchone()
        if row is None or row[0] is not None:
            raise DifferenceError(f"the scrub raised an alarm: {row and row[0]}")
        if row[1]:
            raise DifferenceError(f"{row[1]} runs are not closed")

    def _unchanged(self, but: tuple[str, ...] = ()) -> None:
        """What was not refreshed is as it was."""
        kept: Rows = {mart: rows for mart, rows in self.published.items() if mart not in but}
        compare(kept, read(self.observer, "public", kept))

    def _state_of_last_run(self) -> str:
        row = self.observer.execute(
            "SELECT state FROM ledgerviews.run ORDER BY run_id DESC LIMIT 1"
        ).fetchone()
        return "" if row is None else str(row[0])

    # Beginning ---------------------------------------------------------------------------------------

    def _connect(self) -> psycopg.Connection:
        connection = self.stack.enter_context(closing(psycopg.connect(self.url, autocommit=True)))
        connection.execute("SET lock_timeout = '40ms'")
        return connection

    def _setting(self, name: str) -> str:
        row = self.main.execute("SELECT current_setting(%s)", [name]).fetchone()
        assert row is not None
        return str(row[0])

    def _fill(self) -> None:
        self.main.execute(f"SET TimeZone = '{self.rng.choice(ZONES)}'; SET lock_timeout = '250ms'".encode())
        write = Write(connection=self.main, rng=self.rng, world=self.world, now=self.now, told=[])
        insert_transactions(write)
        target = "(id, txn_id, model_id, candidates, mode, created_at)"
        with self.main.cursor().copy(f"COPY public.suggestion_events {target} FROM STDIN".encode()) as copy:
            for number in range(values.EVENT_IDS * 2 // 3):
                copy.write_row((worlds.uuid_of(number + 1), *write.event()[1:]))
        for operation in (insert_events, copy_feedback) * 8:
            try:
                operation(write)
            except errors.IntegrityError:
                self.tally.done["refused"] += 1
        self._plain("", MARTS, "first")


def run(
    url: str,
    seed: int,
    *,
    steps: int,
    until: float | None = None,
    world: worlds.World | None = None,
    trace: Callable[[str], None] | None = None,
) -> Tally:
    """Take the steps of a seed, or fewer where the time ``until`` comes first; raises DifferenceError."""
    session = Session(url, seed, world=world, trace=trace)
    try:
        for _ in range(steps):
            if until is not None and time.monotonic() > until:
                break
            session.step()
        session.finish()
    finally:
        session.close()
    return session.tally
