"""``ledgerviews tracking``: the triggers on the application's tables."""

from __future__ import annotations

from dataclasses import asdict

import click

from ledgerviews.cli import options, output
from ledgerviews.config import TRACKING

_attempts = click.option(
    "--attempts",
    type=click.IntRange(1, 1_000_000),
    default=100,
    show_default=True,
    help="How often to try for a tenth of a second, where the table is in use.",
)


@click.group()
def tracking() -> None:
    """The triggers on the application's tables that tell a refresh which days changed.

    closed-days logs writes to any day but today, and each refresh recomputes the days that are not over;
    every-write logs each. Without triggers each refresh scans the tables: slower, and as exact.
    """


@tracking.command(epilog="Example: ledgerviews tracking status --json")
@options.as_json
def status(*, as_json: bool) -> None:
    """Show how each source is tracked, who owns it, and what is wrong."""
    from ledgerviews.refresh import sources  # noqa: PLC0415 (loads the database driver)

    with output.json_failure("tracking status", as_json=as_json):
        found = sources.sources(options.settings())
    if as_json:
        content = [{**asdict(source), "mend": source.mend} for source in found]
        output.print_json("tracking status", {"sources": content})
        return
    if not found:
        output.say("There is no source to track: nothing that is installed is computed by day.")
        return
    output.print_table(
        ("source", "tracking", "owner", "problem"),
        [
            (
                source.source,
                source.tracked,
                source.owner or "-",
                source.problem or "-",
            )
            for source in found
        ],
    )
    for source in found:
        if source.mend:
            output.say(f"{source.source}: {source.problem}. {source.mend}", err=True)
        elif source.doubt:
            output.say(f"{source.source}: {source.doubt}, so the next refresh recomputes all.", err=True)


@tracking.command(epilog="Example: ledgerviews tracking install --mode every-write public.orders")
@click.argument("names", nargs=-1, metavar="[SOURCE]...")
@click.option(
    "--mode",
    type=click.Choice([name.replace(" ", "-") for name in TRACKING if name != "none"]),
    help="What is logged.  [default: LEDGERVIEWS_TRACKING, else closed-days]",
)
@_attempts
def install(*, names: tuple[str, ...], mode: str | None, attempts: int) -> None:
    """Put the triggers on SOURCE; without a SOURCE, on all.

    Who may: a role with the rights of the table's owner and of the engine's. It never holds writers up: it
    waits a tenth of a second for the table, and tries again. The next refresh recomputes all.
    """
    settings = options.settings()
    wanted = (mode or (settings.tracking if settings.tracking != "none" else TRACKING[0])).replace("-", " ")
    _change(names, wanted, attempts)


@tracking.command(epilog="Example: ledgerviews tracking remove public.orders")
@click.argument("names", nargs=-1, metavar="[SOURCE]...")
@_attempts
def remove(*, names: tuple[str, ...], attempts: int) -> None:
    """Take the triggers off SOURCE; without a SOURCE, off all. Each refresh then scans the table."""
    _change(names, "none", attempts)


def _change(names: tuple[str, ...], wanted: str, attempts: int) -> None:
    from ledgerviews.refresh import sources  # noqa: PLC0415 (loads the database driver)

    with output.terminated_as_interrupted(), output.progress("tracking") as progress:
        changed, same, beside = sources.track(
            options.settings(), names, wanted, attempts=attempts, progress=progress
        )
    said = "not tracked (each refresh scans it)" if wanted == "none" else f"tracked: {wanted}"
    for source in changed:
        output.say(f"{source.source} is now {said}.")
    for source in same:
        output.say(f"{source.source} is {said}, as before.")
    for source in beside:
        output.say(
            f"{source.source} is scanned all the same, as its parent is: `ledgerviews tracking install`,"
            " without a name, puts triggers on both.",
            err=True,
        )
