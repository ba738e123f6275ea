"""What a run would do, without doing it."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bq_export.budget import usd
from bq_export.gather import check_limits, plan_all, today
from bq_export.loader.costs import billed_this_month
from bq_export.loader.session import open_target
from bq_export.source.relation import exported
from bq_export.source.snapshot import at_one_moment
from bq_export.state import open_state
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
    with ExitStack() as stack:
        state = stack.enter_context(open_state(settings, target=export.target))
        target = stack.enter_context(open_target(export, progress=progress))
        planned = at_one_moment(
            settings,
            lambda snapshot: plan_all(snapshot, state, target, models, schema=settings.schema, full=full),
            progress=progress,
        )
        warnings = [
            f"{one.relation.qualified}: a job of an earlier run is in doubt; a run settles it."
            for one in planned
            if state.open_jobs(one.relation.qualified)
        ]
        billed = billed_this_month(target, today())
        warnings += check_limits(state, target, planned, billed=billed)
        loads = {row["relation"]: row["jobs"] for row in state.rows("jobs_today", {})}
    relations = tuple(
        Preview(
            schema=one.relation.schema,
            name=one.relation.name,
            way=one.plan.way,
            partitions=len(one.plan.sent),
            vanished=len(one.plan.vanished),
            rows=one.plan.rows,
            bytes=one.plan.size,
            load_jobs=one.plan.load_jobs,
            load_jobs_today=loads.get(one.relation.qualified, 0),
            bytes_billed=one.plan.bytes_billed,
            schema_changes=one.looked.changes,
        )
        for one in planned
    )
    planned_bytes = sum(one.bytes_billed for one in relations)
    budget = f"{usd(billed, export):.2f} of {export.monthly_budget:.2f} USD this month"
    return PreviewResult(
        target=export.target,
        relations=relations,
        usd=usd(planned_bytes, export),
        budget=budget,
        warnings=tuple(warnings),
    )
