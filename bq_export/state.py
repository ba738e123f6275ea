"""What the exporter remembers, in the schema ledgerviews: runs, what each partition holds, jobs in doubt."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from psycopg.rows import class_row, dict_row
from psycopg.types.json import Jsonb

from bq_export.queries import query
from bq_export.source.snapshot import APPLICATION, IDLE, set_all
from ledgerviews.config import DEFAULT_MODELS
from ledgerviews.db import connect, describe_target, set_timeouts, translated
from ledgerviews.errors import DriftError, LockedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    import psycopg

    from ledgerviews.config import Settings


@dataclass(frozen=True, kw_only=True)
class Known:
    """What a partition at the target holds: None as fingerprint where that is not known."""

    partition_key: str
    fingerprint: str | None
    row_count: int


@dataclass(frozen=True, kw_only=True)
class TableMemory:
    """A table at the target as it was left; ``created`` in milliseconds tells it from one made since."""

    lineage: str
    version: int
    created: int
    partitions: Mapping[str, Known]

    def unknown(self) -> TableMemory:
        """The same table, of which it is not known what its partitions hold."""
        found = {key: replace(one, fingerprint=None) for key, one in self.partitions.items()}
        return replace(self, partitions=found)


@dataclass(frozen=True, kw_only=True)
class Job:
    """A job as it was written down before it was sent.

    ``changes`` maps each partition to the fingerprint and number of rows that the job gives it, or to None
    where it takes it away; ``whole`` in it says that every other partition goes, too.
    """

    job_id: str
    relation: str
    operation: str
    change_id: str
    generation: int
    changes: dict[str, Any]
    staging: str | None = None
    state: str = "sent"


class State:
    """The memory of one target, over one connection in autocommit."""

    def __init__(self, connection: psycopg.Connection, *, target: str, server: str) -> None:
        """Remember for ``target``, a project and dataset; ``server`` is how messages name the database."""
        self.connection = connection
        self.target = target
        self.server = server

    def begin(self, *, requested: Sequence[str], full: bool) -> int:
        """Write a run down, and close those that ended without a word: we hold the lock, so none runs."""
        values = {"target": self.target, "requested": list(requested) or None, "full_load": full}
        self._execute("close_crashed_runs", values)
        return int(self._rows("begin_run", values)[0]["run_id"])

    def finish(self, run_id: int, *, error: str | None, figures: Mapping[str, int]) -> None:
        """Write down how a run ended."""
        state = "failed" if error else "succeeded"
        names = ("relations", "partitions", "rows_sent", "bytes_sent", "bytes_billed")
        values = {name: figures.get(name, 0) for name in names}
        self._execute("finish_run", {"run_id": run_id, "state": state, "error": error, **values})

    def table(self, relation: str) -> TableMemory | None:
        """What is known of a relation's table; None where it was never made."""
        values = {"target": self.target, "relation": relation}
        rows = self._rows("export_table", values)
        if not rows:
            return None
        with translated(target=self.server), self.connection.cursor(row_factory=class_row(Known)) as cursor:
            known = cursor.execute(query("export_partitions"), values).fetchall()
        return TableMemory(
            lineage=str(rows[0]["lineage"]),
            version=rows[0]["version"],
            created=rows[0]["table_created"],
            partitions={one.partition_key: one for one in known},
        )

    def remember_table(self, relation: str, *, created: int) -> TableMemory:
        """Begin a memory for a table that is new at the target: nothing of it is known."""
        values = {"target": self.target, "relation": relation, "created": created}
        with translated(target=self.server), self.connection.transaction():
            self._execute("forget_table", values)
            self._execute("add_table", values)
        memory = self.table(relation)
        assert memory is not None  # noqa: S101
        return memory

    def renew(self, relation: str) -> TableMemory:
        """Give a table's memory another identity, so that no job that was ever sent passes for one to come.

        A database that was restored from a backup remembers less than was sent.
        """
        values = {"target": self.target, "relation": relation}
        self._execute("new_lineage", values)
        memory = self.table(relation)
        assert memory is not None  # noqa: S101
        return memory

    def recreated(self, relation: str, *, created: int) -> None:
        """Note that a table that we replaced carries a new time of creation."""
        self._execute("recreated", {"target": self.target, "relation": relation, "created": created})

    def write_job(self, run_id: int, job: Job) -> None:
        """Write a job down before it is sent."""
        self._execute(
            "write_job",
            {
                "job_id": job.job_id,
                "run_id": run_id,
                "target": self.target,
                "relation": job.relation,
                "operation": job.operation,
                "change_id": job.change_id,
                "generation": job.generation,
                "changes": Jsonb(job.changes),
                "staging": job.staging,
            },
        )

    def close_job(self, job_id: str, *, state: str, error: str | None = None) -> None:
        """Write down how a job ended that changed nothing at the target."""
        self._execute("close_job", {"job_id": job_id, "state": state, "error": error})

    def generation(self, change_id: str, operation: str) -> int:
        """The generation to send next: one more than the last that ended in an error, else the last, or 1."""
        rows = self._rows("last_generation", {"change_id": change_id, "operation": operation})
        if not rows:
            return 1
        ended = rows[0]["state"] in {"failed", "fenced", "stuck"}
        return int(rows[0]["generation"]) + (1 if ended else 0)

    def forget_partitions(self, relation: str, keys: Sequence[str]) -> None:
        """Forget partitions that the target has forgotten by their age."""
        values = {"target": self.target, "relation": relation, "gone": list(keys), "whole": False}
        self._execute("drop_partitions", values)

    def forget_fingerprints(self, relation: str) -> None:
        """Take a table's partitions for unknown, so that all are sent: it is about to get a column."""
        self._execute("forget_fingerprints", {"target": self.target, "relation": relation})

    def open_jobs(self, relation: str) -> list[Job]:
        """The publishing jobs of which it is not known whether they were done, oldest first."""
        rows = self._rows("open_jobs", {"target": self.target, "relation": relation})
        return [Job(**row) for row in rows]

    def published(self, job: Job) -> None:
        """Note, in one transaction, that a publishing job was done: its partitions, and the next version."""
        base = {"target": self.target, "relation": job.relation, "job_id": job.job_id}
        parts: Mapping[str, Any] = job.changes["partitions"]
        gone = [key for key, change in parts.items() if change is None]
        kept = {key: change for key, change in parts.items() if change is not None}
        with translated(target=self.server), self.connection.transaction():
            values = {**base, "gone": gone, "whole": bool(job.changes.get("whole"))}
            self._execute("drop_partitions", values)
            self._execute("put_partitions", {**base, "kept": Jsonb(kept)})
            self._execute("next_version", base)
            self.close_job(job.job_id, state="done")

    def doubt(self, job: Job) -> None:
        """Note that a job may still be done one day: what it touches is unknown from now on."""
        base = {"target": self.target, "relation": job.relation}
        with translated(target=self.server), self.connection.transaction():
            values = {"whole": bool(job.changes.get("whole")), "keys": list(job.changes["partitions"])}
            self._execute("doubt_partitions", {**base, **values, "job_id": job.job_id})
            self._execute("next_version", base)
            self.close_job(job.job_id, state="stuck")

    def alive(self) -> None:
        """Raise where the connection, and with it the lock, is gone."""
        with translated(target=self.server):
            self.connection.execute("SELECT 1")

    def rows(self, name: str, values: Mapping[str, Any]) -> list[dict[str, Any]]:
        """The rows of a named query, for reports."""
        return self._rows(name, {"target": self.target, **values})

    def _execute(self, name: str, values: Mapping[str, Any]) -> None:
        with translated(target=self.server):
            self.connection.execute(query(name), values)

    def _rows(self, name: str, values: Mapping[str, Any]) -> list[dict[str, Any]]:
        with translated(target=self.server), self.connection.cursor(row_factory=dict_row) as cursor:
            return cursor.execute(query(name), values).fetchall()


