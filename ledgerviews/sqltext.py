"""Reads just enough of SQL to find the schema-qualified names in it, and to move them to another schema.

Comments, strings, dollar quotes and quoted identifiers are told apart as PostgreSQL's scanner does, so a
name inside a string is never taken for a relation. Everything else about the SQL is PostgreSQL's business.
"""

from __future__ import annotations

import re
import string
from typing import TYPE_CHECKING, NamedTuple

from .errors import DeclarationError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping

MODEL_SCHEMA = "public"
"""The schema that models are written in; it stands for the configured one (see ``retarget``)."""

# A literal that is never closed reaches to the end, as in PostgreSQL.
_TOKEN = re.compile(
    r"""
      (?P<blank> [ \t\n\r\f\v]+ | --[^\n\r]* )
    | (?P<block> /\* )
    | (?P<escape> [eE]'(?:[^'\\]|\\.|'')*(?:'|\Z|\\\Z)
                  (?:[ \t\f\v]*[\n\r][ \t\n\r\f\v]*'(?:[^'\\]|\\.|'')*(?:'|\Z|\\\Z))* )
    | (?P<string> '(?:[^']|'')*(?:'|\Z) )
    | (?P<dollar> \$(?P<tag>(?:[A-Za-z_\u0080-\U0010ffff][A-Za-z0-9_\u0080-\U0010ffff]*)?)\$ )
    | (?P<name> (?:[uU]&)?"(?:[^"]|"")*" | [A-Za-z_\u0080-\U0010ffff][A-Za-z0-9_$\u0080-\U0010ffff]* )
    | (?P<unclosed> ".* )
    | (?P<number> [0-9][A-Za-z0-9_]*(?:\.[A-Za-z0-9_]*)? | \$[0-9]+ )
    | (?P<other> . )
    """,
    re.VERBOSE | re.DOTALL,
)
_BLOCK_EDGE = re.compile(r"/\*|\*/")
_FOLDED = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)
_QUALIFIED = 2
_SIMPLE = re.compile(r"[a-z_][a-z0-9_]*")


class _Token(NamedTuple):
    kind: str
    text: str


def qualified_names(sql: str) -> frozenset[tuple[str, str]]:
    """The ``schema.name`` pairs that stand in the SQL, folded to lower case unless quoted.

    A column written ``alias.column`` looks the same, so intersect the answer with names that are known.
    """
    return frozenset(
        (parts[0], parts[1]) for _, parts in _dotted_names(_tokens(sql)) if len(parts) >= _QUALIFIED
    )


def called(sql: str, *, words: Collection[str] = ()) -> frozenset[str]:
    """The names of functions that the SQL calls, those of another schema than pg_catalog left out; folded.

    ``words`` are called without brackets, as ``current_date``.
    """
    none = _Token("blank", "")
    tokens = [token for token in _tokens(sql) if token.kind != "blank"]
    found = set()
    for before, dot, token, after in zip(
        [none, none, *tokens], [none, *tokens], tokens, [*tokens[1:], none], strict=False
    ):
        ours = dot.text != "." or _folded(before.text) == "pg_catalog"
        if token.kind == "name" and ours and (after.text == "(" or token.text.translate(_FOLDED) in words):
            found.add(_folded(token.text))
    return frozenset(found)


def dotted_name(sql: str) -> list[str] | None:
    """The parts of the name that the SQL begins with, folded; None where it begins with none."""
    first = next(_dotted_names(_tokens(sql)), None)
    return first[1] if first is not None and first[0] == 0 else None


def retarget(sql: str, *, relations: Collection[str], schema: str) -> str:
    """The SQL with ``public.<name>`` moved to ``schema`` for each of ``relations``, nothing else touched.

    This is the one mechanism by which a model reaches a target schema: models are written with plain
    ``public.`` names, run in psql as they are, and are moved as text when they are installed elsewhere.
    """
    if schema == MODEL_SCHEMA:
        return sql
    return moved(sql, {(MODEL_SCHEMA, name): schema for name in relations})


def moved(sql: str, schemas: Mapping[tuple[str, str], str]) -> str:
    """The SQL with each ``schema.name`` that is a key of ``schemas`` in the schema that stands there."""
    return "".join(new for _, new in _moves(sql, schemas))


def unmoved(sql: str, schemas: Mapping[tuple[str, str], str], position: int) -> int:
    """Where in the SQL stands what stands at a position, from 0, of what ``moved`` makes of it."""
    before = after = 0
    for old, new in _moves(sql, schemas):
        if after + len(new) > position:
            return before + min(position - after, len(old))
        before, after = before + len(old), after + len(new)
    return before


