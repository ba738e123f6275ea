"""Reading SQL: which names stand in it, and what moves when it is installed in another schema."""

from __future__ import annotations

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ledgerviews.errors import DeclarationError
from ledgerviews.sqltext import (
    _tokens,
    called,
    dotted_name,
    moved,
    qualified_names,
    retarget,
    statement,
    unmoved,
    unopened,
)

# Text in which the scanner's edges are dense; plain random text hardly ever closes a quote.
PIECES = st.sampled_from(
    [
        *"'\"$\\.;-/*()1 \n\r\t",
        *["''", '""', "--", "/*", "*/", "$$", "$a$", "$1", "E'", "e'", "U&", "\\'", "public", "PUBLIC", "x"],
        *['"public"', '"x"', "public.x", "a$b", "1.5", "é", "\u0301", "\U00020000", "\xa0"],
    ]
)
SQL = st.lists(PIECES, max_size=30).map("".join) | st.text()

MOVED = [
    ("public.x", '"t".x'),
    ("PUBLIC.X", '"t".X'),
    ('"public"."x"', '"t"."x"'),
    ('public."x"', '"t"."x"'),
    ("public . x", '"t" . x'),
    ("public\n\t.\r\nx", '"t"\n\t.\r\nx'),
    ("public/* the schema */.-- the name\nx", '"t"/* the schema */.-- the name\nx'),
    ("public.x.day", '"t".x.day'),
    ("public.x.*", '"t".x.*'),
    ("public.été", '"t".été'),
    ('U&"public".x', '"t".x'),
    ('public.U&"x"', '"t".U&"x"'),
    ("SELECT 5. FROM public.x", 'SELECT 5. FROM "t".x'),
    ("SELECT 1.5,1e3,.5 FROM public.x", 'SELECT 1.5,1e3,.5 FROM "t".x'),
    ("f($1,public.x)", 'f($1,"t".x)'),
    ("$1$a$ public.x $a$ public.x", '$1$a$ public.x $a$ "t".x'),
    ("a$b$ public.x $b$", 'a$b$ "t".x $b$'),
    ("'it''s' || public.x", "'it''s' || \"t\".x"),
    ("'\\' || public.x", "'\\' || \"t\".x"),
    ("E'\\\\' || public.x", "E'\\\\' || \"t\".x"),
    ("a-b -- public.x\npublic.x", 'a-b -- public.x\n"t".x'),
    ("-- public.x\rpublic.x", '-- public.x\r"t".x'),
    ("/* /* */ public.x */ public.x", '/* /* */ public.x */ "t".x'),
    ("/**/public.x/***/", '/**/"t".x/***/'),
    ("public.x,public.x", '"t".x,"t".x'),
    ("x JOIN public.x ON x.public = public.x.x", 'x JOIN "t".x ON x.public = "t".x.x'),
]

UNTOUCHED = [
    "public.y",
    "public.xy",
    "public.X2",
    'public."X"',
    '"PUBLIC".x',
    '"Public"."x"',
    '"public.x"',
    '"a.public.x"',
    '"a""public.x"',
    "x.public",
    "x.y",
    "s.x",
    "a.public.x",
    "my_public.x",
    "publicx",
    "public",
    "public.",
    "public.*",
    "épublic.x",
    "public.x\u0301",
    "public.x\xa0y",
    "\U00020000public.x",
    "\u212ax.public",
    "(e.payload).public.x",
    "(row) . public.x",
    "a[1].public.x",
    "'public.x'",
    "'it''s public.x'",
    "''' public.x'",
    "E'it\\'s public.x'",
    "e'\\\\\\' public.x'",
    "E'a'\n  'b\\' public.x'",
    "U&'public.x'",
    "N'public.x'",
    "$$public.x$$",
    "$a$ $b$ public.x $b$ $a$",
    "$été$public.x$été$",
    "-- public.x",
    "/* public.x */",
    "/* /* */ public.x */",
    "/*/ public.x */",
    "'public.x",
    "'it'' public.x",
    "E'public.x",
    "E'\\' public.x",
    "E'\\",
    '"public.x',
    'public."x',
    '"" "public.x',
    "$$public.x",
    "$a$public.x$b$",
    "/* public.x",
    "/* /* */ public.x",
]


