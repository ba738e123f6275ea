"""The exporter's own settings, read once from the environment into one frozen object."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from ledgerviews.config import duration_ms
from ledgerviews.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

_PROJECT = re.compile(r"[a-z0-9][a-z0-9.:-]{0,61}[a-z0-9]", re.ASCII)
_DATASET = re.compile(r"[A-Za-z0-9_]{1,1024}", re.ASCII)
_LOCATION = re.compile(r"[A-Za-z][A-Za-z0-9-]{0,62}", re.ASCII)
_HOST = re.compile(r"[A-Za-z0-9.:_-]+", re.ASCII)
_SIZE = re.compile(r"(\d+)\s*(|[kMGT]i?B)", re.ASCII)
_UNITS = {"": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12} | {
    "kiB": 2**10,
    "MiB": 2**20,
    "GiB": 2**30,
    "TiB": 2**40,
}


@dataclass(frozen=True, kw_only=True)
class ExportSettings:
    """Where to export, with whose credentials, and within which limits.

    Attributes:
        project, dataset: the target.
        location: where the dataset is, or is made.
        service_account: the JSON of a key, as a CI secret holds it; never written, never shown. None leaves
            the credentials to Application Default Credentials.
        endpoint: the address of another server of BigQuery's API, such as `bq-export dev start` runs; it gets
            no credentials.
        monthly_budget: US dollars that this exporter's queries may cost in a calendar month (UTC).
        price: US dollars for a TiB billed by a query.
        maximum_bytes_billed: the limit that is set on every query, in bytes.
        retry_budget_s: for how long, in all, a run goes on after transient failures.
        job_timeout_s: how long one job may run.
        backoff_s: the first pause after a transient failure; each is twice the one before, up to a minute.
        request_timeout_s: how long one request may take.
        cancel_wait_s: how long a cancelled job gets to end.
    """

    project: str
    dataset: str
    location: str = "US"
    service_account: str | None = field(default=None, repr=False)
    endpoint: str | None = None
    monthly_budget: float = 50.0
    price: float = 6.25
    maximum_bytes_billed: int = 10 * 2**30
    retry_budget_s: float = 600.0
    job_timeout_s: float = 1800.0
    backoff_s: float = 1.0
    request_timeout_s: float = 120.0
    cancel_wait_s: float = 30.0

    @property
    def target(self) -> str:
        """The name under which the target is remembered; another server's is another target."""
        name = f"{self.project}.{self.dataset}"
        return f"{name} at {self.endpoint}" if self.endpoint else name

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> ExportSettings:
        """Read the settings; a missing or unusable one is a UsageError that names its variable."""
        env = os.environ if environment is None else environment
        env = {name: value for name, value in env.items() if value.strip()}
        project = env.get("GCP_PROJECT")
        dataset = env.get("BQ_DATASET", env.get("DBT_BIGQUERY_DATASET"))
        lacking = [n for n, value in (("GCP_PROJECT", project), ("BQ_DATASET", dataset)) if value is None]
        if project is None or dataset is None:
            raise UsageError(
                f"No target is configured: {' and '.join(lacking)} {'are' if lacking[1:] else 'is'} not set.",
                hint="Set GCP_PROJECT to the project's id and BQ_DATASET; then run `bq-export setup`. "
                "`bq-export files --to DIR` needs neither.",
            )
        dataset_name = "BQ_DATASET" if "BQ_DATASET" in env else "DBT_BIGQUERY_DATASET"
        endpoint = env.get("BIGQUERY_EMULATOR_HOST")
        return cls(
            project=_named("GCP_PROJECT", project.strip(), _PROJECT),
            dataset=_named(dataset_name, dataset.strip(), _DATASET),
            location=_named("BQ_LOCATION", env.get("BQ_LOCATION", "US").strip(), _LOCATION),
            service_account=env.get("GCP_SA_JSON"),
            endpoint=None if endpoint is None else _address("BIGQUERY_EMULATOR_HOST", endpoint.strip()),
            monthly_budget=_number(env, "BQ_MONTHLY_BUDGET_USD", 50.0),
            price=_number(env, "BQ_PRICE_PER_TIB_USD", 6.25),
            maximum_bytes_billed=_size(env, "BQ_MAXIMUM_BYTES_BILLED", 10 * 2**30),
            retry_budget_s=_seconds(env, "BQ_RETRY_BUDGET", 600.0, least=0.0),
            job_timeout_s=_seconds(env, "BQ_JOB_TIMEOUT", 1800.0),
            request_timeout_s=_seconds(env, "BQ_REQUEST_TIMEOUT", 120.0),
        )


def _named(name: str, value: str, pattern: re.Pattern[str]) -> str:
    if not pattern.fullmatch(value):
        raise UsageError(f"{name} is {value!r}, which is no name that BigQuery takes.")
    return value


def _address(name: str, value: str) -> str:
    address = value if "://" in value else f"http://{value}"
    try:
        parts = urlsplit(address)
        host = _HOST.fullmatch(parts.hostname or "")
        usable = host and parts.scheme in {"http", "https"} and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise UsageError(f"{name} is {value!r}, which is no address.", hint="Write http://host:port.")
    return address


def _number(env: Mapping[str, str], name: str, default: float) -> float:
    try:
        value = float(env.get(name, default))
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf"):
        raise UsageError(f"{name} is {env[name]!r}, which is no amount.", hint="Write a number such as 50.")
    return value


def _seconds(env: Mapping[str, str], name: str, default: float, *, least: float = 0.001) -> float:
    if name not in env:
        return default
    try:
        value = duration_ms(env[name]) / 1000
    except ValueError:
        value = -1.0
    if value < least:
        told = "no duration" if value else "no time at all"
        raise UsageError(f"{name} is {env[name]!r}, which is {told}.", hint="Write 500ms, 5s, 2min or 1h.")
    return value


def _size(env: Mapping[str, str], name: str, default: int) -> int:
    if name not in env:
        return default
    match = _SIZE.fullmatch(env[name].strip())
    if match is None or not int(match[1]):
        raise UsageError(f"{name} is {env[name]!r}, which is no size.", hint="Write 500MB, 10GiB or bytes.")
    return int(match[1]) * _UNITS[match[2]]
