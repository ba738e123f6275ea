"""Materialized views without a key: no refresh of ours renews them; revisions install them. Pure."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from psycopg import sql

from ledgerviews.sqltext import statement

from .staging import declared

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from .staging import Staged

_REMEMBER = sql.SQL("""\
INSERT INTO ledgerviews.unrefreshed AS u (schema_name, relation_name, definition, printed, declared)
VALUES ({schema}, {name}, {definition}, ledgerviews.printed({schema}, {name}), {declared})
ON CONFLICT (schema_name, relation_name) DO UPDATE
SET definition = excluded.definition, printed = excluded.printed, declared = excluded.declared,
    history = COALESCE(excluded.history, u.history);
""")
_FORGET = sql.SQL("""\
DELETE FROM ledgerviews.unrefreshed AS u WHERE u.schema_name = {schema} AND u.relation_name = {name};
""")


def statements(items: Iterable[Staged]) -> list[str]:
    """What follows the exchange: the entries of such relations."""
    gone: list[sql.Composable] = []
    come: list[sql.Composable] = []
    for item in items:
        names = {"schema": sql.Literal(item.schema), "name": sql.Literal(item.name)}
        stays = item.spec is not None and _keyless(item.spec)
        if item.was is not None and _keyless(item.was) and (item.was_named or not stays):
            was_named = sql.Literal(item.was_named or item.name)
            gone.append(_FORGET.format(schema=names["schema"], name=was_named))
        if item.spec is None or not stays:
            continue
        entry = {
            "definition": sql.Literal(statement(item.spec["definition"])),
            "declared": sql.Literal(json.dumps(declared(item), ensure_ascii=False)),
        }
        come.append(_REMEMBER.format(**names, **entry))
    # Two may have exchanged their names.
    return [part.as_string(None) for part in gone + come]


def _keyless(spec: Mapping[str, Any]) -> bool:
    return spec["kind"] == "materialized view" and not spec.get("unique_key")
