"""``bq-export files``."""

from __future__ import annotations

from pathlib import Path

import click

from bq_export.cli import output
from ledgerviews.config import Settings


@click.command(epilog="Example: bq-export files --to out --format csv")
@output.names_argument
@click.option(
    "--to",
    "folder",
    required=True,
    type=click.Path(path_type=Path, file_okay=False),
    help="The folder to write to; files of the same names are replaced.",
)
@click.option(
    "--format",
    "kind",
    type=click.Choice(["parquet", "csv", "json"]),
    default="parquet",
    show_default=True,
    help="Parquet, CSV, or NDJSON.",
)
@output.json_option
def files(*, names: tuple[str, ...], folder: Path, kind: str, as_json: bool) -> None:
    """Write the relations to files, as of one moment, with a manifest; prints the `bq load` lines.

    It needs no project, and none of the exporter's tables in the database.
    """
    from bq_export.files.manifest import MANIFEST, write_files  # noqa: PLC0415 (loads Arrow)

    with output.json_failure("files", as_json=as_json):
        found = write_files(
            Settings.from_environment(), folder, names=names, kind=kind, progress=output.progress
        )
    if as_json:
        output.print_json("files", {"manifest": str(folder / MANIFEST), "relations": found})
        return
    output.print_table(
        ("relation", "file", "rows", "bytes"),
        [(one.name, one.file, output.count(one.rows), output.size(one.bytes)) for one in found],
        right=("rows", "bytes"),
        least=("relation",),
    )
    for one in found:
        for column, number in one.misfits.items():
            click.echo(f"{one.name}.{column}: {number:,} values that BigQuery's type does not hold.")
    click.echo(f"Written to {folder}, with {MANIFEST}. To load them, in that folder:")
    for one in found:
        click.echo(f"  {one.load}")
