"""Roles that are declared and that the server does not have: told, for the same deploy may create them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from ledgerviews.queries import query
from ledgerviews.sqltext import identifier

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from .compare import Difference
    from .live import Run

_EVERYBODY = "public"


def missing_roles(run: Run, differences: Iterable[Difference]) -> dict[str, tuple[str, ...]]:
    """The missing roles, with the keys of the relations that are to be granted to them or owned by them.

    A role that something stands for exists, so only what differs is asked for, and all with one query.
    """
    wanted: dict[str, list[str]] = {}
    for one in differences:
        for role in _declared(one):
            wanted.setdefault(role, []).append(one.key)
    if not wanted:
        return {}
    rows = run(query("missing_roles"), {"roles": json.dumps(sorted(wanted))})
    return {role: tuple(wanted[role]) for (role,) in rows}


def in_words(missing: Mapping[str, Sequence[str]]) -> list[str]:
    """A line on each, with what to do."""
    return [
        f"There is no role {role}, which is declared for {', '.join(keys)}: the upgrade stops there."
        f" Run CREATE ROLE {identifier(role)} before it, or take it out of what is declared."
        for role, keys in missing.items()
    ]


def _declared(one: Difference) -> set[str]:
    """The roles that a relation declares and does not have yet."""
    after, live = one.after or {}, one.live
    standing = {*live.grants, live.owner} if live is not None else set()
    return {*after.get("grants", {}), *filter(None, [after.get("owner")])} - standing - {_EVERYBODY}
