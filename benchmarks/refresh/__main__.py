"""Asks the questions that the command line names, of one server.

    python -m benchmarks.refresh incremental readers full --events 1000000
    python -m benchmarks.refresh history --events 1000000
    python -m benchmarks.refresh writers --events 100000

Leaves with 1 where a goal is short.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from . import full, history, incremental, plain, readers, writers
from .stage import Options, opened

QUESTIONS = {"incremental": incremental.measure, "readers": readers.measure, "full": full.measure}
OWN_ROWS = {"history": history.measure, "writers": writers.measure}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.refresh",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("questions", nargs="+", choices=[*QUESTIONS, *OWN_ROWS])
    parser.add_argument("--events", type=int, default=1_000_000, help="rows in the events table")
    parser.add_argument("--days", type=int, default=365, help="days that they spread over, in steps of 365")
    parser.add_argument("--ends", type=int, default=0, help="days between today and the last day with rows")
    parser.add_argument(
        "--growing", action="store_true", help="days follow the week and grow threefold, as the demo's do"
    )
    parser.add_argument("--rounds", type=int, default=3, help="how often each is measured, in turn")
    parser.add_argument("--bin-dir", type=Path, help="another PostgreSQL's programs")
    parser.add_argument("--durable", action="store_true", help="writers: commits wait for the disk")
    parser.add_argument("--dbt", type=Path, help="full: the dbt command of an environment of its own")
    given = vars(parser.parse_args())
    questions = given.pop("questions")
    options = Options(**given)
    with opened(options, durable=options.durable) as stage:
        started = time.perf_counter()
        if set(questions) & set(QUESTIONS):
            stage.fill()
            with stage.connect() as connection:
                plain.create(connection)
            stage.results.say(f"filled in {time.perf_counter() - started:.0f} s")
        for question in questions:
            (QUESTIONS | OWN_ROWS)[question](stage)
        short = stage.results.short
        stage.results.say(f"{short or 'no'} goals short, {time.perf_counter() - started:.0f} s in all")
    sys.exit(1 if short else 0)


if __name__ == "__main__":
    main()
