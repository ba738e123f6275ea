"""Reads just enough of SQL to find the schema-qualified names in it, and to move them to another schema.

Comments, strings, dollar quotes and quoted identifiers are told apart, so a name inside a string is
never taken for a relation. Everything else about the SQL is PostgreSQL's business.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

MODEL_SCHEMA = "public"
"""The schema that models are written in; it stands for the configured one (see ``retarget``)."""

_TOKEN = re.compile(
    r"""
      (?P<comment> --[^\n]* )
    | (?P<block> /\* )
    | (?P<escape_string> [eE]'(?:[^'\\]|\\.|'')*' )
    | (?P<string> '(?:[^']|'')*' )
    | (?P<name> (?:"(?:[^"]|"")+"|[A-Za-z_\u0080-\uffff][\w$]*)
                (?:\s*\.\s*(?:"(?:[^"]|"")+"|[A-Za-z_\u0080-\uffff][\w$]*))* )
    | (?P<other> . )
    """,
    re.VERBOSE | re.DOTALL,
)
_DOLLAR = re.compile(r"\$([A-Za-z_\u0080-\uffff]\w*)?\$")
_PART = re.compile(r'"(?:[^"]|"")+"|[A-Za-z_\u0080-\uffff][\w$]*')
_BLOCK_EDGE = re.compile(r"/\*|\*/")
_QUALIFIED = 2


def qualified_names(sql: str) -> frozenset[tuple[str, str]]:
    """The ``schema.name`` pairs that stand in the SQL, folded to lower case unless quoted.

    A column written ``alias.column`` looks the same, so intersect the answer with names that are known.
    """
    return frozenset(
        (parts[0], parts[1]) for kind, text in _tokens(sql) if kind == "name" and len(parts := _parts(text)) >= _QUALIFIED
    )


def retarget(sql: str, *, relations: Collection[str], schema: str) -> str:
    """The SQL with ``public.<name>`` moved to ``schema`` for each name in ``relations``, nothing else touched.

    This is the one mechanism by which a model reaches a target schema: models are written with plain
    ``public.`` names, run in psql as they are, and are moved as text when they are installed elsewhere.
    """
    if schema == MODEL_SCHEMA:
        return sql

    def moved(text: str) -> str:
        parts = _parts(text)
        if len(parts) < _QUALIFIED or parts[0] != MODEL_SCHEMA or parts[1] not in relations:
            return text
        return _quoted(schema) + text[_PART.match(text).end() :]  # type: ignore[union-attr]

    return _rewrite(sql, moved)


def statement(sql: str) -> str:
    """The text of a file that holds one statement, without the semicolon that psql wants at its end."""
    return sql.strip().removesuffix(";").rstrip()


def _rewrite(sql: str, moved: Callable[[str], str]) -> str:
    return "".join(moved(text) if kind == "name" else text for kind, text in _tokens(sql))


def _tokens(sql: str) -> Iterator[tuple[str, str]]:
    position = 0
    while position < len(sql):
        opening = _DOLLAR.match(sql, position)
        if opening:
            end = sql.find(opening[0], opening.end())
            stop = len(sql) if end < 0 else end + len(opening[0])
            yield "dollar", sql[position:stop]
            position = stop
            continue
        match = _TOKEN.match(sql, position)
        assert match is not None, "the last alternative matches any character"  # noqa: S101
        kind = match.lastgroup or "other"
        stop = _block_end(sql, match.end()) if kind == "block" else match.end()
        yield kind, sql[position:stop]
        position = stop


def _block_end(sql: str, position: int) -> int:
    """Where a block comment ends; PostgreSQL nests them."""
    depth = 1
    for edge in _BLOCK_EDGE.finditer(sql, position):
        depth += 1 if edge[0] == "/*" else -1
        if depth == 0:
            return edge.end()
    return len(sql)


def _parts(text: str) -> list[str]:
    return [
        part[1:-1].replace('""', '"') if part.startswith('"') else part.lower() for part in _PART.findall(text)
    ]


def _quoted(identifier: str) -> str:
    return '"' + identifier.replace('"', '""') + '"'
