"""Refreshes, and the comparison of what they publish with the models' own SELECTs in the same snapshot."""

from __future__ import annotations

import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import psycopg

from tests.fuzz.worlds import GATE, MARTS

if TYPE_CHECKING:
    from collections.abc import Iterable

Rows = dict[str, Counter[tuple[Any, ...]]]
PATIENCE_S = 60.0


class DifferenceError(AssertionError):
    """What is published is not what the sources give, or what must hold of a run does not."""


@dataclass(kw_only=True)
class Tally:
    """What was done and seen."""

    done: Counter[str] = field(default_factory=Counter)
    refreshes: Counter[str] = field(default_factory=Counter)
    scenes: Counter[str] = field(default_factory=Counter)
    scopes: Counter[str] = field(default_factory=Counter)
    compared: int = 0
    comparisons: int = 0

    @property
    def operations(self) -> int:
        """Statements and operations of the writers."""
        return sum(self.done.values())

    def add(self, other: Tally) -> None:
        """Count another one's in."""
        self.done += other.done
        self.refreshes += other.refreshes
        self.scenes += other.scenes
        self.scopes += other.scopes
        self.compared += other.compared
        self.comparisons += other.comparisons

    def __str__(self) -> str:
        """One line."""
        refreshes = ", ".join(f"{count} {name}" for name, count in sorted(self.refreshes.items()))
        scopes = ", ".join(f"{count} {name}" for name, count in sorted(self.scopes.items()))
        return (
            f"{self.operations} operations ({self.done['refused']} refused), {self.scenes.total()} scenes, "
            f"{sum(self.refreshes.values())} refreshes ({refreshes}; daily marts by scope: {scopes}), "
            f"{self.comparisons} comparisons of {self.compared} rows"
        )


def read(connection: psycopg.Connection, schema: str, marts: Iterable[str]) -> Rows:
    """All rows of some relations, in one snapshot."""
    with connection.transaction():
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        return {
            mart: Counter(connection.execute(f"SELECT * FROM {schema}.{mart}".encode()).fetchall())
            for mart in marts
        }


def compare(expected: Rows, published: Rows) -> int:
    """Raise DifferenceError unless they hold the same rows; returns how many."""
    lines = []
    for mart, rows in expected.items():
        lines += [f"{mart} lacks {row}" for row in rows - published[mart]]
        lines += [f"{mart} wrongly has {row}" for row in published[mart] - rows]
    if lines:
        raise DifferenceError(f"{len(lines)} rows differ:\n" + "\n".join(lines[:12]))
    return sum(rows.total() for rows in expected.values())


@dataclass(kw_only=True)
class Call:
    """One CALL of the engine, in a session and a thread of its own."""

    connection: psycopg.Connection
    arguments: str = ""
    notices: list[str] = field(default_factory=list)
    outcome: list[psycopg.Error | None] = field(default_factory=list)
    thread: threading.Thread | None = None

    @property
    def pid(self) -> int:
        """Its backend."""
        return self.connection.info.backend_pid

    @property
    def began_again(self) -> bool:
        """Whether it took more than one snapshot."""
        return any(notice.startswith("Beginning again") for notice in self.notices)

    def run(self) -> psycopg.Error | None:
        """Call it and wait for its end."""
        handler = self._keep
        self.connection.add_notice_handler(handler)
        try:
            self.connection.execute(f"CALL ledgerviews.refresh({self.arguments})".encode())
            self.outcome.append(None)
        except psycopg.Error as exc:
            self.outcome.append(exc)
        finally:
            self.connection.remove_notice_handler(handler)
        return self.outcome[0]

    def start(self) -> None:
        """Call it and do not wait."""
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def join(self) -> psycopg.Error | None:
        """Wait for its end."""
        assert self.thread is not None
        self.thread.join(PATIENCE_S)
        if not self.outcome:
            raise DifferenceError("a refresh does not end")
        return self.outcome[0]

    def waits(self, observer: psycopg.Connection) -> bool:
        """Return True once it stands at the gate with its snapshot, False when it ended before."""
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            if self.outcome:
                return False
            row = observer.execute(
                "SELECT EXISTS (SELECT FROM pg_locks WHERE pid = %s AND locktype = 'advisory' AND objid = %s"
                " AND NOT granted)",
                [self.pid, GATE],
            ).fetchone()
            if row is not None and row[0]:
                return True
            time.sleep(0.002)
        raise DifferenceError("a refresh neither ends nor reaches the gate")

    def _keep(self, diagnostic: psycopg.errors.Diagnostic) -> None:
        self.notices.append(diagnostic.message_primary or "")


def marts_of(names: Iterable[str], *, upstream: bool) -> tuple[str, ...]:
    """The marts that a refresh of some names brings up to date."""
    wanted = set(names) or set(MARTS)
    if upstream and "mart_suggestions_kpis" in wanted:
        wanted = set(MARTS)
    return tuple(mart for mart in MARTS if mart in wanted)
