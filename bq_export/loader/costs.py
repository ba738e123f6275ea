"""Bytes billed by our labels: from INFORMATION_SCHEMA.JOBS, or the list of jobs where that has no labels."""

from __future__ import annotations

import uuid
from collections import defaultdict
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import TYPE_CHECKING

from bq_export.proof import Parameter
from bq_export.target import LABELS

if TYPE_CHECKING:
    from bq_export.loader.session import Target

# A script's own row has the sum of its statements' bytes, so those are left out.
_JOBS = """
SELECT
  DATE(creation_time, 'UTC') AS day,
  COALESCE((SELECT l.value FROM UNNEST(labels) AS l WHERE l.key = 'operation'), '') AS operation,
  COUNT(*) AS jobs,
  COALESCE(SUM(total_bytes_billed), 0) AS bytes_billed
FROM {jobs}
WHERE creation_time >= @since
  AND parent_job_id IS NULL
  AND EXISTS (SELECT 1 FROM UNNEST(labels) AS l WHERE l.key = 'app' AND l.value = @app)
GROUP BY day, operation
ORDER BY day, operation
"""


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What the jobs of one day and operation were billed."""

    day: date
    operation: str
    jobs: int
    bytes_billed: int


def costs(target: Target, *, since: date) -> list[Cost]:
    """The costs from a day on, by day and operation."""
    if target.settings.endpoint is not None:
        return _from_list(target, since)
    region = f"`{target.settings.project}`.`region-{target.settings.location.lower()}`"
    done = target.jobs.query(
        f"bq_export-cost-{uuid.uuid4().hex}",
        _JOBS.format(jobs=f"{region}.INFORMATION_SCHEMA.JOBS"),
        what="read INFORMATION_SCHEMA.JOBS",
        operation="cost",
        parameters=[
            Parameter(name="since", type="TIMESTAMP", value=_midnight(since)),
            Parameter(name="app", type="STRING", value=LABELS["app"]),
        ],
    )
    return [Cost(**row) for row in target.jobs.rows(done, "read the costs")]


def billed_this_month(target: Target, today: date) -> int:
    """The bytes billed since the first of the month, UTC."""
    return sum(one.bytes_billed for one in costs(target, since=today.replace(day=1)))


def last_days(today: date, days: int) -> date:
    """The first of the last ``days`` days, today among them."""
    return today - timedelta(days=days - 1)


def _from_list(target: Target, since: date) -> list[Cost]:
    """The same from jobs.list: another server of the API need not know labels in INFORMATION_SCHEMA."""
    options = target.requests.options
    jobs = target.requests.call(
        "list the jobs",
        lambda: list(target.requests.client.list_jobs(min_creation_time=_midnight(since), **options)),
    )
    found: dict[tuple[date, str], list[int]] = defaultdict(list)
    for job in jobs:
        labels = job.labels or {}
        if labels.get("app") == LABELS["app"] and job.parent_job_id is None:
            key = (job.created.astimezone(UTC).date(), labels.get("operation", ""))
            found[key].append(int(getattr(job, "total_bytes_billed", None) or 0))
    return [
        Cost(day=day, operation=operation, jobs=len(billed), bytes_billed=sum(billed))
        for (day, operation), billed in sorted(found.items())
    ]


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)
