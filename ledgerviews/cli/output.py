"""How commands print: results to stdout, progress to stderr, ``--json`` as one versioned object."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import sys
from contextlib import contextmanager
from dataclasses import asdict, is_dataclass
from datetime import date, datetime
from typing import TYPE_CHECKING, Any, NoReturn, TextIO, cast
from unicodedata import combining, east_asian_width

import click

from ledgerviews.errors import LedgerviewsError, told, visible

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

JSON_VERSION = 1
# A command in backticks is one word: what is copied from the terminal must be what was meant.
_WORD = re.compile(r"(\s*)((?:`[^`]*`|\S)+)")
_LABEL = re.compile(r" {2,}\S+ {2,}| *")


def say(text: str, *, err: bool = False) -> None:
    """Print text for people: wrapped at words on a terminal, and as it is elsewhere.

    Parts of it may be others' words: lines after the first are indented, and nothing else that a terminal
    obeys is printed.
    """
    click.echo(_fitted(told(text), sys.stderr if err else sys.stdout), err=err)


def wrapping(stream: TextIO) -> TextIO:
    """The stream for what others write to it, a whole message at a time: wrapped as by ``say``."""
    return cast("TextIO", _Wrapping(stream))


class _Wrapping:
    """The part of a text stream that click and logging use."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        return self._stream.write(_fitted(visible(text, keep="\n\t"), self._stream))

    def flush(self) -> None:
        self._stream.flush()

    def isatty(self) -> bool:
        return self._stream.isatty()


def _fitted(text: str, stream: TextIO) -> str:
    if not stream.isatty():
        return text
    return "\n".join(wrapped(line, _columns(stream)) for line in text.split("\n"))


def _columns(stream: TextIO) -> int:
    """How wide the terminal is that the stream goes to, which need not be that of standard output."""
    try:
        return int(os.environ.get("COLUMNS", "")) or 80
    except ValueError:
        pass
    try:
        return os.get_terminal_size(stream.fileno()).columns or 80
    except (OSError, ValueError):
        return 80


def wrapped(line: str, width: int) -> str:
    """A line broken between words, continued beneath where its text began.

    What is longer than the width by itself, a name or a command, stays whole: the terminal folds it, and it
    can be copied.
    """
    if _width(line) <= width:
        return line
    label = _LABEL.match(line)
    indent = " " * (_width(label[0]) if label else 0)
    lines, current = [], ""
    for blank, word in _WORD.findall(line):
        if current.strip() and _width(current + blank + word) > width:
            lines.append(current)
            current = indent + word
        else:
            current += blank + word
    return "\n".join([*lines, current])


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
) -> frozenset[str]:
    """Print a table whose cells are never cut, and give the columns that were left out.

    Columns named in ``right`` are aligned to the right. On a terminal that is too narrow the columns named in
    ``optional`` are left out, first one first; then the others are broken between words.
    """
    rows = [[visible(cell) for cell in row] for row in rows]
    widths = {
        column: max([_width(column), *(_width(row[number]) for row in rows)])
        for number, column in enumerate(columns)
    }
    if sys.stdout.isatty():
        room = shutil.get_terminal_size().columns
        for column in optional:
            if _total(widths) > room:
                del widths[column]
        _narrow(widths, {name: [name, *(row[at] for row in rows)] for at, name in enumerate(columns)}, room)
    # Written here: a library that draws tables takes longer to load than a refresh with nothing to do.
    for cells in [columns, ["─" * widths.get(column, 0) for column in columns], *rows]:
        folded = [
            [_padded(text, widths[column], right=column in right) for text in _lines(cell, widths[column])]
            for column, cell in zip(columns, cells, strict=True)
            if column in widths
        ]
        blank = [" " * width for width in widths.values()]
        for line in range(max(map(len, folded))):
            parts = [one[line] if line < len(one) else blank[at] for at, one in enumerate(folded)]
            click.echo(_GAP.join(parts).rstrip())
    return frozenset(columns) - widths.keys()


_GAP = "  "


def _narrow(widths: dict[str, int], cells: Mapping[str, Sequence[str]], room: int) -> None:
    """Take what a table is too wide from its widest columns, as far as their longest words let."""
    words = {
        column: max(_width(word) for cell in cells[column] for _, word in [("", ""), *_WORD.findall(cell)])
        for column in widths
    }
    while (excess := _total(widths) - room) > 0:
        column = max(widths, key=lambda name: (widths[name] > words[name], widths[name]))
        if widths[column] <= words[column]:
            return
        widths[column] = max(words[column], widths[column] - excess)


def _lines(cell: str, width: int) -> list[str]:
    return wrapped(cell, width).split("\n")


def _total(widths: dict[str, int]) -> int:
    return sum(widths.values()) + len(_GAP) * (len(widths) - 1)


def _padded(text: str, width: int, *, right: bool) -> str:
    blank = " " * (width - _width(text))
    return blank + text if right else text + blank


def _width(text: str) -> int:
    """How many columns of a terminal a text takes: two for a wide character, none for one that combines."""
    if text.isascii():
        return len(text)
    return sum(0 if combining(char) else 2 if east_asian_width(char) in "WF" else 1 for char in text)


@contextmanager
def progress(waiting: str) -> Iterator[Callable[[str], None]]:
    """Give a function that shows a line on stderr; a terminal gets a spinner with the time as well."""
    if not sys.stderr.isatty():
        yield lambda line: click.echo(visible(line), err=True)
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
            shown = visible(line)
            console.print(shown, markup=False, highlight=False)
            bar.update(task, description=shown)

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


def rows(number: int) -> str:
    """A number of rows for people."""
    return f"{number:,} row{'' if number == 1 else 's'}"


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
