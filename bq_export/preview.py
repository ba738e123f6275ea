"""What a run would do, without doing it."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bq_export.budget import check_budget, check_query, usd
from bq_export.loader.costs import billed_this_month
from bq_export.loader.session import open_target
from bq_export.plan import plan_relation, quota_warnings
from bq_export.run import today
from bq_export.source.fingerprints import read_partitions
from bq_export.source.relation import exported, read_relation
from bq_export.source.snapshot import open_snapshot
from bq_export.state import open_state
from bq_export.tables import look
from ledgerviews import catalog

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from bq_export.settings import ExportSettings
    from ledgerviews.config import Settings


@dataclass(frozen=True, kw_only=True)
class Preview:
    """What would move of one relation; bytes are of the rows as text, an upper estimate."""

    schema: str
    name: str
    way: str
    partitions: int
    vanished: int
    rows: int
    bytes: int
    load_jobs: int
    load_jobs_today: int
    bytes_billed: int
    schema_changes: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class PreviewResult:
    """What a run would move and cost."""

    target: str
    relations: tuple[Preview, ...]
    usd: float
    budget: str
    warnings: tuple[str, ...]


def preview(
    settings: Settings,
    export: ExportSettings,
    *,
    names: Sequence[str] = (),
    full: bool = False,
    progress: Callable[[str], None],
) -> PreviewResult:
    """Plan a run; raises what the run would raise before anything is sent."""
    models = exported(catalog.load(settings.models), names)
    relations: list[Preview] = []
    warnings: list[str] = []
    with ExitStack() as stack:
        state = stack.enter_context(open_state(settings, target=export.target))
        target = stack.enter_context(open_target(export, progress=progress))
        snapshot = stack.enter_context(open_snapshot(settings))
        loads = {row["relation"]: row["jobs"] for row in state.rows("jobs_today", {})}
        for model in models:
            relation = read_relation(snapshot.connection, model, schema=settings.schema)
            looked = look(state, target, relation)
            plan = plan_relation(
                relation, read_partitions(snapshot, relation), looked.memory, full=full, today=today()
            )
            done = loads.get(relation.qualified, 0)
            if state.open_jobs(relation.qualified):
                warnings.append(
                    f"{relation.qualified}: a job of an earlier run is in doubt; a run settles it."
                )
            warnings += quota_warnings(plan, loads_today=done)
            check_query(export, relation=relation.qualified, planned=plan.bytes_billed)
            relations.append(
                Preview(
                    schema=relation.schema,
                    name=relation.name,
                    way=plan.way,
                    partitions=len(plan.sent),
                    vanished=len(plan.vanished),
                    rows=plan.rows,
                    bytes=plan.size,
                    load_jobs=plan.load_jobs,
                    load_jobs_today=done,
                    bytes_billed=plan.bytes_billed,
                    schema_changes=looked.changes,
                )
            )
        planned = sum(one.bytes_billed for one in relations)
        billed = billed_this_month(target, today())
    if warning := check_budget(export, billed=billed, planned=planned):
        warnings.append(warning)
    budget = f"{usd(billed, export):.2f} of {export.monthly_budget:.2f} USD this month"
    return PreviewResult(
        target=export.target,
        relations=tuple(relations),
        usd=usd(planned, export),
        budget=budget,
        warnings=tuple(warnings),
    )
