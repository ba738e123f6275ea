"""``bq-export verify``."""

from __future__ import annotations

import click

from bq_export.cli import output
from bq_export.errors import EXIT_EXPORT
from bq_export.settings import ExportSettings
from ledgerviews.config import Settings
from ledgerviews.errors import EXIT_OK

_SHOWN = 20


@click.command(epilog="Example: bq-export verify mart_orders_daily")
@output.names_argument
@output.json_option
def verify(*, names: tuple[str, ...], as_json: bool) -> int:
    """Compare both sides, partition by partition, every cell of every row; bills nothing.

    A day that changed at the source since the last export is told as pending, and is no difference. Exit code
    6 where anything differs.
    """
    with output.json_failure("verify", as_json=as_json):
        export = ExportSettings.from_environment()
        from bq_export.verify import verify as compare  # noqa: PLC0415 (loads Google's libraries)

        found = compare(Settings.from_environment(), export, names=names, progress=output.progress)
    equal = not any(one.differing or one.columns for one in found)
    if as_json:
        output.print_json("verify", {"equal": equal, "relations": found})
        return EXIT_OK if equal else EXIT_EXPORT
    numbers = ("rows", "equal", "differing", "pending")
    output.print_table(
        ("relation", *numbers),
        [
            (
                one.name,
                output.count(one.rows),
                output.count(one.equal),
                output.count(len(one.differing)),
                output.count(len(one.pending)),
            )
            for one in found
        ],
        right=numbers,
    )
    for one in found:
        for column in one.columns:
            click.echo(f"{one.name}: column {column} is at the target only.")
        for key in one.differing[:_SHOWN]:
            click.echo(f"{one.name}: partition {key} differs.")
        if len(one.differing) > _SHOWN:
            click.echo(f"{one.name}: … and {len(one.differing) - _SHOWN:,} more.")
        for line in one.lines:
            click.echo(f"{one.name}: {line}")
    if any(one.columns for one in found):
        click.echo("Drop such a column, or its table: the next `bq-export run` makes it anew.", err=True)
    if any(one.differing for one in found):
        click.echo("`bq-export run NAME --full` writes a table anew.", err=True)
    return EXIT_OK if equal else EXIT_EXPORT