@contextmanager
def open_state(settings: Settings, *, target: str) -> Iterator[State]:
    """Connect to the memory of a target; raises DriftError where its tables are not there."""
    connection = connect(settings, application=APPLICATION)
    try:
        with translated(target=describe_target(settings)):
            set_all(connection, IDLE)
            row = connection.execute("SELECT pg_catalog.to_regclass('ledgerviews.export_job')").fetchone()
        if row is None or row[0] is None:
            raise DriftError(
                "The exporter's tables are not in this database.",
                hint="Run `ledgerviews db upgrade`."
                if settings.models == DEFAULT_MODELS
                else "Run `bq-export tables | psql`, or let a revision of yours do it (docs/export.md).",
            )
        yield State(connection, target=target, server=describe_target(settings))
    finally:
        connection.close()


@contextmanager
def export_lock(
    state: State, settings: Settings, *, wait: bool, progress: Callable[[str], None]
) -> Iterator[None]:
    """Hold a target's lock for the block: one exporter at a time; the server gives it back on a crash."""
    values = {"target": state.target}
    if settings.lock_timeout_ms is not None:
        set_timeouts(state.connection, lock_timeout_ms=settings.lock_timeout_ms, statement_timeout_ms=None)
    if not state.rows("try_lock", values)[0]["locked"]:
        if not wait:
            raise LockedError(
                f"Another bq-export is exporting to {state.target}.",
                hint="Wait for it, or leave out --no-wait.",
            )
        progress(f"Waiting for another bq-export that is exporting to {state.target}")
        state.rows("wait_lock", values)
    try:
        yield
    finally:
        if not state.connection.closed and not state.connection.broken:
            state.rows("unlock", values)
