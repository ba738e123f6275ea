"""What a run would do: which partitions travel, by which way, at what cost. Pure: it asks nobody."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from bq_export.errors import ExportError
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
PARTITIONS_PER_JOB = 4_000
PARTITIONS_PER_TABLE = 10_000
LOADS_PER_DAY = 1_500
PARTITION_CHANGES_PER_DAY = 30_000


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
        way: ``none``, ``replace`` (one atomic truncate-load) or ``flip`` (staging and one transaction).
    """

    relation: Relation
    partitions: Mapping[str, Partition]
    sent: tuple[str, ...] = ()
    vanished: tuple[str, ...] = ()
    whole: bool = False
    expired: int = 0
    way: str = "none"
    schema_changes: tuple[str, ...] = field(default=())

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


def plan_relation(
    relation: Relation,
    partitions: Mapping[str, Partition],
    memory: TableMemory | None,
    *,
    full: bool,
    today: date,
) -> RelationPlan:
    """Compare what stands at the source with what is known of the target."""
    kept, expired = _unexpired(relation, partitions, today)
    if len(kept) > PARTITIONS_PER_TABLE:
        raise ExportError(
            f"{relation.qualified} has {len(kept):,} days; a table of BigQuery holds "
            f"{PARTITIONS_PER_TABLE:,} partitions.",
            hint="Declare partition_expiration_days, or export it without a partition column.",
        )
    known = memory.partitions if memory is not None else {}
    if relation.partition is not None:
        live, _ = _unexpired(relation, dict.fromkeys(known), today)
        known = {key: known[key] for key in live}
    sent = tuple(
        key
        for key in sorted(kept)
        if full or key not in known or known[key].fingerprint != kept[key].fingerprint
    )
    vanished = tuple(key for key in sorted(known) if key not in kept)
    if not sent and not vanished:
        return RelationPlan(relation=relation, partitions=kept, expired=expired)
    whole = full or not known or relation.partition is None
    size = sum(kept[key].size for key in sent)
    small = size <= REPLACE_BYTES and len(sent) <= PARTITIONS_PER_JOB
    return RelationPlan(
        relation=relation,
        partitions=kept,
        sent=sent,
        vanished=() if whole else vanished,
        whole=whole,
        expired=expired,
        way="replace" if whole and small and sent else "flip",
    )


def _unexpired(relation: Relation, partitions: Mapping[str, _T], today: date) -> tuple[dict[str, _T], int]:
    """The partitions that the target keeps, and how many it would forget at once."""
    days = relation.export.partition_expiration_days
    if days is None:
        return dict(partitions), 0
    oldest = (today - timedelta(days=days)).isoformat()
    kept = {key: one for key, one in partitions.items() if key in {NULL_DAY, WHOLE} or key > oldest}
    return kept, len(partitions) - len(kept)


def quota_warnings(plan: RelationPlan, *, loads_today: int) -> list[str]:
    """What comes near a daily limit of BigQuery, said before it is met."""
    told = []
    name = plan.relation.qualified
    loads = loads_today + plan.load_jobs
    if loads > 0.8 * LOADS_PER_DAY:
        told.append(f"{name}: {loads:,} of {LOADS_PER_DAY:,} load jobs a day.")
    modified = 2 * (len(plan.sent) + len(plan.vanished))
    if modified > 0.8 * PARTITION_CHANGES_PER_DAY:
        told.append(f"{name}: {modified:,} of {PARTITION_CHANGES_PER_DAY:,} partition changes a day.")
    if plan.expired:
        told.append(f"{name}: {plan.expired:,} days are past partition_expiration_days and stay behind.")
    return told
