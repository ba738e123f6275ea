"""What can go wrong in an export, each with the object, the cause and the next command."""

from __future__ import annotations

from typing import ClassVar

from ledgerviews.errors import LedgerviewsError

EXIT_EXPORT = 6


class ExportError(LedgerviewsError):
    """The export failed or was refused; the target is as it was but for what the message says."""

    exit_code: ClassVar[int] = EXIT_EXPORT


class ValueOutOfRangeError(ExportError):
    """A value that the target's type cannot hold, in a column whose policy is to fail."""


class SchemaDriftError(ExportError):
    """The target's table differs from what the relation is, beyond what the declaration lets mend."""


class ProofError(ExportError):
    """What arrived is not what was sent; nothing was published."""


class RewrittenError(ExportError):
    """A relation was replaced or rewritten after the moment that is read; another moment may do."""

    def __init__(self, *, relation: str) -> None:
        """Name the relation."""
        super().__init__(
            f"Cannot export {relation}: it was replaced or rewritten while it was read (DROP, "
            "TRUNCATE or a plain REFRESH).",
            hint="Run again when that is done.",
        )


class UnsteadyError(ExportError):
    """A relation gave other rows than were counted, in one snapshot; another moment may do."""

    def __init__(self, *, relation: str, counted: int, read: int) -> None:
        """Name the relation and the two numbers."""
        super().__init__(
            f"Cannot export {relation}: {counted:,} rows were counted and {read:,} read, as of one moment.",
            hint="Its rows depend on more than tables, such as now(), random() or a foreign table: "
            "publish it as a materialized view.",
        )


class BudgetError(ExportError):
    """The run would pass the monthly budget, or the limit of a query, or a quota of BigQuery."""


class TargetError(ExportError):
    """BigQuery refused a request, or did not answer within the time for retries."""


class TransientError(TargetError):
    """A failure that the same request may not meet again; only the loader's own loops see it."""
