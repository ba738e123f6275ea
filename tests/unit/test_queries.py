"""The catalog queries: files of their own, found by name, each saying what it answers."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ledgerviews import queries
from ledgerviews.queries import query
from ledgerviews.sqltext import statement

ROOT = Path(__file__).parents[2]
FOLDER = Path(queries.__file__).parent
NAMES = sorted(path.stem for path in FOLDER.glob("*.sql"))


def test_a_query_is_its_files_text() -> None:
    """The name finds the file, and the text is whole."""
    assert query("last_run") == (FOLDER / "last_run.sql").read_text(encoding="utf-8")


def test_an_unknown_query_is_told_by_its_name() -> None:
    """A slip in our own code shows the file that is missing."""
    with pytest.raises(FileNotFoundError, match=r"no_such_query\.sql"):
        query("no_such_query")


@pytest.mark.parametrize("name", NAMES)
def test_a_query_begins_with_what_it_answers(name: str) -> None:
    """The first line is a comment of a sentence, and one statement follows."""
    first, _, rest = query(name).partition("\n")

    assert re.fullmatch(r"-- [A-Z].+\.", first)
    assert statement(rest).startswith(("SELECT", "WITH"))
    assert ";" not in statement(rest)


@pytest.mark.parametrize("name", NAMES)
def test_a_query_holds_no_percent_sign_but_its_parameters(name: str) -> None:
    """The driver reads every percent sign as a placeholder, in a comment as well."""
    assert "%" not in re.sub(r"%\([a-z_]+\)s", "", query(name))


@pytest.mark.parametrize("name", NAMES)
def test_a_query_names_the_catalog_by_its_schema(name: str) -> None:
    """No search_path decides what a query reads: each relation after FROM or JOIN has its schema."""
    read = re.findall(r"\b(?:FROM|JOIN)\s+(?!LATERAL\b)([a-z_.]+)", query(name))
    own = set(re.findall(r"\b([a-z_]+) AS \(", query(name)))

    assert [relation for relation in read if "." not in relation and relation not in own] == []


def test_every_query_is_asked() -> None:
    """No file is left behind when its last caller goes, and no caller asks for a file that is gone."""
    asked = {
        name
        for path in (ROOT / "ledgerviews").rglob("*.py")
        for name in re.findall(r'\bquery\(\s*"(\w+)"', path.read_text(encoding="utf-8"))
    }

    assert asked == set(NAMES)


def test_what_moves_is_the_same_to_the_comparison_and_to_the_engine() -> None:
    """Both search a parsed tree, one before an engine is there, and look for the same functions."""
    texts = [
        query("printed"),
        (ROOT / "ledgerviews/schema/engine/v2/relations.sql").read_text(encoding="utf-8"),
    ]
    named = re.compile(r"'pg_catalog\.(\w+\([a-z]*\))'::pg_catalog\.regprocedure")
    functions = [named.findall(text) for text in texts]
    nodes = [re.findall(r"':\(\?:([^)]+)\)", text) for text in texts]

    assert functions[0]
    assert functions[0] == functions[1]
    assert nodes[0] == nodes[1] != []
