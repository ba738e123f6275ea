"""``ledgerviews refresh``."""

from __future__ import annotations

import signal
from dataclasses import asdict
from typing import TYPE_CHECKING, NoReturn

import click

from ledgerviews.cli import output
from ledgerviews.config import Settings
from ledgerviews.errors import InterruptedRunError

if TYPE_CHECKING:
    from ledgerviews.refresh.run import RunResult


@click.command(epilog="Example: ledgerviews refresh --select 'mart_orders*+' --no-wait")
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option(
    "--select",
    "-s",
    "selection",
    multiple=True,
    metavar="EXPR",
    help="Exactly these models: name, +name, name+, 2+name, globs, a,b for both, repeated for either.",
)
@click.option(
    "--blocking", is_flag=True, help="A plain REFRESH: quicker, but readers wait until it is committed."
)
@click.option(
    "--wait/--no-wait",
    default=True,
    show_default=True,
    help="Wait for a refresh that is running, or leave with exit code 5.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of a table.")
def refresh(
    *, names: tuple[str, ...], selection: tuple[str, ...], blocking: bool, wait: bool, as_json: bool
) -> None:
    """Refresh the materialized views NAME and all that they read; without a NAME, all of them.

    One transaction and one snapshot: the marts flip together or not at all, and readers never wait. A view
    that was never filled gets a plain REFRESH. Exit codes: 0 done, 1 failed, 2 usage, 3 unreachable,
    4 migration pending, 5 another refresh runs, 130 interrupted; after any but 0 nothing has changed.
    """
    from ledgerviews.refresh import run  # noqa: PLC0415 (loads the database driver)

    signal.signal(signal.SIGTERM, _interrupt)
    request = run.Request(names=names, selection=selection, blocking=blocking, wait=wait)
    with output.json_failure("refresh", as_json=as_json), output.progress("refresh") as progress:
        try:
            result = run.refresh(Settings.from_environment(), request, progress=progress)
        except KeyboardInterrupt:
            raise InterruptedRunError(
                "Interrupted: cancelled on the server, everything was rolled back."
            ) from None
    if as_json:
        output.print_json("refresh", asdict(result))
    else:
        _print(result)


def _print(result: RunResult) -> None:
    numbers = ("before", "after", "inserted", "updated", "deleted", "seconds")
    output.print_table(
        ("relation", "refresh", *numbers),
        [
            (
                relation.name,
                relation.method,
                output.count(relation.rows_before),
                output.count(relation.rows_after),
                output.count(relation.inserted),
                output.count(relation.updated),
                output.count(relation.deleted),
                f"{relation.seconds:.2f}",
            )
            for relation in result.relations
        ],
        right=numbers,
        optional=("seconds", "refresh"),
    )
    schemas = ", ".join(sorted({relation.schema for relation in result.relations}))
    click.echo(f"Run {result.run_id} {result.state} in {result.seconds:.2f} s (schema {schemas}).")


def _interrupt(_signal: int, _frame: object) -> NoReturn:
    """A cancelled CI job gets SIGTERM: end as on Ctrl-C, so that the server's statement is cancelled."""
    raise KeyboardInterrupt
