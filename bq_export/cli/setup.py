"""``bq-export setup``."""

from __future__ import annotations

import click

from bq_export.cli import output
from bq_export.errors import EXIT_EXPORT
from bq_export.settings import ExportSettings
from ledgerviews.config import Settings
from ledgerviews.errors import EXIT_OK


@click.command(epilog="Example: bq-export setup")
@output.names_argument
@click.option("--print", "only_print", is_flag=True, help="Print all gcloud lines and do nothing.")
@output.json_option
def setup(*, names: tuple[str, ...], only_print: bool, as_json: bool) -> int:
    """Make dataset and tables with labels and expirations, or bring them up to date.

    What it may not do (project, APIs, service account, the three roles, budget alert) it tells as gcloud
    lines, and checks each by trying. Exit code 6 where something is missing.
    """
    with output.json_failure("setup", as_json=as_json):
        export = ExportSettings.from_environment()
        from bq_export import setup as steps  # noqa: PLC0415 (loads Google's libraries)

        if only_print:
            lines = steps.gcloud(export)
            chosen = list(dict.fromkeys(line for part in lines.values() for line in part))
            if as_json:
                output.print_json("setup", {"commands": chosen})
            else:
                click.echo("\n".join(chosen))
            return EXIT_OK
        found = steps.setup(Settings.from_environment(), export, names=names, progress=output.progress)
    complete = all(step.outcome != "missing" for step in found)
    if as_json:
        output.print_json("setup", {"complete": complete, "steps": found})
        return EXIT_OK if complete else EXIT_EXPORT
    for step in found:
        click.echo(f"{step.outcome:<8} {step.what}{f': {step.detail}' if step.detail else ''}")
        for line in step.commands:
            click.echo(f"           {line}")
    return EXIT_OK if complete else EXIT_EXPORT
