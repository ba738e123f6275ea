"""What no revision is written for: definitions that cannot be, and drops of what is still read. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ledgerviews.errors import DeclarationError
from ledgerviews.sqltext import qualified_names

from .compare import DROP
from .engine_versions import SCHEMA
from .keys import SOURCE
from .specs import still_read

if TYPE_CHECKING:
    from .compare import Difference
    from .declare import Comparison

_SYNTAX = "42601"
_NOT_ALLOWED = "42501"
"""Whoever writes the revision may do less than who runs it."""


def require_possible(found: Comparison, *, schema: str, others: bool) -> None:
    """Raise DeclarationError where the revision could not be applied.

    Args:
        found: what differs.
        schema: the target schema.
        others: whether the revision also changes tables, functions and the like, on which a definition may
            wait.
    """
    gone = [one.key for one in found.differences if one.what == DROP and (one.before or {})["kind"] != SOURCE]
    if read := still_read(found.specs, gone, schema=schema, search_path=found.schemas):
        reader, going = read[0]
        # Only a model has a former name: an entity's key has a schema.
        renamed = "" if "." in going else f"; where {going} has another name now, say so with formerly"
        raise DeclarationError(
            f"{going} is declared no longer, and {reader} still reads it; nothing was written.",
            hint=f"Declare {going} again, or have {reader} do without it{renamed}.",
        )
    waiting: set[str] = set()
    for one in found.differences:
        normal = one.normal
        if one.after is None or normal is None or normal.error is None:
            continue
        if normal.sqlstate == _NOT_ALLOWED or (
            normal.sqlstate != _SYNTAX
            and (others or waiting & set(one.after.get("reads", ())) or _waits_for_engine(one, found))
        ):
            waiting.add(one.key)
            continue
        where = f" ({normal.where})" if normal.where is not None else ""
        raise DeclarationError(
            f"{one.key} cannot be created: {normal.error}{where}; nothing was written.",
            hint="Mend it, then write the revision again.",
        )


def _waits_for_engine(one: Difference, found: Comparison) -> bool:
    """Whether it calls functions of the engine, which the same revision brings."""
    return not found.state.engine and any(
        name[0] == SCHEMA for name in qualified_names((one.after or {})["definition"])
    )
