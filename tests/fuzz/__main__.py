"""The long fuzz: ``python -m tests.fuzz --minutes 30`` kills refreshes and runs seed after seed.

It ends at the first difference with the seed and the last steps before it, and leaves with 1.
"""

# ruff: noqa: T201 (its output is its purpose)

from __future__ import annotations

import argparse
import os
import random
import secrets
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import TYPE_CHECKING

from tests import servers as pg
from tests.fuzz import sessions, worlds
from tests.fuzz.killing import KINDS
from tests.fuzz.refreshes import Tally
from tests.fuzz.test_kills import killing

if TYPE_CHECKING:
    from collections.abc import Callable

STEPS = 600


def fuzz(server: pg.PgServer, first: int, until: float) -> Tally:
    """Seeds from the first on, until the time is up."""
    total, seed = Tally(), first
    while time.monotonic() < until:
        world = worlds.draw(random.Random(seed))
        trace: list[str] = []
        template = worlds.template(server, world.shape)
        with server.database(f"lv_{os.environ[pg.RUN]}_{server.name}_{seed}", template=template) as url:
            try:
                tally = sessions.run(url, seed, steps=STEPS, until=until, trace=trace.append)
            except BaseException:
                print(f"{server.name}, seed {seed}: {world}", *trace[-80:], sep="\n", flush=True)
                raise
        total.add(tally)
        print(f"{server.name}, seed {seed}: {world}: {tally}", flush=True)
        seed += 1
    return total


def kill(server: pg.PgServer, seed: int, count: int, until: float) -> str:
    """Kill refreshes until ``count`` of them were undone by it, or the time is up."""
    if server.bin_dir is None or not count:
        return "none killed"
    rng = random.Random(seed)
    with killing(server.bin_dir, seed) as kills:
        while time.monotonic() < until and sum(kills.undone.values()) < count:
            kills.kill(rng.choice(KINDS))
        return f"{dict(sorted(kills.ended.items()))}; {kills.tally}"


def _later(stack: ExitStack, stop: Callable[[], None]) -> None:
    stack.callback(stop)


def main() -> int:
    """Run it."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--minutes", type=float, default=30, help="how long, all in all")
    parser.add_argument("--seed", type=int, default=secrets.randbelow(2**31), help="the first seed")
    parser.add_argument("--kills", type=int, default=50, help="refreshes to kill on each server")
    options = parser.parse_args()
    os.environ[pg.RUN] = secrets.token_hex(4)
    until = time.monotonic() + options.minutes * 60
    with ExitStack() as stack, ThreadPoolExecutor() as pool:
        given = pg.external()
        found = [given] if given is not None else pg.start_all(lambda stop: _later(stack, stop))
        if given is not None:
            stack.callback(pg.drop_run, given, os.environ[pg.RUN])
        print(
            f"{', '.join(f'PostgreSQL {server.full_version}' for server in found)}; seeds from {options.seed}"
        )
        for server in found:  # one by one: Alembic has one context in a process
            for shape in worlds.SHAPES:
                worlds.template(server, shape)
        half = time.monotonic() + options.minutes * 30
        for server in found:
            print(f"{server.name}, kills: {kill(server, options.seed, options.kills, half)}", flush=True)
        for server, total in zip(
            found, pool.map(lambda server: fuzz(server, options.seed, until), found), strict=True
        ):
            print(f"{server.name}: no difference: {total}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
