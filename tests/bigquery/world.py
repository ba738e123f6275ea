"""A database with a small team's relations, a dataset of its own, and an independent look at both."""

from __future__ import annotations

import importlib
import importlib.util
import itertools
import os
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import psycopg
from google.auth.credentials import AnonymousCredentials
from google.cloud import bigquery

from bq_export.run import run
from bq_export.settings import ExportSettings
from ledgerviews.config import Settings
from tests import programs
from tests import servers as pg

if TYPE_CHECKING:
    import subprocess
    from pathlib import Path

    from bq_export.run import RunResult
    from tests.bigquery.proxy import FaultProxy

MODELS = "tests.bigquery.shop"
_numbers = itertools.count(1)

TABLES = """
CREATE TABLE public.mart_orders_daily (
    day date, shop text, orders bigint, amount numeric(12, 2), rate double precision, seen timestamptz
);
CREATE TABLE public.mart_totals (shop text, orders bigint);
"""
ROWS = """
INSERT INTO public.mart_orders_daily
SELECT date '2026-01-01' + d, 'shop ' || s, d * 10 + s, (d * 100 + s) * 1.01, 1.0 / (d + s + 1),
    timestamptz '2026-01-01 00:00:00+00' + d * interval '1 day 7 microseconds'
FROM generate_series(0, 4) AS d, generate_series(1, 3) AS s;
INSERT INTO public.mart_totals SELECT shop, sum(orders) FROM public.mart_orders_daily GROUP BY shop;
"""


def install_state(connection: psycopg.Connection) -> None:
    """The exporter's tables, as its migration makes them, in a database without the engine."""
    (file,) = (pg.ROOT / "migrations" / "versions").glob("0004_*.py")
    spec = importlib.util.spec_from_file_location("export_state", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    connection.execute("CREATE SCHEMA IF NOT EXISTS ledgerviews")
    connection.execute(module.UPGRADE)


def client_of(endpoint: str) -> bigquery.Client:
    """A client of the peer at an address, past the proxy."""
    return bigquery.Client(
        "local",
        credentials=AnonymousCredentials(),  # type: ignore[no-untyped-call]
        client_options={"api_endpoint": endpoint},
        location="US",
    )


@dataclass
class World:
    """Both sides of an export."""

    url: str
    endpoint: str
    proxy: FaultProxy
    settings: Settings
    export: ExportSettings
    client: bigquery.Client
    progress: list[str] = field(default_factory=list)

    @classmethod
    def make(cls, url: str, endpoint: str, proxy: FaultProxy, *, models: str = MODELS) -> World:
        """A dataset that nobody else uses."""
        worker = os.environ.get("PYTEST_XDIST_WORKER", "main")
        dataset = f"d_{worker}_{os.getpid()}_{next(_numbers)}"
        client = client_of(endpoint)
        client.create_dataset(f"local.{dataset}")
        export = ExportSettings(
            project="local",
            dataset=dataset,
            endpoint=proxy.endpoint,
            backoff_s=0.01,
            retry_budget_s=20,
            job_timeout_s=20,
            request_timeout_s=20,
            cancel_wait_s=0.3,
        )
        return cls(url, endpoint, proxy, Settings(database_url=url, models=models), export, client)

    def moved(self, endpoint: str) -> World:
        """The same world with its peer at another address."""
        return replace(self, endpoint=endpoint, client=client_of(endpoint))

    def sql(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        """Run SQL at the source; the rows, if there are any."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            cursor = connection.execute(statement.encode(), values or None)
            return cursor.fetchall() if cursor.description else []

    def run(self, *names: str, **options: Any) -> RunResult:
        """Export, in this process."""
        changed = {k: options.pop(k) for k in list(options) if hasattr(self.export, k)}
        self.progress = []
        return run(
            self.settings,
            replace(self.export, **changed),
            names=names,
            progress=self.progress.append,
            **options,
        )

    def table(self, name: str) -> str:
        """A table's full name at the target."""
        return f"local.{self.export.dataset}.{name}"

    def query(self, text: str) -> list[tuple[Any, ...]]:
        """Run BigQuery's SQL at the peer, past the proxy; {} is the dataset."""
        job = self.client.query(text.replace("{}", f"local.{self.export.dataset}"))
        return [row.values() for row in job.result()]

    def there(self, name: str) -> list[tuple[Any, ...]]:
        """The rows of a table at the target, sorted."""
        columns = [one.name for one in self.client.get_table(self.table(name)).schema]
        rows = self.client.list_rows(self.table(name))
        return sorted((tuple(row[c] for c in columns) for row in rows), key=repr)

    def here(self, name: str) -> list[tuple[Any, ...]]:
        """The rows of a relation at the source, sorted, in the types that the target's client gives."""
        return sorted(self.sql(f"SELECT * FROM public.{name}"), key=repr)

    def version(self, name: str) -> int:
        """How often a relation was published."""
        rows = self.sql("SELECT version FROM ledgerviews.export_table WHERE relation = %s", f"public.{name}")
        return int(rows[0][0]) if rows else 0

    def jobs_sent(self) -> list[dict[str, Any]]:
        """The configurations of all jobs that went through the proxy."""
        bodies = [s.body for s in self.proxy.seen if s.method == "POST" and "/jobs" in s.path]
        return [b for b in bodies if isinstance(b, dict) and "configuration" in b]

    def environment(self) -> dict[str, str]:
        """What a shell would have set."""
        clean = {
            name: value
            for name, value in pg.clean_environment().items()
            if not name.startswith(("GCP_", "BQ_", "DBT_", "GOOGLE_", "BIGQUERY_"))
        }
        return {
            **clean,
            "PYTHONPATH": str(pg.ROOT),
            "PYTHONWARNINGS": "error",
            "LEDGERVIEWS_DATABASE_URL": self.url,
            "LEDGERVIEWS_MODELS": self.settings.models,
            "GCP_PROJECT": "local",
            "BQ_DATASET": self.export.dataset,
            "BIGQUERY_EMULATOR_HOST": self.proxy.endpoint,
            "BQ_JOB_TIMEOUT": "20s",
        }

    def cli(
        self, *args: str, env: dict[str, str] | None = None, cwd: Path | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run ``bq-export`` as a user does."""
        return programs.run("bq_export", args, env={**self.environment(), **(env or {})}, cwd=cwd or pg.ROOT)
