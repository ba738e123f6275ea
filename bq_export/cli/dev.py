"""``bq-export dev``: a real server of BigQuery's API on this machine."""

from __future__ import annotations

import os
from pathlib import Path

import click

from bq_export.cli import output
from ledgerviews.errors import EXIT_OK, EXIT_UNREACHABLE, UnreachableError

DATASET = "ledger"
_folder_option = click.option(
    "--dir",
    "directory",
    type=click.Path(path_type=Path, file_okay=False),
    help="The server's folder.  [default: BQ_EXPORT_DEV_DIR, else .bigquery here]",
)
_python_option = click.option(
    "--python", metavar="COMMAND", help="The Python 3.13 or later to use. [default: the first that runs]"
)


@click.group(epilog='Example: eval "$(bq-export dev start)"')
def dev() -> None:
    """A real server of BigQuery's API on this machine: local-bigquery, in an environment of its own.

    It needs a Python 3.13 or later, and 650 MB in one folder: --dir, else BQ_EXPORT_DEV_DIR, else .bigquery
    in the current directory.
    """


@dev.command(epilog="Example: bq-export dev install")
@_folder_option
@_python_option
@click.option("--if-able", is_flag=True, help="Say so and leave with 0 where there is no Python 3.13.")
def install(*, directory: Path | None, python: str | None, if_able: bool) -> None:
    """Make the server's environment, where it is not made yet."""
    from bq_export.dev import environment  # noqa: PLC0415

    folder = _folder(directory)
    if if_able and not environment.is_made(folder) and environment.find_python(python) is None:
        output.progress("There is no Python 3.13 or later here: no local BigQuery.")
        return
    environment.make(folder, python=python, progress=output.progress)


@dev.command(epilog='Example: eval "$(bq-export dev start)"')
@_folder_option
@_python_option
def start(*, directory: Path | None, python: str | None) -> None:
    """Start the server, or find it running; prints the exports that point bq-export at it."""
    from bq_export.dev import environment, server  # noqa: PLC0415

    folder = _folder(directory)
    environment.make(folder, python=python, progress=output.progress)
    _print_exports(server.start(folder, progress=output.progress).endpoint)


@dev.command(epilog="Example: bq-export dev stop")
@_folder_option
def stop(*, directory: Path | None) -> None:
    """Stop the server; its data stay for the next start."""
    from bq_export.dev import server  # noqa: PLC0415

    folder = _folder(directory)
    ran = server.stop(folder)
    output.progress(f"Stopped the server in {folder}." if ran else f"No server runs in {folder}.")


@dev.command(epilog="Example: bq-export dev status")
@_folder_option
def status(*, directory: Path | None) -> int:
    """Say whether the server runs, and where; exits with 3 when it does not."""
    from bq_export.dev import server  # noqa: PLC0415

    folder = _folder(directory)
    running = server.attach(folder)
    if running is None:
        click.echo(f"stopped  {folder}")
        return EXIT_UNREACHABLE
    click.echo(f"running  process {running.pid}, {running.endpoint}, {folder}")
    return EXIT_OK


@dev.command(epilog='Example: eval "$(bq-export dev env)"')
@_folder_option
def env(*, directory: Path | None) -> None:
    """Print the exports that point bq-export at the running server."""
    from bq_export.dev import server  # noqa: PLC0415

    running = server.attach(_folder(directory))
    if running is None:
        raise UnreachableError("No local BigQuery runs.", hint="Start it with `bq-export dev start`.")
    _print_exports(running.endpoint)


def _print_exports(endpoint: str) -> None:
    click.echo(f"export BIGQUERY_EMULATOR_HOST={endpoint}")
    click.echo(f"export GCP_PROJECT={os.environ.get('GCP_PROJECT') or 'local'}")
    click.echo(f"export BQ_DATASET={os.environ.get('BQ_DATASET') or DATASET}")


def _folder(directory: Path | None) -> Path:
    return directory or Path(os.environ.get("BQ_EXPORT_DEV_DIR") or ".bigquery")
