"""What the refresh command costs over the same statements in bare psql, and how quick ``--help`` is.

    python benchmarks/refresh.py [--events 1000000] [--rounds 5] [--bin-dir /usr/lib/postgresql/15/bin]

Both are whole commands, run in turn on one throw-away server; the figures are medians and their ratio.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

import psycopg

from ledgerviews.config import Settings
from ledgerviews.dev import Server
from ledgerviews.models import demo
from ledgerviews.schema import commands

RATIO_GOAL, HELP_GOAL_S = 1.25, 0.2
MARTS = ("mart_suggestions_daily", "mart_suggestions_feedback_daily", "mart_suggestions_kpis")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--events", type=int, default=1_000_000, help="rows in the events table")
    parser.add_argument("--days", type=int, default=365, help="days that they spread over")
    parser.add_argument("--rounds", type=int, default=5, help="how often each is run, in turn")
    parser.add_argument("--bin-dir", type=Path, help="another PostgreSQL's programs")
    options = parser.parse_args()
    with (
        tempfile.TemporaryDirectory(prefix="ledgerviews-bench-") as parent,
        Server.start(_open(parent) / "server", bin_dir=options.bin_dir, throwaway=True) as server,
    ):
        server.create_database("bench")
        met = measure(server, server.url("bench"), options)
    sys.exit(0 if met else 1)


def measure(server: Server, url: str, options: argparse.Namespace) -> bool:
    """Fill one database, time both ways of refreshing it, and say whether the goals are met."""
    with psycopg.connect(url) as connection:
        demo.create_tables(connection)
        started = time.perf_counter()
        today = datetime.now(UTC).date()
        demo.seed(connection, events=options.events, days=options.days, seed=1, until=today)
        seeded = time.perf_counter() - started
    started = time.perf_counter()
    commands.upgrade(Settings(database_url=url))
    upgraded = time.perf_counter() - started

    environment = {**os.environ, "LEDGERVIEWS_DATABASE_URL": url}
    command = [sys.executable, "-m", "ledgerviews"]
    statements = [
        argument
        for mart in MARTS
        for argument in ("-c", f"REFRESH MATERIALIZED VIEW CONCURRENTLY public.{mart}")
    ]
    psql = [str(server.bin_dir / "psql"), "-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", url, *statements]
    _timed([*command, "refresh"], environment)  # the first fill
    ours, theirs, helps, python = [], [], [], []
    for _ in range(options.rounds):
        ours.append(_timed([*command, "refresh"], environment))
        theirs.append(_timed(psql, environment))
        helps.append(_timed([*command, "--help"], environment))
        python.append(_timed([sys.executable, "-c", ""], environment))

    ratio = statistics.median(ours) / statistics.median(theirs)
    print(f"PostgreSQL {server.version}, {options.events:,} events over {options.days} days")
    print(f"  seed                      {seeded:8.2f} s")
    print(f"  upgrade head              {upgraded:8.2f} s")
    print(f"  ledgerviews refresh       {_summary(ours)}")
    print(f"  psql, three statements    {_summary(theirs)}")
    print(f"  ratio                     {ratio:8.2f}   (goal: at most {RATIO_GOAL})")
    print(f"  ledgerviews --help        {_summary(helps)}   (goal: at most {HELP_GOAL_S:.2f} s)")
    print(f"  python -c ''              {_summary(python)}")
    return ratio <= RATIO_GOAL and statistics.median(helps) <= HELP_GOAL_S


def _timed(command: list[str], environment: dict[str, str]) -> float:
    started = time.perf_counter()
    subprocess.run(command, check=True, env=environment, capture_output=True)
    return time.perf_counter() - started


def _summary(seconds: list[float]) -> str:
    return f"{statistics.median(seconds):8.3f} s ({min(seconds):.3f} to {max(seconds):.3f})"


def _open(folder: str) -> Path:
    """The folder, where the account that PostgreSQL runs as can reach what lies in it."""
    path = Path(folder)
    path.chmod(0o755)
    return path


if __name__ == "__main__":
    main()
