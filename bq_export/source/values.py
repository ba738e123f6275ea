"""The SQL that reads the value of one column, with its policy for what the target cannot hold. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ledgerviews.catalog import Policy

if TYPE_CHECKING:
    from bq_export.types import Field

# What no constant is: a cast that fails for such a row alone, and says of which column.
_TYPE_NAMES = {
    "date": "date",
    "timestamp": "timestamp",
    "timestamptz": "timestamptz",
    "time": "time",
    "numeric": "numeric",
}
MARK = "bq_export"
"""What begins the message of a value that does not fit, before its column."""


def value_sql(one: Field, quoted: str, *, raising: bool) -> str:
    """The SQL that gives a column's value, for its quoted name, the policy applied.

    With ``raising`` a value that does not fit fails, where that is the policy: in the statement, or where it
    arrives. Without, it becomes NULL, for whoever counts such values beside.
    """
    value = one.read.format(x=quoted)
    if raising and one.unscaled:
        value = f"({value} * {10 ** (one.scale or 0)}::numeric)::bigint"
    if one.fits is None or one.policy is Policy.STRING or (raising and one.fails_in_flight):
        return value
    fits = one.fits.format(x=quoted)
    if one.policy is Policy.FAIL and raising:
        literal = one.name.replace("'", "''")
        cause = f"('{MARK}:{literal}:' || COALESCE(pg_catalog.left(({quoted})::text, 60), 'NULL'))"
        target = "bigint[]" if one.repeated else _TYPE_NAMES[one.source]
        raised = f"{cause}::{target}" if not one.repeated else f"({cause}::{target})::text::{_cast(one)}"
        empty = "" if one.repeated else f" OR {quoted} IS NULL"
        return f"CASE WHEN {fits}{empty} THEN {value} ELSE {raised} END"
    other = f" ELSE '{{}}'::{_cast(one)}" if one.repeated else ""
    return f"CASE WHEN {fits} THEN {value}{other} END"


def misfit_sql(one: Field, quoted: str) -> str | None:
    """SQL that is true for a value that the target's type does not hold; None where it holds all."""
    if one.fits is None:
        return None
    fits = one.fits.format(x=quoted)
    if one.repeated:
        return f"({fits}) IS NOT TRUE"
    return f"({quoted} IS NOT NULL AND ({fits}) IS NOT TRUE)"


def _cast(one: Field) -> str:
    return {"BOOL": "boolean[]", "INT64": "bigint[]", "FLOAT64": "double precision[]"}.get(one.base, "text[]")
