"""Jobs that an earlier run left in doubt: found and noted, or fenced off for ever."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bq_export.loader.jobs import StuckJobError

if TYPE_CHECKING:
    from collections.abc import Callable

    from bq_export.loader.session import Target
    from bq_export.state import Job, State


def resolve(state: State, target: Target, relation: str, *, progress: Callable[[str], None]) -> int:
    """Settle every open publishing job of a relation; returns how many there were.

    A job that was never received is fenced: its id is taken, so a request still on its way finds it taken.
    One that was done is noted as if we had seen it. One that neither ends nor can be cancelled makes what it
    touches unknown, so that it is sent anew, and is looked at again by every later run.
    """
    open_jobs = state.open_jobs(relation)
    for job in open_jobs:
        if job.state == "stuck":
            _look_again(state, target, job, progress)
        else:
            _settle(state, target, job, progress)
    return len(open_jobs)


def _settle(state: State, target: Target, job: Job, progress: Callable[[str], None]) -> None:
    found = target.jobs.fence(job.job_id)
    if found is None:
        progress(f"{job.relation}: job {job.job_id} of an earlier run never arrived; it cannot any more")
        state.close_job(job.job_id, state="fenced")
        return
    try:
        ended = target.jobs.wait(found, f"job {job.job_id} of an earlier run")
    except StuckJobError as exc:
        progress(f"{job.relation}: {exc.message}; what it touches is sent anew")
        if job.staging is not None:
            # Its script reads the staging table, so it cannot publish once that is gone.
            target.tables.drop(job.staging)
        state.doubt(job)
        return
    if ended.error_result:
        state.close_job(job.job_id, state="failed", error=str(ended.error_result.get("message")))
        return
    progress(f"{job.relation}: job {job.job_id} of an earlier run was done; noted")
    state.published(job)


def _look_again(state: State, target: Target, job: Job, progress: Callable[[str], None]) -> None:
    found = target.jobs.find(job.job_id)
    if found is not None and found.state != "DONE":
        return
    if found is None or found.error_result:
        state.close_job(job.job_id, state="failed", error="it never ended well")
        return
    progress(f"{job.relation}: job {job.job_id} ended late; what it touched is sent anew")
    state.doubt(job)
    state.close_job(job.job_id, state="done")
