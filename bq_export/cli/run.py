"""``bq-export run``."""

from __future__ import annotations

from dataclasses import asdict

import click

from bq_export.cli import output
from bq_export.settings import ExportSettings
from ledgerviews.config import Settings


@click.command(epilog="Example: bq-export run mart_orders_daily --full")
@output.names_argument
@click.option("--full", is_flag=True, help="Send every partition, and replace whatever else the tables hold.")
@click.option(
    "--wait/--no-wait",
    default=True,
    show_default=True,
    help="Wait for another bq-export that is running, or leave with exit code 5.",
)
@output.json_option
def run(*, names: tuple[str, ...], full: bool, wait: bool, as_json: bool) -> None:
    """Copy to BigQuery what changed since the last export; without a NAME, all relations that are exported.

    Killed anywhere, the next run goes on where this one was: nothing is sent twice. Exit codes: 0 done,
    2 usage, 3 database unreachable, 4 migration pending, 5 another export runs, 6 the export failed or was
    refused, 130 interrupted.
    """
    with output.json_failure("run", as_json=as_json):
        export = ExportSettings.from_environment()
        from bq_export.run import run as run_export  # noqa: PLC0415 (loads Google's libraries)

        result = run_export(
            Settings.from_environment(),
            export,
            names=names,
            full=full,
            wait=wait,
            progress=output.progress,
        )
    if as_json:
        output.print_json("run", {"state": "succeeded", **asdict(result)})
        return
    numbers = ("partitions", "gone", "rows", "bytes", "seconds")
    output.print_table(
        ("relation", "export", *numbers),
        [
            (
                one.name,
                {"none": "unchanged", "replace": "replaced", "flip": "changed days"}[one.way],
                output.count(one.partitions),
                output.count(one.vanished),
                output.count(one.rows),
                output.size(one.bytes),
                f"{one.seconds:.2f}",
            )
            for one in result.relations
        ],
        right=numbers,
        least=("seconds", "bytes"),
    )
    for one in result.relations:
        for column, number in one.misfits.items():
            click.echo(f"{one.name}.{column}: {number:,} values that BigQuery's type does not hold.")
    click.echo(f"Run {result.run_id} succeeded in {result.seconds:.2f} s ({result.target}).")
