"""The documentation says what the code does: every setting, command, option, exit code and column."""

from __future__ import annotations

import re
from functools import cache
from itertools import takewhile
from pathlib import Path

import click
import pytest

from ledgerviews import catalog, errors
from ledgerviews.cli import cli
from ledgerviews.config import DEFAULT_MODELS

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
NAMES = [str(page.relative_to(ROOT)) for page in PAGES]
MODELS = catalog.load(DEFAULT_MODELS).models


@cache
def _text(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def _commands() -> dict[str, click.Command]:
    """Every command that does something, by the words that call it."""
    found: dict[str, click.Command] = {}
    left: list[tuple[str, click.Command]] = [("ledgerviews", cli)]
    while left:
        path, command = left.pop()
        if isinstance(command, click.Group):
            context = click.Context(command, info_name=path)
            for name in command.list_commands(context):
                child = command.get_command(context, name)
                assert child is not None, name
                left.append((f"{path} {name}", child))
        else:
            found[path] = command
    return found


COMMANDS = _commands()


def _section(text: str, title: str) -> str:
    """What stands under a heading of the second level."""
    _, found, rest = text.partition(f"\n## {title}\n")
    assert found, title
    return rest.partition("\n## ")[0]


def _first_cells(section: str) -> list[str]:
    """The first cell of each row of a section's first table, below its heading."""
    lines = section.splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith("|"))
    rows = takewhile(lambda line: line.startswith("|"), lines[start + 2 :])
    return [row.split("|")[1].strip() for row in rows]


def test_every_variable_is_in_the_configuration() -> None:
    """Whatever LEDGERVIEWS_* variable the code or the local stack reads stands in docs/operations.md."""
    files = [
        ROOT / "ledgerviews" / "config.py",
        *(ROOT / "ledgerviews").glob("dev/*.py"),
        *(ROOT / "ledgerviews").glob("cli/*.py"),
        ROOT / "docker-compose.yml",
    ]
    read = {
        name
        for file in files
        for name in re.findall(r"LEDGERVIEWS_[A-Z_]+", file.read_text(encoding="utf-8"))
    }
    written = set(
        re.findall(r"`(LEDGERVIEWS_[A-Z_]+)`", _section(_text("docs/operations.md"), "Configuration"))
    )

    assert "LEDGERVIEWS_DATABASE_URL" in read
    assert read == written


@pytest.mark.parametrize("path", COMMANDS)
def test_every_command_and_option_is_in_the_operations(path: str) -> None:
    """A command and its options stand in one row of the table of commands."""
    words = path.removeprefix("ledgerviews ").split()
    rows = [
        line
        for line in _section(_text("docs/operations.md"), "Commands").splitlines()
        if line.startswith(f"| `ledgerviews {words[0]}") and re.search(rf"\b{words[-1]}\b", line)
    ]
    options = {
        name
        for parameter in COMMANDS[path].params
        if isinstance(parameter, click.Option)
        for name in (*parameter.opts, *parameter.secondary_opts)
        if name.startswith("--") and name != "--help"
    }
    everywhere = {"--dir"} if words[0] == "dev" else set()  # said once, for all of them

    assert rows
    assert [name for name in options - everywhere if not any(name in row for row in rows)] == []


def test_every_exit_code_is_in_the_table() -> None:
    """The table has every code of errors.py, and none that no command can give but the reserved one."""
    codes = {value for name, value in vars(errors).items() if name.startswith("EXIT_")}
    written = {int(cell) for cell in _first_cells(_section(_text("docs/operations.md"), "Exit codes"))}

    assert written - codes == {6}
    assert codes <= written


@pytest.mark.parametrize("table", ["run", "run_relation", "run_check"])
def test_every_column_of_the_run_log_is_described(table: str) -> None:
    """The run log's tables in docs/operations.md have the columns of the engine's SQL."""
    scripts = sorted((ROOT / "ledgerviews" / "schema" / "engine").glob("v*/*.sql"))
    engine = "".join(script.read_text("utf-8") for script in scripts if script.name != "remove.sql")
    created = re.search(rf"CREATE TABLE ledgerviews\.{table} \((.*?)\n\);", engine, re.DOTALL)
    assert created is not None
    columns = set(re.findall(r"(?m)^    ([a-z_]+) ", created[1]))
    for altered in re.findall(rf"ALTER TABLE ledgerviews\.{table}\b(.*?);", engine, re.DOTALL):
        columns |= set(re.findall(r"ADD COLUMN ([a-z_]+) ", altered))
    section = _section(_text("docs/operations.md"), "The run log")
    _, found, rest = section.partition(f"`ledgerviews.{table}`,")

    assert found
    assert set(re.findall(r"`([a-z_]+)`", " ".join(_first_cells(rest)))) == columns


@pytest.mark.parametrize("name", MODELS)
def test_every_column_is_in_its_model_s_table(name: str) -> None:
    """docs/models.md has a section for each model, with exactly its columns in their order."""
    section = _section(_text("docs/models.md"), name)

    assert _first_cells(section) == [f"`{column}`" for column in MODELS[name].columns]
    assert f"`{', '.join(MODELS[name].grain)}`" in section


@pytest.mark.parametrize("name", NAMES)
def test_relative_links_lead_somewhere(name: str) -> None:
    """Every link of a page that is no address is a file or folder of the repository."""
    links = re.findall(r"\]\(([^)\s]+)\)", _text(name))
    inside = [link.partition("#")[0] for link in links if "://" not in link]

    assert [link for link in inside if link and not ((ROOT / name).parent / link).exists()] == []


def test_decisions_are_numbered_without_a_gap() -> None:
    """docs/decisions holds 0001 and so on, the exporter's from 0020, and those on changes from 0030."""
    pages = sorted((ROOT / "docs" / "decisions").glob("*.md"))
    numbers = [int(page.name[:4]) for page in pages]
    engine = [number for number in numbers if number < 20]
    export = [number for number in numbers if 20 <= number < 30]
    changes = [number for number in numbers if number >= 30]

    assert engine == list(range(1, len(engine) + 1))
    assert export == list(range(20, 20 + len(export)))
    assert changes == list(range(30, 30 + len(changes)))
    assert [
        page.name for page in pages if not page.read_text("utf-8").startswith(f"# {page.name[:4]}: ")
    ] == []


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md"])
def test_the_commands_of_make_are_targets(name: str) -> None:
    """Whatever `make …` a page tells the reader to type is a target of the Makefile."""
    targets = set(re.findall(r"(?m)^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8")))
    told = set(re.findall(r"(?m)(?:^ {4}|`)make ([a-z-]+)", _text(name)))

    assert told
    assert told <= targets


def test_the_readme_s_two_commands() -> None:
    """The README starts with `make demo` and `make test`."""
    assert re.findall(r"(?m)^    make ([a-z-]+)", _text("README.md"))[:2] == ["demo", "test"]


def test_the_readme_shows_what_is_printed_now() -> None:
    """The outputs in the README have today's headings."""
    from ledgerviews.cli import refresh, status

    pages = _text("README.md")
    for module in (refresh, status):
        assert module.__file__ is not None
        code = Path(module.__file__).read_text(encoding="utf-8")
        for heading in re.findall(r'"((?:rows|last|size|kind|populated)[ a-z]*)"', code):
            assert heading in pages
