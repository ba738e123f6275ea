"""What must hold of a model's rows, in a model's words."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Severity(StrEnum):
    """What a failing check does: keep the refresh from being published, or say so."""

    ERROR = "error"
    WARN = "warn"


@dataclass(frozen=True, kw_only=True)
class Check:
    """What must hold of a model's rows; looked at inside each refresh, before it is published.

    Use ``not_null``, ``unique`` and ``expression``.
    """

    name: str
    kind: str
    columns: tuple[str, ...] = ()
    expression: str | None = None
    severity: Severity = Severity.ERROR


def not_null(*columns: str, severity: Severity = Severity.ERROR) -> Check:
    """No row has a NULL in any of the columns."""
    return Check(name=_name("not_null", columns), kind="not_null", columns=columns, severity=severity)


def unique(*columns: str, severity: Severity = Severity.ERROR) -> Check:
    """No two rows have the same values in all the columns."""
    return Check(name=_name("unique", columns), kind="unique", columns=columns, severity=severity)


def expression(name: str, sql: str, *, severity: Severity = Severity.ERROR) -> Check:
    """The condition, over the model's columns, is true or NULL for every row, as in a CHECK constraint."""
    return Check(name=name, kind="expression", expression=sql, severity=severity)


def _name(kind: str, columns: tuple[str, ...]) -> str:
    # What is no column's name is told by the model, which can say whose check it is.
    return "_".join((kind, *map(str, columns)))
