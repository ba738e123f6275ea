"""Whether the length of history costs anything: the same rows a day over 365 and over 3,650 days."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import date, timedelta
from statistics import median
from typing import TYPE_CHECKING

from . import engine, plain, results, rows

if TYPE_CHECKING:
    import psycopg

    from .stage import Stage

GOAL = 1.15
LENGTHS = {"short": 1, "long": 10}
ROUNDS = 7  # a round takes a moment, and the figures are small


@dataclass
class Times:
    """What one history took, round by round."""

    calls: list[float] = field(default_factory=list)
    recomputes: list[float] = field(default_factory=list)
    bare: list[float] = field(default_factory=list)


def measure(stage: Stage) -> None:
    """Fill both, then change the last day and a closed one of each, in turn."""
    for name, times in LENGTHS.items():
        stage.fill(name, events=stage.options.events * times, days=365 * times)
    last = date.fromisoformat(stage.last_day)
    for label, day in {"the last day": last, "a day that is over": last - timedelta(days=100)}.items():
        _day(stage, label, str(day))


def _day(stage: Stage, label: str, day: str) -> None:
    found = {name: Times() for name in LENGTHS}
    new = {name: Times() for name in LENGTHS}
    with ExitStack() as stack:
        # In a new session the first touch of a shared page is a page fault: thousands over the long history.
        sessions = {name: stack.enter_context(stage.connect(name)) for name in LENGTHS}
        for turn in range(1 + max(ROUNDS, stage.options.rounds)):
            for name in LENGTHS:
                _round(stage, name, day, sessions[name], found[name] if turn else Times())
                with stage.connect(name) as connection:
                    engine.call(connection)  # the session's first one loads the catalog
                    _round(stage, name, day, connection, new[name])
    out = stage.results
    out.say(f"history: {_events(stage)} new events on {label}, tracking closed days, from one open session")
    for name, times in found.items():
        out.times(f"CALL, {365 * LENGTHS[name]:,} days", times.calls)
        out.times("  of which recompute", times.recomputes)
        out.times("  bare REFRESH … CONCURRENTLY over the rollups", times.bare)
        out.times("  CALL, from a new session each time", new[name].calls)
        out.times("    of which recompute", new[name].recomputes)
    touched = {}
    for name in found:
        with stage.connect(name) as connection:
            touched[name] = engine.pages(connection, day)
    out.say(
        f"  pages touched to recompute {label}: {touched['short']:,} of the short history,"
        f" {touched['long']:,} of the long one: {touched['long'] / touched['short']:.3f}"
    )
    short, long = found["short"], found["long"]
    out.goal("recompute, long / short", results.ratio(long.recomputes, short.recomputes), GOAL)
    least = median(long.bare) + median(short.recomputes)
    out.goal("CALL long / (bare long + recompute short)", median(long.calls) / least, GOAL)


def _round(stage: Stage, name: str, day: str, connection: psycopg.Connection, times: Times) -> None:
    with stage.connect(name) as writer:
        rows.add(writer, events=_events(stage), day=day)
        run_id = engine.call(connection, times.calls)
        times.recomputes.append(engine.phases(connection, run_id)[0])
        with results.timed(times.bare):
            plain.refresh(connection, schema="public")
        rows.take_back(writer)
        engine.call(connection)


def _events(stage: Stage) -> int:
    return max(1, stage.options.events // 1000)
