"""Filling a database with the made-up rows that a models package brings along (its ``DEMO``)."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ledgerviews.db import connect, describe_target, translated
from ledgerviews.errors import UsageError

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Callable, Mapping

    from ledgerviews.config import Settings


@dataclass(frozen=True, kw_only=True)
class Rows:
    """What to make up: ``events`` on the ``days`` UTC days that end with ``until``, as ``seed`` decides."""

    events: int
    days: int
    seed: int
    until: dt.date


def demo_of(settings: Settings) -> Any:
    """The module with ``create_tables``, ``seed`` and ``reference_rows`` of the configured models."""
    try:
        name = getattr(importlib.import_module(settings.models), "DEMO", None)
        if name is not None:
            return importlib.import_module(name)
    except (ModuleNotFoundError, TypeError, ValueError) as exc:
        raise UsageError(
            f"The made-up rows of {settings.models!r} cannot be imported: {exc}.",
            hint="LEDGERVIEWS_MODELS is a dotted path; the package must be installed or on PYTHONPATH.",
        ) from exc
    raise UsageError(
        f"The models package {settings.models!r} has no made-up rows.",
        hint="Set DEMO in it to the dotted path of a module with create_tables, seed and reference_rows.",
    )


def fill(
    settings: Settings,
    rows: Rows | None,
    *,
    form: str = "current",
    progress: Callable[[str, int, int], None] | None = None,
) -> Mapping[str, int]:
    """Create the application's tables where they are missing and add rows, in one transaction.

    Args:
        settings: the database and the models.
        rows: what to add; None adds only the few fixed rows whose figures are known.
        form: the form of tables that do not exist yet.
        progress: called with what is made, how much of it so far, and how much in all.

    Returns:
        The number of rows added to each table; empty for the fixed rows.
    """
    demo = demo_of(settings)
    added: Mapping[str, int] = {}
    with (
        connect(settings) as connection,
        translated(target=describe_target(settings)),
        connection.transaction(),
    ):
        demo.create_tables(connection, form=form)
        if rows is None:
            demo.reference_rows(connection)
        else:
            added = demo.seed(
                connection,
                events=rows.events,
                days=rows.days,
                seed=rows.seed,
                until=rows.until,
                progress=progress,
            )
    return added
