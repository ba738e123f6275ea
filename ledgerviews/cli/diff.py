"""``ledgerviews diff``."""

from __future__ import annotations

import click

from ledgerviews.cli import output
from ledgerviews.config import Settings
from ledgerviews.errors import EXIT_DRIFT, EXIT_OK


@click.command(epilog="Example: ledgerviews diff && echo nothing differs")
def diff() -> int:
    """Show what differs between code and database, as SQL, and what depends on it; change nothing.

    Prints nothing where nothing differs; exit code 4 says that something does. Definitions are shown as a
    unified diff, all else as statements, with the locks that they take and how long a rebuild may last. A
    role that owns nothing can run it, and a read-only server is compared by the texts that were recorded.

    Compared are the models of LEDGERVIEWS_MODELS. Entities of alembic-utils that an application's env.py
    declares are known to that env.py only: `alembic check` compares them.
    """
    from ledgerviews.schema.diff import diff as compare  # noqa: PLC0415 (loads the database driver)

    found = compare(Settings.from_environment())
    if found.text:
        click.echo(found.text, nl=False)
    for note in found.notes:
        output.say(note, err=True)
    return EXIT_OK if found.current else EXIT_DRIFT
