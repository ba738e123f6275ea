"""What readers notice while marts are refreshed: the 99th percentile of their reads, and errors."""

from __future__ import annotations

import threading
import time
from statistics import median, quantiles
from typing import TYPE_CHECKING

import psycopg

from . import engine, plain, rows

if TYPE_CHECKING:
    from collections.abc import Callable

    from .stage import Stage

INCREMENTAL_GOAL, FULL_GOAL, READS_GOAL = 2.0, 1.2, 10_000
PAUSE_S = 0.002
MOST_S = 40.0  # a phase of a round ends then, with what it has

_READS = (
    "SELECT * FROM public.mart_suggestions_kpis ORDER BY created_date DESC LIMIT 30",
    """
    SELECT d.model_id, pg_catalog.sum(d.events), pg_catalog.sum(d.candidates_total)
    FROM public.mart_suggestions_daily AS d
    WHERE d.created_date >= (pg_catalog.now() AT TIME ZONE 'UTC')::date - 90 GROUP BY d.model_id
    """,
    """
    SELECT f.created_date, pg_catalog.sum(f.accepts), pg_catalog.sum(f.rejects)
    FROM public.mart_suggestions_feedback_daily AS f
    WHERE f.created_date >= (pg_catalog.now() AT TIME ZONE 'UTC')::date - 30 GROUP BY f.created_date
    """,
)


class Reader(threading.Thread):
    """Reads the marts with a short pause between, and keeps the times of reads that count."""

    def __init__(self, stage: Stage) -> None:
        super().__init__(daemon=True)
        self.connection = stage.connect()
        self.seconds: list[float] = []
        self.errors: list[str] = []
        self.counts = False
        self.ended = threading.Event()

    def run(self) -> None:
        """Read until told to end."""
        turn = 0
        while not self.ended.is_set():
            turn += 1
            counts = self.counts
            started = time.perf_counter()
            try:
                self.connection.execute(_READS[turn % len(_READS)], prepare=True).fetchall()
            except psycopg.Error as exc:
                self.errors.append(str(exc))
            if counts or self.counts:
                self.seconds.append(time.perf_counter() - started)
            time.sleep(PAUSE_S)

    def during(
        self, action: Callable[[], None], *, reads: int, before: Callable[[], None] | None = None
    ) -> list[float]:
        """The times of reads that overlap with an action, which is repeated until there are enough."""
        self.seconds = []
        deadline = time.monotonic() + MOST_S
        while len(self.seconds) < reads and time.monotonic() < deadline:
            if before is not None:
                before()
            self.counts = True
            action()
            self.counts = False
        return self.seconds


def measure(stage: Stage) -> None:
    """Measure the four phases in turn, in each round a share of the reads."""
    out = stage.results
    share = READS_GOAL // (4 * stage.options.rounds) + 1
    found: dict[str, list[list[float]]] = {"idle": [], "incremental": [], "bare": [], "full": []}
    with stage.connect() as connection, stage.connect() as writer:
        reader = Reader(stage)
        reader.start()

        def write() -> None:
            rows.add(writer, events=20, day=stage.last_day)
            writer.execute("DROP TABLE pg_temp.added")

        for _ in range(stage.options.rounds):
            found["idle"].append(reader.during(lambda: time.sleep(0.5), reads=share))
            found["incremental"].append(
                reader.during(lambda: void(engine.call(connection)), reads=share, before=write)
            )
            found["bare"].append(
                reader.during(lambda: plain.refresh(connection, schema=plain.SCHEMA), reads=share)
            )
            found["full"].append(
                reader.during(lambda: void(engine.call(connection, mode="full")), reads=share)
            )
        reader.ended.set()
        reader.join()
        reader.connection.close()
    reads = sum(len(times) for rounds in found.values() for times in rounds)
    out.say(f"readers: one session, {PAUSE_S * 1000:g} ms between reads; p99 of each round")
    worst = {phase: [_p99(times) for times in rounds] for phase, rounds in found.items()}
    for phase, values in worst.items():
        out.times(f"p99, {phase}", values)
    middle = {phase: median(values) for phase, values in worst.items()}
    out.goal("p99 incremental / idle", middle["incremental"] / middle["idle"], INCREMENTAL_GOAL)
    out.goal("p99 full / bare", middle["full"] / middle["bare"], FULL_GOAL)
    out.goal(f"reader errors over {reads:,} reads", len(reader.errors), 0)
    for error in reader.errors[:3]:
        out.say(f"    {error}")


def _p99(times: list[float]) -> float:
    return quantiles(times, n=100)[98]


def void(_value: object) -> None:
    """Drop a value."""
