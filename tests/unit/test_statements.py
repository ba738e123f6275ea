"""The SQL that migrations run: every text arrives as it was written, in names, comments and definitions."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ledgerviews.catalog import Kind
from ledgerviews.errors import UsageError
from ledgerviews.schema import engine_versions
from ledgerviews.schema.statements import create, drop, index_name

if TYPE_CHECKING:
    from collections.abc import Callable

TEXTS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))
AWKWARD = """it's 100% "quoted" :bound %s %(name)s {} {0} $1; C:\\temp -- no comment"""
# A literal as PostgreSQL reads it: quotes doubled; where it has backslashes, an E before and those doubled.
LITERAL = r"(?: E)?'(?:[^']|'')*'"


def _create(**changes: Any) -> str:
    declared: dict[str, Any] = {
        "schema": "public",
        "name": "daily",
        "kind": "materialized view",
        "definition": "SELECT 1 AS day",
        "reads": (),
        "comment": "One row per day.",
        "columns": {"day": "The day."},
        "unique_key": ("day",),
        "populate": False,
    }
    return create(**{**declared, **changes})


def _value(literal: str) -> str:
    """The text that PostgreSQL reads from a literal."""
    body = literal.strip().removeprefix("E")[1:-1].replace("''", "'")
    return body.replace("\\\\", "\\") if literal.startswith(" E") else body


def test_a_materialized_view_is_created_whole() -> None:
    """Relation, unique index, comments and registration, in this order and unpopulated."""
    assert _create() == (
        'CREATE MATERIALIZED VIEW "public"."daily" AS\n'
        "SELECT 1 AS day\n"
        "WITH NO DATA;\n"
        'CREATE UNIQUE INDEX "daily_key" ON "public"."daily" ("day");\n'
        'COMMENT ON MATERIALIZED VIEW "public"."daily" IS \'One row per day.\';\n'
        'COMMENT ON COLUMN "public"."daily"."day" IS \'The day.\';\n'
        "INSERT INTO ledgerviews.relation (schema_name, relation_name, kind, definition, unique_key)"
        " VALUES ('public', 'daily', 'materialized view', 'SELECT 1 AS day', '{day}'::text[]);\n"
    )


def test_a_view_is_created_without_data_or_index() -> None:
    """A view has neither WITH nor an index, and says so in the registry."""
    script = _create(kind=Kind.VIEW, unique_key=(), populate=True)

    assert script.startswith('CREATE VIEW "public"."daily" AS\nSELECT 1 AS day\n;\nCOMMENT ON VIEW ')
    assert "INDEX" not in script
    assert "WITH" not in script
    assert "'view', 'SELECT 1 AS day', '{}'::text[]" in script


def test_populate_fills_at_once() -> None:
    """The setting replaces WITH NO DATA, and changes nothing else."""
    assert _create(populate=True) == _create().replace("WITH NO DATA", "WITH DATA")


def test_a_kind_of_the_catalog_is_a_kind_of_the_frozen_form() -> None:
    """Today's enum and the word that a revision froze give the same script."""
    assert _create(kind=Kind.MATERIALIZED_VIEW) == _create(kind="materialized view")


@pytest.mark.parametrize("kind", ["view", "materialized view"])
@pytest.mark.parametrize(
    ("definition", "installed"),
    [
        ("SELECT 1;", "SELECT 1"),
        ("SELECT 1;\n", "SELECT 1"),
        ("\nSELECT 1\n;;\n", "SELECT 1"),
        ("SELECT 1 -- the end", "SELECT 1 -- the end"),
        ("SELECT 1 -- the end;", "SELECT 1 -- the end;"),
        ("SELECT 1; -- the end", "SELECT 1 -- the end"),
        ("SELECT ';'", "SELECT ';'"),
    ],
)
def test_a_definition_ends_where_its_statement_ends(kind: str, definition: str, installed: str) -> None:
    """A semicolon or a comment at the end cuts off nothing that follows; the registry has the same text."""
    script = _create(kind=kind, definition=definition)
    ending = "WITH NO DATA;\n" if kind == "materialized view" else ";\n"
    registered = installed.replace("'", "''")

    assert f" AS\n{installed}\n{ending}" in script
    assert f"'{registered}', '{{day}}'::text[]" in script


def test_a_definition_is_sent_as_it_is_written() -> None:
    """Percent signs, colons, braces, dollars and backslashes mean nothing on the way."""
    definition = f"SELECT 5 % 2, '{AWKWARD.replace(chr(39), chr(39) * 2)}', E'\\n', $${{}} %s$$, x::text"

    assert f" AS\n{definition}\nWITH NO DATA;" in _create(definition=definition)


