"""A published relation, declared beside the SQL file of the same name."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from ledgerviews.errors import DeclarationError
from ledgerviews.sqltext import is_blank, statement

from .check import Check, Severity
from .fields import did_you_mean, require_columns, require_tuples

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from .export import Export

_INDEX = re.compile(r"(UNIQUE )?(\(|USING\b)", re.IGNORECASE)
_PRIVILEGES = frozenset({"SELECT", "INSERT", "UPDATE", "DELETE", "MAINTAIN"})


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
        _require_fields(model)
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
    require_tuples(owner, str, grain=model.grain, indexes=model.indexes)
    require_tuples(owner, Check, checks=model.checks)
    require_columns(owner, model.columns, "a line on what it holds")


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
        if isinstance(privileges, str) or not privileges or set(privileges) - _PRIVILEGES:
            raise DeclarationError(
                f"Model {model.name}: {privileges!r} are no privileges for {role}.",
                hint=f"Name some of {', '.join(sorted(_PRIVILEGES))} in a list.",
            )
    if model.formerly == model.name:
        raise DeclarationError(f"Model {model.name} was formerly named as it is now.")


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
