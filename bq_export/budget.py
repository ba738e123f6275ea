"""Whether a run may cost what it would: pure arithmetic over bytes billed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bq_export.errors import BudgetError

if TYPE_CHECKING:
    from bq_export.settings import ExportSettings

WARNING_SHARE = 0.8
_TIB = 2**40


def usd(bytes_billed: int, settings: ExportSettings) -> float:
    """What bytes billed cost, in US dollars."""
    return bytes_billed / _TIB * settings.price


def check_budget(settings: ExportSettings, *, billed: int, planned: int) -> str | None:
    """A warning from 80 % of the month's budget on; raises BudgetError where the run would pass it."""
    spent, after = usd(billed, settings), usd(billed + planned, settings)
    told = (
        f"{spent:.2f} USD billed this month, {after - spent:.4f} USD planned, "
        f"budget {settings.monthly_budget:.2f} USD"
    )
    if after > settings.monthly_budget:
        raise BudgetError(
            f"The run would pass the monthly budget: {told}. Nothing was sent.",
            hint="Raise BQ_MONTHLY_BUDGET_USD, wait for the next month, or see `bq-export cost`.",
        )
    if after >= WARNING_SHARE * settings.monthly_budget:
        return f"WARNING: {WARNING_SHARE:.0%} of the monthly budget or more: {told}."
    return None


def check_query(settings: ExportSettings, *, relation: str, planned: int) -> None:
    """Raise where one query would be billed more than any may be."""
    if planned > settings.maximum_bytes_billed:
        raise BudgetError(
            f"The queries for {relation} would be billed about {planned:,} bytes, more than "
            f"BQ_MAXIMUM_BYTES_BILLED ({settings.maximum_bytes_billed:,}). Nothing was sent.",
            hint="Raise BQ_MAXIMUM_BYTES_BILLED, or export fewer partitions at a time.",
        )
