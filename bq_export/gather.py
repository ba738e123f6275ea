"""What a run sends, planned and extracted as of one moment of the database, before anything is sent."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING

from bq_export.budget import check_budget, check_query
from bq_export.errors import UnsteadyError
from bq_export.extract import Extract, extract
from bq_export.limits import quota_warnings
from bq_export.loader.costs import billed_this_month
from bq_export.plan import RelationPlan, plan_relation
from bq_export.source.fingerprints import read_partitions
from bq_export.source.relation import read_relation
from bq_export.tables import Looked, look, prepare

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from bq_export.loader.session import Target
    from bq_export.source.fingerprints import Partition
    from bq_export.source.relation import Relation
    from bq_export.source.snapshot import Snapshot
    from bq_export.state import State, TableMemory
    from bq_export.target import TableSpec
    from ledgerviews.catalog import Model


@dataclass(frozen=True, kw_only=True)
class Work:
    """One relation's change, and the file of its rows where any travel."""

    plan: RelationPlan
    spec: TableSpec
    memory: TableMemory
    extract: Extract | None = None


@dataclass(frozen=True, kw_only=True)
class Planned:
    """A relation as planned, by what stands on both sides; nothing is changed yet."""

    relation: Relation
    looked: Looked
    partitions: Mapping[str, Partition]
    plan: RelationPlan


def today() -> date:
    """The day that expirations and budgets are counted by, UTC."""
    return datetime.now(UTC).date()


def plan_all(  # noqa: PLR0913 (both sides, and what is asked)
    snapshot: Snapshot,
    state: State,
    target: Target,
    models: Sequence[Model],
    *,
    schema: str,
    full: bool,
) -> list[Planned]:
    """Plan every relation; all are held before the first is read, so none is replaced meanwhile."""
    relations = [read_relation(snapshot.connection, model, schema=schema) for model in models]
    found = []
    for relation in relations:
        partitions = read_partitions(snapshot, relation)
        looked = look(state, target, relation)
        plan = _plan(relation, partitions, looked, expiration_days=looked.expiration_days, full=full)
        found.append(Planned(relation=relation, looked=looked, partitions=partitions, plan=plan))
    return found


def check_limits(
    state: State, target: Target, planned: Sequence[Planned], *, billed: int | None = None
) -> list[str]:
    """Warnings of tables, quotas and budget; raises BudgetError where the plans would pass the budget.

    ``billed`` are the bytes billed this month, where the caller has asked already.
    """
    told = [one.looked.warning for one in planned if one.looked.warning is not None]
    moving = [one.plan for one in planned if one.plan.way != "none"]
    if not moving:
        return told
    today_sent = {row["relation"]: row for row in state.rows("jobs_today", {})}
    for plan in moving:
        name = plan.relation.qualified
        sent = today_sent.get(name, {"jobs": 0, "changes": 0})
        check_query(target.settings, relation=name, planned=plan.bytes_billed)
        told += quota_warnings(plan, loads_today=sent["jobs"], changes_today=sent["changes"])
    if billed is None:
        billed = billed_this_month(target, today())
    warning = check_budget(target.settings, billed=billed, planned=sum(p.bytes_billed for p in moving))
    return [*told, warning] if warning else told


@dataclass(frozen=True, kw_only=True)
class Gathering:
    """What a run gathers, for whom, and where to; ``warnings`` are those of the last moment looked at."""

    schema: str
    state: State
    target: Target
    models: Sequence[Model]
    folder: Path
    full: bool
    progress: Callable[[str], None]
    warnings: list[str]

    def __call__(self, snapshot: Snapshot) -> list[Work]:
        """Plan and extract every relation, as of one snapshot, given back before anything is sent."""
        planned = plan_all(snapshot, self.state, self.target, self.models, schema=self.schema, full=self.full)
        self.warnings[:] = check_limits(self.state, self.target, planned)
        for warning in self.warnings:
            self.progress(warning)
        return [self._extracted(self._prepared(one), snapshot) for one in planned]

    def _prepared(self, one: Planned) -> Work:
        found, memory = prepare(self.state, self.target, one.relation, one.looked)
        plan = one.plan
        if found.expiration_days != one.looked.expiration_days:  # the dataset has one for new tables
            plan = _plan(
                one.relation,
                one.partitions,
                one.looked,
                expiration_days=found.expiration_days,
                full=self.full,
            )
        if self.full:
            memory = self.state.renew(one.relation.qualified)
        if plan.forgotten:
            self.state.forget_partitions(one.relation.qualified, plan.forgotten)
        return Work(plan=plan, spec=one.looked.spec, memory=memory)

    def _extracted(self, work: Work, snapshot: Snapshot) -> Work:
        plan = work.plan
        if not plan.sent:
            return work
        written = extract(
            snapshot,
            plan.relation,
            self.folder / f"{plan.relation.name}.parquet",
            partitions=plan.days,
            proof=True,
            progress=self.progress,
        )
        if written.rows != plan.rows:
            name = plan.relation.qualified
            raise UnsteadyError(relation=name, counted=plan.rows, read=written.rows)
        return Work(plan=plan, spec=work.spec, memory=work.memory, extract=written)


def _plan(
    relation: Relation,
    partitions: Mapping[str, Partition],
    looked: Looked,
    *,
    expiration_days: int | None,
    full: bool,
) -> RelationPlan:
    return plan_relation(
        relation,
        partitions,
        looked.memory,
        full=full,
        today=today(),
        expiration_days=expiration_days,
        holds_rows=looked.found is not None and looked.found.rows > 0,
    )
