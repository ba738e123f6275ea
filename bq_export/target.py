"""What a table at the target is to be, and how it may differ. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bq_export.errors import ExportError, SchemaDriftError
from ledgerviews.catalog import Drift

if TYPE_CHECKING:
    from bq_export.source.relation import Relation

LABELS = {"managed_by": "ledgerviews", "app": "bq_export"}
STAGING_PREFIX = "_bq_export_"
_COLUMN = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,299}", re.ASCII)
_TABLE = re.compile(r"[\w-]{1,1024}")  # letters of any language; a $ would name a partition
_TAKEN = ("_table_", "_file_", "_partition", "_row_timestamp", "__root__", "_colidentifier")
_MAX_COMMENT = 1024


@dataclass(frozen=True, kw_only=True)
class ColumnSpec:
    """A column of a table: its type with parameters, and whether it repeats."""

    name: str
    type: str
    repeated: bool = False
    description: str = ""


@dataclass(frozen=True, kw_only=True)
class TableSpec:
    """A table: columns in order, partitions, clusters, and what may be brought up to date at any time."""

    name: str
    columns: tuple[ColumnSpec, ...]
    partition: str | None = None
    cluster: tuple[str, ...] = ()
    expiration_days: int | None = None
    require_filter: bool = False
    description: str = ""

    def column(self, name: str) -> ColumnSpec | None:
        """The column of that name; BigQuery's names know no case."""
        return next((one for one in self.columns if one.name.lower() == name.lower()), None)


@dataclass(frozen=True, kw_only=True)
class TableState(TableSpec):
    """A table as it stands; ``created`` in milliseconds tells it from one of the same name before."""

    created: int
    rows: int = 0
    labels: tuple[tuple[str, str], ...] = ()


def table_spec(relation: Relation) -> TableSpec:
    """What a relation's table is to be; raises ExportError for names that BigQuery does not take."""
    if not _TABLE.fullmatch(relation.name):
        raise ExportError(
            f"Cannot export {relation.qualified}: BigQuery takes no table of that name.",
            hint="Name the relation by letters, digits, underscores and hyphens.",
        )
    names = [one.name for one in relation.fields]
    bad = [n for n in names if not _COLUMN.fullmatch(n) or n.lower().startswith(_TAKEN)]
    twice = sorted({n for n in names if sum(n.lower() == other.lower() for other in names) > 1})
    if bad or twice:
        raise ExportError(
            f"Cannot export {relation.qualified}: BigQuery takes no column named {', '.join(bad or twice)}.",
            hint="Give the column another name in the relation: letters, digits and underscores, each once.",
        )
    export = relation.export
    return TableSpec(
        name=relation.name,
        columns=tuple(
            ColumnSpec(
                name=one.name,
                type=one.type,
                repeated=one.repeated,
                description=one.description[:_MAX_COMMENT],
            )
            for one in relation.fields
        ),
        partition=export.partition,
        cluster=export.cluster,
        expiration_days=export.partition_expiration_days,
        require_filter=export.require_partition_filter,
        description=relation.comment,
    )


def new_columns(wanted: TableSpec, found: TableState, *, drift: Drift) -> tuple[ColumnSpec, ...]:
    """The columns to add; raises SchemaDriftError, with the diff, for any other difference."""
    added = tuple(one for one in wanted.columns if found.column(one.name) is None)
    lines = []
    for one in wanted.columns:
        there = found.column(one.name)
        if there is not None and (there.type, there.repeated) != (one.type, one.repeated):
            lines.append(f"~ {one.name}: {_shown(there)} there, {_shown(one)} here")
    lines += [f"- {one.name} {_shown(one)}" for one in found.columns if wanted.column(one.name) is None]
    if wanted.partition != found.partition:
        lines.append(
            f"~ partitioned by {found.partition or 'nothing'} there, {wanted.partition or 'nothing'} here"
        )
    if drift is Drift.STOP:
        lines += [f"+ {one.name} {_shown(one)}" for one in added]
    if lines:
        raise SchemaDriftError(
            f"The table {wanted.name} at the target is not what the relation is; nothing was sent:\n  "
            + "\n  ".join(lines),
            hint="Change the relation back, or `bq rm -t` the table and run again: it is made anew.",
        )
    return added


def settings_changes(wanted: TableSpec, found: TableState) -> list[str]:
    """What can be brought up to date in place, by the name of the table's property."""
    changes = []
    if wanted.description != found.description:
        changes.append("description")
    if wanted.expiration_days != found.expiration_days:
        changes.append("partition expiration")
    if wanted.require_filter != found.require_filter:
        changes.append("required partition filter")
    if wanted.cluster != found.cluster:
        changes.append("clustering")
    if not set(LABELS.items()) <= set(found.labels):
        changes.append("labels")
    told = {one.name: one.description for one in found.columns}
    if any(told.get(one.name, one.description) != one.description for one in wanted.columns):
        changes.append("column descriptions")
    return changes


def _shown(one: ColumnSpec) -> str:
    return f"ARRAY<{one.type}>" if one.repeated else one.type
