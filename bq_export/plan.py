"""What a run would do: which partitions travel, by which way, at what cost. Pure: it asks nobody."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from bq_export.errors import ExportError
from bq_export.limits import (
    PARTITIONS_PER_JOB,
    PARTITIONS_PER_TABLE,
    QUERY_CHARACTERS,
    fits_one_row,
    script_characters,
)
from bq_export.source.fingerprints import NULL_DAY, WHOLE

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import date

    from bq_export.source.fingerprints import Partition
    from bq_export.source.relation import Relation
    from bq_export.state import TableMemory

_T = TypeVar("_T")

MINIMUM_BILLED = 10 * 2**20  # of each table that a query names
REPLACE_BYTES = 64 * 10**6


@dataclass(frozen=True, kw_only=True)
class RelationPlan:
    """What one relation's export does.

    Attributes:
        relation: what is exported.
        partitions: what stands at the source, without days that the target has forgotten by declaration.
        sent: the keys of the partitions whose rows travel.
        vanished: the keys of those that go from the target.
        whole: whether the target's table is replaced, whatever else it holds.
        expired: how many days are left out because the target would forget them at once.
        forgotten: the keys of those that the target has forgotten since they were sent.
        way: ``none``, ``replace`` (one atomic truncate-load) or ``flip`` (staging and one transaction).
    """

    relation: Relation
    partitions: Mapping[str, Partition]
    sent: tuple[str, ...] = ()
    vanished: tuple[str, ...] = ()
    whole: bool = False
    expired: int = 0
    forgotten: tuple[str, ...] = ()
    way: str = "none"

    @property
    def rows(self) -> int:
        """How many rows travel."""
        return sum(self.partitions[key].rows for key in self.sent)

    @property
    def size(self) -> int:
        """The bytes of those rows as text: an upper estimate of what BigQuery counts."""
        return sum(self.partitions[key].size for key in self.sent)

    @property
    def days(self) -> list[date | None] | None:
        """The days that travel; None where the relation travels whole."""
        if self.relation.partition is None or (self.whole and not self.expired):
            return None
        return [self.partitions[key].day for key in self.sent]

    @property
    def load_jobs(self) -> int:
        """How many load jobs it takes."""
        if self.way == "replace":
            return 2
        return 1 if self.way == "flip" and self.sent else 0

    @property
    def partition_changes(self) -> int:
        """How many changes of partitions it takes: deleting and inserting is one each."""
        if self.way == "replace":
            return len(self.sent)
        return 2 * len(self.sent) + len(self.vanished)

    @property
    def bytes_billed(self) -> int:
        """What its queries are billed at most, as estimated: staging is free, reading is not."""
        once = max(MINIMUM_BILLED, self.size)
        if self.way == "replace":
            return once  # the proof of the staged rows
        if self.way == "flip":
            return 3 * once + (once if self.sent else 0)  # delete, insert (two tables), proof
        return 0

    @property
    def changes(self) -> dict[str, Any]:
        """The change as it is written down: what each partition holds after it."""
        parts: dict[str, Any] = {
            key: [self.partitions[key].fingerprint, self.partitions[key].rows] for key in self.sent
        }
        return {"whole": self.whole, "partitions": parts | dict.fromkeys(self.vanished)}

    def change_id(self, memory: TableMemory) -> str:
        """The change's identity: the same content on the same state is the same change, sent again or not."""
        what = [memory.lineage, memory.version, self.relation.qualified, self.way, self.changes]
        return hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()[:24]


def plan_relation(  # noqa: PLR0913 (both sides, and what is asked)
    relation: Relation,
    partitions: Mapping[str, Partition],
    memory: TableMemory | None,
    *,
    full: bool,
    today: date,
    expiration_days: int | None = None,
    holds_rows: bool = False,
) -> RelationPlan:
    """Compare what stands at the source with what is known of the target.

    ``expiration_days`` is that of the table as it stands, which a dataset may have given it; ``holds_rows``
    whether that table has rows, ours or not.
    """
    kept, expired = unexpired(partitions, today, expiration_days)
    if len(kept) > PARTITIONS_PER_TABLE:
        raise ExportError(
            f"{relation.qualified} has {len(kept):,} days; a table of BigQuery holds "
            f"{PARTITIONS_PER_TABLE:,} partitions.",
            hint="Declare partition_expiration_days, or export it without a partition column.",
        )
    remembered = memory.partitions if memory is not None else {}
    known, _ = unexpired(remembered, today, expiration_days)
    forgotten = tuple(sorted({*remembered} - {*known}))
    sent = tuple(
        key
        for key in sorted(kept)
        if full or key not in known or known[key].fingerprint != kept[key].fingerprint
    )
    vanished = tuple(key for key in sorted(known) if key not in kept)
    strange = holds_rows and (full or memory is None or not memory.version)
    if not sent and not vanished and not strange:
        return RelationPlan(relation=relation, partitions=kept, expired=expired, forgotten=forgotten)
    whole = full or not known or relation.partition is None
    if not whole and script_characters(relation, sent=len(sent), vanished=len(vanished)) > QUERY_CHARACTERS:
        whole, sent = True, tuple(sorted(kept))  # the script needs to name no day then
    size = sum(kept[key].size for key in sent)
    small = size <= REPLACE_BYTES and len(sent) <= PARTITIONS_PER_JOB and fits_one_row(relation)
    return RelationPlan(
        relation=relation,
        partitions=kept,
        sent=sent,
        vanished=() if whole else vanished,
        whole=whole,
        expired=expired,
        forgotten=forgotten,
        way="replace" if whole and small and sent else "flip",
    )


def unexpired(
    partitions: Mapping[str, _T], today: date, expiration_days: int | None
) -> tuple[dict[str, _T], int]:
    """The partitions that the target keeps, and how many it would forget at once."""
    if expiration_days is None:
        return dict(partitions), 0
    oldest = (today - timedelta(days=min(expiration_days, today.toordinal() - 1))).isoformat()
    kept = {key: one for key, one in partitions.items() if key in {NULL_DAY, WHOLE} or key > oldest}
    return kept, len(partitions) - len(kept)
