"""What a user reads: results on stdout, progress on stderr, JSON as one object."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import struct
import subprocess
import sys
import termios
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, timezone

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ledgerviews.cli import output
from tests import servers as pg


@dataclass(frozen=True)
class _Line:
    name: str
    at: datetime


def _pretty(size: int) -> str:
    """pg_size_pretty in whole numbers, as PostgreSQL's dbsize.c has it."""
    if size < 10_240:
        return f"{size} bytes"
    halves = size >> 9
    for unit in ("kB", "MB", "GB"):
        if halves < 20 * 1024 - 1:
            return f"{(halves + 1) // 2} {unit}"
        halves >>= 10
    return f"{(halves + 1) // 2} TB"


def test_json_is_one_versioned_object(capsys: pytest.CaptureFixture[str]) -> None:
    """One line on stdout: version, command and content, with times and dataclasses in plain words."""
    at = datetime(2025, 11, 4, 12, tzinfo=UTC)
    output.print_json("status", {"lines": [_Line("é", at)], "day": date(2025, 11, 4), "rows": None})
    captured = capsys.readouterr()

    assert captured.err == ""
    assert captured.out.count("\n") == 1
    assert json.loads(captured.out) == {
        "version": output.JSON_VERSION,
        "command": "status",
        "lines": [{"name": "é", "at": "2025-11-04T12:00:00+00:00"}],
        "day": "2025-11-04",
        "rows": None,
    }


def test_json_refuses_what_it_cannot_say() -> None:
    """A value of another kind is an error of ours, never a Python repr in the output."""
    with pytest.raises(TypeError, match="object"):
        output.print_json("status", {"value": object()})


def test_a_table_shows_each_value_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    """Brackets, colons and wide letters are shown, not read as markup, and numbers stand to the right."""
    output.print_table(
        ("relation", "rows"), [("public.[bold]x[/bold] :smile:", "1"), ("日本", "1,000")], right=("rows",)
    )
    lines = capsys.readouterr().out.splitlines()

    assert lines[0].split() == ["relation", "rows"]
    assert [line.split()[-1] for line in lines[2:]] == ["1", "1,000"]
    assert "public.[bold]x[/bold] :smile:" in lines[2]
    assert lines[2].endswith("     1")
    assert lines[3].startswith("日本 ")


def test_a_table_that_is_piped_is_neither_folded_nor_cut(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The longest names that PostgreSQL has stand on one line each, whatever the terminal's width."""
    monkeypatch.setenv("COLUMNS", "40")
    row = tuple(f"{letter * 63}.{letter * 63}" for letter in "abcdefg")
    output.print_table(("one", "two", "three", "four", "five", "six", "seven"), [row])
    lines = capsys.readouterr().out.splitlines()

    assert len(lines) == 3
    assert lines[2].split() == list(row)
    assert "…" not in lines[2]


@pytest.mark.parametrize("width", [30, 45, 60])
def test_a_table_that_is_too_wide_is_broken_between_words(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, width: int
) -> None:
    """On a terminal what may be left out goes first; then cells go on beneath, and no word is broken."""
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    problem = "a trigger of ours is not ENABLE ALWAYS"
    left_out = output.print_table(
        ("source", "rows, about", "owner", "problem"),
        [("public.orders", "1,000", "shop", problem), ("public.items", "7", "shop", "-")],
        right=("rows, about",),
        optional=("owner",),
    )
    lines = capsys.readouterr().out.splitlines()

    assert max(map(len, lines)) <= width
    assert left_out == {"owner"}
    words = " ".join(lines).split()
    assert [word for word in problem.split() if word not in words] == []
    assert {"public.orders", "1,000", "public.items", "rows,", "about"} <= set(words)
    assert lines[-1].split() == ["public.items", "7", "-"]


def test_an_empty_table_still_has_its_head(capsys: pytest.CaptureFixture[str]) -> None:
    """Where nothing is published, the columns say what would be shown."""
    output.print_table(("relation", "rows"), [])

    assert capsys.readouterr().out.splitlines()[0].split() == ["relation", "rows"]


def test_progress_goes_to_stderr_line_by_line(capsys: pytest.CaptureFixture[str]) -> None:
    """Without a terminal each step is a plain line on stderr, and stdout stays free for results."""
    with output.progress("refresh") as show:
        show("1 of 2: [bold]daily[/bold]")
        show("2 of 2: 100%")
    captured = capsys.readouterr()

    assert captured.out == ""
    assert captured.err == "1 of 2: [bold]daily[/bold]\n2 of 2: 100%\n"


@pytest.mark.parametrize(
    ("number", "text"), [(None, "-"), (0, "0"), (999, "999"), (1_000, "1,000"), (1_234_567, "1,234,567")]
)
def test_a_count_has_thousands_separators(number: int | None, text: str) -> None:
    """What was not counted is a dash, and zero is a count."""
    assert output.count(number) == text


@pytest.mark.parametrize(("number", "text"), [(0, "0 rows"), (1, "1 row"), (2_000, "2,000 rows")])
def test_one_row_is_a_row(number: int, text: str) -> None:
    """The singular stands with one, and with nothing else."""
    assert output.rows(number) == text


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (None, "-"),
        (0, "0 bytes"),
        (8_192, "8192 bytes"),
        (10_239, "10239 bytes"),
        (10_240, "10 kB"),
        (10_752, "11 kB"),
        (10_485_247, "10239 kB"),
        (10_485_248, "10 MB"),
        (5 * 1024**4, "5120 GB"),
        (50_000 * 1024**4, "50000 TB"),
    ],
)
def test_a_size_is_written_as_in_psql(number: int | None, text: str) -> None:
    """The unit changes at 10240 of the smaller one, and halves are rounded up."""
    assert output.size(number) == text


