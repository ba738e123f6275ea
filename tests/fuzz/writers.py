"""Writers whose transactions overlap: each keeps its own open over several steps, or prepares it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import psycopg
from psycopg import errors
from psycopg.pq import TransactionStatus

from tests.fuzz.oddities import ALONE, IN_A_TRANSACTION, track_as_before
from tests.fuzz.worlds import BEGINNING
from tests.fuzz.writes import USUAL, Write

if TYPE_CHECKING:
    import random
    from collections import Counter
    from collections.abc import Callable
    from datetime import datetime

    from tests.fuzz.worlds import World

# What a statement may run into when others hold what it wants; all else is a fault of ours or of the engine.
EXPECTED = (
    errors.LockNotAvailable,
    errors.IntegrityError,
    errors.SerializationFailure,
    errors.DeadlockDetected,
    errors.ObjectInUse,
    errors.ObjectNotInPrerequisiteState,
    errors.CardinalityViolation,
    errors.InvalidTableDefinition,
)
_LEVELS = ("READ COMMITTED", "READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE")
ZONES = ("UTC", "America/Los_Angeles", "Pacific/Kiritimati")


@dataclass(kw_only=True)
class Prepared:
    """Transactions that are prepared, by name, in one database."""

    allowed: bool
    names: list[str] = field(default_factory=list)
    count: int = 0


@dataclass(kw_only=True)
class Writer:
    """One session of the application."""

    number: int
    connection: psycopg.Connection
    rng: random.Random
    world: World
    prepared: Prepared
    done: Counter[str]
    savepoints: int | None = None  # None outside a transaction
    told: list[str] = field(default_factory=list)

    def tell(self) -> str:
        """Say what it did since it was asked the last time."""
        told = "; ".join(self.told)
        self.told.clear()
        return f"{self.number}: {told}"

    def step(self, now: datetime) -> None:
        """Do one thing: begin, write, mark, go back, or end in one of the ways that there are."""
        dice = self.rng.random()
        if self.savepoints is None and dice < 0.5:
            self.begin(self.rng.choice(_LEVELS))
        elif self.savepoints is None and dice < 0.6 and self.prepared.names:
            self._end_prepared()
        elif self.savepoints is not None and dice < 0.08:
            self._execute(f"SAVEPOINT s{self.savepoints}")
            self.savepoints += 1
        elif self.savepoints and dice < 0.15:
            self._back_or_release()
        elif self.savepoints is not None and dice < 0.32:
            self.end()
        else:
            self._write(now)

    def end(self) -> None:
        """End the transaction, mostly by a commit."""
        if self.savepoints is None:
            return
        how = self.rng.random()
        self.savepoints = None
        if how < 0.2:
            self._execute("ROLLBACK")
        elif how < 0.32 and self.prepared.allowed and len(self.prepared.names) < 3:
            self.prepared.count += 1
            name = f"{self.connection.info.dbname}_{self.prepared.count}"
            if self._attempt(f"PREPARE TRANSACTION '{name}'"):
                self.prepared.names.append(name)
        else:
            self._attempt("COMMIT")

    def alone(self, now: datetime, without: Callable[[Write], None] | None = None) -> None:
        """Do what no transaction block takes, or what needs that nobody else holds a table."""
        self.apply(self.rng.choice([operation for operation in ALONE if operation is not without]), now)

    def mend(self) -> None:
        """Put the triggers on again."""
        self.apply(track_as_before, BEGINNING)

    def end_prepared(self) -> None:
        """End all prepared transactions, one way or the other."""
        while self.prepared.names:
            self._end_prepared()

    def begin(self, level: str) -> None:
        """Begin a transaction, in some time zone; one that a refused statement left open is given up."""
        if self.connection.info.transaction_status is not TransactionStatus.IDLE:
            self._execute("ROLLBACK")
        self._execute(f"SET TimeZone = '{self.rng.choice(ZONES)}'")
        self._execute(f"BEGIN ISOLATION LEVEL {level}")
        self.savepoints = 0

    def _back_or_release(self) -> None:
        assert self.savepoints
        mark = self.rng.randrange(self.savepoints)
        if self.rng.random() < 0.6:
            self._execute(f"ROLLBACK TO SAVEPOINT s{mark}")
            self.savepoints = mark + 1
        else:
            self._execute(f"RELEASE SAVEPOINT s{mark}")
            self.savepoints = mark

    def _end_prepared(self) -> None:
        name = self.prepared.names.pop(self.rng.randrange(len(self.prepared.names)))
        self._execute(f"{self.rng.choice(('COMMIT', 'COMMIT', 'ROLLBACK'))} PREPARED '{name}'")

    def _write(self, now: datetime) -> None:
        odd = self.rng.random() < self.world.busy
        self.apply(self.rng.choice(IN_A_TRANSACTION if odd else USUAL), now)

    def commit(self) -> None:
        """Commit, where a refused statement has not ended the transaction before."""
        if self.savepoints is not None:
            self.savepoints = None
            self._attempt("COMMIT")

    def apply(self, operation: object, now: datetime) -> None:
        """Do an operation, or go back to the last savepoint where it is refused."""
        name = getattr(operation, "__name__", "?")
        try:
            assert callable(operation)
            self.told.append(name)
            operation(
                Write(connection=self.connection, rng=self.rng, world=self.world, now=now, told=self.told)
            )
            self.done[name] += 1
        except EXPECTED as exc:
            self.done["refused"] += 1
            self.told.append(f"refused: {type(exc).__name__}")
            if self.savepoints:
                self._execute(f"ROLLBACK TO SAVEPOINT s{self.savepoints - 1}")
            else:
                self.savepoints = None
                self._execute("ROLLBACK" if self.connection.info.transaction_status.value else "SELECT")
                self._execute("RESET session_replication_role")

    def _attempt(self, text: str) -> bool:
        try:
            self._execute(text)
        except EXPECTED:
            self._execute("ROLLBACK")
            return False
        return True

    def _execute(self, text: str) -> None:
        self.told.append(text)
        self.connection.execute(text.encode())
        self.done[text.split(maxsplit=1)[0].lower()] += 1
