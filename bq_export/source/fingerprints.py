"""What stands in each partition now: a fingerprint of its rows, their number, and what does not fit."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from bq_export.errors import ValueOutOfRangeError
from bq_export.source.statements import guarded_fields, select_example, select_fingerprints
from ledgerviews.catalog import Policy
from ledgerviews.db import translated

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import date

    from bq_export.source.relation import Relation
    from bq_export.source.snapshot import Snapshot
    from bq_export.types import Field

WHOLE = "all"
NULL_DAY = "null"
_VERSION = 1


@dataclass(frozen=True, kw_only=True)
class Partition:
    """One day of a relation, or the whole of one that has no days.

    ``key`` is the day in ISO form, ``null``, or ``all``; ``size`` the bytes of its rows as text; ``misfits``
    how many values of which column do not fit their type.
    """

    key: str
    day: date | None
    fingerprint: str
    rows: int
    size: int
    misfits: Mapping[str, int] = field(default_factory=dict)


def read_partitions(snapshot: Snapshot, relation: Relation) -> dict[str, Partition]:
    """The partitions of a relation by key; raises where a value does not fit and the policy is to fail."""
    signature = _signature(relation)
    guarded = [one.name for one in guarded_fields(relation)]
    found: dict[str, Partition] = {}
    with translated(target=snapshot.target):
        rows = snapshot.connection.execute(select_fingerprints(relation)).fetchall()
    for day, count, first, second, size, *misfits in rows:
        key = WHOLE if relation.partition is None else key_of(day)
        digest = hashlib.sha256(f"{signature}|{count}|{first}|{second}".encode()).hexdigest()[:32]
        counted = {name: number for name, number in zip(guarded, misfits, strict=True) if number}
        found[key] = Partition(key=key, day=day, fingerprint=digest, rows=count, size=size, misfits=counted)
    _refuse_misfits(snapshot, relation, found)
    return found


def key_of(day: date | None) -> str:
    """The key of a day's partition."""
    return NULL_DAY if day is None else day.isoformat()


def total_misfits(partitions: Mapping[str, Partition]) -> dict[str, int]:
    """How many values of each column do not fit, over all partitions."""
    total: dict[str, int] = {}
    for partition in partitions.values():
        for name, number in partition.misfits.items():
            total[name] = total.get(name, 0) + number
    return total


def _refuse_misfits(snapshot: Snapshot, relation: Relation, found: Mapping[str, Partition]) -> None:
    misfits = total_misfits(found)
    failing = [one for one in guarded_fields(relation) if one.policy is Policy.FAIL and one.name in misfits]
    if not failing:
        return
    told = [
        f"{one.name} ({misfits[one.name]:,} values, as {_example(snapshot, relation, one)})"
        for one in failing
    ]
    raise ValueOutOfRangeError(misfit_message(relation, ", ".join(told)), hint=MISFIT_HINT)


def example_of_misfit(snapshot: Snapshot, relation: Relation, one: Field) -> ValueOutOfRangeError:
    """The error of a column in which a value was met that does not fit."""
    told = f"{one.name}, as {_example(snapshot, relation, one)}"
    return ValueOutOfRangeError(misfit_message(relation, told), hint=MISFIT_HINT)


def has_misfit(snapshot: Snapshot, relation: Relation, one: Field) -> bool:
    """Whether the column has a value that does not fit."""
    with translated(target=snapshot.target):
        return snapshot.connection.execute(select_example(relation, one)).fetchone() is not None


def _example(snapshot: Snapshot, relation: Relation, one: Field) -> str:
    with translated(target=snapshot.target):
        row = snapshot.connection.execute(select_example(relation, one)).fetchone()
    return "NULL" if row is None or row[0] is None else str(row[0])


MISFIT_HINT = (
    "Mend the rows, or declare in the model's export policy={column: Policy.NULL} (NULL is written and "
    "counted) or Policy.STRING (the column travels as text)."
)


def misfit_message(relation: Relation, what: str) -> str:
    """The text of the error."""
    return f"Cannot export {relation.qualified}: values that BigQuery's type does not hold in {what}."


def _signature(relation: Relation) -> str:
    fields = "\n".join(one.signature for one in relation.fields)
    return hashlib.sha256(f"{_VERSION}\n{relation.export.partition}\n{fields}".encode()).hexdigest()
