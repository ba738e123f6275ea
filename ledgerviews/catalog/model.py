"""A published relation, declared beside the SQL file of the same name."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from ledgerviews.errors import DeclarationError
from ledgerviews.sqltext import is_blank, statement

from .check import Check, Severity
from .export import Export
from .fields import did_you_mean, require_mapping, require_one, require_tuples

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_INDEX = re.compile(r"(UNIQUE )?(\(|USING\b)", re.IGNORECASE)
_PRIVILEGES = frozenset({"SELECT", "INSERT", "UPDATE", "DELETE", "MAINTAIN"})
_COLUMNS = '{"…": "…"}: each column\'s name, and a line on what it holds'
_OPTIONS = '{"…": "…"}: each option\'s name, and its value'
_GRANTS = '{"…": ["SELECT"]}: each role\'s name, and its privileges in a list'


class Kind(StrEnum):
    """What a model becomes in the database."""

    VIEW = "view"
    MATERIALIZED_VIEW = "materialized view"


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
        indexes: of a materialized view, beside that of its key: what follows ``CREATE INDEX name ON
            relation``, as ``(mode)`` or ``USING brin (created_date)``; ``UNIQUE`` may stand before it.
        options: storage parameters and options of views, as ``{"security_invoker": "true"}``.
        grants: for each role (``public`` for all) its privileges; those of other roles are left alone.
        owner: the role that owns it; None leaves it to whoever runs the migration.
        formerly: the name that it had before; None where it has always had this one.
    """

    path: Path
    kind: Kind
    description: str
    grain: tuple[str, ...]
    columns: Mapping[str, str] = field(hash=False)
    day: str | None = None
    checks: tuple[Check, ...] = ()
    export: Export | None = None
    indexes: tuple[str, ...] = ()
    options: Mapping[str, str] = field(default_factory=dict, hash=False)
    grants: Mapping[str, Sequence[str]] = field(default_factory=dict, hash=False)
    owner: str | None = None
    formerly: str | None = None

    def __post_init__(self) -> None:
        """Refuse what a field cannot be; raises DeclarationError."""
        _require_fields(self)

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
        indexes: tuple[str, ...] = (),
        options: Mapping[str, str] | None = None,
        grants: Mapping[str, Sequence[str]] | None = None,
        owner: str | None = None,
        formerly: str | None = None,
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
            indexes=indexes,
            options=options or {},
            grants=grants or {},
            owner=owner,
            formerly=formerly,
        )
        if kind is Kind.MATERIALIZED_VIEW and not grain:
            raise DeclarationError(
                f"Materialized view {model.name} declares no grain, so it has no unique key.",
                hint="Name the columns of which one combination makes one row.",
            )
        if missing := [name for name in grain if name not in columns]:
            meant = did_you_mean(missing[0], columns) if len(missing) == 1 else "."
            raise DeclarationError(
                f"Model {model.name}: grain names {', '.join(missing)}, no column of it{meant}"
            )
        if day is not None and day not in grain:
            raise DeclarationError(
                f"Model {model.name}: its day column {day} is no part of its grain,"
                f" which is {', '.join(grain) or 'empty'}.",
                hint="Name it in the grain, too, or have day name the one of the grain that holds the day.",
            )
        _require_checks(model)
        _require_surroundings(model)
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
        return statement(self.text)

    @cached_property
    def text(self) -> str:
        """What its SQL file holds."""
        try:
            return self.path.with_suffix(".sql").read_text(encoding="utf-8")
        except FileNotFoundError:
            raise DeclarationError(
                f"Model {self.name} has no {self.path.with_suffix('.sql').name} beside its declaration."
            ) from None
        except (OSError, UnicodeDecodeError) as exc:
            # Else the command line takes it for a full disk, or shows a traceback.
            words = exc.strerror if isinstance(exc, OSError) else "it is no UTF-8"
            raise DeclarationError(
                f"{self.path.with_suffix('.sql')} cannot be read: {words}.",
                hint="Mend it, then run the command again.",
            ) from exc


