"""What a failure of BigQuery means: try again, look the job up, or stop with the reason and the mend."""

from __future__ import annotations

import re
from typing import Any

import requests
from google.api_core import exceptions as api
from google.auth import exceptions as auth

from bq_export.errors import TargetError, TransientError

# By reason, as BigQuery's list of error messages has them.
_TRANSIENT_REASONS = frozenset(
    {
        "backendError",
        "internalError",
        "jobBackendError",
        "jobInternalError",
        "jobRateLimitExceeded",
        "rateLimitExceeded",
        "resourcesExceededTemporarily",
        "tableUnavailable",
        "timeout",
    }
)
_TRANSIENT_CODES = frozenset({408, 429, 500, 502, 503, 504})
_ABORTED = "aborted due to concurrent"
_MENDS = {
    "accessDenied": "Grant the service account the roles that `bq-export setup` names.",
    "billingNotEnabled": "Enable billing for the project.",
    "bytesBilledLimitExceeded": "Raise BQ_MAXIMUM_BYTES_BILLED.",
    "invalid": "The rows do not fit the table: `bq-export plan` tells the differences of schemas.",
    "invalidQuery": "This is a fault of bq-export, or the table was changed: run `bq-export plan`.",
    "notFound": "Run `bq-export setup`; check GCP_PROJECT, BQ_DATASET and BQ_LOCATION.",
    "quotaExceeded": "The quota is for a day: run again tomorrow, or have it raised.",
    "stopped": "The job was cancelled; run again.",
}
CONNECTION_FAILURES = (
    requests.exceptions.RequestException,
    auth.TransportError,
    ConnectionError,
    TimeoutError,
)
# What no address is stays none, however often it is asked.
_ADDRESSES = (
    requests.exceptions.InvalidURL,
    requests.exceptions.InvalidSchema,
    requests.exceptions.MissingSchema,
)
# urllib3 puts its own objects around the cause, the inner ones last.
_CONNECTION = re.compile(r"HTTPS?Connection(?:Pool)?\(host='([^']*)', port=(\d+)\): ([^\"]+)")
FAILURES = (api.GoogleAPICallError, auth.GoogleAuthError, *CONNECTION_FAILURES)


def reason_of(exc: BaseException) -> str:
    """The reason that BigQuery gives, or what stands for it."""
    if isinstance(exc, api.GoogleAPICallError):
        for error in exc.errors or ():
            if isinstance(error, dict) and error.get("reason"):
                return str(error["reason"])
        return {403: "accessDenied", 404: "notFound"}.get(exc.code or 0, "")
    return ""


def is_transient(exc: BaseException) -> bool:
    """Whether the same request may succeed a moment later."""
    if isinstance(exc, api.GoogleAPICallError):
        reason = reason_of(exc)
        if reason in _TRANSIENT_REASONS:
            return True
        # A day's quota is answered with 403 or 429 alike; only the reason tells.
        return exc.code in _TRANSIENT_CODES and reason not in _MENDS
    inner = exc.args[0] if isinstance(exc, auth.TransportError) and exc.args else exc
    return isinstance(exc, CONNECTION_FAILURES) and not isinstance(inner, _ADDRESSES)


def translated(exc: BaseException, what: str) -> TargetError:
    """One of our errors: what was tried, the reason, and the mend."""
    if isinstance(exc, auth.GoogleAuthError) and not isinstance(exc, auth.TransportError):
        return TargetError(
            f"Cannot {what}: the credentials are not usable: {_first_line(exc)}",
            hint="Set GOOGLE_APPLICATION_CREDENTIALS to a file of a key or of Workload Identity Federation, "
            "or GCP_SA_JSON to a key; `bq-export setup --print` tells how to make them.",
        )
    reason = reason_of(exc)
    hint = _MENDS.get(reason)
    told = f" ({reason})" if reason else ""
    kind = TransientError if is_transient(exc) else TargetError
    return kind(f"Cannot {what}: {_first_line(exc)}{told}", hint=hint)


def job_failure(error: dict[str, Any], what: str) -> TargetError:
    """The error of a job that ended in one."""
    reason, message = str(error.get("reason", "")), str(error.get("message", "")).splitlines()
    text = f"{what} failed: {message[0] if message else reason} ({reason})"
    if reason in _TRANSIENT_REASONS or _ABORTED in text:
        return TransientError(text)
    return TargetError(text, hint=_MENDS.get(reason))


def _first_line(exc: BaseException) -> str:
    if isinstance(exc, api.GoogleAPICallError):
        text = exc.message
    elif isinstance(exc, auth.GoogleAuthError):
        text = str(exc.args[0]) if exc.args else ""  # what follows repeats the cause
    else:
        text = str(exc)
    if found := _CONNECTION.findall(text):
        host, port, cause = found[-1]
        return f"{host}:{port}: {cause}"
    # The client puts the request's address before the server's message.
    _, prefix, rest = text.partition("prettyPrint=false: ")
    lines = [line.strip() for line in (rest if prefix else text).splitlines() if line.strip()]
    return (lines[0] if lines else type(exc).__name__).partition("; reason: ")[0]
