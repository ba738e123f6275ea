"""One relation's change on its way to the target: staged, proved, published, noted."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bq_export.errors import ProofError, TargetError, TransientError
from bq_export.loader.jobs import FencedJobError, StuckJobError
from bq_export.loader.tables import schema_of
from bq_export.proof import read_figures, select_figures
from bq_export.publish import PROOF_FAILED, flip_script
from bq_export.state import Job
from bq_export.stats import Stats, differences
from bq_export.target import STAGING_PREFIX, TableSpec

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from bq_export.extract import Extract
    from bq_export.loader.jobs import Done
    from bq_export.loader.session import Target
    from bq_export.plan import RelationPlan
    from bq_export.state import State

_STUCK_STAGINGS = 2
_NOT_IN_IDS = re.compile(r"[^A-Za-z0-9_-]")


@dataclass(frozen=True, kw_only=True)
class Sent:
    """What a relation's export moved, and by which job."""

    job_id: str
    bytes_billed: int


@dataclass(kw_only=True)
class Sender:
    """Sends the change of one relation."""

    state: State
    target: Target
    run_id: int
    plan: RelationPlan
    spec: TableSpec
    change_id: str
    progress: Callable[[str], None]
    bytes_billed: int = 0

    def send(self, extract: Extract | None) -> Sent:
        """Publish the change and note it; ``extract`` is the file of the rows that travel, if any do."""
        stats = extract.stats if extract is not None and extract.stats is not None else self._nothing()
        staging = None if extract is None else self._staged(extract)
        if self.plan.way == "replace" and extract is not None and staging is not None:
            self._prove_staging(staging, stats)
            job_id = self._replaced(extract)
        else:
            job_id = self._flipped(staging, stats)
        if staging is not None:
            self._tidy(staging)
        return Sent(job_id=job_id, bytes_billed=self.bytes_billed)

    def _nothing(self) -> Stats:
        return Stats(fields=self.plan.relation.fields)

    def _staged(self, extract: Extract) -> str:
        """The staging table with the rows; an earlier load of the same change is taken where it is whole."""

        def load(job_id: str, generation: int) -> Done:
            name = self._staging_name(generation)
            table = TableSpec(name=name, columns=self.spec.columns)
            self.target.tables.make(table, staging=True)
            self.progress(f"{self.plan.relation.qualified}: loading {extract.rows:,} rows")
            done = self.target.jobs.load(
                job_id,
                extract.path,
                self.target.tables.full_name(name),
                schema=schema_of(self.spec.columns),
                disposition="WRITE_TRUNCATE",
                relation=self.plan.relation.name,
                operation="stage",
            )
            there = self.target.tables.read(name)
            if done.rows != extract.rows or there is None or there.rows != extract.rows:
                raise TransientError(
                    f"Staging of {self.plan.relation.qualified} holds {0 if there is None else there.rows:,} "
                    f"rows of {extract.rows:,}."
                )
            return done

        job = self._job("stage", load)
        return self._staging_name(job.generation)

    def _staging_name(self, generation: int) -> str:
        return f"{STAGING_PREFIX}{self.change_id}_g{generation}"

    def _prove_staging(self, staging: str, stats: Stats) -> None:
        sql = select_figures(self.target.quoted(staging), stats)
        row = self._figures(f"{staging}-prove-r{self.run_id}", sql, staging)
        if told := differences(stats, read_figures(stats, row)):
            raise self._unproved(told)

    def _replaced(self, extract: Extract) -> str:
        """One atomic truncate-load of the file whose rows were proved in staging."""

        def replace(job_id: str, _generation: int) -> Done:
            done = self.target.jobs.load(
                job_id,
                extract.path,
                self.target.tables.full_name(self.spec.name),
                schema=schema_of(self.spec.columns),
                disposition="WRITE_TRUNCATE_DATA",
                relation=self.plan.relation.name,
                operation="replace",
            )
            if done.rows != extract.rows:
                raise ProofError(
                    f"{self.plan.relation.qualified}: {done.rows:,} rows were published of {extract.rows:,} "
                    "sent, after the same file was proved in staging.",
                    hint="Run again: the table is written anew. `bq-export verify` tells what differs.",
                )
            return done

        return self._publish("replace", replace, None)

    def _flipped(self, staging: str | None, stats: Stats) -> str:
        """The script that flips all partitions together, or none where the proof fails."""
        sql, parameters = flip_script(
            self.plan,
            target=self.target.quoted(self.spec.name),
            staging=None if staging is None else self.target.quoted(staging),
            sent=stats,
        )

        def flip(job_id: str, _generation: int) -> Done:
            what = f"publish {self.plan.relation.qualified}"
            try:
                done = self.target.jobs.query(
                    job_id,
                    sql,
                    what=what,
                    operation="publish",
                    relation=self.plan.relation.name,
                    parameters=parameters,
                )
            except TargetError as exc:
                if PROOF_FAILED not in exc.message:
                    raise
                raise self._unproved(self._compared(staging, stats)) from exc
            self.bytes_billed += done.bytes_billed
            return done

        return self._publish("publish", flip, staging)

    def _compared(self, staging: str | None, stats: Stats) -> list[str]:
        """What differs in the staged rows, for the message; nothing where they are as they were sent."""
        if staging is None:
            return []
        sql = select_figures(self.target.quoted(staging), stats)
        row = self._figures(f"{staging}-explain-r{self.run_id}", sql, staging)
        return differences(stats, read_figures(stats, row))

    def _unproved(self, told: list[str]) -> ProofError:
        detail = "\n  ".join(told) or "the staged rows are equal, the published ones would not have been"
        return ProofError(
            f"The proof of {self.plan.relation.qualified} failed; nothing was published:\n  {detail}",
            hint="Run again; if it fails again, the table has a column that alters values on their way.",
        )

    def _figures(self, job_id: str, sql: str, table: str) -> Mapping[str, Any]:
        """The one row of a query that changes nothing, so a failed one is simply asked anew."""
        attempt = 0
        while True:
            try:
                done = self.target.jobs.query(
                    f"{job_id}-{attempt}",
                    sql,
                    what=f"prove {table}",
                    operation="prove",
                    relation=self.plan.relation.name,
                )
                break
            except TransientError as exc:
                self.target.requests.patience.pause(attempt, exc.message)
                attempt += 1
        self.bytes_billed += done.bytes_billed
        (row,) = self.target.jobs.rows(done, f"read the figures of {table}")
        return row

    def _publish(self, operation: str, send: Callable[[str, int], Done], staging: str | None) -> str:
        self.progress(f"{self.plan.relation.qualified}: publishing")
        job = self._job(operation, send, staging=staging, publishing=True)
        return job.done.job_id

    def _id(self, operation: str, generation: int) -> str:
        name = _NOT_IN_IDS.sub("_", self.plan.relation.name)
        return f"bq_export-{name}-{operation}-{self.change_id}-g{generation}"

    def _job(
        self,
        operation: str,
        send: Callable[[str, int], Done],
        *,
        staging: str | None = None,
        publishing: bool = False,
    ) -> _Finished:
        """Send a job of the next generation until one ends well; each is written down first.

        The generation goes up only when a job ended in an error; a job of this change that was sent before is
        found under its id.
        """
        attempt = 0
        while True:
            generation = self.state.generation(self.change_id, operation)
            job = Job(
                job_id=self._id(operation, generation),
                relation=self.plan.relation.qualified,
                operation=operation,
                change_id=self.change_id,
                generation=generation,
                changes=self.plan.changes,
                staging=staging,
            )
            self.state.write_job(self.run_id, job)
            try:
                done = send(job.job_id, generation)
            except FencedJobError as exc:  # by a run that is not remembered
                self.state.close_job(job.job_id, state="fenced", error=exc.message)
            except StuckJobError as exc:
                if publishing or attempt >= _STUCK_STAGINGS:
                    raise  # it may still publish: the next run looks, and decides
                self.state.close_job(job.job_id, state="failed", error=exc.message)
                self.progress(f"{exc.message} Going on with a new one.")
                attempt += 1
            except TransientError as exc:
                self._ended(job, exc, publishing=publishing)
                self.target.requests.patience.pause(attempt, exc.message)
                attempt += 1
            except (TargetError, ProofError) as exc:
                self._ended(job, exc, publishing=publishing)
                raise
            else:
                if publishing:
                    self.state.published(job)
                else:
                    self.state.close_job(job.job_id, state="done")
                return _Finished(generation=generation, done=done)

    def _ended(self, job: Job, exc: Exception, *, publishing: bool) -> None:
        """Close a job that ended in an error; one that may still be under way stays open for the next run."""
        if publishing:
            found = self.target.jobs.find(job.job_id)
            if isinstance(exc, ProofError) and found is not None and not found.error_result:
                self.state.doubt(job)
                return
            if found is None or found.state != "DONE" or not found.error_result:
                return
        self.state.close_job(job.job_id, state="failed", error=str(exc))

    def _tidy(self, staging: str) -> None:
        """Drop the staging table now; it would expire in a day."""
        try:
            self.target.tables.drop(staging)
        except TargetError as exc:
            self.progress(f"{self.plan.relation.qualified}: {exc.message}; it expires in a day")


@dataclass(frozen=True, kw_only=True)
class _Finished:
    generation: int
    done: Done