def _require_fields(model: Model) -> None:
    """Raise DeclarationError for what Python takes, and no revision could be applied with."""
    owner = f"Model {model.name}"
    if not isinstance(model.kind, Kind):
        raise DeclarationError(
            f"{owner}: its kind is {model.kind!r}.",
            hint="Write kind=Kind.VIEW or kind=Kind.MATERIALIZED_VIEW, with Kind of ledgerviews.catalog.",
        )
    require_one(owner, str, description=model.description)
    require_one(owner, str, optional=True, day=model.day, owner=model.owner, formerly=model.formerly)
    require_one(owner, Export, optional=True, export=model.export)
    require_tuples(owner, str, grain=model.grain, indexes=model.indexes)
    require_tuples(owner, Check, checks=model.checks)
    require_mapping(owner, _COLUMNS, columns=model.columns)
    # Their values may be numbers; the privileges are looked at by name.
    require_mapping(owner, _OPTIONS, texts=False, options=model.options)
    require_mapping(owner, _GRANTS, texts=False, grants=model.grants)


def _require_surroundings(model: Model) -> None:
    """Raise DeclarationError for indexes, options and grants that no relation of its kind can have."""
    if model.indexes and model.kind is not Kind.MATERIALIZED_VIEW:
        raise DeclarationError(f"Model {model.name} is a view, which has no indexes.")
    for one in model.indexes:
        if not _INDEX.match(one):
            raise DeclarationError(
                f"Model {model.name}: {one!r} begins no index.",
                hint="Write what follows CREATE INDEX … ON relation: (mode), or USING brin (created_date).",
            )
    if len(set(model.indexes)) < len(model.indexes):
        raise DeclarationError(f"Model {model.name} declares one of its indexes twice.")
    for role, privileges in model.grants.items():
        listed = isinstance(privileges, Collection) and not isinstance(privileges, str)
        if not listed or not privileges or set(map(str, privileges)) - _PRIVILEGES:
            raise DeclarationError(
                f"Model {model.name}: {privileges!r} are no privileges for {role}.",
                hint=f"Name some of {', '.join(sorted(_PRIVILEGES))} in a list.",
            )
    if model.formerly == model.name:
        raise DeclarationError(f"Model {model.name} was formerly named as it is now.")
    if model.formerly is not None and "." in model.formerly:
        bare = model.formerly.rpartition(".")[2] or "…"
        raise DeclarationError(
            f"Model {model.name}: its formerly is {model.formerly}, where a name without schema is expected.",
            hint=f'Write formerly="{bare}": it stands in the schema of the models, too.',
        )


def _require_words(model: Model) -> None:
    """Raise DeclarationError for a check whose name, columns or expression are no text."""
    for check in model.checks:
        require_one(f"Model {model.name}, one of its checks", str, name=check.name)
        if wrong := [name for name in check.columns if not isinstance(name, str)]:
            raise DeclarationError(
                f"Model {model.name}: its check {check.kind} names {wrong[0]!r}, which is no string.",
                hint=f'Write {check.kind}("…", "…"), with the name of each column by itself.',
            )
        # One that is blank is told below, with what to write for it.
        if not is_blank(str(check.expression or "")):
            require_one(f"Model {model.name}, its check {check.name}", str, expression=check.expression)


def _require_checks(model: Model) -> None:
    _require_words(model)
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
        if check.severity not in list(Severity):
            raise DeclarationError(
                f"Model {model.name}: its check {check.name} has the severity {check.severity!r}.",
                hint="Write severity=Severity.ERROR or severity=Severity.WARN.",
            )
        if check.kind != "expression" and not check.columns:
            raise DeclarationError(f"Model {model.name}: its check {check.name} names no column.")
        if check.kind == "expression" and is_blank(check.expression or ""):
            raise DeclarationError(
                f"Model {model.name}: its check {check.name} has no expression.",
                hint="Write a condition over the model's columns, as orders >= 0, or leave the check out.",
            )
