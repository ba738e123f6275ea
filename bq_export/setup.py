"""The target made, or brought up to date, and each permission checked by trying."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING
from uuid import uuid4

from bq_export.errors import TargetError
from bq_export.gather import today
from bq_export.loader.costs import billed_this_month
from bq_export.loader.session import open_target
from bq_export.source.relation import exported, read_relation
from bq_export.source.snapshot import at_one_moment
from bq_export.state import export_lock, open_state
from bq_export.target import new_columns, settings_changes, table_spec
from ledgerviews import catalog

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from bq_export.loader.session import Target
    from bq_export.settings import ExportSettings
    from bq_export.source.relation import Relation
    from ledgerviews.config import Settings

ACCOUNT = "bq-export"


@dataclass(frozen=True, kw_only=True)
class Step:
    """One thing that was looked at: ``made``, ``changed``, ``ok``, ``missing`` or ``told``; and its mend."""

    what: str
    outcome: str
    detail: str = ""
    commands: tuple[str, ...] = ()


def setup(
    settings: Settings, export: ExportSettings, *, names: Sequence[str] = (), progress: Callable[[str], None]
) -> list[Step]:
    """Make what is missing and may be made; say of the rest how to have it made."""
    models = exported(catalog.load(settings.models), names)
    with ExitStack() as stack:
        target = stack.enter_context(open_target(export, progress=progress))
        relations = at_one_moment(
            settings,
            lambda snapshot: [read_relation(snapshot.connection, m, schema=settings.schema) for m in models],
            progress=progress,
        )
        commands = gcloud(export)
        steps = [_tried("query jobs", commands["jobs"], lambda: _query(target))]
        dataset = _tried("dataset", commands["dataset"], lambda: _dataset(target))
        steps.append(dataset)
        if dataset.outcome != "missing":
            steps += [
                _tried(
                    f"table {relation.name}",
                    commands["data"],
                    partial(_table, settings, target, relation, progress),
                )
                for relation in relations
            ]
        steps.append(_tried("bytes billed (JOBS)", commands["costs"], lambda: _costs(target)))
        steps.append(
            Step(
                what="budget alert",
                outcome="told",
                detail="no permission of ours sees it; make it once",
                commands=commands["budget"],
            )
        )
        return steps


def gcloud(export: ExportSettings) -> dict[str, tuple[str, ...]]:
    """The lines for what the exporter may not do itself, by what they are for."""
    project, dataset = export.project, export.dataset
    member = f"serviceAccount:{ACCOUNT}@{project}.iam.gserviceaccount.com"
    bind = f"gcloud projects add-iam-policy-binding {project} --member={member} --condition=None"
    account = (
        f"gcloud projects create {project}",
        f"gcloud services enable bigquery.googleapis.com --project={project}",
        f"gcloud iam service-accounts create {ACCOUNT} --project={project}",
    )
    return {
        "account": account,
        "jobs": (*account, f"{bind} --role=roles/bigquery.jobUser"),
        "dataset": (f"bq --location={export.location} mk --dataset {project}:{dataset}",),
        "data": (
            (
                f"bq query --use_legacy_sql=false 'GRANT `roles/bigquery.dataEditor` ON SCHEMA "
                f'`{project}`.`{dataset}` TO "{member}"\''
            ),
        ),
        "costs": (f"{bind} --role=roles/bigquery.resourceViewer",),
        "budget": (
            (
                "gcloud billing budgets create --billing-account=ACCOUNT_ID --display-name=bq-export "
                f"--budget-amount={export.monthly_budget:g}USD --threshold-rule=percent=0.8 "
                f"--filter-projects=projects/{project}"
            ),
        ),
    }


class _ElsewhereError(TargetError):
    """The dataset is in another location, so making it is no mend."""


def _tried(what: str, commands: tuple[str, ...], attempt: Callable[[], tuple[str, str]]) -> Step:
    try:
        outcome, detail = attempt()
    except _ElsewhereError as exc:
        return Step(what=what, outcome="missing", detail=exc.message)
    except TargetError as exc:
        return Step(what=what, outcome="missing", detail=exc.message, commands=commands)
    return Step(what=what, outcome=outcome, detail=detail)


def _query(target: Target) -> tuple[str, str]:
    target.jobs.query(f"bq_export-setup-{uuid4().hex}", "SELECT 1", what="run a query", operation="setup")
    return "ok", "roles/bigquery.jobUser"


def _dataset(target: Target) -> tuple[str, str]:
    name = f"{target.settings.project}.{target.settings.dataset}"
    dataset = target.tables.dataset()
    if dataset is None:
        target.tables.make_dataset()
        return "made", f"{name} in {target.settings.location}"
    if dataset.location and dataset.location.upper() != target.settings.location.upper():
        raise _ElsewhereError(
            f"{name} is in {dataset.location}, BQ_LOCATION says {target.settings.location}: set "
            f"BQ_LOCATION={dataset.location}, or BQ_DATASET to another."
        )
    return ("changed", "labels") if target.tables.label_dataset(dataset) else ("ok", name)


def _table(
    settings: Settings, target: Target, relation: Relation, progress: Callable[[str], None]
) -> tuple[str, str]:
    spec = table_spec(relation)
    found = target.tables.read(spec.name)
    if found is None:
        target.tables.make(spec)
        return "made", f"{len(spec.columns)} columns"
    added = new_columns(spec, found, drift=relation.export.drift)
    if added:
        with (
            open_state(settings, target=target.settings.target) as state,
            export_lock(state, settings, wait=True, progress=progress),
        ):
            state.forget_fingerprints(relation.qualified)  # the column is NULL there in all rows
            target.tables.add_columns(spec.name, added)
    changes = [*(f"column {one.name}" for one in added), *settings_changes(spec, found)]
    if not changes:
        return "ok", f"{len(spec.columns)} columns"
    target.tables.update(spec)
    return "changed", ", ".join(changes)


def _costs(target: Target) -> tuple[str, str]:
    return "ok", f"{billed_this_month(target, today()):,} bytes this month; roles/bigquery.resourceViewer"
