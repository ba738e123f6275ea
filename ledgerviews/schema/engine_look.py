"""Whether the engine's functions stand as the frozen SQL of its version makes them; touches none of them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from ledgerviews.queries import query

from . import engine_versions
from .engine_functions import differing, functions
from .sql_errors import is_about_the_text
from .trial import undone

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from .engine_functions import Function
    from .live import Run


def altered(run: Run, version: int, *, may_create: bool) -> dict[str, tuple[str, ...]]:
    """The functions that were altered by hand, and in what.

    A body that PostgreSQL keeps parsed is the same where it is printed as right after the engine was
    installed. Only the others are made once as temporary functions, and printed (``may_create``).

    Args:
        run: runs a statement in a transaction, with nothing but pg_catalog on the search_path.
        version: that of the installed engine.
        may_create: whether functions can be made in pg_temp; where not, parsed bodies are not compared.
    """
    wanted = functions(engine_versions.script(0, version))
    standing = {row[0]: (json.loads(row[1]), row[2]) for row in run(query("engine_functions"), None)}
    found: dict[str, tuple[str, ...]] = {}
    in_question: list[Function] = []
    for signature, function in wanted.items():
        attributes, as_printed = standing.get(signature, (None, False))
        if told := differing(function, attributes):
            found[signature] = told
        elif function.atomic and not as_printed:
            in_question.append(function)
    if in_question and may_create:
        found |= dict.fromkeys(_other_bodies(run, in_question), ("body",))
    return {signature: found[signature] for signature in wanted if signature in found}


def in_words(found: Mapping[str, tuple[str, ...]]) -> list[str]:
    """A line on each function."""
    return [f"ledgerviews.{signature}: {', '.join(aspects)}" for signature, aspects in found.items()]


def _other_bodies(run: Run, in_question: Sequence[Function]) -> list[str]:
    """Those of which the frozen text gives another body than the one that stands."""
    with undone(run, "ledgerviews_functions"):
        for function in in_question:
            _make(run, function.temporary())
        # What was printed need not come back as it went, and what was restored from a dump was made from it.
        for _, definition in run(query("other_bodies"), None):
            _make(run, definition)
        return [row[0] for row in run(query("other_bodies"), None)]


def _make(run: Run, statement: str) -> None:
    """Make a function, unless it needs something that is gone, which is told by itself."""
    run("SAVEPOINT ledgerviews_one", None)
    try:
        run(statement, None)
    except Exception as exc:
        if not is_about_the_text(exc):
            raise
        run("ROLLBACK TO SAVEPOINT ledgerviews_one", None)
    run("RELEASE SAVEPOINT ledgerviews_one", None)
