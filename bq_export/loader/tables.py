"""Datasets and tables: read, made, and brought up to date."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from google.api_core import exceptions as api
from google.cloud import bigquery

from bq_export.target import LABELS, ColumnSpec, TableSpec, TableState

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from bq_export.loader.client import Requests

STAGING_LIFE = timedelta(days=1)
_DAY_MS = 86_400_000
# The API answers with the names of legacy SQL.
_STANDARD = {"INTEGER": "INT64", "FLOAT": "FLOAT64", "BOOLEAN": "BOOL"}
_TYPE = re.compile(r"([A-Z0-9]+)(?:\((\d+)(?:, (\d+))?\))?")


class Tables:
    """The tables of one dataset."""

    def __init__(self, requests: Requests) -> None:
        """Work by ``requests`` in the dataset of its settings."""
        self._requests = requests
        self._client = requests.client
        self._prefix = f"{requests.settings.project}.{requests.settings.dataset}"

    def full_name(self, name: str) -> str:
        """Project, dataset and table."""
        return f"{self._prefix}.{name}"

    def dataset(self) -> bigquery.Dataset | None:
        """The dataset, if it is there."""
        return self._requests.found(
            f"read the dataset {self._prefix}",
            lambda: self._client.get_dataset(self._prefix, **self._requests.options),
        )

    def make_dataset(self) -> None:
        """Make the dataset."""
        dataset = bigquery.Dataset(self._prefix)
        dataset.location = self._requests.settings.location
        dataset.labels = LABELS
        dataset.description = "Published relations of ledgerviews, kept by bq-export."
        self._requests.call(
            f"make the dataset {self._prefix}",
            lambda: self._client.create_dataset(dataset, exists_ok=True, **self._requests.options),
        )

    def label_dataset(self, dataset: bigquery.Dataset) -> bool:
        """Give the dataset our labels; whether that changed anything."""
        if set(LABELS.items()) <= set((dataset.labels or {}).items()):
            return False
        dataset.labels = {**(dataset.labels or {}), **LABELS}
        self._requests.call(
            f"label the dataset {self._prefix}",
            lambda: self._client.update_dataset(dataset, ["labels"], **self._requests.options),
        )
        return True

    def read(self, name: str) -> TableState | None:
        """A table as it stands, if it is there."""
        table = self._table(name)
        return None if table is None else _state(table)

    def make(self, spec: TableSpec, *, staging: bool = False) -> TableState:
        """Make a table, or find it made; a staging table expires, and has no partitions to be limited by."""
        table = bigquery.Table(self.full_name(spec.name), schema=schema_of(spec.columns))
        table.labels = {**LABELS, "operation": "staging"} if staging else LABELS
        if staging:
            table.expires = datetime.now(UTC) + STAGING_LIFE
        else:
            _shape(table, spec)

        def create() -> bigquery.Table:
            try:
                return self._client.create_table(table, **self._requests.options)
            except api.Conflict:
                return self._client.get_table(table.reference, **self._requests.options)

        return _state(self._requests.call(f"make the table {self.full_name(spec.name)}", create))

    def add_columns(self, name: str, columns: Sequence[ColumnSpec]) -> None:
        """Add columns at the end."""

        def add() -> None:
            # Read anew each time: a lost answer may have added them already.
            table = self._client.get_table(self.full_name(name), **self._requests.options)
            there = {one.name.lower() for one in table.schema}
            missing = [one for one in columns if one.name.lower() not in there]
            if missing:
                table.schema = [*table.schema, *schema_of(missing)]
                self._client.update_table(table, ["schema"], **self._requests.options)

        self._requests.call(f"add columns to {self.full_name(name)}", add)

    def update(self, spec: TableSpec) -> None:
        """Bring description, labels, expiration, filter and clustering up to date."""

        def change() -> None:
            table = self._client.get_table(self.full_name(spec.name), **self._requests.options)
            _shape(table, spec)
            if spec.partition is not None and spec.expiration_days is None:
                # What is left out of a PATCH stays as it is.
                given = {**table.time_partitioning.to_api_repr(), "expirationMs": None}
                table.time_partitioning = bigquery.TimePartitioning.from_api_repr(given)
            table.labels = {**(table.labels or {}), **LABELS}
            told = {one.name: one.description for one in spec.columns}
            table.schema = [
                bigquery.SchemaField.from_api_repr(
                    {**one.to_api_repr(), "description": told.get(one.name, one.description or "")}
                )
                for one in table.schema
            ]
            fields = ["description", "labels", "schema", "clustering_fields", "require_partition_filter"]
            if spec.partition is not None:
                fields.append("time_partitioning")
            self._client.update_table(table, fields, **self._requests.options)

        self._requests.call(f"bring {self.full_name(spec.name)} up to date", change)

    def drop(self, name: str) -> None:
        """Drop a table, if it is there."""
        self._requests.call(
            f"drop {self.full_name(name)}",
            lambda: self._client.delete_table(
                self.full_name(name), not_found_ok=True, **self._requests.options
            ),
        )

    def rows(self, name: str, columns: Sequence[str], *, page: int) -> Iterator[tuple[Any, ...]]:
        """All rows of a table, page by page, billed nothing; a page that fails is asked for again.

        A row has the columns in the order that was asked for, None where the table lacks one.
        """
        what = f"read the rows of {self.full_name(name)}"
        options = self._requests.options
        table = self._requests.call(what, lambda: self._client.get_table(self.full_name(name), **options))
        places = {one.lower(): number for number, one in enumerate(columns)}
        # In the table's own order, in which the rows come, whatever order is asked for.
        selected = [one for one in table.schema if one.name.lower() in places]
        order = [places[one.name.lower()] for one in selected]
        token: str | None = None
        while True:

            def ask(at: str | None = token) -> tuple[list[tuple[Any, ...]], str | None]:
                found = self._client.list_rows(
                    table,
                    selected_fields=selected,
                    page_token=at,
                    page_size=page,
                    max_results=None,
                    **self._requests.options,
                )
                rows = [row.values() for row in next(found.pages, ())]
                return rows, found.next_page_token

            rows, token = self._requests.call(what, ask)
            for row in rows:
                cells: list[Any] = [None] * len(columns)
                for place, value in zip(order, row, strict=True):
                    cells[place] = value
                yield tuple(cells)
            if token is None:
                return

    def names(self, prefix: str) -> list[str]:
        """The tables whose names begin so."""
        found = self._requests.call(
            f"list the tables of {self._prefix}",
            lambda: list(self._client.list_tables(self._prefix, **self._requests.options)),
        )
        return [one.table_id for one in found if one.table_id.startswith(prefix)]

    def _table(self, name: str) -> bigquery.Table | None:
        return self._requests.found(
            f"read the table {self.full_name(name)}",
            lambda: self._client.get_table(self.full_name(name), **self._requests.options),
        )


def schema_of(columns: Sequence[ColumnSpec]) -> list[bigquery.SchemaField]:
    """The columns as the API takes them."""
    fields = []
    for one in columns:
        match = _TYPE.fullmatch(one.type)
        assert match is not None  # noqa: S101 (our own types)
        kind, precision, scale = match.groups()
        resource = {
            "name": one.name,
            "type": kind,
            "mode": "REPEATED" if one.repeated else "NULLABLE",
            "description": one.description,
            **({"precision": precision} if precision else {}),
            **({"scale": scale} if scale else {}),
        }
        fields.append(bigquery.SchemaField.from_api_repr(resource))
    return fields


def _shape(table: bigquery.Table, spec: TableSpec) -> None:
    table.description = spec.description
    if spec.partition is not None:
        table.time_partitioning = bigquery.TimePartitioning(
            type_=bigquery.TimePartitioningType.DAY,
            field=spec.partition,
            expiration_ms=None if spec.expiration_days is None else spec.expiration_days * _DAY_MS,
        )
        table.require_partition_filter = spec.require_filter
    table.clustering_fields = list(spec.cluster) or None


def _state(table: bigquery.Table) -> TableState:
    partitioning = table.time_partitioning
    expiration = partitioning.expiration_ms if partitioning is not None else None
    return TableState(
        name=table.table_id,
        columns=tuple(_column(one) for one in table.schema),
        partition=partitioning.field if partitioning is not None else None,
        cluster=tuple(table.clustering_fields or ()),
        expiration_days=None if expiration is None else int(expiration) // _DAY_MS,
        require_filter=bool(table.require_partition_filter),
        description=table.description or "",
        created=0 if table.created is None else int(table.created.timestamp() * 1000),
        rows=int(table.num_rows or 0),
        labels=tuple(sorted((table.labels or {}).items())),
    )


def _column(field: bigquery.SchemaField) -> ColumnSpec:
    kind = _STANDARD.get(field.field_type, field.field_type)
    if field.precision is not None:
        kind += f"({field.precision}, {field.scale})" if field.scale else f"({field.precision})"
    return ColumnSpec(
        name=field.name, type=kind, repeated=field.mode == "REPEATED", description=field.description or ""
    )
