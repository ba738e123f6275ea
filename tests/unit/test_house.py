"""Rules of the house that no linter knows."""

from __future__ import annotations

import re
import subprocess
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

import click
import pytest

from ledgerviews.cli import cli

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]

# Written so that this file holds none of them.
PRIVATE = re.compile(
    r"(?<![\w./~-])/(?:work|root/[.]pyenv|opt/pypi|opt/wheels|tmp/v1)\b"
    r"|pypi[.]org|pythonhosted[.]org|(?<!emit-)(?:index-url|find-links)"
)


def _tracked(*paths: str) -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--", *paths], cwd=ROOT, check=True, capture_output=True, text=True
    )
    files = [ROOT / name for name in listed.stdout.split("\0") if name]
    return [file for file in files if file.is_file()]


def _commands(command: click.Command, context: click.Context) -> Iterator[tuple[str, click.Command]]:
    yield context.command_path, command
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            child = command.get_command(context, name)
            assert child is not None, name
            yield from _commands(child, click.Context(child, info_name=name, parent=context))


COMMANDS = dict(_commands(cli, click.Context(cli, info_name="ledgerviews")))


def test_the_engine_does_not_name_its_tenant() -> None:
    """Nothing but the models knows what LedgerMind publishes."""
    engine = [file for file in _tracked("ledgerviews") if "models" not in file.parts]

    assert engine
    assert [file.name for file in engine if "suggestion" in file.read_text(encoding="utf-8").lower()] == []


def test_no_file_knows_the_machine_it_was_written_on() -> None:
    """No tracked file holds a path of a developer's machine or the address of a package index."""
    found = {
        str(file.relative_to(ROOT)): match[0]
        for file in _tracked()
        if file != Path(__file__) and (match := PRIVATE.search(file.read_text(encoding="utf-8")))
    }

    assert found == {}


@pytest.mark.parametrize("path", COMMANDS)
def test_every_command_and_option_has_help(path: str) -> None:
    """A user never meets a command or an option without a line that says what it does."""
    command = COMMANDS[path]
    silent = [p.name for p in command.params if isinstance(p, click.Option) and not (p.help or "").strip()]

    assert (command.help or "").strip()
    assert silent == []


def test_the_list_of_commands_is_that_of_the_commands() -> None:
    """`ledgerviews --help` lists every command, without importing one."""
    listed = cli.get_help(click.Context(cli, info_name="ledgerviews"))

    assert [path for path in COMMANDS if path.count(" ") == 1 and f"  {path.split()[1]} " not in listed] == []


def test_the_pinned_sets_carry_hashes_and_no_address() -> None:
    """Both requirements files are exact and hashed, and leave the index to the machine that installs."""
    for name in ("requirements.txt", "requirements-image.txt"):
        lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
        pinned = [n for n, line in enumerate(lines) if re.match(r"[a-z0-9-]+==[^ ]+ ", line)]
        others = [line for line in lines if line and not re.match(r"[a-z0-9-]+==|    --hash=|\s*#", line)]

        assert pinned
        assert all(lines[n + 1].startswith("    --hash=sha256:") for n in pinned)
        assert others == []


def test_the_image_runs_what_the_tests_ran() -> None:
    """Every package of the image has the version of the set that CI runs."""

    def pins(name: str) -> set[str]:
        return set(re.findall(r"(?m)^[a-z0-9-]+==[^ ]+", (ROOT / name).read_text(encoding="utf-8")))

    assert pins("requirements-image.txt") <= pins("requirements.txt")


def test_every_dependency_is_pinned() -> None:
    """What pyproject.toml asks for at run time is in the image's set, and all of dev in the full one."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]

    def missing(wanted: list[str], name: str) -> list[str]:
        text = (ROOT / name).read_text(encoding="utf-8")
        names = [re.split(r"[^\w-]", one)[0].lower() for one in wanted]
        return [one for one in names if one != "ledgerviews" and f"\n{one}==" not in text]

    assert missing(project["dependencies"], "requirements-image.txt") == []
    assert missing([*project["dependencies"], *extras["embedded"], *extras["dev"]], "requirements.txt") == []