def _moves(sql: str, schemas: Mapping[tuple[str, str], str]) -> Iterator[tuple[str, str]]:
    """Each token, and what it becomes."""
    tokens = list(_tokens(sql))
    texts = [token.text for token in tokens]
    for position, parts in _dotted_names(tokens):
        if len(parts) >= _QUALIFIED and (schema := schemas.get((parts[0], parts[1]))) is not None:
            texts[position] = _quoted(schema)
    return zip((token.text for token in tokens), texts, strict=True)


def marked(sql: str, *, relations: Collection[tuple[str, str]], schema: Callable[[str], str]) -> str:
    """The SQL with each ``schema.name`` of ``relations`` quoted and put into the schema that ``schema`` says.

    What stood around the dot of such a name, blanks or a comment, is left out.
    """
    tokens = list(_tokens(sql))
    texts = [token.text for token in tokens]
    for position, parts in _dotted_names(tokens):
        if len(parts) >= _QUALIFIED and (parts[0], parts[1]) in relations:
            second = next(index for index in range(position + 1, len(tokens)) if tokens[index].kind == "name")
            texts[position : second + 1] = [
                f"{_quoted(schema(parts[0]))}.{_quoted(parts[1])}",
                *[""] * (second - position),
            ]
    return "".join(texts)


def identifiers(sql: str) -> frozenset[str]:
    """All identifiers and keywords in the SQL, folded to lower case unless quoted."""
    return frozenset(_folded(token.text) for token in _tokens(sql) if token.kind == "name")


def is_blank(sql: str) -> bool:
    """Whether nothing stands in the SQL but blanks and comments."""
    return all(token.kind == "blank" for token in _tokens(sql))


def unopened(sql: str) -> int | None:
    """Where in the SQL a bracket is closed that was not opened in it, from 0; None where none is."""
    depth = position = 0
    for _, text in _tokens(sql):
        depth += (text == "(") - (text == ")")
        if depth < 0:
            return position
        position += len(text)
    return None


def statement(sql: str) -> str:
    """The text of a file that holds one statement, without the semicolon that psql wants at its end.

    Raises DeclarationError where it holds another one, which would be run with it.
    """
    tokens = list(_tokens(sql.strip(string.whitespace)))
    for position in reversed(range(len(tokens))):
        if tokens[position].text == ";":
            tokens[position] = _Token("blank", "")
        elif tokens[position].kind != "blank":
            break
    if any(token.text == ";" for token in tokens):
        raise DeclarationError(
            f"A definition holds more than one statement: {' '.join(sql.split())[:60]} …",
            hint="Leave one SELECT in it.",
        )
    return "".join(token.text for token in tokens).strip(string.whitespace)


def _tokens(sql: str) -> Iterator[_Token]:
    """Every character of the SQL, in order; a comment is blank, a name is an identifier or a keyword."""
    position = 0
    while match := _TOKEN.match(sql, position):
        kind, stop = match.lastgroup or "other", match.end()
        if match["block"]:
            kind, stop = "blank", _block_end(sql, stop)
        elif match["dollar"]:
            kind, stop = "string", _dollar_end(sql, stop, match["dollar"])
        yield _Token(kind, sql[position:stop])
        position = stop


def _block_end(sql: str, position: int) -> int:
    """Where a block comment ends; PostgreSQL nests them."""
    depth = 1
    for edge in _BLOCK_EDGE.finditer(sql, position):
        depth += 1 if edge[0] == "/*" else -1
        if depth == 0:
            return edge.end()
    return len(sql)


def _dollar_end(sql: str, position: int, delimiter: str) -> int:
    end = sql.find(delimiter, position)
    return len(sql) if end < 0 else end + len(delimiter)


def _dotted_names(tokens: Iterable[_Token]) -> Iterator[tuple[int, list[str]]]:
    """Where each name begins, with its parts; blanks and comments may stand around its dots.

    What follows a dot that no name precedes, as in ``(row).field``, begins none.
    """
    first, parts, after_dot = 0, list[str](), False
    for position, (kind, text) in enumerate(tokens):
        if kind == "blank":
            continue
        if kind == "name" and after_dot:
            if parts:
                parts.append(_folded(text))
        else:
            if parts and text != ".":
                yield first, parts
                parts = []
            if kind == "name":
                first, parts = position, [_folded(text)]
        after_dot = text == "."
    if parts:
        yield first, parts


def _folded(name: str) -> str:
    """The identifier as PostgreSQL keeps it: only ASCII letters lose their case."""
    opening = name.find('"')
    if opening < 0:
        return name.translate(_FOLDED)
    return name[opening + 1 : -1].replace('""', '"')


def identifier(name: str) -> str:
    """A name as PostgreSQL prints it, but for the words of SQL: in quotes where it is no simple one."""
    return name if _SIMPLE.fullmatch(name) else _quoted(name)


def _quoted(identifier: str) -> str:
    return '"' + identifier.replace('"', '""') + '"'
