"""``ledgerviews verify``."""

from __future__ import annotations

from dataclasses import asdict

import click

from ledgerviews.cli import options, output
from ledgerviews.errors import InterruptedRunError


@click.command(epilog="Example: ledgerviews verify --json")
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option(
    "--wait/--no-wait",
    default=True,
    show_default=True,
    help="Wait for a refresh that is running, or leave with exit code 5.",
)
@options.lock_timeout
@options.statement_timeout
@options.as_json
def verify(
    *,
    names: tuple[str, ...],
    wait: bool,
    lock_timeout: int | None,
    statement_timeout: int | None,
    as_json: bool,
) -> None:
    """Compare the materialized views NAME, and all that they read, with a full recompute, row by row.

    It refreshes first, in the same snapshot, so that whatever differs is an error and not a delay. Exit code
    1 tells the rows that differ, and then nothing has changed; the other codes are those of a refresh.
    """
    from ledgerviews.refresh import run  # noqa: PLC0415 (loads the database driver)

    with (
        output.json_failure("verify", as_json=as_json),
        output.terminated_as_interrupted(),
        output.progress("verify") as progress,
    ):
        settings = options.settings(lock_timeout_ms=lock_timeout, statement_timeout_ms=statement_timeout)
        try:
            result = run.verify(settings, names, wait=wait, progress=progress)
        except KeyboardInterrupt:
            raise InterruptedRunError(
                "Interrupted: cancelled on the server, everything was rolled back."
            ) from None
    rows = sum(relation.rows_after for relation in result.relations)
    if as_json:
        output.print_json("verify", {"rows": rows, **asdict(result)})
        return
    total = len(result.relations)
    if not total:
        output.say(f"There is no materialized view, so nothing was compared (run {result.run_id}).")
        return
    counted = f"{output.rows(rows)} of {total} relation{'' if total == 1 else 's'}"
    output.say(f"{counted} compared, all equal (run {result.run_id}, {result.seconds:.2f} s).")