@given(
    st.integers(0, 2**50)
    | st.builds(lambda n, d: max(0, n * 512 + d), st.integers(0, 2**26), st.integers(-2, 2))
)
@example(10 * 1024**3 - 512 * 1024)
def test_every_size_is_that_of_pg_size_pretty(number: int) -> None:
    """Status and psql never show two sizes for one relation."""
    assert output.size(number) == _pretty(number)


def test_a_moment_is_told_in_utc() -> None:
    """Whatever zone the driver gives, the time is UTC to the second; none is "never"."""
    kolkata = timezone(timedelta(hours=5, minutes=30))

    assert output.moment(datetime(2025, 11, 4, 3, 0, 9, 999_999, kolkata)) == "2025-11-03 21:30:09 UTC"
    assert output.moment(None) == "never"


def test_a_line_is_broken_between_words_and_goes_on_beneath_its_text() -> None:
    """An indent, or a label and what stands behind it, is kept; a command in backticks is one word."""
    hint = "  Try again, or run `ledgerviews grant reader ROLE` as the owner."

    assert output.wrapped("as it is", 8) == "as it is"
    assert output.wrapped("one two  three", 8) == "one two\nthree"
    assert (
        output.wrapped("  error     no such mart", 18) == "  error     no\n            such\n            mart"
    )
    assert output.wrapped(hint, 40) == (
        "  Try again, or run\n  `ledgerviews grant reader ROLE` as the\n  owner."
    )


@given(st.text("ab `.é日", max_size=120), st.integers(1, 60))
def test_what_is_wrapped_keeps_each_word(line: str, width: int) -> None:
    """No word is broken or lost, and only one that is longer than a line makes a line longer."""
    lines = output.wrapped(line, width).split("\n")

    assert " ".join(lines).split() == line.split()
    for one in lines:
        # A command in backticks is a word that has blanks.
        assert output._width(one) <= width or len(one.split()) == 1 or "`" in one or not one.strip()


def _on_a_terminal(*words: str, columns: int) -> list[str]:
    """The lines that a command prints on a terminal's standard error."""
    ours, its = pty.openpty()
    fcntl.ioctl(its, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
    environment = {**pg.clean_environment(), "PYTHONPATH": str(pg.ROOT)}
    environment.pop("COLUMNS", None)
    environment["LEDGERVIEWS_DATABASE_URL"] = "postgresql://ana@127.0.0.1:1/orders"
    with os.fdopen(ours, "rb", buffering=0) as terminal:
        subprocess.run(
            [sys.executable, "-m", "ledgerviews", *words],
            check=False,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=its,
            timeout=60,
        )
        os.close(its)
        told = b""
        try:
            while part := terminal.read(65536):
                told += part
        except OSError:  # how Linux says that the other side is closed
            pass
    return told.decode().splitlines()


@pytest.mark.parametrize(
    ("words", "columns", "lines"),
    [
        (
            ("runs",),
            80,
            [
                "ledgerviews: Cannot reach database 'orders' at 127.0.0.1:1 as 'ana': connection",
                'failed: connection to server at "127.0.0.1", port 1 failed: Connection refused',
                "  Set LEDGERVIEWS_DATABASE_URL, DATABASE_URL or PG* variables, and check that",
                "  the server runs.",
            ],
        ),
        (
            ("refresh", "--lock-timeout", "soon"),
            40,
            [
                "Usage: ledgerviews refresh [OPTIONS]",
                "[NAME]...",
                "Try 'ledgerviews refresh --help' for",
                "help.",
                "",
                "Error: Invalid value for",
                "'--lock-timeout': 'soon' is no duration.",
                "Write 500ms, 5s, 2min or 1h; 0 is no",
                "limit.",
            ],
        ),
    ],
)
def test_errors_and_hints_are_wrapped_on_a_terminal(
    words: tuple[str, ...], columns: int, lines: list[str]
) -> None:
    """Of errors too, ours and those of wrong options, no word is broken at the terminal's width."""
    assert _on_a_terminal(*words, columns=columns) == lines
