"""``ledgerviews refresh``."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from ledgerviews.cli import options, output
from ledgerviews.errors import InterruptedRunError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ledgerviews.config import Settings
    from ledgerviews.refresh.dry_run import DayRange, Step
    from ledgerviews.refresh.run import RelationResult, Request


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
@click.option("--full", is_flag=True, help="Recompute all days; readers do not wait.")
@click.option(
    "--blocking", is_flag=True, help="A plain REFRESH: quicker, but readers wait until it is committed."
)
@click.option(
    "--wait/--no-wait",
    default=True,
    show_default=True,
    help="Wait for a refresh that is running, or leave with exit code 5.",
)
@click.option(
    "--scrub/--no-scrub",
    default=True,
    show_default=True,
    help="Afterwards verify the day that was verified the longest ago.",
)
@click.option("--dry-run", is_flag=True, help="Only say what would be recomputed, and why.")
@options.lock_timeout
@options.statement_timeout
@options.as_json
def refresh(  # noqa: PLR0913 (the command's options)
    *,
    names: tuple[str, ...],
    selection: tuple[str, ...],
    full: bool,
    blocking: bool,
    wait: bool,
    scrub: bool,
    dry_run: bool,
    lock_timeout: int | None,
    statement_timeout: int | None,
    as_json: bool,
) -> None:
    """Refresh the materialized views NAME and all that they read; without a NAME, all of them.

    Only the days that changed are recomputed. One transaction and one snapshot: the marts flip together or
    not at all, and readers never wait. A view that was never filled gets a plain REFRESH. Exit codes: 0 done,
    1 failed, a check among others, 2 usage, 3 unreachable, 4 migration pending, 5 another refresh runs,
    130 interrupted; after any but 0 nothing has changed.
    """
    from ledgerviews.refresh import run  # noqa: PLC0415 (loads the database driver)

    request = run.Request(
        names=names, selection=selection, full=full, blocking=blocking, wait=wait, scrub=scrub
    )
    with output.json_failure("refresh", as_json=as_json), output.terminated_as_interrupted():
        settings = options.settings(lock_timeout_ms=lock_timeout, statement_timeout_ms=statement_timeout)
        if dry_run:
            _dry_run(settings, request, as_json=as_json)
            return
        with output.progress("refresh") as progress:
            try:
                result = run.refresh(settings, request, progress=progress)
            except KeyboardInterrupt:
                raise InterruptedRunError(
                    "Interrupted: cancelled on the server, everything was rolled back."
                ) from None
    if as_json:
        output.print_json("refresh", asdict(result))
        return
    if not result.relations:
        output.say(f"There is no materialized view, so nothing was refreshed (run {result.run_id}).")
        return
    print_relations(result.relations)
    schemas = ", ".join(sorted({relation.schema for relation in result.relations}))
    output.say(f"Run {result.run_id} {result.state} in {result.seconds:.2f} s (schema {schemas}).")


def print_relations(relations: Sequence[RelationResult]) -> frozenset[str]:
    """Print what a run did to each relation; gives the columns for which the terminal is too narrow."""
    numbers = ("days", "before", "after", "inserted", "updated", "deleted", "seconds")
    return output.print_table(
        ("relation", "refresh", *numbers, "why"),
        [
            (
                relation.name,
                relation.method,
                output.days(relation.scope, relation.days),
                output.count(relation.rows_before),
                output.count(relation.rows_after),
                output.count(relation.inserted),
                output.count(relation.updated),
                output.count(relation.deleted),
                output.seconds(relation.seconds),
                relation.reason or "-",
            )
            for relation in relations
        ],
        right=numbers,
        optional=("why", "seconds", "before", "refresh", "deleted", "updated", "inserted"),
    )


def _dry_run(settings: Settings, request: Request, *, as_json: bool) -> None:
    from ledgerviews.refresh.dry_run import dry_run  # noqa: PLC0415 (loads the database driver)

    with output.progress("plan"):
        steps = dry_run(settings, request)
    if as_json:
        output.print_json(
            "refresh", {"dry_run": True, "mode": request.mode, "relations": [asdict(step) for step in steps]}
        )
        return
    for step in steps:
        output.say(f"{step.schema}.{step.name}: {_would(step)}")
        output.say(f"    because {step.reason}")
    if request.blocking and any(step.scope != "none" for step in steps):
        output.say("Readers would wait until all of it is committed.")
    output.say("Nothing was changed.")


def _would(step: Step) -> str:
    """What would be recomputed, in words."""
    if step.scope == "none":
        return "nothing to recompute"
    if step.scope == "all":
        return "all of it" + (", if what it reads turns out to have changed" if step.tentative else "")
    return ", ".join(_range(days) for days in step.ranges)


def _range(days: DayRange) -> str:
    if days.last is None:
        return f"{days.first} and later"
    return days.first if days.first == days.last else f"{days.first} to {days.last}"