def test_only_the_installed_text_moves_to_the_target_schema() -> None:
    """What is read and published moves; sources stay; the registry keeps the text as it was written."""
    definition = "SELECT 'public.stg' FROM public.stg JOIN public.orders USING (id)"
    script = _create(schema="analytics", definition=definition, reads=["stg"])

    assert (
        'CREATE MATERIALIZED VIEW "analytics"."daily" AS\n'
        "SELECT 'public.stg' FROM \"analytics\".stg JOIN public.orders USING (id)\n" in script
    )
    assert 'COMMENT ON COLUMN "analytics"."daily"."day"' in script
    assert "SELECT ''public.stg'' FROM public.stg JOIN public.orders USING (id)" in script
    assert "VALUES ('analytics', 'daily'" in script


@given(comment=TEXTS, line=TEXTS)
@example(comment=AWKWARD, line=AWKWARD)
@example(comment="\\", line="\\'")
def test_comments_arrive_as_they_were_written(comment: str, line: str) -> None:
    """Whatever stands in a comment, PostgreSQL reads that text and the statement ends after it."""
    script = _create(comment=comment, columns={"day": line})
    of_relation = re.search(rf'VIEW "public"."daily" IS ({LITERAL});\n', script)
    of_column = re.search(rf'"day" IS ({LITERAL});\nINSERT', script)

    assert of_relation is not None
    assert _value(of_relation[1]) == comment
    assert of_column is not None
    assert _value(of_column[1]) == line


def test_names_are_quoted_as_identifiers() -> None:
    """Capitals, quotes, percent signs and reserved words are names like any other."""
    name = 'Or"der %s'
    script = _create(name=name, columns={"select": "c"}, unique_key=("select", 'a"b'))

    assert 'CREATE MATERIALIZED VIEW "public"."Or""der %s" AS\n' in script
    assert 'CREATE UNIQUE INDEX "Or""der %s_key" ON "public"."Or""der %s" ("select", "a""b");' in script
    assert 'COMMENT ON COLUMN "public"."Or""der %s"."select" IS \'c\';' in script
    assert "'Or\"der %s', " in script
    assert """'{select,"a\\\\"b"}'::text[]""" in script


@pytest.mark.parametrize(
    ("kind", "keyword"), [(Kind.VIEW, "VIEW"), ("materialized view", "MATERIALIZED VIEW")]
)
def test_a_drop_takes_the_relation_off_the_registry(kind: str, keyword: str) -> None:
    """Nothing cascades: what still reads the relation stops the script at its first statement."""
    assert drop(schema="a", name="it's", kind=kind) == (
        f'DROP {keyword} IF EXISTS "a"."it\'s";\n'
        "DELETE FROM ledgerviews.relation WHERE schema_name = 'a' AND relation_name = 'it''s';\n"
    )


@pytest.mark.parametrize("name", ["daily", "m" * 59, "é" * 29])
def test_a_short_name_gives_the_index_its_own(name: str) -> None:
    """As long as it fits, the index is the relation's name and `_key`."""
    assert index_name(name) == f"{name}_key"


@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1))
@example("m" * 60)
@example("é" * 30)
@example("\U00020000" * 15)
@example("m" * 49 + "é" * 10)
def test_an_index_name_is_never_cut(name: str) -> None:
    """Counted in bytes, it fits, so PostgreSQL keeps it as it is written."""
    assert len(index_name(name).encode()) <= 63
    assert index_name(name).endswith("_key")


@given(prefix=st.text("aé", min_size=56, max_size=59), first=st.text("ab"), second=st.text("ab"))
@example(prefix="m" * 59, first="a", second="b")
@example(prefix="m" * 59, first="", second="a")
def test_long_names_with_one_beginning_have_two_indexes(prefix: str, first: str, second: str) -> None:
    """Two relations never share the name of an index, wherever they begin to differ."""
    assert (index_name(prefix + first) == index_name(prefix + second)) is (first == second)


@pytest.mark.parametrize(
    ("previous", "version", "expected"),
    [
        (0, engine_versions.LATEST, lambda script: script.startswith("-- Engine version 1")),
        (0, 0, lambda script: script == ""),
        (3, 3, lambda script: script.startswith("CREATE OR REPLACE FUNCTION")),
        (engine_versions.LATEST, 0, lambda script: "DROP" in script),
    ],
)
def test_the_engine_goes_from_one_version_to_another(
    previous: int, version: int, expected: Callable[[str], bool]
) -> None:
    """Up from nothing, nowhere where it stands, and down to nothing."""
    assert expected(engine_versions.script(previous, version))


@pytest.mark.parametrize(("previous", "version"), [(0, -1), (0, 99), (99, 1), (-1, 0)])
def test_an_engine_that_this_package_lacks_is_refused(previous: int, version: int) -> None:
    """A revision, or a database, of a newer package says which version is missing here."""
    with pytest.raises(
        UsageError, match=r"There is no engine version (-1|99); this package has 1 to "
    ) as caught:
        engine_versions.script(previous, version)

    assert "Upgrade the package ledgerviews" in str(caught.value.hint)
