"""``ledgerviews runs``."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from ledgerviews.cli import options, output
from ledgerviews.cli.refresh import print_relations
from ledgerviews.errors import row_in_words

if TYPE_CHECKING:
    from ledgerviews.refresh.log import LoggedRun
    from ledgerviews.refresh.run import RunResult


@click.command(epilog="Example: ledgerviews runs --limit 50")
@click.argument("run_id", type=int, required=False)
@click.option(
    "--limit",
    type=click.IntRange(1, 1_000_000),
    default=20,
    show_default=True,
    help="How many runs, newest first.",
)
@options.as_json
def runs(*, run_id: int | None, limit: int, as_json: bool) -> None:
    """Show the latest runs, or the run RUN_ID with its relations, reasons and failed checks.

    The log is kept for the time in ledgerviews.engine.keep_runs, 90 days unless you change it.
    """
    from ledgerviews.refresh import log  # noqa: PLC0415 (loads the database driver)

    with output.json_failure("runs", as_json=as_json):
        settings = options.settings()
        if run_id is None:
            found = log.runs(settings, limit=limit)
        else:
            one = log.one(settings, run_id)
    if as_json:
        content = {"runs": [asdict(run) for run in found]} if run_id is None else {"run": asdict(one)}
        output.print_json("runs", content)
    elif run_id is None:
        _print_all(found)
    else:
        _print_one(one)


def _print_all(found: tuple[LoggedRun, ...]) -> None:
    if not found:
        output.say("No run is in the log.")
        return
    left_out = output.print_table(
        (
            "run",
            "state",
            "mode",
            "by",
            "from",
            "begun",
            "seconds",
            "changed",
            "rows",
            "days",
            "what went wrong",
        ),
        [
            (
                str(run.run_id),
                run.state,
                run.mode,
                run.requested_by,
                run.application_name or "-",
                output.moment(run.started_at),
                output.seconds(run.seconds),
                f"{run.changed} of {run.relations}" if run.relations else "-",
                output.count(run.rows),
                run.days if run.relations else "-",
                _wrong(run),
            )
            for run in found
        ],
        right=("run", "seconds", "rows", "days"),
        optional=("from", "what went wrong", "by", "changed", "mode", "rows"),
    )
    wrong = next((run.run_id for run in found if run.error or run.drift), None)
    if "what went wrong" in left_out and wrong is not None:
        output.say(f"What went wrong in run {wrong}: `ledgerviews runs {wrong}`.", err=True)


def _wrong(run: LoggedRun) -> str:
    """An error's or drift's first words: `ledgerviews runs RUN_ID` tells the rest."""
    text = run.error or (f"drift: {run.drift}" if run.drift else "-")
    line = text.splitlines()[0]
    return line if len(line) <= 80 else f"{line[:79]}…"  # noqa: PLR2004 (about a line)


def _print_one(run: RunResult) -> None:
    asked = ", ".join(run.requested) if run.requested else "all"
    output.say(f"Run {run.run_id}: {run.state}")
    output.say(f"  mode      {run.mode} ({asked})")
    output.say(
        f"  by        {run.requested_by}{f' ({run.application_name})' if run.application_name else ''}"
    )
    output.say(f"  begun     {output.moment(run.started_at)}")
    output.say(f"  seconds   {output.seconds(run.seconds)}{_scrubbed(run)}")
    if run.error:
        output.say(f"  error     {run.error}")
    if run.failed_relation:
        output.say(f"  at        {run.failed_relation}")
    if run.drift:
        output.say(f"  drift     {run.drift}")
    if run.relations:
        click.echo("")
        if "why" in print_relations(run.relations):
            click.echo("")
            for relation in run.relations:
                output.say(f"{relation.schema}.{relation.name}: {relation.reason or '-'}")
    for check in run.checks:
        click.echo("")
        output.say(
            f"{check.schema}.{check.relation}, check {check.check} ({check.severity}): "
            f"{check.failed_rows:,} row{' fails' if check.failed_rows == 1 else 's fail'}"
            f"{f', the first {len(check.sample)}:' if len(check.sample) < check.failed_rows else ':'}"
        )
        for row in check.sample:
            output.say(f"  {row_in_words(row)}")


def _scrubbed(run: RunResult) -> str:
    return "" if run.scrub_seconds is None else f", and the scrub {output.seconds(run.scrub_seconds)}"
