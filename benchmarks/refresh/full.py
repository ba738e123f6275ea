"""What a full rebuild by the engine costs beside psql, and beside dbt where it is installed."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from . import dbt, engine, plain, results

if TYPE_CHECKING:
    from .stage import Stage

GOAL = 1.25


def measure(stage: Stage) -> None:
    """Rebuild all with each, in turn."""
    out = stage.results
    url = stage.server.url("bench")
    environment = {**os.environ, "PGOPTIONS": ""}
    psql = plain.psql(stage.server.bin_dir, url)
    ours: list[float] = []
    bare: list[float] = []
    recomputed: list[float] = []
    theirs: list[float] = []
    out.say("full: everything rebuilt, readers not blocked")
    with stage.connect() as connection, dbt.project(stage, connection) as build:
        for _ in range(stage.options.rounds):
            run_id = engine.call(connection, ours, mode="full")
            recomputed.append(engine.phases(connection, run_id)[0])
            bare.append(results.command(psql, environment=environment))
            if build is not None:
                theirs.append(results.command(build, environment=environment))
    out.times("psql, three REFRESH … CONCURRENTLY, plain definitions", bare)
    out.times("CALL, full", ours)
    out.times("  of which recompute", recomputed)
    out.goal("full / psql", results.ratio(ours, bare), GOAL)
    if theirs:
        out.times("dbt run, whole command, tables", theirs)
        out.say(f"  {'full / dbt':<58} {results.ratio(ours, theirs):9.4f}")
