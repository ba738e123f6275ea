"""The command line: parses, calls a library function, prints; catches only the project's own errors.

Commands are imported when they are used, so ``--help`` loads neither database driver nor Google's libraries.
"""

from __future__ import annotations

import importlib
import os
import signal
import sys
from pathlib import Path
from typing import NoReturn

import click

from ledgerviews.errors import EXIT_FAILED, EXIT_INTERRUPTED, EXIT_USAGE, LedgerviewsError
from ledgerviews.streams import mend_streams

_COMMANDS = {
    "run": ("run", "Copy to BigQuery what changed since the last export, exactly once."),
    "plan": ("plan", "Say what a run would move and cost; changes nothing."),
    "verify": ("verify", "Compare both sides, cell by cell."),
    "setup": ("setup", "Make dataset and tables, or bring them up to date; check each permission by trying."),
    "status": ("reports", "Show what is known of each table at the target."),
    "history": ("reports", "Show the last runs."),
    "cost": ("reports", "Show the bytes billed by day and operation, and the month against the budget."),
    "files": ("files", "Write the same extract to Parquet, CSV or NDJSON files, with a manifest."),
    "tables": ("tables", "Print the SQL of the exporter's tables, for revisions of a team's own."),
    "role": ("role", "Print the SQL for a database role that may export and nothing else."),
    "dev": ("dev", "A real server of BigQuery's API on this machine, for development."),
}


class LazyGroup(click.Group):
    """A group that knows its commands' names and one-line helps, and imports a command when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 (click's own signature)
        """Name the commands in the order in which a user meets them."""
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Import one command."""
        if cmd_name not in _COMMANDS:
            return None
        module = importlib.import_module(f"bq_export.cli.{_COMMANDS[cmd_name][0]}")
        command = getattr(module, cmd_name)
        assert isinstance(command, click.Command)  # noqa: S101
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """List the commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in _COMMANDS.items()])


@click.group(
    cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
@click.version_option(package_name="ledgerviews", prog_name="bq-export")
def cli() -> None:
    """Copy published relations to BigQuery exactly once, proved equal, within a budget.

    The database is the one of LEDGERVIEWS_DATABASE_URL, else DATABASE_URL, else libpq's PG* variables; the
    target that of GCP_PROJECT and BQ_DATASET.
    """


def main(argv: list[str] | None = None) -> None:
    """Run a command and exit with its documented code (docs/export.md)."""
    mend_streams()
    signal.signal(signal.SIGTERM, _interrupt)
    if os.environ.get("LEDGERVIEWS_MODELS"):
        # A team's own package is found where the command is run.
        sys.path.append(str(Path.cwd()))
    try:
        code = cli.main(args=argv, prog_name="bq-export", standalone_mode=False)
        sys.stdout.flush()
    except (click.exceptions.Abort, KeyboardInterrupt):
        click.echo("bq-export: interrupted; a second run goes on where this one was.", err=True)
        sys.exit(EXIT_INTERRUPTED)
    except click.ClickException as exc:
        exc.show()
        sys.exit(exc.exit_code)
    except LedgerviewsError as exc:
        click.echo(f"bq-export: {exc}", err=True)
        sys.exit(exc.exit_code)
    except ModuleNotFoundError as exc:  # a command imports what it needs when it is called
        if exc.name is None or exc.name.partition(".")[0] in {"bq_export", "ledgerviews"}:
            raise
        click.echo(f"bq-export: It needs the package {exc.name}, which is not installed.", err=True)
        click.echo("  Install ledgerviews with its extra: ledgerviews[bigquery].", err=True)
        sys.exit(EXIT_USAGE)
    except OSError as exc:
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115, PTH123
        click.echo(f"bq-export: {exc.strerror or exc}.", err=True)
        sys.exit(EXIT_FAILED)
    sys.exit(code if isinstance(code, int) else 0)


def _interrupt(_signal: int, _frame: object) -> NoReturn:
    """A cancelled CI job gets SIGTERM: end as on Ctrl-C, so that a run is written down as failed."""
    raise KeyboardInterrupt
