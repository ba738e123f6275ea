"""The one transaction that publishes: delete, insert, prove, commit, or nothing at all. Pure."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING

from bq_export.errors import ExportError
from bq_export.limits import PARTITIONS_PER_JOB, QUERY_CHARACTERS
from bq_export.proof import Parameter, everything, in_partitions, name, proof_query
from bq_export.source.fingerprints import NULL_DAY

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bq_export.plan import RelationPlan
    from bq_export.stats import Stats
    from bq_export.types import Field

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
        statements.append(f"TRUNCATE TABLE {target};")  # needs no partition filter, and bills nothing
        proved = everything(partition)
    else:
        keys = sorted([*plan.sent, *plan.vanished])
        statements += [f"DELETE FROM {target} WHERE {days};" for days in _in_pieces(partition, keys)]  # noqa: S608
        proved = in_partitions(partition, [_day(key) for key in keys])
    if staging is not None:
        all_at_once = partition is None or (plan.whole and len(plan.sent) <= PARTITIONS_PER_JOB)
        pieces = [None] if partition is None or all_at_once else _in_pieces(partition, plan.sent)
        statements += [_insert(plan, target, staging, piece) for piece in pieces]
    query, parameters = proof_query(target, proved, sent)
    body = "\n  ".join([*statements, f"ASSERT ({query}) AS '{PROOF_FAILED}';"])
    script = (
        "BEGIN\n"
        "  BEGIN TRANSACTION;\n"
        f"  {body}\n"
        "  COMMIT TRANSACTION;\n"
        "EXCEPTION WHEN ERROR THEN\n"
        "  ROLLBACK TRANSACTION;\n"
        "  RAISE USING MESSAGE = @@error.message;\n"
        "END;"
    )
    if len(script.encode()) > QUERY_CHARACTERS:
        raise ExportError(
            f"Cannot export {plan.relation.qualified}: the script that publishes it has {len(script):,} "
            "characters, and BigQuery takes 1 MB. Nothing was published.",
            hint="Publish a relation with fewer columns, or with shorter names.",
        )
    return script, parameters


def _in_pieces(partition: Field, keys: Sequence[str]) -> list[str]:
    """Conditions for the days; a statement is a job, and a job changes so many partitions at most."""
    return [
        in_partitions(partition, [_day(key) for key in keys[start : start + PARTITIONS_PER_JOB]])
        for start in range(0, len(keys), PARTITIONS_PER_JOB)
    ]


def _insert(plan: RelationPlan, target: str, staging: str, condition: str | None) -> str:
    columns = ", ".join(name(one.name) for one in plan.relation.fields)
    where = f" WHERE {condition}" if condition else ""
    return f"INSERT INTO {target} ({columns}) SELECT {columns} FROM {staging}{where};"  # noqa: S608


def _day(key: str) -> date | None:
    return None if key == NULL_DAY else date.fromisoformat(key)
