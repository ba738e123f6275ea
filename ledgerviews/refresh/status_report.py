"""What ``ledgerviews status`` tells: each relation, what to do about it, what slows refreshes. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from .preflight import CREATE_AGAIN

if TYPE_CHECKING:
    from datetime import date, datetime

    from .sources import Source

UP_TO_DATE = "up to date"
DIFFERS = "differs"
RENAMED = "renamed in code"
NOT_INSTALLED = "not installed"
NOT_DECLARED = "not declared"
ELSEWHERE = "declared in an env.py"
ANOTHER_SCHEMA = "in another schema"
RELEASED = "released"
GONE = "dropped by hand"
NO_INDEX = "unique index missing"
NOT_COMPARED = "not compared"

_MENDS = {
    DIFFERS: "`ledgerviews diff` shows it as SQL, `ledgerviews db revision -m TEXT` writes a revision.",
    RENAMED: "`ledgerviews db revision -m TEXT` writes the revision that renames it.",
    NOT_INSTALLED: "Write a revision that installs it, or set LEDGERVIEWS_SCHEMA to where it stands.",
    NOT_DECLARED: "Drop it by a revision, or set LEDGERVIEWS_MODELS to its own.",
    GONE: CREATE_AGAIN,
    NO_INDEX: "`ledgerviews refresh` tells the CREATE UNIQUE INDEX that brings it back.",
}
# What code and database agree in, and what the comparison leaves to others.
_AGREED = frozenset({UP_TO_DATE, ELSEWHERE, ANOTHER_SCHEMA, NOT_COMPARED})


@dataclass(frozen=True, kw_only=True)
class RelationStatus:
    """One published relation; what does not apply to its kind is None.

    Attributes:
        schema: where it stands.
        name: its name.
        kind: view or materialized view.
        rows: exact count, of a populated materialized view.
        size_bytes: with its indexes.
        populated: whether it can be read.
        last_refresh: end of the last refresh that was committed.
        definition: one of the module's constants: whether code and database agree.
        detail: in what they differ, or the name that it is to have.
        rebuild: why the next refresh recomputes all of it; None where days are enough.
        scrubbed_at: when the rolling scrub last verified days of it.
        scrubbed_to: the scrub has verified all days before this one in its present round.
    """

    schema: str
    name: str
    kind: str
    rows: int | None = None
    size_bytes: int | None = None
    populated: bool | None = None
    last_refresh: datetime | None = None
    definition: str
    detail: str | None = None
    rebuild: str | None = None
    scrubbed_at: datetime | None = None
    scrubbed_to: date | None = None


@dataclass(frozen=True, kw_only=True)
class Drift:
    """What a scrub found."""

    run_id: int
    at: datetime
    text: str


@dataclass(frozen=True, kw_only=True)
class LastRun:
    """The latest run that was begun, whatever became of it."""

    run_id: int
    state: str
    started_at: datetime
    finished_at: datetime | None
    error: str | None


@dataclass(frozen=True, kw_only=True)
class Status:
    """All of it; ``problem`` and ``hint`` say what keeps the database from being at the packaged revision.

    Attributes:
        relations: each published relation.
        sources: the tables that they are computed from by day.
        last_run: the latest run.
        verified_at: when all was last compared with a full recompute.
        drift: what the scrub found, until a run has recomputed it as a whole or verified it.
        differences: a line on each difference of code and database that is none of a relation.
        first: a line on each thing to mend before a revision can be written of what differs.
        unknown: why definitions were not compared, where nothing else is wrong.
        problem: what keeps the database from being at the packaged revision.
        hint: what to do about that.
    """

    relations: tuple[RelationStatus, ...]
    sources: tuple[Source, ...]
    last_run: LastRun | None
    verified_at: datetime | None
    drift: Drift | None
    differences: tuple[str, ...]
    first: tuple[str, ...]
    unknown: str | None
    problem: str | None
    hint: str | None

    @property
    def advice(self) -> tuple[str, ...]:
        """A line on what to do about each kind of difference."""
        if self.problem is not None:
            return ()
        found: dict[str, list[str]] = {}
        for relation in self.relations:
            detail = f" ({relation.detail})" if relation.detail else ""
            found.setdefault(relation.definition, []).append(f"{relation.schema}.{relation.name}{detail}")
        told = [
            f"{definition}: {', '.join(names)}. {self._mend(definition)}"
            for definition, names in found.items()
            if definition in _MENDS
        ]
        return (*(f"First: {line}" for line in self.first), *told, *self.differences)

    def _mend(self, definition: str) -> str:
        """What to do about a difference; a revision is written once nothing is to be mended first."""
        mend = _MENDS[definition]
        return mend if definition == NO_INDEX or not self.first else f"Then {mend[0].lower()}{mend[1:]}"

    @property
    def notes(self) -> tuple[str, ...]:
        """A line on each thing that makes refreshes slower than they could be, or will make the next one."""
        lines = [f"Definitions were not compared: {self.unknown}"] if self.unknown else []
        for source in self.sources:
            if source.mend and self.problem is None:
                lines.append(f"{source.source}: {source.problem}; each refresh recomputes all. {source.mend}")
            lines += [
                f"{source.source} has no index on ({columns.replace(',', ', ')}): refreshes are exact, and"
                " slower. Run `ledgerviews index install`."
                for columns in source.missing_indexes
            ]
        lines += [
            f"{relation.schema}.{relation.name}: the next refresh recomputes all days: {relation.rebuild}."
            for relation in self.relations
            if relation.rebuild and relation.populated
        ]
        doubts = [
            f"{source.source}: {source.doubt}, so the next refresh recomputes all days."
            for source in self.sources
            if source.doubt and not source.problem and any(relation.populated for relation in self.relations)
        ]
        return (*lines, *doubts)

    @property
    def current(self) -> bool:
        """Whether code and database agree in everything that was compared."""
        return (
            self.problem is None
            and not self.differences
            and not self.first
            and all(relation.definition in _AGREED for relation in self.relations)
        )
