"""Worlds by command: ``python -m tests.worlds --minutes 10`` runs seed after seed on every server.

It ends at the first difference with the seed and what was done, and leaves with 1.
"""

# ruff: noqa: T201 (its output is its purpose)

from __future__ import annotations

import argparse
import os
import secrets
import sys
import time
import traceback
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

from tests import servers as pg
from tests.worlds import session, worlds
from tests.worlds.checks import Tally


def main() -> int:
    """Run it."""
    parser = argparse.ArgumentParser(prog="python -m tests.worlds", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10, help="how long, all in all")
    parser.add_argument("--seed", type=int, default=secrets.randbelow(2**31), help="the first seed")
    parser.add_argument("--count", type=int, default=10**9, help="how many seeds at most")
    parser.add_argument("--go-on", action="store_true", help="do not end at a difference")
    options = parser.parse_args()
    os.environ[pg.RUN] = secrets.token_hex(4)
    until = time.monotonic() + options.minutes * 60
    with ExitStack() as stack, ThreadPoolExecutor() as pool:
        given = pg.external()
        found = [given] if given is not None else pg.start_all(lambda stop: _later(stack, stop))
        if given is not None:
            stack.callback(pg.drop_run, given, os.environ[pg.RUN])
        print(f"{', '.join(server.full_version for server in found)}; seeds from {options.seed}", flush=True)
        for server in found:
            for migrator in (False, True):
                worlds.template(server, migrator=migrator)
        totals = list(pool.map(lambda server: worlds_of(server, options, until), found))
        for server, (total, failed) in zip(found, totals, strict=True):
            print(f"{server.name}: {len(failed)} differ {failed}; {total}")
        return 1 if any(failed for _, failed in totals) else 0


def worlds_of(server: pg.PgServer, options: argparse.Namespace, until: float) -> tuple[Tally, list[int]]:
    """Seeds from the first on, until the time is up."""
    total, failed = Tally(), list[int]()
    seed = options.seed
    while time.monotonic() < until and seed < options.seed + options.count:
        trace: list[str] = []
        began = time.monotonic()
        try:
            tally = session.run(server, seed, trace.append, f"lv_{os.environ[pg.RUN]}_w")
        except Exception:  # noqa: BLE001 (whatever it is, it is told, and the next seed runs)
            failed.append(seed)
            print(f"--- {server.name}, seed {seed}", *trace, traceback.format_exc(), sep="\n", flush=True)
            if not options.go_on:
                break
        else:
            total.add(tally)
            print(f"{server.name}, seed {seed}: {time.monotonic() - began:.1f} s, {tally}", flush=True)
        seed += 1
    return total, failed


def _later(stack: ExitStack, stop: object) -> None:
    stack.callback(stop)  # type: ignore[arg-type]


if __name__ == "__main__":
    sys.exit(main())
