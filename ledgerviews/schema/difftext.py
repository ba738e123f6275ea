"""Differences as SQL to read: definitions as a unified diff, all else as the statements it takes. Pure."""

from __future__ import annotations

from difflib import unified_diff
from typing import TYPE_CHECKING, Any

from psycopg import sql

from .compare import CHANGE, CREATE, DROP, RENAME
from .keys import SOURCE, declared_index, located, split_index
from .refusals import mend, shown
from .statements import index_name

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from ledgerviews.catalog import Catalog

    from .compare import Difference
    from .keys import Spec
    from .live import Place
    from .plan import Relation, Step

_KEYWORDS = {"view": "VIEW", "materialized view": "MATERIALIZED VIEW"}
_NAMING = frozenset({"kind", "schema", "name"})
"""What of a source's spec its key says already."""
_DEFINED = frozenset({"definition", "reads", "kind", "registration", "rollup"})


def written(
    differences: Sequence[Difference],
    steps: Sequence[Step],
    relations: Sequence[Relation],
    *,
    schema: str,
    catalog: Catalog | None = None,
) -> str:
    """All of it; empty where nothing differs. Of the catalog the files are shown."""
    by_name = {step.name: step for step in steps}
    parts = []
    for one in differences:
        name = ".".join(located(one.key, schema))
        lines = [
            *_heading(one, located(one.former or one.key, schema), by_name[name], steps, relations),
            *_refused(one, catalog),
            *_statements(one, schema),
        ]
        parts.append("\n".join(lines) + "\n")
    return "\n".join(parts)


def _heading(
    one: Difference, stands: Place, step: Step, steps: Sequence[Step], relations: Sequence[Relation]
) -> Iterator[str]:
    was = f", formerly {one.former}" if one.former is not None else ""
    yield f"-- {step.name} ({step.kind}{was}): {step.action}"
    if one.what in {CHANGE, RENAME} and one.aspects:
        yield f"--   differs in: {', '.join(one.aspects)}"
    there = one.live.registered if one.live is not None else None
    if one.what == DROP and there is not None and there.history is not None:
        yield f"--   installed by the revisions that {there.history} counts"
    yield f"--   locks: {step.lock}"
    if (line := _build(step)) is not None:
        yield f"--   build: {line}"
    followers = {other.name: other for other in steps if other.because is not None}
    for reader in _readers(".".join(stands), relations):
        follower = followers.get(reader.name)
        whose = "" if reader.published else ", not ours"
        what = f"; {follower.action}" if follower is not None else ""
        build = _build(follower) if follower is not None else None
        yield f"--   read by: {reader.name} ({reader.kind}{whose}){what}" + (
            f"; build {build}" if build else ""
        )


def _refused(one: Difference, catalog: Catalog | None) -> Iterator[str]:
    if one.normal is not None and one.normal.error is not None:
        check = one.normal.check
        what = "cannot be created now" if check is None else f"check {check} cannot be run"
        yield f"--   {what}: {one.normal.error}"
        yield from (f"--   {line}" for line in shown(catalog, one))
        yield f"--   {mend(catalog, one)}."


def _build(step: Step) -> str | None:
    if step.source_bytes is None or step.estimate is None:
        return None
    seconds = f"about {step.estimate:.0f} s" if step.estimate >= 1 else "less than a second"
    if step.seconds is not None:
        return f"{seconds}, as the last full refresh"
    return f"{seconds}, guessed from the {step.source_bytes / 1e6:.0f} MB that it reads"


def _readers(name: str, relations: Sequence[Relation]) -> list[Relation]:
    """All that reads it, at any depth."""
    found: dict[str, Relation] = {}
    left = {name}
    while left:
        left = {
            one.name for one in relations if one.name not in found and one.name != name and left & one.reads
        }
        found |= {one.name: one for one in relations if one.name in left}
    return [found[reader] for reader in sorted(found)]


def _statements(one: Difference, schema: str) -> Iterator[str]:
    before, after = one.before or {}, one.after or {}
    if (one.after or one.before or {})["kind"] == SOURCE:
        yield from _source(one.key, before, after)
        return
    relation = _name(located(one.key, schema))
    if one.what == DROP:
        yield f"DROP {_KEYWORDS[before['kind']]} {relation};"
        return
    keyword = _KEYWORDS[after["kind"]]
    if one.what == RENAME and one.former is not None:
        yield (
            f"ALTER {_KEYWORDS[before['kind']]} {_name(located(one.former, schema))}"
            f" RENAME TO {_identifier(located(one.key, schema)[1])};"
        )
    if one.what == CREATE:
        yield f"CREATE {keyword} {relation} AS\n{after['definition']};"
    elif _DEFINED & set(one.aspects):
        yield from _definition(one, before, after)
    yield from _surroundings(one, before, after, located(one.key, schema))


def _definition(one: Difference, before: Spec, after: Spec) -> Iterator[str]:
    """The texts, where both are known as they were written; else both as PostgreSQL prints them."""
    name = one.key
    if before["kind"] != after["kind"]:
        yield f"-- was a {before['kind']}"
    old, new = before["definition"], after["definition"]
    there = one.live.registered if one.live is not None else None
    rewritten = there is None or there.definition != old
    if (
        (rewritten or old.strip() == new.strip())
        and one.normal is not None
        and one.normal.printed is not None
    ):
        old, new = (one.live.printed if one.live else None) or "", one.normal.printed
    yield from _unified(old, new, name)
    if before.get("day_definition", "") != after.get("day_definition", "") and old.strip() == new.strip():
        yield from _unified(
            before.get("day_definition") or "", after.get("day_definition") or "", f"{name}, single days"
        )
    for part in one.live.missing if one.live is not None else ():
        yield f"-- ledgerviews.{part} is gone"
    yield from (f"-- {line}" for line in (one.live.altered if one.live is not None else ()))


