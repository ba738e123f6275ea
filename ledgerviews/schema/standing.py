"""Whether code and database agree, relation by relation: what ``ledgerviews diff`` finds, for ``status``."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ledgerviews.errors import DatabaseError, DeclarationError, DriftError, LedgerviewsError, LockedError

from .compare import RENAME
from .diff import diff
from .keys import SOURCE, located

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ledgerviews.config import Settings

    from .compare import Difference
    from .live import Place


@dataclass(frozen=True, kw_only=True)
class Standing:
    """What was found.

    Attributes:
        relations: what differs, by where it stands, or is to: create, drop, change or rename; and in what, or
            to which name.
        others: a line on each difference that is none of a relation.
        first: a line on each thing to mend before a revision can be written of what differs.
        refused: why nothing could be compared.
    """

    relations: Mapping[Place, tuple[str, str]] = field(default_factory=dict)
    others: tuple[str, ...] = ()
    first: tuple[str, ...] = ()
    refused: LedgerviewsError | None = None


def standing(settings: Settings) -> Standing:
    """Compare, in a transaction that is rolled back; where that is refused, say why."""
    try:
        found = diff(settings)
    except (DatabaseError, DeclarationError, DriftError, LockedError) as exc:
        return Standing(refused=exc)
    sources = [one for one in found.differences if _kind(one) == SOURCE]
    return Standing(
        relations={
            located(one.former or one.key, settings.schema): (one.what, _detail(one, settings.schema))
            for one in found.differences
            if _kind(one) != SOURCE
        },
        others=(
            *(f"{one.key} is not tracked as it is declared: `ledgerviews diff` shows it." for one in sources),
            *found.altered,
        ),
        first=found.first,
    )


def _kind(one: Difference) -> str:
    return str((one.after or one.before or {})["kind"])


def _detail(one: Difference, schema: str) -> str:
    return ".".join(located(one.key, schema)) if one.what == RENAME else ", ".join(one.aspects)
