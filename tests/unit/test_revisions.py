"""The newest revision, read as text, and what is said where the database is at another one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory

from ledgerviews import revisions
from ledgerviews.config import PACKAGED_MIGRATIONS
from ledgerviews.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

ROOT = Path(__file__).parents[2]


def _folder(folder: Path, files: Mapping[str, str]) -> str:
    (folder / "versions").mkdir(parents=True)
    for name, text in files.items():
        (folder / "versions" / name).write_text(text, encoding="utf-8")
    return str(folder)


def _revision(revision: str, down: object) -> str:
    return f'"""A revision."""\nimport sqlalchemy\nrevision = {revision!r}\ndown_revision = {down!r}\n'


def test_the_packaged_revisions_are_those_that_alembic_finds() -> None:
    """Read as text, the packaged history has the heads and the revisions that Alembic gives it."""
    config = Config()
    config.set_main_option("script_location", str(revisions.location(PACKAGED_MIGRATIONS)))
    script = ScriptDirectory.from_config(config)

    assert revisions.heads(PACKAGED_MIGRATIONS) == set(script.get_heads())
    assert revisions.known(PACKAGED_MIGRATIONS) == {found.revision for found in script.walk_revisions()}
    assert len(revisions.heads(PACKAGED_MIGRATIONS)) == 1


def test_reading_revisions_imports_neither_alembic_nor_sqlalchemy() -> None:
    """A refresh pays no half second for the comparison."""
    program = (
        "import sys; from ledgerviews import revisions; from ledgerviews.config import PACKAGED_MIGRATIONS;"
        "assert revisions.heads(PACKAGED_MIGRATIONS); print({'alembic', 'sqlalchemy'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, check=True, capture_output=True, text=True
    )

    assert done.stdout == "set()\n"


def test_a_branched_history_has_every_head(tmp_path: Path) -> None:
    """Each revision that no other builds on is a head; a merge ends the two that it joins."""
    files = {"1.py": _revision("a", None), "2.py": _revision("b", "a"), "3.py": _revision("c", "a")}
    branched = _folder(tmp_path / "branched", files)
    merged = _folder(tmp_path / "merged", {**files, "4.py": _revision("d", ("b", "c"))})

    assert revisions.heads(branched) == {"b", "c"}
    assert revisions.heads(merged) == {"d"}
    assert revisions.known(merged) == {"a", "b", "c", "d"}


def test_a_revision_is_read_in_each_form_that_alembic_writes(tmp_path: Path) -> None:
    """Annotated names, lists, and files without a revision are understood; nothing is executed."""
    folder = _folder(
        tmp_path / "m",
        {
            "__init__.py": "raise RuntimeError\n",
            "1.py": "from typing import Union\nrevision: str = 'a'\ndown_revision: Union[str, None] = None\n"
            "raise RuntimeError\n",
            "2.py": "revision: str\nrevision = 'b'\ndown_revision = ['a']\nother.revision = 'z'\n",
        },
    )

    assert revisions.known(folder) == {"a", "b"}
    assert revisions.heads(folder) == {"b"}


def test_an_empty_history_has_no_head(tmp_path: Path) -> None:
    """A folder in which no revision was written yet is a place all the same."""
    assert revisions.heads(_folder(tmp_path / "m", {})) == frozenset()


def test_a_place_is_a_package_and_a_folder_or_a_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """``package:folder`` is looked up as an import is, a path as it stands."""
    package = f"place_{tmp_path.name.replace('-', '_')}"
    (tmp_path / package).mkdir()
    (tmp_path / package / "__init__.py").write_text("")
    _folder(tmp_path / package / "history", {})
    monkeypatch.syspath_prepend(tmp_path)

    assert revisions.location(f"{package}:history") == tmp_path / package / "history"
    assert revisions.location(str(tmp_path / package / "history")) == tmp_path / package / "history"


@pytest.mark.parametrize(
    "place",
    [
        "ledgerviews:nothing",
        "ledgerviews.config:migrations",
        "no_such_package:migrations",
        "no_such_package.part:migrations",
        "ledgerviews.config.part:migrations",
        ":migrations",
        ".relative:migrations",
        "a b:c",
        "/no/such/folder",
        "tests",
    ],
)
def test_a_place_without_revisions_is_a_users_mistake(place: str) -> None:
    """Whatever the setting holds, the answer names it and the two forms, and is no traceback."""
    with pytest.raises(UsageError) as caught:
        revisions.location(place)

    assert caught.value.message == f"There are no migrations at {place!r}."
    assert "LEDGERVIEWS_MIGRATIONS" in str(caught.value.hint)


@pytest.mark.parametrize("value", ["compute()", "PREFIX + '1'", "f'{x}'"])
def test_a_computed_revision_is_refused_by_its_file(tmp_path: Path, value: str) -> None:
    """What cannot be read as text is told by the file and the name, since Alembic itself would run it."""
    folder = _folder(tmp_path / "m", {"1.py": f"revision = 'a'\ndown_revision = {value}\n"})

    with pytest.raises(UsageError, match=r"1\.py: down_revision is computed"):
        revisions.heads(folder)


def test_a_file_that_is_no_python_is_refused_by_its_name(tmp_path: Path) -> None:
    """A conflict that was committed is told by the file, not by a traceback of ours."""
    folder = _folder(tmp_path / "m", {"1.py": "<<<<<<< HEAD\nrevision = 'a'\n"})

    with pytest.raises(UsageError, match=r"1\.py is no Python"):
        revisions.heads(folder)


def test_a_parent_that_is_not_there_is_told(tmp_path: Path) -> None:
    """Its file was deleted, or its id written wrong: who builds on it, and where it is missing."""
    files = {"1.py": _revision("a", None), "2.py": _revision("b", ("a", "gone"))}
    folder = Path(_folder(tmp_path / "m", files))

    flaw = revisions.flaw(folder)

    assert flaw is not None
    assert flaw.message == f"Revision b builds on gone, which is not in {folder / 'versions'}."
    assert revisions.flaw(Path(_folder(tmp_path / "n", {"1.py": _revision("a", None)}))) is None


def test_an_older_database_asks_for_the_migration(tmp_path: Path) -> None:
    """Where the database is at a revision that the package has, the next command is the upgrade."""
    files = {f"{one}.py": _revision(one, before) for one, before in (("1", None), ("2", "1"), ("3", "2"))}
    folder = _folder(tmp_path / "m", files)
    error = revisions.behind("shop", frozenset({"1"}), folder)
    empty = revisions.behind("shop", frozenset(), folder)

    assert error is not None
    assert error.message == "A migration is pending: database 'shop' is at 1, the package at 3."
    assert "ledgerviews db upgrade" in str(error.hint)
    assert error.exit_code == 4
    assert empty is not None
    assert "is at no revision" in empty.message
    assert revisions.behind("shop", frozenset({"3"}), folder) is None


def test_a_newer_database_asks_for_the_newer_package_or_the_variables() -> None:
    """Where the database is at a revision that the package lacks, a migration is not the mend.

    The variables that lead to a project's own revisions are named, as nothing is set.
    """
    error = revisions.behind("shop", frozenset({"a1"}), PACKAGED_MIGRATIONS)

    assert error is not None
    assert error.message.startswith(
        "Database 'shop' is at revision a1, which this package does not have; its newest is 0"
    )
    assert "LEDGERVIEWS_MODELS and LEDGERVIEWS_MIGRATIONS are not set here" in str(error.hint)
    assert "pgrade the package ledgerviews here to the one that migrated the database." in str(error.hint)
    assert error.exit_code == 4


def test_a_newer_database_than_a_projects_folder_is_told_with_the_folder(tmp_path: Path) -> None:
    """Where the variable is set, it and the folder in which was looked are named, and no package."""
    folder = _folder(tmp_path / "m", {"1.py": _revision("b1", None)})
    error = revisions.behind("shop", frozenset({"a1"}), folder)

    assert error is not None
    assert error.message == (
        f"Database 'shop' is at revision a1, which is not in {Path(folder) / 'versions'}; its newest is b1."
    )
    assert f"LEDGERVIEWS_MIGRATIONS ({folder})" in str(error.hint)
    assert "package" not in str(error.hint)
