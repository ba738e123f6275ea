"""How commands print: results to stdout, progress to stderr, ``--json`` as one versioned object."""

from __future__ import annotations

import json
import shutil
import sys
from contextlib import contextmanager
from dataclasses import asdict, is_dataclass
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

import click

from ledgerviews.errors import LedgerviewsError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

JSON_VERSION = 1
json_option = click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON object instead of a table."
)
names_argument = click.argument("names", nargs=-1, metavar="[NAME]...")


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
            error = {"message": exc.message, "hint": exc.hint}
            print_json(command, {"state": "failed", "exit_code": exc.exit_code, "error": error})
        raise


def print_table(
    columns: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    right: Sequence[str] = (),
    least: Sequence[str] = (),
) -> None:
    """Print a table whose cells are never cut; columns named in ``right`` are aligned to the right.

    On a terminal that is too narrow those named in ``least`` are left out, the first of them first.
    """
    room = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    columns, rows = _narrowed(columns, rows, list(least), room)
    widths = _widths(columns, rows)

    def line(cells: Sequence[str]) -> str:
        aligned = [
            cell.rjust(width) if columns[n] in right else cell.ljust(width)
            for n, (cell, width) in enumerate(zip(cells, widths, strict=True))
        ]
        return "   ".join(aligned).rstrip()

    click.echo(line(columns))
    click.echo("─" * (sum(widths) + 3 * (len(widths) - 1)))
    for row in rows:
        click.echo(line(row))


def _widths(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> list[int]:
    return [max([len(c), *(len(row[n]) for row in rows)]) for n, c in enumerate(columns)]


def _narrowed(
    columns: Sequence[str], rows: Sequence[Sequence[str]], least: list[str], room: int | None
) -> tuple[Sequence[str], Sequence[Sequence[str]]]:
    while room is not None and least and sum(_widths(columns, rows)) + 3 * (len(columns) - 1) > room:
        left_out = columns.index(least.pop(0))
        columns = [c for n, c in enumerate(columns) if n != left_out]
        rows = [[cell for n, cell in enumerate(row) if n != left_out] for row in rows]
    return columns, rows


def progress(line: str) -> None:
    """Show a line on stderr."""
    click.echo(line, err=True)


def count(number: int) -> str:
    """A count for people."""
    return f"{number:,}"


def size(number: int) -> str:
    """Bytes for people, in powers of ten as BigQuery's limits are told."""
    value = float(number)
    for unit in ("bytes", "kB", "MB", "GB"):
        if value < 1000:  # noqa: PLR2004 (the next unit)
            return f"{value:.0f} {unit}" if unit == "bytes" else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} TB"


def moment(value: datetime | None) -> str:
    """A time for people, in UTC to the second."""
    return "never" if value is None else value.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _plain(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    if isinstance(value, (date, datetime)):
        return value.isoformat()
    raise TypeError(type(value).__name__)
