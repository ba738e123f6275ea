"""What BigQuery takes at most, and what is said before a run comes near it. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bq_export.plan import RelationPlan
    from bq_export.source.relation import Relation

PARTITIONS_PER_JOB = 4_000
PARTITIONS_PER_TABLE = 10_000
LOADS_PER_DAY = 1_500
PARTITION_CHANGES_PER_DAY = 30_000
QUERY_CHARACTERS = 1_000_000  # a little less than the limit, 1 MB before names are resolved
RESULT_COLUMNS = 10_000
_WARNING_SHARE = 0.8
_FIGURES = 7  # of a column, at most
_DAY_CHARACTERS = 19  # DATE 'YYYY-MM-DD', and what parts it from the next
_COLUMN_CHARACTERS = 460  # all that is compared of a column, by its short name
_NAMED = 3  # times that a script names each column by its own name


def script_characters(relation: Relation, *, sent: int, vanished: int) -> int:
    """How long the script is at most that publishes so many days by name, or all with 0 and 0."""
    columns = sum(_NAMED * (len(one.name) + 4) + _COLUMN_CHARACTERS for one in relation.fields)
    return 1_000 + columns + (2 * (sent + vanished) + sent) * _DAY_CHARACTERS


def fits_one_row(relation: Relation) -> bool:
    """Whether all figures of a relation's columns fit the one row of a query."""
    return _FIGURES * len(relation.fields) < RESULT_COLUMNS


def quota_warnings(plan: RelationPlan, *, loads_today: int, changes_today: int) -> list[str]:
    """What comes near a daily limit of BigQuery, said before it is met; ``today`` is the last 24 hours."""
    told = []
    name = plan.relation.qualified
    for number, limit, what in (
        (loads_today + plan.load_jobs, LOADS_PER_DAY, "load jobs"),
        (changes_today + plan.partition_changes, PARTITION_CHANGES_PER_DAY, "partition changes"),
    ):
        if number >= _WARNING_SHARE * limit:
            told.append(f"WARNING: {name}: {number:,} of {limit:,} {what} a day.")
    if plan.expired:
        told.append(f"{name}: {plan.expired:,} days are past partition_expiration_days and stay behind.")
    return told