@given(SQL)
@example("E'\\")
@example('"')
def test_the_tokens_are_the_whole_text(sql: str) -> None:
    """Whatever the text, no character is lost, added or moved."""
    tokens = list(_tokens(sql))

    assert "".join(token.text for token in tokens) == sql
    assert all(token.text for token in tokens)


@pytest.mark.parametrize(("sql", "expected"), MOVED)
def test_a_published_name_moves_however_it_is_written(sql: str, expected: str) -> None:
    """Each way to write public.x reaches the target schema, and the rest stays to the letter."""
    assert retarget(sql, relations={"x", "été"}, schema="t") == expected


@pytest.mark.parametrize("sql", UNTOUCHED)
def test_what_only_looks_like_a_published_name_stays(sql: str) -> None:
    """Strings, comments, quoted names, fields, columns and longer names are not touched."""
    assert retarget(sql, relations={"x"}, schema="t") == sql


@given(SQL)
def test_a_script_for_public_is_installed_to_the_letter(sql: str) -> None:
    """With the schema that models are written in, nothing is rewritten."""
    assert retarget(sql, relations={"x"}, schema="public") == sql


@given(SQL)
def test_only_the_schema_of_a_published_name_is_rewritten(sql: str) -> None:
    """Where the target is put back, the original stands: nothing but `public` was replaced."""
    moved = retarget(sql, relations={"x"}, schema="\ue000")
    originals = iter(re.findall(r'(?i)(?:u&)?"public"|public', sql))
    pieces = moved.split('"\ue000"')
    rest = sql

    for index, piece in enumerate(pieces):
        assert rest.startswith(piece)
        rest = rest[len(piece) :]
        if index < len(pieces) - 1:
            replaced = re.match(r'(?i)(?:u&)?"public"|public', rest)
            assert replaced is not None
            rest = rest[replaced.end() :]
    assert rest == ""
    assert len(pieces) - 1 <= len(list(originals))


@given(
    st.lists(
        st.sampled_from(
            [
                ("public.x", '"t".x'),
                ("'public.x'", None),
                ("'it''s'", None),
                ("E'\\'public.x'", None),
                ("$q$public.x$q$", None),
                ("/* /* ' */ public.x */", None),
                ("-- public.x '\n", None),
                ('"public.x"', None),
                ("public.y", None),
                ("a.x", None),
                (",", None),
                ("1.", None),
            ]
        )
    )
)
def test_literals_and_names_may_stand_in_any_order(parts: list[tuple[str, str | None]]) -> None:
    """What stands before a name never hides it, and never opens a literal beside it."""
    sql = " ".join(text for text, _ in parts)
    expected = " ".join(moved or text for text, moved in parts)

    assert retarget(sql, relations={"x"}, schema="t") == expected


def test_a_schema_with_a_quote_in_it_stays_one_name() -> None:
    """The target schema is quoted as an identifier."""
    assert retarget("public.x", relations={"x"}, schema='a"b') == '"a""b".x'


def test_names_are_folded_as_postgresql_folds_them() -> None:
    """Unquoted ASCII letters lose their case, other letters and quoted names keep theirs."""
    sql = 'SELECT * FROM Public.Orders, public."Orders", S."a""b", public.ÉTÉ, "p.q".r, plain'

    assert qualified_names(sql) == {
        ("public", "orders"),
        ("public", "Orders"),
        ("s", 'a"b'),
        ("public", "ÉtÉ"),
        ("p.q", "r"),
    }


