"""Specs as the Python text that a revision freezes: what stood, and what of it is to differ. Pure."""

from __future__ import annotations

from pprint import pformat
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    Spec = Mapping[str, Any]

_WIDTH = 100
_INDENT = "    "


def frozen(before: Mapping[str, Spec], after: Mapping[str, Spec]) -> str:
    """The two assignments at a revision's top, ``views_before`` and ``views_after``."""
    parts = ["views_before = " + _dict({key: _dict(_texts(spec), 1) for key, spec in before.items()}, 0)]
    rows = {}
    for key, spec in after.items():
        former = next((old for old, one in before.items() if one.get("renamed_from") == key), key)
        rows[key] = _changed(former, before[former], spec) if former in before else _dict(_texts(spec), 1)
    parts.append("views_after = " + _dict(rows, 0))
    return "\n\n".join(parts)


def _changed(former: str, before: Spec, after: Spec) -> str:
    """What differs, over what stood; all of it, where something is declared no longer."""
    if {name for name in before if name != "renamed_from"} - set(after):
        return _dict(_texts(after), 1)
    differing = {name: value for name, value in after.items() if before.get(name, _ABSENT) != value}
    whole = f"views_before[{literal(former)}]"
    return f"{whole} | {_dict(_texts(differing), 1)}" if differing else whole


_ABSENT = object()


def _texts(spec: Spec) -> dict[str, str]:
    return {name: literal(value, 2) for name, value in spec.items()}


def _dict(rows: Mapping[str, str], depth: int) -> str:
    if not rows:
        return "{}"
    inner = _INDENT * (depth + 1)
    return "{\n" + "".join(f"{inner}{literal(k)}: {v},\n" for k, v in rows.items()) + _INDENT * depth + "}"


def literal(value: Any, depth: int = 0) -> str:
    """A literal that reads well: text of several lines between triple quotes, as it was written."""
    if isinstance(value, str):
        if "\n" not in value or not all(one.isprintable() or one in "\n\t" for one in value):
            return _string(value)
        last = value.endswith('"')
        body = value[:-1] if last else value
        text = body.replace("\\", "\\\\").replace('"""', '\\"\\"\\"') + ('\\"' if last else "")
        # The text begins on a line of its own, so that its lines stand as they were written.
        return f'"""\\\n{text}"""'
    if isinstance(value, dict):
        return _dict({name: literal(one, depth + 1) for name, one in value.items()}, depth)
    if isinstance(value, list):
        line = "[" + ", ".join(_inline(one) for one in value) + "]"
        if len(line) < _WIDTH - 4 * depth:
            return line
        inner = _INDENT * (depth + 1)
        rows = "".join(f"{inner}{literal(one, depth + 1)},\n" for one in value)
        return "[\n" + rows + _INDENT * depth + "]"
    return pformat(value, width=_WIDTH)


def _inline(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_string(k)}: {_inline(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(_inline(one) for one in value) + "]"
    return _string(value) if isinstance(value, str) else repr(value)


def _string(value: str) -> str:
    """Between double quotes, as the formatter has it, wherever that needs no more escapes."""
    text = repr(value)
    if text.startswith("'") and '"' not in value:
        return '"' + text[1:-1].replace("\\'", "'") + '"'
    return text
