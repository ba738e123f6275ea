"""The one transaction that publishes: delete, insert, prove, commit, or nothing at all. Pure."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING

from bq_export.plan import PARTITIONS_PER_JOB
from bq_export.proof import Parameter, everything, in_partitions, name, proof_condition
from bq_export.source.fingerprints import NULL_DAY

if TYPE_CHECKING:
    from bq_export.plan import RelationPlan
    from bq_export.stats import Stats

PROOF_FAILED = "bq_export: the rows published are not the rows sent"


def flip_script(
    plan: RelationPlan, *, target: str, staging: str | None, sent: Stats
) -> tuple[str, list[Parameter]]:
    """The script for a relation's partitions, and what is bound in it.

    Args:
        plan: what goes and what comes.
        target: the quoted name of the table.
        staging: the quoted name of the rows that come; None where none do.
        sent: the figures of those rows, taken on their way.
    """
    partition = plan.relation.partition
    statements = []
    if plan.whole or partition is None:
        scopes = [everything(partition)]
        statements.append(f"DELETE FROM {target} WHERE {scopes[0]};")  # noqa: S608
        if staging is not None:
            statements.append(_insert(plan, target, staging, None))
        proved = scopes[0]
    else:
        keys = sorted([*plan.sent, *plan.vanished])
        # A statement is a job, and a job changes so many partitions at most.
        for start in range(0, len(keys), PARTITIONS_PER_JOB):
            days = in_partitions(partition, [_day(key) for key in keys[start : start + PARTITIONS_PER_JOB]])
            statements.append(f"DELETE FROM {target} WHERE {days};")  # noqa: S608
        for start in range(0, len(plan.sent) if staging else 0, PARTITIONS_PER_JOB):
            chunk = [_day(key) for key in plan.sent[start : start + PARTITIONS_PER_JOB]]
            statements.append(_insert(plan, target, str(staging), in_partitions(partition, chunk)))
        proved = in_partitions(partition, [_day(key) for key in keys])
    condition, parameters = proof_condition(sent)
    proof = f"ASSERT (SELECT {condition}\n    FROM {target} WHERE {proved}) AS '{PROOF_FAILED}';"  # noqa: S608
    body = "\n  ".join([*statements, proof])
    return (
        (
            "BEGIN\n"
            "  BEGIN TRANSACTION;\n"
            f"  {body}\n"
            "  COMMIT TRANSACTION;\n"
            "EXCEPTION WHEN ERROR THEN\n"
            "  ROLLBACK TRANSACTION;\n"
            "  RAISE USING MESSAGE = @@error.message;\n"
            "END;"
        ),
        parameters,
    )


def _insert(plan: RelationPlan, target: str, staging: str, condition: str | None) -> str:
    columns = ", ".join(name(one.name) for one in plan.relation.fields)
    where = f" WHERE {condition}" if condition else ""
    return f"INSERT INTO {target} ({columns}) SELECT {columns} FROM {staging}{where};"  # noqa: S608


def _day(key: str) -> date | None:
    return None if key == NULL_DAY else date.fromisoformat(key)
