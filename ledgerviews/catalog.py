"""What a team declares: sources that it reads and models that it publishes, and the graph between them.

A models package holds ``sources.py`` with ``SOURCES`` and, anywhere below it, pairs of files: ``x.sql``
(one plain SELECT that runs in psql as it is) beside ``x.py`` (its declaration, ``MODEL``).
"""

from __future__ import annotations

import importlib
import pkgutil
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import TYPE_CHECKING

from .errors import DeclarationError, UsageError
from .sqltext import MODEL_SCHEMA, qualified_names, statement

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from types import ModuleType

_CLUSTER_COLUMNS = 4
_LONGEST_NAME = 63  # bytes; PostgreSQL's NAMEDATALEN less one


class Kind(StrEnum):
    """What a model becomes in the database."""

    VIEW = "view"
    MATERIALIZED_VIEW = "materialized view"


class Policy(StrEnum):
    """What becomes of a value that the warehouse's type cannot hold."""

    FAIL = "fail"
    NULL = "null"
    STRING = "string"


class Drift(StrEnum):
    """What an export does where a column is new; any other difference of schemas always stops it."""

    ADD = "add"
    STOP = "stop"


@dataclass(frozen=True, kw_only=True)
class Export:
    """How a published relation leaves for a warehouse; ``ledgerviews`` itself reads none of it.

    Attributes:
        partition: the date column whose days travel one by one; without one the relation travels whole.
        cluster: the columns that the target is clustered by, at most four.
        partition_expiration_days: after how many days the target forgets a partition; None keeps all.
        require_partition_filter: whether a query of the target must name its partitions.
        numeric: precision and scale of numeric columns that the database declares none for, as in most views.
        policy: for each column named, what becomes of a value past the target's type; the others fail.
        drift: what happens where a column is new.
    """

    partition: str | None = None
    cluster: tuple[str, ...] = ()
    partition_expiration_days: int | None = None
    require_partition_filter: bool = False
    numeric: Mapping[str, tuple[int, int]] = field(default_factory=dict, hash=False)
    policy: Mapping[str, Policy] = field(default_factory=dict, hash=False)
    drift: Drift = Drift.ADD

    def __post_init__(self) -> None:
        """Refuse what no target can be; raises DeclarationError."""
        if self.partition is None and (
            self.require_partition_filter or self.partition_expiration_days is not None
        ):
            raise DeclarationError("An export without a partition column can expire or require no partition.")
        if self.partition_expiration_days is not None and self.partition_expiration_days < 1:
            raise DeclarationError("partition_expiration_days is 1 or more.")
        if len(self.cluster) > _CLUSTER_COLUMNS:
            raise DeclarationError(f"An export is clustered by {_CLUSTER_COLUMNS} columns at most.")
        for column, (precision, scale) in self.numeric.items():
            if not 0 <= scale <= precision or precision < 1:
                raise DeclarationError(f"({precision}, {scale}) is no precision and scale of {column}.")

    @property
    def named(self) -> set[str]:
        """Every column that the declaration names."""
        return {*self.cluster, *self.numeric, *self.policy, *([self.partition] if self.partition else [])}


@dataclass(frozen=True, kw_only=True)
class Source:
    """A table of the application that models read.

    Attributes:
        schema: where the table stands.
        name: its name.
        columns: each column that is read, with the types it may have, separated by ``|``, in the words of
            ``ledgerviews.schema.contract``: ``uuid``, ``text``, ``enum``, ``integer``, ``timestamptz`` …
        description: one sentence.
        day: the column of a row's own time; its UTC day is the row's day, unless it has a parent. Needed,
            like ``day_rows``, where a model is computed by day from this table.
        key: of a source with a parent, the column that points at it; of a parent, the one pointed at.
        parent: ``schema.name`` of the source whose row, where it exists, gives this one its day.
        indexes: leading columns, comma-separated, of indexes without which single days are slow to read.
        day_rows: conditions for the rows that belong to the days from ``lo`` up to, not including, ``hi``;
            each row meets one of them for one day. Columns are qualified by the table's bare name and stand
            raw, so that an index serves. Empty where no model is computed by day from this table.
    """

    schema: str = "public"
    name: str
    columns: Mapping[str, str] = field(hash=False)
    description: str
    day: str | None = None
    key: str | None = None
    parent: str | None = None
    indexes: tuple[str, ...] = ()
    day_rows: tuple[str, ...] = ()

    @property
    def qualified(self) -> str:
        """The name with its schema."""
        return f"{self.schema}.{self.name}"


