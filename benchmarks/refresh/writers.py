"""What tracking costs the application's writers: single rows and bulk, of today and of a day that is over."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from importlib.resources import files
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    import psycopg

    from .stage import Stage

DESIGNS = ("untracked", "closed days", "every write", "statement")
GOALS = {"event": 1.05, "feedback": 1.2}
BLOCK, BULK_ROWS, SINGLE_ROUNDS, BULK_ROUNDS = 100, 10_000, 8, 2
PG_IVM = "pg_ivm's published figure, beside: single inserts 5 to 8 times"
TIMES = {"today": "pg_catalog.now()", "a closed day": "pg_catalog.now() - interval '30 days'"}

_SINGLE = {
    "event": """
INSERT INTO public.suggestion_events (txn_id, model_id, features_hash, candidates, mode, created_at)
VALUES (%s, 'model@2f1c', '8a6f0c', '[{{"label": "groceries", "reasons": [], "confidence": 0.58}}]', 'model',
    ({}) AT TIME ZONE 'UTC')
""",
    "feedback": """
INSERT INTO public.suggestion_feedback (event_id, txn_id, action, label, confidence, created_at)
VALUES (%s, 17, 'accept', 'groceries', 0.58, {})
""",
}
_BULK = {
    "event": """
INSERT INTO public.suggestion_events (txn_id, model_id, features_hash, candidates, mode, created_at)
SELECT e.txn_id, e.model_id, e.features_hash, e.candidates, e.mode, ({}) AT TIME ZONE 'UTC'
FROM public.suggestion_events AS e LIMIT %s
""",
    "feedback": """
INSERT INTO public.suggestion_feedback (event_id, txn_id, action, label, created_at)
SELECT e.id, e.txn_id, 'accept', 'fuel', {}
FROM public.suggestion_events AS e LIMIT %s
""",
}
_IDS = """
SELECT e.id FROM public.suggestion_events AS e WHERE e.created_at < %s ORDER BY e.created_at DESC LIMIT %s
"""


@dataclass(frozen=True, kw_only=True)
class Case:
    """One kind of insert."""

    kind: str
    when: str
    way: str
    keys: list[Any]

    @property
    def statement(self) -> str:
        """The INSERT with its time."""
        return (_BULK if self.way == "bulk" else _SINGLE)[self.kind].format(TIMES[self.when])

    @property
    def rows(self) -> int:
        """Rows that one statement writes."""
        return BULK_ROWS if self.way == "bulk" else 1

    def values(self, turn: int) -> list[list[Any]]:
        """What a block's statements are given."""
        if self.way == "bulk":
            return [[BULK_ROWS]]
        return [[self.keys[(turn * BLOCK + n) % len(self.keys)]] for n in range(BLOCK)]


@dataclass
class Writer:
    """A session that inserts under one design, and what that took."""

    connection: psycopg.Connection
    walls: list[float] = field(default_factory=list)
    cpus: list[float] = field(default_factory=list)

    def insert(self, case: Case, turn: int) -> None:
        """Run a block of inserts; each is a transaction."""
        path = Path(f"/proc/{self.connection.info.backend_pid}/schedstat")
        values, query = case.values(turn), case.statement.encode()
        begun = int(path.read_text().split()[0])
        for value in values:
            started = time.perf_counter()
            self.connection.execute(query, value, prepare=case.way == "prepared")
            self.walls.append((time.perf_counter() - started) / case.rows)
        used = int(path.read_text().split()[0]) - begun
        self.cpus.append(used / 1e9 / len(values) / case.rows)


def measure(stage: Stage) -> None:
    """One database for each design, and blocks of inserts in turn."""
    stage.fill()
    with stage.connect("postgres") as connection:
        connection.execute("ALTER SYSTEM SET autovacuum = off")
        connection.execute("SELECT pg_catalog.pg_reload_conf()")
        for number in range(len(DESIGNS)):
            connection.execute(f"CREATE DATABASE design{number} TEMPLATE bench".encode())
    sessions = {name: stage.connect(f"design{number}") for number, name in enumerate(DESIGNS)}
    for name, connection in sessions.items():
        _install(connection, name)
    stage.results.say(f"writers: wall and backend CPU of a row, medians; {PG_IVM}")
    for case in _cases(sessions["untracked"]):
        _measure(stage, sessions, case)
    for connection in sessions.values():
        connection.close()


def _cases(connection: psycopg.Connection) -> Iterator[Case]:
    closed = datetime.now(UTC).replace(tzinfo=None) - timedelta(days=30)
    ids = [row[0] for row in connection.execute(_IDS, [closed, BLOCK * 20])]
    for way in ("prepared", "plain", "bulk"):
        for kind in _SINGLE:
            for when in TIMES:
                yield Case(
                    kind=kind, when=when, way=way, keys=ids if kind == "feedback" else [*range(1, 15_000)]
                )


def _install(connection: psycopg.Connection, design: str) -> None:
    tracking = {"untracked": "none", "statement": "none"}.get(design, design)
    for source in ("public.suggestion_events", "public.suggestion_feedback"):
        connection.execute("SELECT ledgerviews.track(%s, %s)", [source, tracking])
    if design == "statement":
        text = files(__package__).joinpath("statement_tracking.sql").read_text(encoding="utf-8")
        connection.execute(text.encode())


def _measure(stage: Stage, sessions: dict[str, psycopg.Connection], case: Case) -> None:
    writers = {name: Writer(connection) for name, connection in sessions.items()}
    rounds = max(3, stage.options.rounds) * (BULK_ROUNDS if case.way == "bulk" else SINGLE_ROUNDS)
    order = list(writers)
    for turn in range(rounds):
        for name in order[turn % len(order) :] + order[: turn % len(order)]:
            writers[name].insert(case, turn)
    base = writers["untracked"]
    wall, cpu = median(base.walls), median(base.cpus)
    out = stage.results
    out.say(f" {case.kind}, {case.when}, {case.way} (n={len(base.walls)})")
    for name, writer in writers.items():
        ratio = median(writer.walls) / wall
        figures = f"{median(writer.walls) * 1e6:8.1f} µs, CPU {median(writer.cpus) * 1e6:7.1f} µs"
        line = f"{name:<12}{figures} {median(writer.cpus) / cpu:5.2f}x"
        if name == "closed days" and case.when == "today" and case.way == "prepared":
            out.goal(line, ratio, GOALS[case.kind], unit="x")
        else:
            out.say(f"  {line:<58} {ratio:9.4f}x")
