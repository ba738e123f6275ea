"""``ledgerviews index``: the indexes on the application's tables that make refreshes quick."""

from __future__ import annotations

import sys
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from ledgerviews.cli import options, output
from ledgerviews.errors import InterruptedRunError, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ledgerviews.refresh.indexes import WantedIndex


@click.group()
def index() -> None:
    """The indexes on the application's tables that make refreshes quick; without them they are as exact."""


@index.command(epilog="Example: ledgerviews index status --json")
@options.as_json
def status(*, as_json: bool) -> None:
    """Show the indexes that the sources want, and whether they are there."""
    from ledgerviews.refresh import indexes  # noqa: PLC0415 (loads the database driver)

    with output.json_failure("index status", as_json=as_json):
        found = indexes.wanted(options.settings())
    if as_json:
        output.print_json("index status", {"indexes": [asdict(one) for one in found]})
        return
    if not found:
        output.say("No source wants an index.")
        return
    output.print_table(
        ("source", "index on", "present", "owner", "rows, about", "table"),
        [
            (
                one.source,
                f"({', '.join(one.columns)})",
                "yes" if one.present else "missing",
                one.owner,
                output.count(one.rows),
                output.size(one.table_bytes),
            )
            for one in found
        ],
        right=("rows, about", "table"),
        optional=("owner", "table"),
    )
    if any(not one.present for one in found):
        output.say("Run `ledgerviews index install`: refreshes are exact without it, and slower.", err=True)


@index.command(epilog="Example: ledgerviews index install --yes --lock-timeout 10min")
@click.option("--yes", is_flag=True, help="Do not ask.")
@options.lock_timeout
def install(*, yes: bool, lock_timeout: int | None) -> None:
    """Create the indexes that are missing, with CREATE INDEX CONCURRENTLY, after asking.

    Neither readers nor writers wait. The command itself waits for transactions that began before it, without
    end unless a lock time-out says so. A partitioned table gets them partition by partition. Who may: a role
    with the rights of the table's owner.
    """
    from ledgerviews.refresh import indexes  # noqa: PLC0415 (loads the database driver)

    settings = options.settings(lock_timeout_ms=lock_timeout)
    missing = [one for one in indexes.wanted(settings) if not one.present]
    if not missing:
        output.say("No index is missing.")
        return
    for one in missing:
        indexes.require_possible(one)
    _ask(missing, yes=yes)
    for one in missing:
        with output.terminated_as_interrupted(), output.progress("index") as progress:
            indexes.install(settings, one, progress=progress)
        output.say(f"{one.source} has an index on ({', '.join(one.columns)}).")


def _ask(missing: Sequence[WantedIndex], *, yes: bool) -> None:
    """Say what is going to be done; go on only with consent."""
    for one in missing:
        table = f"{one.source}: about {output.rows(one.rows)}, {output.size(one.table_bytes)}"
        size = f"the index on ({', '.join(one.columns)}) takes about {output.size(one.index_bytes)}"
        output.say(f"{table}; {size}.", err=True)
        for statement in one.statements:
            click.echo(f"  {statement};", err=True)
    if yes:
        return
    if not sys.stdin.isatty():
        raise UsageError("Nobody can be asked here.", hint="Pass --yes to create what is shown.")
    if not click.confirm("Create?", err=True):
        raise InterruptedRunError("Nothing was created.")