def _unified(old: str, new: str, name: str) -> Iterator[str]:
    yield from unified_diff(
        old.splitlines(), new.splitlines(), f"{name} in the database", f"{name} in the code", lineterm=""
    )


def _surroundings(one: Difference, before: Spec, after: Spec, place: tuple[str, str]) -> Iterator[str]:
    """Comments, indexes, options, grants, owner and checks."""
    relation, keyword = _name(place), _KEYWORDS[after["kind"]]
    live = one.live
    fresh = one.what == CREATE or live is None
    if "comment" in after and (fresh or live is None or live.comment != after["comment"]):
        yield f"COMMENT ON {keyword} {relation} IS {_literal(after['comment'])};"
    comments = {} if fresh or live is None else {column.name: column.comment for column in live.columns}
    for column, line in after.get("columns", {}).items():
        if comments.get(column) != line:
            yield f"COMMENT ON COLUMN {relation}.{_identifier(column)} IS {_literal(line)};"
    if after.get("unique_key") and (fresh or "unique key" in one.aspects):
        columns = ", ".join(map(_identifier, after["unique_key"]))
        yield f"CREATE UNIQUE INDEX {_identifier(index_name(place[1]))} ON {relation} ({columns});"
    yield from _indexes(one, before, after, place, fresh=fresh)
    yield from _options(before, after, {} if fresh or live is None else live.options, f"{keyword} {relation}")
    yield from _grants(before, after, {} if fresh or live is None else live.grants, relation)
    if "owner" in after and (fresh or live is None or live.owner != after["owner"]):
        yield f"ALTER {keyword} {relation} OWNER TO {_role(after['owner'])};"
    yield from _checks(before, after)


def _indexes(
    one: Difference, before: Spec, after: Spec, place: tuple[str, str], *, fresh: bool
) -> Iterator[str]:
    if not fresh and "indexes" not in one.aspects:
        return
    standing = {index.name for index in one.live.indexes if index.valid} if one.live is not None else set()
    for index in before.get("indexes", []):
        if index not in after.get("indexes", []):
            yield f"DROP INDEX {_name((place[0], declared_index(place[1], index)))};"
    for index in after.get("indexes", []):
        if (name := declared_index(place[1], index)) not in standing:
            unique, rest = split_index(index)
            yield f"CREATE {unique}INDEX {_identifier(name)} ON {_name(place)} {rest};"


def _options(before: Spec, after: Spec, live: Mapping[str, str], relation: str) -> Iterator[str]:
    wanted = after.get("options", {})
    if changed := {name: value for name, value in wanted.items() if live.get(name) != value}:
        yield f"ALTER {relation} SET ({', '.join(f'{name} = {value}' for name, value in changed.items())});"
    if gone := [name for name in before.get("options", {}) if name not in wanted and name in live]:
        yield f"ALTER {relation} RESET ({', '.join(gone)});"


def _grants(before: Spec, after: Spec, live: Mapping[str, list[str]], relation: str) -> Iterator[str]:
    wanted = after.get("grants", {})
    for role, privileges in wanted.items():
        if lacking := [one for one in privileges if one not in live.get(role, [])]:
            yield f"GRANT {', '.join(lacking)} ON {relation} TO {_role(role)};"
    for role, privileges in before.get("grants", {}).items():
        gone = [one for one in privileges if one not in wanted.get(role, []) and one in live.get(role, [])]
        if gone:
            yield f"REVOKE {', '.join(gone)} ON {relation} FROM {_role(role)};"


def _checks(before: Spec, after: Spec) -> Iterator[str]:
    old = {check["name"]: check for check in before.get("checks", [])}
    new = {check["name"]: check for check in after.get("checks", [])}
    yield from (f"-- check {name} is declared no longer" for name in old if name not in new)
    for name, check in new.items():
        if old.get(name) != check:
            what = check.get("expression") or f"{check['kind']} {', '.join(check.get('columns', ()))}"
            yield f"-- check {name}: {what}"


def _source(key: str, before: Spec, after: Spec) -> Iterator[str]:
    if not after:
        yield f"-- {key} is tracked no longer"
    for name in sorted({*before, *after} - _NAMING):
        if (before.get(name) or None) == (after.get(name) or None):
            continue
        was, shall = _told(before.get(name)), _told(after.get(name))
        if was == shall:
            # The same parent, with another key or day.
            was, shall = _told(before.get(name), all_of_it=True), _told(after.get(name), all_of_it=True)
        yield f"-- {name}: {was} in the database, {shall} in the code"


def _told(value: Any, *, all_of_it: bool = False) -> str:
    """What a source declares, as who declares it would write it."""
    if not value:
        return "none"
    if isinstance(value, dict):
        parts = f" (key {_told(value.get('key'))}, day {_told(value.get('day'))})" if all_of_it else ""
        return f"{value['schema']}.{value['name']}{parts}"
    if isinstance(value, list):
        return ", ".join(f"({columns.replace(',', ', ')})" for columns in value)
    return str(value)


def _name(place: tuple[str, str]) -> str:
    return sql.Identifier(*place).as_string(None)


def _identifier(name: str) -> str:
    return sql.Identifier(name).as_string(None)


def _role(name: str) -> str:
    return "PUBLIC" if name.lower() == "public" else _identifier(name)


def _literal(value: Any) -> str:
    return sql.Literal(value).as_string(None)
