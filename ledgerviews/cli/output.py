"""How commands print: results to stdout, progress to stderr, ``--json`` as one versioned object."""

from __future__ import annotations

import json
import signal
import sys
from contextlib import contextmanager
from dataclasses import asdict, is_dataclass
from datetime import date, datetime
from typing import TYPE_CHECKING, Any, NoReturn

import click

from ledgerviews.errors import LedgerviewsError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

JSON_VERSION = 1


def print_json(command: str, content: dict[str, Any]) -> None:
    """Print one object: its version, the command, and the content."""
    click.echo(json.dumps({"version": JSON_VERSION, "command": command, **content}, default=_plain))


@contextmanager
def json_failure(command: str, *, as_json: bool) -> Iterator[None]:
    """With --json, print an error of the block as one object, too; it goes on to the caller."""
    try:
        yield
    except LedgerviewsError as exc:
        if as_json:
            error = {"message": exc.message, "hint": exc.hint, **exc.details()}
            print_json(command, {"state": "failed", "exit_code": exc.exit_code, "error": error})
        raise


def print_table(
    columns: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    right: Sequence[str] = (),
    optional: Sequence[str] = (),
) -> None:
    """Print a table whose cells are never cut.

    Columns named in ``right`` are aligned to the right. On a terminal that is too narrow the columns named in
    ``optional`` are left out, first one first.
    """
    from rich.box import SIMPLE_HEAD  # noqa: PLC0415 (a tenth of a second that --json does not need)
    from rich.console import Console  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    widths = {
        column: max([len(column), *(len(row[number]) for row in rows)])
        for number, column in enumerate(columns)
    }
    console = Console()
    if sys.stdout.isatty():
        for column in optional:
            if _width(widths) > console.width:
                del widths[column]
    if not sys.stdout.isatty() or _width(widths) > console.width:
        console = Console(width=_width(widths))
    table = Table(box=SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for column in widths:
        table.add_column(column, justify="right" if column in right else "left", no_wrap=True)
    for row in rows:
        table.add_row(*(Text(row[number]) for number, column in enumerate(columns) if column in widths))
    console.print(table, soft_wrap=True)


def _width(widths: dict[str, int]) -> int:
    """How wide a table is: its cells with a blank on each side of the lines between them."""
    return sum(widths.values()) + 3 * len(widths)


@contextmanager
def progress(waiting: str) -> Iterator[Callable[[str], None]]:
    """Give a function that shows a line on stderr; a terminal gets a spinner with the time as well."""
    if not sys.stderr.isatty():
        yield lambda line: click.echo(line, err=True)
        return
    from rich.console import Console  # noqa: PLC0415
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn  # noqa: PLC0415

    console = Console(stderr=True)
    with Progress(
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        TimeElapsedColumn(),
        console=console,
        transient=True,
    ) as bar:
        task = bar.add_task(waiting)

        def show(line: str) -> None:
            console.print(line, markup=False, highlight=False)
            bar.update(task, description=line)

        yield show


@contextmanager
def terminated_as_interrupted() -> Iterator[None]:
    """End on SIGTERM, as a cancelled CI job gets it, as on Ctrl-C: so the server's statement is cancelled."""
    former = signal.signal(signal.SIGTERM, _interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, former)


def _interrupt(_signal: int, _frame: object) -> NoReturn:
    raise KeyboardInterrupt


def count(number: int | None) -> str:
    """A count for people: with thousands separators, or a dash."""
    return "-" if number is None else f"{number:,}"


def size(number: int | None) -> str:
    """A size in bytes for people, as psql writes it."""
    if number is None:
        return "-"
    value, unit = float(number), "bytes"
    for unit in ("bytes", "kB", "MB", "GB", "TB"):
        if int(value + 0.5) < 10_240 or unit == "TB":  # noqa: PLR2004 (psql changes the unit there)
            break
        value /= 1024
    return f"{int(value + 0.5)} {unit}"


def seconds(value: float | None) -> str:
    """A time span for people."""
    return "-" if value is None else f"{value:,.2f}"


def days(scope: str, number: int | None) -> str:
    """How many days were recomputed, for people."""
    return {"none": "-", "all": "all"}.get(scope, count(number))


def moment(value: datetime | None) -> str:
    """A time for people, in UTC to the second."""
    from datetime import UTC  # noqa: PLC0415

    return "never" if value is None else value.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _plain(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    if isinstance(value, (date, datetime)):
        return value.isoformat()
    raise TypeError(type(value).__name__)
