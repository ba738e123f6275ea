"""Jobs that are sent once: by an id that says what they do, looked up before anything is sent again."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from google.api_core import exceptions as api
from google.cloud import bigquery

from bq_export.errors import TargetError
from bq_export.loader.failures import FAILURES, is_transient, job_failure, translated
from bq_export.target import LABELS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from bq_export.loader.client import Requests
    from bq_export.proof import Parameter

    AnyJob = bigquery.LoadJob | bigquery.QueryJob

_FIRST_POLL_S, _LONGEST_POLL_S = 0.05, 5.0
_LOST_UPLOADS = 3
FENCE = "fence"


class StuckJobError(TargetError):
    """A job does not end, and does not let itself be cancelled."""


class FencedJobError(TargetError):
    """A job's id was taken, so that it can never run; another generation can."""


@dataclass(frozen=True, kw_only=True)
class Done:
    """A job that ended well: rows that a load wrote, bytes billed, and whether it had been sent before."""

    job_id: str
    rows: int
    bytes_billed: int
    resumed: bool
    job: Any


def labels(operation: str, **more: str) -> dict[str, str]:
    """The labels of a job or a table; values are cut to what a label takes."""
    return {**LABELS, "operation": operation, **{k: v.lower()[:63] for k, v in more.items()}}