def test_names_in_literals_and_comments_are_not_read() -> None:
    """A relation that is only spoken of is no dependency."""
    sql = "SELECT 'public.a', E'\\'public.b', $$public.c$$ -- public.d\n/* public.e */ FROM public.f"

    assert qualified_names(sql) == {("public", "f")}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("SELECT 1;\n", "SELECT 1"),
        ("\n  SELECT 1\n;\n", "SELECT 1"),
        ("SELECT 1 ; ;", "SELECT 1"),
        ("SELECT 1; -- the end\n", "SELECT 1 -- the end"),
        ("SELECT 1 /* a */; /* b; */", "SELECT 1 /* a */ /* b; */"),
        ("SELECT 1 -- not the end;", "SELECT 1 -- not the end;"),
        ("SELECT ';'", "SELECT ';'"),
        ("SELECT ';';", "SELECT ';'"),
        ("-- one\nSELECT 1;", "-- one\nSELECT 1"),
        ("", ""),
        (";", ""),
    ],
)
def test_a_file_loses_its_last_semicolon_and_nothing_else(text: str, expected: str) -> None:
    """The semicolon that psql wants is left out, also where a comment follows it."""
    assert statement(text) == expected


@given(SQL)
@example(";\xa0;")
def test_a_statement_is_cut_once(sql: str) -> None:
    """Cutting a second time changes nothing, so code and database can be compared; or it holds two."""
    try:
        once = statement(sql)
    except DeclarationError:
        return

    assert statement(once) == once


@pytest.mark.parametrize(
    "sql", ["SELECT 1 AS a; DROP TABLE x", "SELECT 1 AS a;; COMMIT", "SELECT 1; -- c\nSELECT 2;"]
)
def test_a_second_statement_is_refused(sql: str) -> None:
    """What would be run with a definition, by a comparison too, is an error that shows it."""
    with pytest.raises(DeclarationError, match="more than one statement: SELECT 1"):
        statement(sql)


def test_semicolons_that_end_nothing_are_no_second_statement() -> None:
    """In literals and comments, and several at the end, they are what they are."""
    assert statement("SELECT ';' AS a;; -- x; y") == "SELECT ';' AS a -- x; y"


@given(SQL, st.integers(0, 60))
@example("SELECT x FROM public.x WHERE y", 33)
def test_a_place_in_what_was_moved_is_found_in_what_was_written(sql: str, position: int) -> None:
    """What stands there is the same, but for the schemas that were moved; past the end is the end."""
    schemas = {("public", "x"): "elsewhere"}
    text = moved(sql, schemas)

    found = unmoved(sql, schemas, position)

    assert 0 <= found <= len(sql)
    if text == sql:
        assert found == min(position, len(sql))
    if position >= len(text):
        assert found == len(sql)
    elif sql[found : found + 1] != text[position]:
        assert "elsewhere" in text[max(position - 11, 0) : position + 11]


def test_calls_are_told_from_other_names() -> None:
    """A name before a bracket, and the words without one; no column, string or comment, no other schema's."""
    found = called(
        'SELECT Now (), pg_catalog.random(), app.uuid(), t.current_date, "current_date", Current_Date, age'
        " FROM t -- clock_timestamp()\n WHERE x = 'nextval()'",
        words=["current_date"],
    )

    assert found == {"now", "random", "current_date"}


def test_a_text_begins_with_a_name_or_not() -> None:
    """All its parts are folded, whatever follows."""
    found = [dotted_name(text) for text in ('r . "At", x', "R.at)", "(r.at", "", "x")]

    assert found == [["r", "At"], ["r", "at"], None, None, ["x"]]


@pytest.mark.parametrize(
    ("sql", "at"),
    [
        ("id > 0) OR (true", 6),
        ("(a) AND f(b) > 0)", 16),
        ("a = ')' AND (b /* ) */ > 0) -- )", None),
        ("\"a)\" > E'\\')' AND $x$)$x$ <> ''", None),
        ("(a", None),
    ],
)
def test_a_bracket_that_was_not_opened_is_found(sql: str, at: int | None) -> None:
    """The first bracket that closes another text's; those in literals, names and comments are none."""
    found = unopened(sql)

    assert found == at
