"""The command line: parses, calls a library function, prints; catches only the project's own errors.

Commands are imported when they are used, so ``--help`` loads no database driver.
"""

from __future__ import annotations

import atexit
import gc
import importlib
import os
import sys
from pathlib import Path

import click

from ledgerviews import __version__
from ledgerviews.cli import output
from ledgerviews.errors import EXIT_FAILED, EXIT_INTERRUPTED, LedgerviewsError, UsageError
from ledgerviews.streams import mend_streams

_COMMANDS = {
    "refresh": (
        "ledgerviews.cli.refresh",
        "Refresh the materialized views, all or some, in one transaction.",
    ),
    "verify": ("ledgerviews.cli.verify", "Compare what is published with a full recompute, row by row."),
    "status": ("ledgerviews.cli.status", "Show each published relation and whether it is up to date."),
    "diff": ("ledgerviews.cli.diff", "Show what differs between code and database, as SQL."),
    "runs": ("ledgerviews.cli.runs", "Show the log of the refreshes."),
    "index": ("ledgerviews.cli.index", "The indexes on the application's tables that make refreshes quick."),
    "tracking": ("ledgerviews.cli.tracking", "The triggers on the application's tables."),
    "cron": ("ledgerviews.cli.cron", "Have the database refresh itself, with pg_cron."),
    "grant": ("ledgerviews.cli.grant", "Grants for the roles that refresh or read."),
    "release": (
        "ledgerviews.cli.release",
        "Take off tables what depends on them, so that they can be altered.",
    ),
    "restore": ("ledgerviews.cli.release", "Put back what release took off."),
    "db": ("ledgerviews.cli.db", "Install and change the relations: the packaged Alembic migrations."),
    "dev": ("ledgerviews.cli.dev", "A real PostgreSQL for development, with made-up application rows."),
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
        command = getattr(importlib.import_module(_COMMANDS[cmd_name][0]), cmd_name)
        assert isinstance(command, click.Command)  # noqa: S101
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """List the commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in _COMMANDS.items()])


@click.group(
    cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
@click.version_option(__version__, prog_name="ledgerviews")
def cli() -> None:
    """Trusted daily figures as materialized views in the PostgreSQL that you already run.

    The database is the one of LEDGERVIEWS_DATABASE_URL, else DATABASE_URL, else libpq's PG* variables.
    """


def main(argv: list[str] | None = None) -> None:
    """Run a command and exit with its documented code (docs/operations.md)."""
    mend_streams()
    # Imports make many objects and hardly any garbage, and what ends with the process needs no collection:
    # together a quarter of a short command.
    gc.set_threshold(100_000)
    atexit.register(gc.freeze)
    if os.environ.get("LEDGERVIEWS_MODELS"):
        # As Alembic, Celery and Django do: a team's own package is found where the command is run.
        sys.path.append(str(Path.cwd()))
    try:
        _require_text(sys.argv[1:] if argv is None else argv)
        code = cli.main(args=argv, prog_name="ledgerviews", standalone_mode=False)
        sys.stdout.flush()
    except (click.exceptions.Abort, KeyboardInterrupt):
        output.say("ledgerviews: interrupted.", err=True)
        sys.exit(EXIT_INTERRUPTED)
    except click.ClickException as exc:
        exc.show(file=output.wrapping(sys.stderr))
        sys.exit(exc.exit_code)
    except LedgerviewsError as exc:
        output.say(f"ledgerviews: {exc}", err=True)
        sys.exit(exc.exit_code)
    except OSError as exc:
        # A reader that went away (| head) or a full disk; Python would complain again when it closes stdout.
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115, PTH123
        output.say(f"ledgerviews: the output cannot be written: {exc.strerror}.", err=True)
        sys.exit(EXIT_FAILED)
    sys.exit(code if isinstance(code, int) else 0)


def _require_text(arguments: list[str]) -> None:
    """Raise UsageError for an argument, or a variable that we or libpq read, that is no UTF-8."""
    ours = ("LEDGERVIEWS_", "DATABASE_URL", "PG")
    named = {f"The argument {number}": text for number, text in enumerate(arguments, start=1)}
    named |= {f"The variable {name}": text for name, text in os.environ.items() if name.startswith(ours)}
    for name, text in named.items():
        try:
            text.encode()
        except UnicodeEncodeError:
            raise UsageError(f"{name} is no text in UTF-8.") from None
