"""Trusted daily figures as materialized views in the PostgreSQL that a team already runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ledgerviews.schema.release import released as released

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """Import ``released`` when it is used, so that nothing else of the package loads Alembic."""
    if name == "released":
        from ledgerviews.schema.release import released  # noqa: PLC0415 (see above)

        return released
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
