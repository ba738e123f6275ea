"""How many values a policy altered, where nobody took fingerprints."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bq_export.source.statements import guarded_fields, select_misfits
from ledgerviews.catalog import Policy
from ledgerviews.db import translated

if TYPE_CHECKING:
    from bq_export.source.relation import Relation
    from bq_export.source.snapshot import Snapshot


def count_misfits(snapshot: Snapshot, relation: Relation) -> dict[str, int]:
    """The values that do not fit, by column; a column whose policy is to fail raises when it is read."""
    fields = [one for one in guarded_fields(relation) if one.policy is not Policy.FAIL]
    if not fields:
        return {}
    with translated(target=snapshot.target):
        row = snapshot.connection.execute(select_misfits(relation, fields)).fetchone()
    assert row is not None  # noqa: S101
    return {one.name: number for one, number in zip(fields, row, strict=True) if number}
