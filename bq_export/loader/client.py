"""A client with the right credentials, and requests that are tried again while there is patience."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any, TypeVar

from google.api_core import exceptions as api
from google.auth import default as default_credentials
from google.auth import exceptions as auth
from google.auth.credentials import AnonymousCredentials, Credentials
from google.cloud import bigquery
from google.oauth2 import service_account

from bq_export.errors import TargetError
from bq_export.loader.failures import FAILURES, is_transient, translated
from ledgerviews.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from bq_export.patience import Patience
    from bq_export.settings import ExportSettings

_T = TypeVar("_T")
_SCOPES = ("https://www.googleapis.com/auth/bigquery",)
# What the parsers of keys raise for what is none.
_MALFORMED = (ValueError, TypeError, AttributeError, KeyError)


def make_client(settings: ExportSettings) -> bigquery.Client:
    """A client for the project; nothing is asked of the network yet."""
    options = {"api_endpoint": settings.endpoint} if settings.endpoint else None
    credentials = _credentials(settings)
    try:
        return bigquery.Client(
            settings.project, credentials=credentials, location=settings.location, client_options=options
        )
    except ValueError as exc:  # they are of another universe than Google's own
        raise UsageError(f"The credentials are not for this server: {exc}") from None


def _credentials(settings: ExportSettings) -> Credentials:
    if settings.endpoint is not None:
        return AnonymousCredentials()  # type: ignore[no-untyped-call]
    if settings.service_account is not None:
        try:
            key = json.loads(settings.service_account)
            return _signing(
                service_account.Credentials.from_service_account_info(  # type: ignore[no-untyped-call]
                    key, scopes=_SCOPES
                )
            )
        except (*_MALFORMED, auth.GoogleAuthError):
            # Neither the text nor the parser's complaint about it is repeated: they hold the key.
            raise UsageError(
                "GCP_SA_JSON holds no key of a service account; it is not repeated.",
                hint="Put the whole JSON of the key into the secret, as Google gives it.",
            ) from None
    # Else credentials without a key ask another API, which need not be enabled, for a project that we know.
    os.environ.setdefault("GOOGLE_CLOUD_PROJECT", settings.project)
    try:
        credentials, _ = default_credentials(scopes=_SCOPES)
        return _signing(credentials)
    except auth.GoogleAuthError as exc:
        raise translated(exc, "find credentials") from None
    except (*_MALFORMED, OSError):
        raise UsageError(
            "The file in GOOGLE_APPLICATION_CREDENTIALS holds no credentials; it is not repeated.",
            hint="Name the file of a key as Google gives it, or of Workload Identity Federation.",
        ) from None


def _signing(credentials: Credentials) -> Credentials:
    """The credentials; a key that cannot sign as Google's do raises here, and not at the first request."""
    if isinstance(credentials, service_account.Credentials):
        credentials.sign_bytes(b"")
    return credentials


class Requests:
    """One client, and the patience that all its requests share."""

    def __init__(self, client: bigquery.Client, settings: ExportSettings, patience: Patience) -> None:
        """Use ``client`` within ``patience``."""
        self.client = client
        self.settings = settings
        self.patience = patience
        self.options: dict[str, Any] = {"retry": None, "timeout": settings.request_timeout_s}

    def call(self, what: str, request: Callable[[], _T]) -> _T:
        """Ask until there is an answer; raises TargetError for one that no retry would change.

        Only for requests that may be made twice: whoever sends a job uses ``loader.jobs``.
        """
        attempt = 0
        while True:
            try:
                return request()
            except FAILURES as exc:
                if not is_transient(exc):
                    raise translated(exc, what) from exc
                self.patience.pause(attempt, translated(exc, what).message)
            attempt += 1

    def found(self, what: str, request: Callable[[], _T]) -> _T | None:
        """The same for something that may not be there: None for 404."""

        def ask() -> _T | None:
            try:
                return request()
            except api.NotFound:
                return None

        return self.call(what, ask)


def require(value: _T | None, message: str, hint: str) -> _T:
    """The value; raises TargetError where it is not there."""
    if value is None:
        raise TargetError(message, hint=hint)
    return value
