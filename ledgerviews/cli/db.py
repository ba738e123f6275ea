"""``ledgerviews db``: the migrations, from an installed package, without an alembic.ini."""

from __future__ import annotations

import sys

import click

from ledgerviews.cli import output
from ledgerviews.config import Settings


@click.group()
def db() -> None:
    """Install and change the relations: the packaged Alembic migrations, in the schema ledgerviews.

    The same as Alembic's own commands in a checkout; LEDGERVIEWS_MIGRATIONS names another team's revisions.
    """


# A revision may be relative, as -1: that is no option.
_RELATIVE = {"ignore_unknown_options": True}


def _revision(ctx: click.Context, _parameter: click.Parameter, value: str) -> str:
    if value.startswith("-") and not value[1:].isdigit():
        raise click.NoSuchOption(value, ctx=ctx)
    return value


@db.command(context_settings=_RELATIVE)
@click.argument("revision", default="head", callback=_revision)
@click.option(
    "--sql", is_flag=True, help="Print the script for psql instead of running it, from base or of FROM:TO."
)
def upgrade(*, revision: str, sql: bool) -> None:
    """Upgrade the database to REVISION (default head).

    First the application's tables are checked against what the relations read; where something is missing,
    all of it is said and nothing is created.

    With --sql no database is read, so the script begins at the first revision, as Alembic's own; for a
    database that is at a later one, write FROM:TO (`ledgerviews db current` tells FROM).
    """
    from ledgerviews.schema import commands  # noqa: PLC0415 (loads Alembic)

    settings = Settings.from_environment()
    with commands.progress(output.wrapping(sys.stderr)):
        commands.upgrade(settings, revision, sql=sql)
    if none := commands.none_written(settings):
        output.say(none, err=True)
    elif not sql:
        output.say(f"The database is at {revision}.", err=True)


@db.command(context_settings=_RELATIVE)
@click.argument("revision", callback=_revision)
@click.option("--sql", is_flag=True, help="Print the script for psql instead of running it (FROM:TO).")
def downgrade(*, revision: str, sql: bool) -> None:
    """Downgrade the database to REVISION: a revision, -1 for one step, or base for nothing of ours."""
    from ledgerviews.schema import commands  # noqa: PLC0415 (loads Alembic)

    with commands.progress(output.wrapping(sys.stderr)):
        commands.downgrade(Settings.from_environment(), revision, sql=sql)


@db.command()
@click.argument("names", nargs=-1, metavar="[NAME]...")
def render(*, names: tuple[str, ...]) -> None:
    """Print the operations that a revision freezes: of models, or of sources as schema.table.

    Without a NAME, of everything that is declared. A materialized view that declares its day carries the
    SELECT of single days, composed from its own and its sources'. Reads no database.
    """
    from ledgerviews.catalog import load  # noqa: PLC0415 (imports the models)
    from ledgerviews.schema.render import create, track  # noqa: PLC0415 (loads the SQL parser)

    catalog = load(Settings.from_environment().models)
    tracked = [source.qualified for source in catalog.sources.values() if source.day is not None]
    texts = [create(catalog, name) for name in names or [*catalog.models, *tracked]]
    if not names and tracked:
        texts.append(track(catalog))
    click.echo("\n".join(texts))


@db.command()
def current() -> None:
    """Print the revision that the database is at."""
    from ledgerviews.schema import commands  # noqa: PLC0415 (loads Alembic)

    settings = Settings.from_environment()
    commands.current(settings)
    if none := commands.none_written(settings):
        output.say(none, err=True)


@db.command()
def history() -> None:
    """Print the revisions that this package has, newest first."""
    from ledgerviews.schema import commands  # noqa: PLC0415 (loads Alembic)

    settings = Settings.from_environment()
    commands.history(settings)
    if none := commands.none_written(settings):
        output.say(none, err=True)


@db.command()
@click.option(
    "-m", "--message", required=True, help="What it does, in a few words; a part of the file's name."
)
@click.option("--rev-id", metavar="ID", help="Its id; the next number where the newest one is a number.")
def revision(*, message: str, rev_id: str | None) -> None:
    """Write the revision that brings the database to what is declared now; none where nothing differs.

    The database must be at the newest revision. The file holds the SQL that it installs and the SQL that it
    replaces. The same as `alembic revision --autogenerate`.
    """
    from ledgerviews.schema import commands  # noqa: PLC0415 (loads Alembic)

    settings = Settings.from_environment()
    with commands.notes(output.wrapping(sys.stderr)):
        written = commands.revision(settings, message, revision_id=rev_id, stdout=sys.stderr)
    for path in written:
        click.echo(path)
    if not written:
        output.say("Nothing differs, so no revision was written.", err=True)


@db.command()
def check() -> None:
    """Leave with exit code 4 where the database is not at the newest revision, or not what is declared.

    The same as `alembic check`; `ledgerviews diff` shows what differs as SQL.
    """
    from ledgerviews.schema import commands  # noqa: PLC0415 (loads Alembic)

    with commands.notes(output.wrapping(sys.stderr)):
        commands.check(Settings.from_environment())
