"""What a refresh costs after 0.1 % new events on the last day, and after nothing, beside a full one."""

from __future__ import annotations

import os
import sys
from statistics import median
from typing import TYPE_CHECKING

from . import engine, plain, results, rows

if TYPE_CHECKING:
    from .stage import Stage

LARGE = 5_000_000  # events from which the goal of 10 million counts
CHANGED_GOAL, CHANGED_GOAL_LARGE = 0.06, 0.02
NOTHING_GOAL = {"closed days": 0.03, "every write": 0.005}
COMMAND_GOAL_S = 0.3
CHANGES = 3  # measured for each bare refresh

_LAST_RUN = """
SELECT EXTRACT(EPOCH FROM r.finished_at - r.started_at)::double precision, COALESCE(r.scrub_seconds, 0)
FROM ledgerviews.run AS r
ORDER BY r.run_id DESC
LIMIT 1
"""


def measure(stage: Stage) -> None:
    """Measure with either tracking; the bare refresh is part of each round."""
    stage.results.say("incremental: 0.1 % new events, a third of them with feedback, on the last day")
    for tracking in NOTHING_GOAL:
        _tracked(stage, tracking)


def _tracked(stage: Stage, tracking: str) -> None:
    out = stage.results
    changed: list[float] = []
    bare: list[float] = []
    nothing: list[float] = []
    scrubs: list[float] = []
    recomputed: list[float] = []
    published: list[float] = []
    computed: list[float] = []
    done = ""
    with stage.connect() as writer, stage.connect() as connection:
        engine.track(connection, tracking)
        events = max(1, stage.options.events // 1000)
        for turn in range(CHANGES * stage.options.rounds):
            rows.add(writer, events=events, day=stage.last_day)
            begun = engine.cpu(connection)
            run_id = engine.call(connection, changed)
            computed.append(engine.cpu(connection) - begun)
            recompute, publish, _, done = engine.phases(connection, run_id)
            recomputed.append(recompute)
            published.append(publish)
            # A bare refresh lasts as long as fifty of ours: a busy minute of the host hits it less.
            if turn % CHANGES == 1:
                with results.timed(bare):
                    plain.refresh(connection)
            for _ in range(3):
                engine.call(connection, nothing)
            scrubs.append(engine.phases(connection, engine.call(connection, scrub=True))[2])
            rows.take_back(writer)
            engine.call(connection)
        idle = engine.phases(connection, engine.call(connection))[3]
    out.say(f" tracking {tracking!r}; new rows: {done}; nothing new: {idle}")
    out.times("three bare REFRESH … CONCURRENTLY, plain definitions", bare)
    out.times("CALL after 0.1 % new", changed)
    out.times("  its server process computing, without workers", computed)
    out.times("  of which recompute", recomputed)
    out.times("  of which views and checks", published)
    out.times("CALL with nothing new", nothing)
    out.times("scrub after it, not counted", scrubs)
    goal = CHANGED_GOAL_LARGE if stage.options.events >= LARGE else CHANGED_GOAL
    out.goal("0.1 % new / bare", results.ratio(changed, bare), goal)
    out.goal("nothing new / bare", results.ratio(nothing, bare), NOTHING_GOAL[tracking])
    _command(stage)


def _command(stage: Stage) -> None:
    """The whole command with nothing new."""
    environment = {**os.environ, "LEDGERVIEWS_DATABASE_URL": stage.server.url("bench")}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # a user's Python keeps what it compiled
    ours: list[float] = []
    python: list[float] = []
    imports: list[float] = []
    inside: list[float] = []
    scrubs: list[float] = []
    with stage.connect() as connection:
        for _ in range(max(5, stage.options.rounds)):
            words = [sys.executable, "-m", "ledgerviews", "refresh"]
            ours.append(results.command(words, environment=environment))
            python.append(results.command([sys.executable, "-c", ""], environment=environment))
            words = [sys.executable, "-c", "import click, psycopg"]
            imports.append(results.command(words, environment=environment))
            refreshed, scrubbed = connection.execute(_LAST_RUN).fetchall()[0]
            inside.append(refreshed)
            scrubs.append(scrubbed)
    above = median(one - other for one, other in zip(ours, python, strict=True))
    out = stage.results
    out.times("whole command, nothing new, with its scrub", ours)
    out.times("  of which refresh", inside)
    out.times("  of which scrub", scrubs)
    out.times("python -c ''", python)
    out.times("python -c 'import click, psycopg'", imports)
    out.goal("command above Python's start, with its scrub", above, COMMAND_GOAL_S, unit=" s")
