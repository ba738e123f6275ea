"""Which models an expression means, in dbt's words. Pure.

``name``, with ``*`` and ``?``; ``+name`` with all that it reads, ``name+`` with all that read it, ``2+name``
and ``name+2`` that many steps; a comma intersects, a space or a repeated option unites.
"""

from __future__ import annotations

import re
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from ledgerviews.errors import UsageError
from ledgerviews.sqltext import MODEL_SCHEMA

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from ledgerviews.catalog import Catalog

_TERM = re.compile(r"(?:(?P<up>\d{0,4})\+)?(?P<pattern>[\w.*?\[\]!-]+?)(?:\+(?P<down>\d{0,4}))?", re.ASCII)


def select(catalog: Catalog, expressions: Iterable[str], *, schema: str = MODEL_SCHEMA) -> list[str]:
    """Names of the models that any of the expressions means, in dependency order; UsageError for none.

    A name may stand as ``schema.name``, too, with the schema that the models are published in.
    """
    chosen: set[str] = set()
    for expression in expressions:
        for union in expression.split():
            chosen |= _intersection(catalog, union, schema)
    if not chosen:
        raise UsageError("No model is selected.", hint="The models are: " + ", ".join(catalog.models) + ".")
    return [name for name in catalog.models if name in chosen]


def _intersection(catalog: Catalog, text: str, schema: str) -> set[str]:
    terms = [_term(catalog, term, schema) for term in text.split(",")]
    return set.intersection(*terms)


def _term(catalog: Catalog, text: str, schema: str) -> set[str]:
    match = _TERM.fullmatch(text)
    if match is None:
        raise UsageError(f"{text!r} is no selection.", hint="Write name, +name, name+, 2+name, a*,b* or a b.")
    pattern = match["pattern"].removeprefix(f"{schema}.")
    named = {name for name in catalog.models if fnmatchcase(name, pattern)}
    if not named:
        raise UsageError(
            f"{pattern!r} matches no model.", hint="The models are: " + ", ".join(catalog.models) + "."
        )
    chosen = set(named)
    if match["up"] is not None:
        chosen |= _reached(named, catalog.upstream, match["up"])
    if match["down"] is not None:
        chosen |= _reached(named, _turned(catalog.upstream), match["down"])
    return chosen


def _turned(edges: Mapping[str, frozenset[str]]) -> Mapping[str, frozenset[str]]:
    return {name: frozenset(reader for reader, read in edges.items() if name in read) for name in edges}


def _reached(start: set[str], edges: Mapping[str, frozenset[str]], steps: str) -> set[str]:
    left = int(steps) if steps else len(edges)
    reached: set[str] = set()
    edge = start
    while edge and left > 0:
        edge = {name for known in edge for name in edges[known]} - reached
        reached |= edge
        left -= 1
    return reached
