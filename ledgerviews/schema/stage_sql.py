"""The call that tells the engine of one staged relation, with all that is declared of it. Pure."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, LiteralString

from psycopg import sql

from ledgerviews.sqltext import marked, statement

from .incremental import rollup_name
from .keys import declared_index, located, split_index
from .staging import body_of, declared, may_be_filled
from .statements import index_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from .staging import Spec, Staged

NEXT = "ledgerviews:next:"
"""What a schema's name begins with, in a text, where the engine puts the one in which the relation stands."""

_WORDS = {"view": "VIEW", "materialized view": "MATERIALIZED VIEW"}


def stage(item: Staged, *, schema: str, known: Iterable[tuple[str, str]], fill: bool = False) -> str:
    """The call that tells the engine of one relation.

    Args:
        item: the relation.
        schema: the schema of what a spec names without one.
        known: all relations of the replacement, schema and name.
        fill: whether it is filled, where it is new and nobody said WITH NO DATA.
    """
    if item.spec is None:
        return f"SELECT ledgerviews.stage_drop({_literal(item.schema)}, {_literal(item.name)});\n"
    spec, was = item.spec, item.was or {}
    names = {*known, (item.schema, item.name), *(located(name, schema) for name in spec.get("reads", ()))}
    body = body_of(item, spec["definition"], schema)
    day_body = body_of(item, spec["day_definition"], schema) if spec.get("day") else None
    rollup = rollup_name(item.schema, item.name) if day_body is not None else None
    registered = {
        "definition": statement(spec["definition"]),
        "day_definition": statement(spec["day_definition"]) if day_body is not None else None,
        "body": body,
        "day_body": day_body,
        "unique_key": list(spec.get("unique_key", ())),
        "key_index": index_name(item.name) if spec.get("unique_key") else None,
        "key_index_was": index_name(item.was_named) if item.was_named else None,
        "day": spec.get("day"),
        "rollup": rollup,
        "sources": list(spec.get("sources", ())) if day_body is not None else None,
        "checks": [dict(check) for check in spec.get("checks", ())],
        "declared": declared(item),
    }
    # No refresh of ours fills one without a key.
    if may_be_filled(item) and (fill or (item.as_is and not spec.get("unique_key"))):
        registered["fill"] = True
    gone = []
    if item.was_named:
        registered["renamed_indexes"] = {
            declared_index(item.was_named, text): declared_index(item.name, text)
            for text in was.get("indexes", ())
            if text in spec.get("indexes", ())
        }
        gone += [declared_index(item.was_named, text) for text in was.get("indexes", ())]
    gone += [
        declared_index(item.name, text)
        for text in was.get("indexes", ())
        if text not in spec.get("indexes", ())
    ]
    arguments = {
        "schema_name": _literal(item.schema),
        "relation_name": _literal(item.name),
        "kind": _literal(spec["kind"]),
        "body": _dollars(_marked(body, names)),
        "day_body": _dollars(_marked(day_body, names)) if day_body is not None else None,
        "shown": _dollars(_shown(spec, rollup)) if rollup is not None else None,
        "registered": _dollars(_json(registered)) + "::jsonb",
        "prepare": _texts(_indexes(item)),
        "finish": _texts([*_drops(item, gone), *_metadata(item)]),
        "gone_indexes": _texts(gone, quote=_literal),
        "renamed_from": _literal(item.was_named) if item.was_named else None,
        "expected": "true" if item.was is not None else None,
        "as_is": "true" if item.as_is else None,
    }
    lines = ",\n    ".join(f"{name} => {value}" for name, value in arguments.items() if value is not None)
    return f"SELECT ledgerviews.stage(\n    {lines}\n);\n"


def _marked(text: str, names: Iterable[tuple[str, str]]) -> str:
    return marked(text, relations=set(names), schema=lambda schema: NEXT + schema)


def _shown(spec: Spec, rollup: str) -> str:
    """What the materialized view of a rollup reads: the columns in the order in which they are declared."""
    columns = sql.SQL(", ").join(sql.Identifier("r", column) for column in spec["columns"])
    text = sql.SQL("SELECT {} FROM {} AS r").format(columns, sql.Identifier(NEXT + "ledgerviews", rollup))
    return text.as_string(None)