class Severity(StrEnum):
    """What a failing check does: keep the refresh from being published, or say so."""

    ERROR = "error"
    WARN = "warn"


@dataclass(frozen=True, kw_only=True)
class Check:
    """What must hold of a model's rows; looked at inside each refresh, before it is published.

    Use ``not_null``, ``unique`` and ``expression``.
    """

    name: str
    kind: str
    columns: tuple[str, ...] = ()
    expression: str | None = None
    severity: Severity = Severity.ERROR


def not_null(*columns: str, severity: Severity = Severity.ERROR) -> Check:
    """No row has a NULL in any of the columns."""
    return Check(name="not_null_" + "_".join(columns), kind="not_null", columns=columns, severity=severity)


def unique(*columns: str, severity: Severity = Severity.ERROR) -> Check:
    """No two rows have the same values in all the columns."""
    return Check(name="unique_" + "_".join(columns), kind="unique", columns=columns, severity=severity)


def expression(name: str, sql: str, *, severity: Severity = Severity.ERROR) -> Check:
    """The condition, over the model's columns, is true or NULL for every row, as in a CHECK constraint."""
    return Check(name=name, kind="expression", expression=sql, severity=severity)


@dataclass(frozen=True, kw_only=True)
class Model:
    """A published relation: its declaration, beside the SQL file of the same name.

    Attributes:
        path: the declaration's own file; name and SQL follow from it.
        kind: view or materialized view.
        description: one sentence, installed as the relation's comment.
        grain: the columns of which one combination makes one row.
        columns: every column, in order, with the line that is installed as its comment.
        unique_key: the columns of the unique index; the grain for a materialized view, none for a view.
        day: the column of the grain that holds a row's UTC day, where days can be computed one by one.
        checks: what must hold of the rows, of a materialized view.
        export: how it is exported; None where it is not.
    """

    path: Path
    kind: Kind
    description: str
    grain: tuple[str, ...]
    columns: Mapping[str, str] = field(hash=False)
    day: str | None = None
    checks: tuple[Check, ...] = ()
    export: Export | None = None

    @classmethod
    def beside(  # noqa: PLR0913 (what a declaration says)
        cls,
        file: str,
        *,
        kind: Kind,
        description: str,
        grain: tuple[str, ...],
        columns: Mapping[str, str],
        day: str | None = None,
        checks: tuple[Check, ...] = (),
        export: Export | None = None,
    ) -> Model:
        """Declare the model whose SQL stands beside ``file`` (pass ``__file__``)."""
        model = cls(
            path=Path(file),
            kind=kind,
            description=description,
            grain=grain,
            columns=columns,
            day=day,
            checks=checks,
            export=export,
        )
        if day is not None and day not in grain:
            raise DeclarationError(f"Model {model.name}: its day column {day} is no part of its grain.")
        if kind is Kind.MATERIALIZED_VIEW and not grain:
            raise DeclarationError(
                f"Materialized view {model.name} declares no grain, so it has no unique key.",
                hint="Name the columns of which one combination makes one row.",
            )
        if missing := [name for name in grain if name not in columns]:
            raise DeclarationError(f"Model {model.name}: grain names {', '.join(missing)}, no column of it.")
        _require_checks(model)
        if unknown := sorted((export.named if export else set()) - set(columns)):
            raise DeclarationError(f"Model {model.name}: export names {', '.join(unknown)}, no column of it.")
        return model

    @property
    def name(self) -> str:
        """The relation's name: that of the file."""
        return self.path.stem

    @property
    def unique_key(self) -> tuple[str, ...]:
        """The columns of the unique index that REFRESH … CONCURRENTLY needs."""
        return self.grain if self.kind is Kind.MATERIALIZED_VIEW else ()

    @cached_property
    def sql(self) -> str:
        """The SELECT as it is written, without its final semicolon."""
        try:
            return statement(self.path.with_suffix(".sql").read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise DeclarationError(
                f"Model {self.name} has no {self.path.with_suffix('.sql').name} beside its declaration."
            ) from None


class Catalog:
    """The sources and models of one team, checked, in dependency order."""

    def __init__(self, sources: Iterable[Source], models: Iterable[Model]) -> None:
        """Check the declarations against each other; raises DeclarationError."""
        self.sources: dict[tuple[str, str], Source] = {}
        for source in sources:
            if self.sources.setdefault((source.schema, source.name), source) != source:
                raise DeclarationError(
                    f"Source {source.schema}.{source.name} is declared twice, differently."
                )
        for source in self.sources.values():
            _require_parent(source, self.sources)
        by_name: dict[str, Model] = {}
        for model in models:
            if model.name in by_name:
                raise DeclarationError(f"Two models are named {model.name}: one model, one name, one place.")
            if len(model.name.encode()) > _LONGEST_NAME:
                raise DeclarationError(
                    f"Model {model.name}: PostgreSQL cuts a name of more than {_LONGEST_NAME} bytes."
                )
            if (MODEL_SCHEMA, model.name) in self.sources:
                raise DeclarationError(f"Model {model.name} has the name of a source.")
            by_name[model.name] = model
        self.upstream = {name: _reads(model, by_name) for name, model in by_name.items()}
        self.models = {name: by_name[name] for name in _ordered(self.upstream)}

    def __getitem__(self, name: str) -> Model:
        """The model of that name; a UsageError lists what there is."""
        try:
            return self.models[name]
        except KeyError:
            raise UsageError(
                f"There is no model {name!r}.", hint="The models are: " + ", ".join(self.models) + "."
            ) from None

    def sources_of(self, name: str) -> list[Source]:
        """The sources that a model's SELECT names itself."""
        named = qualified_names(self.models[name].sql)
        return [source for key, source in self.sources.items() if key in named]

    def day_sources(self, name: str) -> list[Source]:
        """The sources that a model's days depend on: what it reads, through views too, and their parents."""
        found = {source.qualified: source for source in self.sources_of(name)}
        for read in sorted(self.upstream[name]):
            if self.models[read].kind is Kind.VIEW:
                found.update((source.qualified, source) for source in self.day_sources(read))
        by_name = {source.qualified: source for source in self.sources.values()}
        for source in list(found.values()):
            if source.parent is not None:
                found[source.parent] = by_name[source.parent]
        return [found[key] for key in sorted(found)]


def load(dotted: str) -> Catalog:
    """Import a models package by its dotted path and collect what it declares."""
    package = _import(dotted)
    sources: list[Source] = []
    models: list[Model] = []
    for module in _modules(package):
        sources.extend(getattr(module, "SOURCES", ()))
        if isinstance(model := getattr(module, "MODEL", None), Model):
            models.append(model)
    if not models:
        raise DeclarationError(f"{dotted} declares no model.", hint="LEDGERVIEWS_MODELS names the package.")
    for orphan in sorted(_sql_files(package) - {model.path.with_suffix(".sql") for model in models}):
        raise DeclarationError(
            f"{orphan.parent.name}/{orphan.name} belongs to no model.",
            hint=f"Declare MODEL in {orphan.stem}.py beside it, in a folder with an __init__.py.",
        )
    return Catalog(sources, models)


def _require_checks(model: Model) -> None:
    names = [check.name for check in model.checks]
    if len(set(names)) < len(names):
        raise DeclarationError(f"Model {model.name}: two of its checks have the same name.")
    for check in model.checks:
        if model.kind is not Kind.MATERIALIZED_VIEW:
            raise DeclarationError(
                f"Model {model.name} is a view, so no refresh runs its check {check.name}.",
                hint="Declare it on a materialized view that reads it.",
            )
        if missing := [name for name in check.columns if name not in model.columns]:
            raise DeclarationError(
                f"Model {model.name}: its check {check.name} names {', '.join(missing)}, no column of it."
            )
        if check.kind != "expression" and not check.columns:
            raise DeclarationError(f"Model {model.name}: its check {check.name} names no column.")


def _require_parent(source: Source, sources: Mapping[tuple[str, str], Source]) -> None:
    for name in filter(None, (source.day, source.key)):
        if name not in source.columns:
            raise DeclarationError(f"Source {source.qualified}: it does not declare its column {name}.")
    if source.parent is None:
        return
    parent = next((one for one in sources.values() if one.qualified == source.parent), None)
    if parent is None:
        raise DeclarationError(f"Source {source.qualified}: its parent {source.parent} is no source.")
    if source.key is None or parent.key is None or parent.parent is not None:
        raise DeclarationError(
            f"Source {source.qualified}: it and its parent {source.parent} both need a key,"
            " and the parent must have no parent itself."
        )


def _import_module(dotted: str) -> ModuleType:
    try:
        return importlib.import_module(dotted)
    except SyntaxError as exc:
        raise DeclarationError(f"{exc.filename}, line {exc.lineno}: {exc.msg}.") from exc


def _import(dotted: str) -> ModuleType:
    try:
        if all(part.isidentifier() for part in dotted.split(".")):
            return _import_module(dotted)
    except ModuleNotFoundError as exc:
        if exc.name is None or not (dotted == exc.name or dotted.startswith(exc.name + ".")):
            raise
    raise UsageError(
        f"The models package {dotted!r} cannot be imported.",
        hint="LEDGERVIEWS_MODELS is a dotted path; the package must be installed or on PYTHONPATH.",
    )


def _modules(package: ModuleType) -> Iterable[ModuleType]:
    """The package and all modules below it, but for its demonstration data (``DEMO``)."""
    yield package
    skipped = getattr(package, "DEMO", None)
    for info in pkgutil.iter_modules(getattr(package, "__path__", ()), package.__name__ + "."):
        if info.name != skipped:
            module = _import_module(info.name)
            yield from _modules(module) if info.ispkg else [module]


def _sql_files(package: ModuleType) -> set[Path]:
    """All .sql files below the package, but for those of its demonstration data."""
    folders = [Path(folder) for folder in getattr(package, "__path__", ())]
    _, _, skipped = getattr(package, "DEMO", "").rpartition(".")
    return {
        file
        for folder in folders
        for file in folder.rglob("*.sql")
        if not skipped or file.relative_to(folder).parts[0] != skipped
    }


def _reads(model: Model, models: Mapping[str, Model]) -> frozenset[str]:
    return frozenset(
        name for schema, name in qualified_names(model.sql) if schema == MODEL_SCHEMA and name in models
    )


def _ordered(upstream: Mapping[str, frozenset[str]]) -> list[str]:
    """Names so that each stands after all that it reads; ties in alphabetical order."""
    sorter = TopologicalSorter({name: sorted(upstream[name]) for name in sorted(upstream)})
    try:
        sorter.prepare()
    except CycleError as exc:
        raise DeclarationError(
            "The models read each other in a circle: " + " -> ".join(reversed(exc.args[1])) + "."
        ) from None
    order: list[str] = []
    while sorter.is_active():
        ready = sorted(sorter.get_ready())
        order.extend(ready)
        sorter.done(*ready)
    return order
