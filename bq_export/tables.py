"""A relation's table at the target and what is remembered of it, made or read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bq_export.errors import TargetError
from bq_export.target import LABELS, new_columns, table_spec

if TYPE_CHECKING:
    from bq_export.loader.session import Target
    from bq_export.source.relation import Relation
    from bq_export.state import State, TableMemory
    from bq_export.target import TableSpec, TableState


@dataclass(frozen=True, kw_only=True)
class Looked:
    """A table as found: what it is to be, what stands there, what we know of it, what would be changed."""

    spec: TableSpec
    found: TableState | None
    memory: TableMemory | None
    changes: tuple[str, ...]

    @property
    def expiration_days(self) -> int | None:
        """After how many days the table forgets a partition: as it stands, else as it is to be."""
        return self.spec.expiration_days if self.found is None else self.found.expiration_days

    @property
    def warning(self) -> str | None:
        """What makes the table another than its declaration says, for `setup` to mend."""
        if self.expiration_days == self.spec.expiration_days:
            return None
        shown = [
            "never" if n is None else f"after {n} days"
            for n in (self.expiration_days, self.spec.expiration_days)
        ]
        return (
            f"WARNING: {self.spec.name}: its partitions expire {shown[0]} at the target, {shown[1]} by its "
            "declaration. `bq-export setup` brings it up to date."
        )


def look(state: State, target: Target, relation: Relation) -> Looked:
    """Compare a table with its relation; changes nothing; raises where they cannot be brought together."""
    spec = table_spec(relation)
    found = target.tables.read(spec.name)
    memory = state.table(relation.qualified)
    if found is None:
        return Looked(spec=spec, found=None, memory=None, changes=("the table is made",))
    if not set(LABELS.items()) <= set(found.labels):
        raise TargetError(
            f"The table {target.tables.full_name(spec.name)} was not made by bq-export: it lacks the label "
            "app=bq_export. Nothing was sent.",
            hint="`bq-export setup` adopts it: its rows are replaced by the next run. Or set BQ_DATASET.",
        )
    added = new_columns(spec, found, drift=relation.export.drift)
    if memory is not None and memory.created != found.created:
        memory = None  # another table of the same name
    if memory is not None and added:
        memory = memory.unknown()  # a column that is added is NULL there in all rows
    changes = tuple(f"column {one.name} {one.type} is added" for one in added)
    return Looked(spec=spec, found=found, memory=memory, changes=changes)


def prepare(
    state: State, target: Target, relation: Relation, looked: Looked
) -> tuple[TableState, TableMemory]:
    """The table made, or its new columns added, and what is known of what it holds."""
    found = looked.found
    if found is None:
        found = target.tables.make(looked.spec)
    elif looked.changes:
        state.forget_fingerprints(relation.qualified)
        target.tables.add_columns(
            looked.spec.name, new_columns(looked.spec, found, drift=relation.export.drift)
        )
    return found, looked.memory or state.remember_table(relation.qualified, created=found.created)