def _indexes(item: Staged) -> list[sql.Composable]:
    """The declared indexes: what follows CREATE INDEX name ON relation; UNIQUE may stand before it."""
    parts: list[sql.Composable] = []
    for text in (item.spec or {}).get("indexes", ()):
        unique, rest = split_index(text)
        parts.append(
            sql.SQL("CREATE {}INDEX IF NOT EXISTS {} ON {} {}").format(
                sql.SQL(unique),  # UNIQUE or nothing
                sql.Identifier(declared_index(item.name, text)),
                _target(item),
                sql.SQL(rest),  # a frozen revision's own text
            )
        )
    return parts


def _drops(item: Staged, gone: Iterable[str]) -> list[sql.Composable]:
    return [
        sql.SQL("DROP INDEX IF EXISTS {}").format(sql.Identifier(NEXT + item.schema, name)) for name in gone
    ]


def _metadata(item: Staged) -> list[sql.Composable]:
    """Options, comments, owner and grants; what is declared on neither side is left alone."""
    spec, was, target = item.spec or {}, item.was or {}, _target(item)
    word = sql.SQL(_WORDS[spec["kind"]])
    parts: list[sql.Composable] = []
    options = spec.get("options", {})
    if gone := [name for name in was.get("options", {}) if name not in options]:
        parts.append(_comma("ALTER {} {} RESET ({})", word, target, map(sql.Identifier, gone)))
    if options:
        pairs = (
            sql.SQL("{} = {}").format(sql.Identifier(name), sql.Literal(str(value)))
            for name, value in options.items()
        )
        parts.append(_comma("ALTER {} {} SET ({})", word, target, pairs))
    if "comment" in spec or "comment" in was:
        parts.append(
            sql.SQL("COMMENT ON {} {} IS {}").format(word, target, sql.Literal(spec.get("comment") or None))
        )
    parts.extend(
        sql.SQL("COMMENT ON COLUMN {} IS {}").format(
            sql.Identifier(NEXT + item.schema, item.name, column), sql.Literal(line or None)
        )
        for column, line in spec.get("columns", {}).items()
    )
    if spec.get("owner"):
        parts.append(sql.SQL("ALTER {} {} OWNER TO {}").format(word, target, sql.Identifier(spec["owner"])))
    return parts + _grants(spec, was, target)


def _grants(spec: Spec, was: Spec, target: sql.Composable) -> list[sql.Composable]:
    parts: list[sql.Composable] = []
    granted = spec.get("grants", {})
    for role, privileges in was.get("grants", {}).items():
        if gone := [name for name in privileges if name not in granted.get(role, ())]:
            parts.append(
                sql.SQL("REVOKE {} ON {} FROM {}").format(sql.SQL(", ".join(gone)), target, _role(role))
            )
    for role, privileges in granted.items():
        if privileges:
            parts.append(
                sql.SQL("GRANT {} ON {} TO {}").format(sql.SQL(", ".join(privileges)), target, _role(role))
            )
    return parts


def _role(name: str) -> sql.Composable:
    return sql.SQL("PUBLIC") if name.upper() == "PUBLIC" else sql.Identifier(name)


def _target(item: Staged) -> sql.Identifier:
    return sql.Identifier(NEXT + item.schema, item.name)


def _comma(
    template: LiteralString, word: sql.SQL, target: sql.Composable, parts: Iterable[sql.Composable]
) -> sql.Composed:
    return sql.SQL(template).format(word, target, sql.SQL(", ").join(parts))


def _literal(text: str) -> str:
    return sql.Literal(text).as_string(None)


def _json(value: Mapping[str, Any]) -> str:
    return json.dumps({name: part for name, part in value.items() if part is not None}, ensure_ascii=False)


def _texts(parts: Iterable[Any], *, quote: Any = None) -> str | None:
    texts = [quote(part) if quote else _dollars(part.as_string(None)) for part in parts]
    return f"ARRAY[{', '.join(texts)}]::text[]" if texts else None


def _dollars(text: str) -> str:
    """The text in dollar quotes, so that a script can be read, and psql sees no variable in it."""
    tag = "$sql$"
    number = 0
    while tag.rstrip("$") in text:
        number += 1
        tag = f"$sql{number}$"
    return f"{tag}{text}{tag}"
