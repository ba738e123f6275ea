"""Everything that talks to one target, over one client and one patience."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bq_export.loader.client import Requests, make_client
from bq_export.loader.jobs import Jobs
from bq_export.loader.tables import Tables
from bq_export.patience import Patience

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from bq_export.settings import ExportSettings


@dataclass(frozen=True, kw_only=True)
class Target:
    """One dataset: its settings, requests, jobs and tables."""

    settings: ExportSettings
    requests: Requests
    jobs: Jobs
    tables: Tables

    def quoted(self, table: str) -> str:
        """A table's full name as SQL takes it; project and dataset hold no backtick."""
        return f"`{self.settings.project}`.`{self.settings.dataset}`.`{table}`"


@contextmanager
def open_target(settings: ExportSettings, *, progress: Callable[[str], None]) -> Iterator[Target]:
    """A target for the block; nothing is asked of the network until something is asked of it."""
    patience = Patience(budget_s=settings.retry_budget_s, backoff_s=settings.backoff_s, progress=progress)
    client = make_client(settings)
    try:
        requests = Requests(client, settings, patience)
        yield Target(settings=settings, requests=requests, jobs=Jobs(requests), tables=Tables(requests))
    finally:
        client.close()  # type: ignore[no-untyped-call]
