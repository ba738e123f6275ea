"""How long a run goes on after transient failures: pauses that double, within one budget of time."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bq_export.errors import TargetError

if TYPE_CHECKING:
    from collections.abc import Callable

_LONGEST_PAUSE_S = 60.0


@dataclass(kw_only=True)
class Patience:
    """What is left of the time for retries; it is spent by pauses only, never by a job's own work.

    Attributes:
        budget_s: seconds that all pauses of a run may take together.
        backoff_s: the first pause; each is up to twice the one before.
        progress: is told of each failure that is tried again.
    """

    budget_s: float
    backoff_s: float
    progress: Callable[[str], None]
    spent_s: float = 0.0

    def pause(self, attempt: int, cause: str) -> None:
        """Wait before attempt ``attempt + 1``, or raise TargetError where the budget is spent.

        ``cause`` says what was tried and why it failed.
        """
        wait = min(_LONGEST_PAUSE_S, self.backoff_s * 2 ** min(attempt, 16))
        wait *= random.uniform(0.5, 1.0)  # noqa: S311 (spreads clients; no secret)
        if self.spent_s + wait > self.budget_s:
            raise TargetError(
                f"BigQuery did not answer within the time for retries ({self.budget_s:g} s): {cause}",
                hint="Run again: what was sent is found, not sent twice. BQ_RETRY_BUDGET gives more time.",
            )
        self.spent_s += wait
        self.progress(f"{cause.removesuffix('.')}; trying again in {wait:.1f} s")
        time.sleep(wait)
