"""``bq-export plan``."""

from __future__ import annotations

from dataclasses import asdict

import click

from bq_export.cli import output
from bq_export.settings import ExportSettings
from ledgerviews.config import Settings


@click.command(epilog="Example: bq-export plan --full")
@output.names_argument
@click.option("--full", is_flag=True, help="Plan as if every partition were sent.")
@output.json_option
def plan(*, names: tuple[str, ...], full: bool, as_json: bool) -> None:
    """Say what a run would move: tables, partitions, rows, bytes, schema changes, load jobs, estimated cost.

    It changes nothing. Exit code 6 where a run would be refused, and why.
    """
    with output.json_failure("plan", as_json=as_json):
        export = ExportSettings.from_environment()
        from bq_export.preview import preview  # noqa: PLC0415 (loads Google's libraries)

        result = preview(
            Settings.from_environment(), export, names=names, full=full, progress=output.progress
        )
    if as_json:
        output.print_json("plan", asdict(result))
        return
    numbers = ("partitions", "gone", "rows", "bytes", "load jobs", "billed at most")
    output.print_table(
        ("relation", "export", *numbers),
        [
            (
                one.name,
                {"none": "unchanged", "replace": "replace", "flip": "changed days"}[one.way],
                output.count(one.partitions),
                output.count(one.vanished),
                output.count(one.rows),
                output.size(one.bytes),
                f"{one.load_jobs} ({one.load_jobs_today} today)",
                output.size(one.bytes_billed),
            )
            for one in result.relations
        ],
        right=numbers,
        least=("bytes", "load jobs", "gone", "billed at most"),
    )
    for one in result.relations:
        for change in one.schema_changes:
            click.echo(f"{one.name}: {change}.")
    click.echo(f"Estimated cost: {result.usd:.4f} USD. Budget: {result.budget}.")
    for warning in result.warnings:
        click.echo(warning, err=True)