class Jobs:
    """Sends jobs, waits for them, finds them again."""

    def __init__(self, requests: Requests) -> None:
        """Send by ``requests``, within its settings."""
        self._requests = requests
        self._client = requests.client

    def load(  # noqa: PLR0913 (all that decides a load)
        self,
        job_id: str,
        path: Path,
        table: str,
        *,
        schema: Sequence[bigquery.SchemaField],
        disposition: str,
        relation: str,
        operation: str,
    ) -> Done:
        """Load a Parquet file into a table that is there."""
        config = bigquery.LoadJobConfig(
            source_format=bigquery.SourceFormat.PARQUET,
            schema=list(schema),
            create_disposition=bigquery.CreateDisposition.CREATE_NEVER,
            write_disposition=disposition,
            labels=labels(operation, relation=relation),
        )
        config.parquet_options = _parquet_options()
        config.job_timeout_ms = int(self._requests.settings.job_timeout_s * 1000)

        def send() -> AnyJob:
            with path.open("rb") as file:
                return self._client.load_table_from_file(
                    file,
                    table,
                    size=path.stat().st_size,
                    num_retries=0,  # a lost answer is looked up, not uploaded again
                    job_id=job_id,
                    job_config=config,
                    timeout=self._requests.settings.request_timeout_s,
                )

        return self._run(job_id, send, f"load {table}")

    def query(  # noqa: PLR0913 (all that decides a query)
        self,
        job_id: str,
        sql: str,
        *,
        what: str,
        operation: str,
        relation: str = "",
        parameters: Sequence[Parameter] = (),
    ) -> Done:
        """Run a query or script, with the limit of bytes billed that every query has."""
        settings = self._requests.settings
        config = bigquery.QueryJobConfig(
            labels=labels(operation, **({"relation": relation} if relation else {})),
            maximum_bytes_billed=settings.maximum_bytes_billed,
            query_parameters=[bigquery.ScalarQueryParameter(p.name, p.type, p.value) for p in parameters],
            use_query_cache=False,
        )
        config.job_timeout_ms = int(settings.job_timeout_s * 1000)

        def send() -> AnyJob:
            return self._client.query(
                sql, job_config=config, job_id=job_id, job_retry=None, **self._requests.options
            )

        return self._run(job_id, send, what)

    def rows(self, done: Done, what: str) -> list[Mapping[str, Any]]:
        """The rows that a query gave."""

        def read() -> list[Mapping[str, Any]]:
            # The job's own view of itself may be old; the destination is in the newest.
            job: Any = self._client.get_job(done.job_id, **self._requests.options)
            found = self._client.list_rows(job.destination, **self._requests.options)
            return [dict(row.items()) for row in found]

        return self._requests.call(what, read)

    def find(self, job_id: str) -> AnyJob | None:
        """The job of that id, if BigQuery has one."""
        found: Any = self._requests.found(
            f"look job {job_id} up", lambda: self._client.get_job(job_id, **self._requests.options)
        )
        return cast("AnyJob | None", found)

    def fence(self, job_id: str) -> AnyJob | None:
        """Take a job's id so that it can never run any more; the job itself where it was there first.

        A request that was given up may still be on its way: whichever insert comes first decides.
        """
        limit = self._requests.settings.maximum_bytes_billed
        config = bigquery.QueryJobConfig(labels=labels(FENCE), maximum_bytes_billed=limit)

        def send() -> AnyJob:
            return self._client.query(
                "SELECT 1", job_config=config, job_id=job_id, job_retry=None, **self._requests.options
            )

        job, _ = self._sent(job_id, send, f"look job {job_id} up")
        return None if _is_fence(job) else job

    def wait(self, job: AnyJob, what: str) -> AnyJob:
        """The job when it has ended; raises StuckJobError where it does not, cancelled or not."""
        deadline = time.monotonic() + self._requests.settings.job_timeout_s
        ended = self._polled(job, deadline)
        if ended is None:
            self._requests.found(
                f"cancel {what}", lambda: self._client.cancel_job(job.job_id, **self._requests.options)
            )
            ended = self._polled(job, time.monotonic() + self._requests.settings.cancel_wait_s)
        if ended is None:
            raise StuckJobError(
                f"{what}: job {job.job_id} did not end within "
                f"{self._requests.settings.job_timeout_s:g} s, nor when it was cancelled.",
                hint="Run again: it goes on with a new job. BQ_JOB_TIMEOUT gives more time.",
            )
        return ended

    def _polled(self, job: AnyJob, deadline: float) -> AnyJob | None:
        pause = _FIRST_POLL_S
        while job.state != "DONE":
            if time.monotonic() > deadline:
                return None
            time.sleep(pause)
            pause = min(_LONGEST_POLL_S, pause * 1.5)
            found = self.find(job.job_id)
            if found is None:
                raise TargetError(f"Job {job.job_id} is gone from BigQuery.", hint="Run again.")
            job = found
        return job

    def _run(self, job_id: str, send: Callable[[], AnyJob], what: str) -> Done:
        sent, resumed = self._sent(job_id, send, what)
        if resumed and _is_fence(sent):
            raise FencedJobError(f"{what}: the id of job {job_id} was taken so that it never runs.")
        job = self.wait(sent, what)
        if job.error_result:
            raise job_failure(job.error_result, what)
        return Done(
            job_id=job_id,
            rows=int(getattr(job, "output_rows", None) or 0),
            bytes_billed=int(getattr(job, "total_bytes_billed", None) or 0),
            resumed=resumed,
            job=job,
        )

    def _sent(self, job_id: str, send: Callable[[], AnyJob], what: str) -> tuple[AnyJob, bool]:
        """The job under its id, sent now or before, and whether it was before."""
        attempt = lost = 0
        while True:
            try:
                return send(), False
            except api.Conflict:
                pass
            except api.NotFound as exc:
                # Of an upload whose answer was lost the server knows nothing any more, its job may be there.
                lost += 1
                if lost > _LOST_UPLOADS or not _is_lost_upload(exc):
                    raise translated(exc, what) from exc
            except FAILURES as exc:
                if not is_transient(exc):
                    raise translated(exc, what) from exc
                self._requests.patience.pause(attempt, translated(exc, what).message)
            found = self.find(job_id)
            if found is not None:
                return found, True
            attempt += 1


def _is_fence(job: AnyJob) -> bool:
    return (job.labels or {}).get("operation") == FENCE


def _is_lost_upload(exc: api.NotFound) -> bool:
    """Whether a piece of an upload was not found: a session is begun by POST and continued by PUT."""
    return getattr(getattr(exc.response, "request", None), "method", "") == "PUT"


def _parquet_options() -> bigquery.format_options.ParquetOptions:
    options = bigquery.format_options.ParquetOptions()  # type: ignore[no-untyped-call]
    options.enable_list_inference = True
    return options
