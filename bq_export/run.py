"""A run: what changed since the last one goes to BigQuery, as of one moment of the database."""

from __future__ import annotations

import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from bq_export.gather import Gathering
from bq_export.loader.session import open_target
from bq_export.recovery import resolve
from bq_export.send import Sender
from bq_export.source.fingerprints import total_misfits
from bq_export.source.relation import exported
from bq_export.source.snapshot import at_one_moment
from bq_export.state import export_lock, open_state
from bq_export.workdir import work_folder
from ledgerviews import catalog

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from bq_export.gather import Work
    from bq_export.loader.session import Target
    from bq_export.settings import ExportSettings
    from bq_export.state import State
    from ledgerviews.config import Settings

    Progress = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class RelationResult:
    """What a run did to one relation: ``way`` is none, replace or flip; bytes are those of the file."""

    schema: str
    name: str
    way: str
    partitions: int = 0
    vanished: int = 0
    rows: int = 0
    bytes: int = 0
    bytes_billed: int = 0
    misfits: Mapping[str, int] = field(default_factory=dict)
    job_id: str | None = None
    seconds: float = 0.0


@dataclass(frozen=True, kw_only=True)
class RunResult:
    """What a run did."""

    run_id: int
    target: str
    relations: tuple[RelationResult, ...]
    seconds: float
    warnings: tuple[str, ...] = ()

    def total(self, name: str) -> int:
        """The sum of a figure over the relations."""
        return sum(int(getattr(one, name)) for one in self.relations)


def run(  # noqa: PLR0913 (what a user may say)
    settings: Settings,
    export: ExportSettings,
    *,
    names: Sequence[str] = (),
    full: bool = False,
    wait: bool = True,
    progress: Progress,
) -> RunResult:
    """Export the relations of those names, or all; raises with exit code 6 where the target is at fault."""
    started = time.monotonic()
    models = exported(catalog.load(settings.models), names)
    with ExitStack() as stack:
        state = stack.enter_context(open_state(settings, target=export.target))
        stack.enter_context(export_lock(state, settings, wait=wait, progress=progress))
        target = stack.enter_context(open_target(export, progress=progress))
        folder = stack.enter_context(work_folder())
        run_id = state.begin(requested=names, full=full)
        results: list[RelationResult] = []
        warnings: list[str] = []
        try:
            for model in models:
                resolve(state, target, f"{settings.schema}.{model.name}", progress=progress)
            gathering = Gathering(
                schema=settings.schema,
                state=state,
                target=target,
                models=models,
                folder=folder,
                full=full,
                progress=progress,
                warnings=warnings,
            )
            works = at_one_moment(settings, gathering, progress=progress)
            for work in works:
                state.alive()  # with the connection the lock would be gone
                results.append(_send(state, target, run_id, work, progress))
        except BaseException as exc:
            if not state.connection.broken:
                state.finish(run_id, error=_told(exc), figures=_figures(results))
            raise
        state.finish(run_id, error=None, figures=_figures(results))
    return RunResult(
        run_id=run_id,
        target=export.target,
        relations=tuple(results),
        seconds=time.monotonic() - started,
        warnings=tuple(warnings),
    )


def _send(state: State, target: Target, run_id: int, work: Work, progress: Progress) -> RelationResult:
    plan, started = work.plan, time.monotonic()
    if plan.way == "none":
        return RelationResult(schema=plan.relation.schema, name=plan.relation.name, way=plan.way)
    sender = Sender(
        state=state,
        target=target,
        run_id=run_id,
        plan=plan,
        spec=work.spec,
        change_id=plan.change_id(work.memory),
        progress=progress,
    )
    sent = sender.send(work.extract)
    if plan.way == "replace":
        found = target.tables.read(work.spec.name)
        if found is not None and found.created != work.memory.created:
            state.recreated(plan.relation.qualified, created=found.created)
    return RelationResult(
        schema=plan.relation.schema,
        name=plan.relation.name,
        way=plan.way,
        partitions=len(plan.sent),
        vanished=len(plan.vanished),
        rows=plan.rows,
        bytes=work.extract.size if work.extract else 0,
        bytes_billed=sent.bytes_billed,
        misfits=total_misfits({key: plan.partitions[key] for key in plan.sent}),
        job_id=sent.job_id,
        seconds=time.monotonic() - started,
    )


def _told(exc: BaseException) -> str:
    return "interrupted" if isinstance(exc, KeyboardInterrupt) else str(exc) or type(exc).__name__


def _figures(results: Sequence[RelationResult]) -> dict[str, int]:
    moved = [one for one in results if one.way != "none"]
    return {
        "relations": len(moved),
        "partitions": sum(one.partitions + one.vanished for one in moved),
        "rows_sent": sum(one.rows for one in moved),
        "bytes_sent": sum(one.bytes for one in moved),
        "bytes_billed": sum(one.bytes_billed for one in moved),
    }
