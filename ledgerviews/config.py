"""The settings, read once from the environment into one frozen object."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from .errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

DEFAULT_MODELS = "ledgerviews.models"
PACKAGED_MIGRATIONS = "ledgerviews:migrations"
MIGRATION_LOCK_TIMEOUT_MS = 5_000
SWAP_TIMEOUT_MS = 60_000
ENGINE_VERSION = 3
"""The version of the engine that this package installs and calls."""
TRACKING = ("closed days", "every write", "none")
"""How writes are tracked; the first is the default."""

_UNITS_MS = {"ms": 1, "s": 1_000, "min": 60_000, "h": 3_600_000}
_DURATION = re.compile(r"(\d+)\s*(ms|s|min|h)?", re.ASCII)
_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_$]{0,62}", re.ASCII)
_TRUE, _FALSE = {"1", "true", "yes", "on"}, {"", "0", "false", "no", "off"}


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Everything that a command may be told from outside.

    Attributes:
        database_url: a libpq or SQLAlchemy URL, or a libpq keyword string; None leaves all to libpq's own
            PG* variables and service files. Never part of the repr: it may hold a password.
        schema: the schema that the published relations live in.
        models: dotted path of the package that declares the models.
        migrations: where the revisions of these models are (``package:folder`` or a path); None when the
            models are another team's and nothing was said, so no head is compared.
        lock_timeout_ms: how long a statement waits for a lock; None is each command's own default.
        statement_timeout_ms: how long one statement may run; None is the server's default.
        populate: fill new materialized views when a migration creates them.
        tracking: how migrations have writes to the sources tracked, one of ``TRACKING``.
        swap_timeout_ms: how long a replacement tries to exchange relations that are being read.
        keep_replaced: keep what was replaced, in a schema of its own, until the next replacement.
    """

    database_url: str | None = field(default=None, repr=False)
    schema: str = "public"
    models: str = DEFAULT_MODELS
    migrations: str | None = PACKAGED_MIGRATIONS
    lock_timeout_ms: int | None = None
    statement_timeout_ms: int | None = None
    populate: bool = False
    tracking: str = TRACKING[0]
    swap_timeout_ms: int = SWAP_TIMEOUT_MS
    keep_replaced: bool = False

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> Settings:
        """Read the settings; an unusable value is a UsageError that names its variable.

        An empty or blank variable counts as unset, because CI systems set absent secrets to "".
        """
        env = os.environ if environment is None else environment
        env = {name: value for name, value in env.items() if value.strip()}
        models = env.get("LEDGERVIEWS_MODELS", DEFAULT_MODELS)
        swap_timeout_ms = _duration_of(env, "LEDGERVIEWS_SWAP_TIMEOUT")
        return cls(
            database_url=env.get("LEDGERVIEWS_DATABASE_URL", env.get("DATABASE_URL")),
            schema=_identifier("LEDGERVIEWS_SCHEMA", env.get("LEDGERVIEWS_SCHEMA", "public")),
            models=models,
            migrations=env.get(
                "LEDGERVIEWS_MIGRATIONS", PACKAGED_MIGRATIONS if models == DEFAULT_MODELS else None
            ),
            lock_timeout_ms=_duration_of(env, "LEDGERVIEWS_LOCK_TIMEOUT"),
            statement_timeout_ms=_duration_of(env, "LEDGERVIEWS_STATEMENT_TIMEOUT"),
            populate=_flag("LEDGERVIEWS_POPULATE", env.get("LEDGERVIEWS_POPULATE", "")),
            tracking=tracking_of(env.get("LEDGERVIEWS_TRACKING", TRACKING[0]), name="LEDGERVIEWS_TRACKING"),
            swap_timeout_ms=SWAP_TIMEOUT_MS if swap_timeout_ms is None else swap_timeout_ms,
            keep_replaced=_flag("LEDGERVIEWS_KEEP_REPLACED", env.get("LEDGERVIEWS_KEEP_REPLACED", "")),
        )


def tracking_of(text: str, *, name: str) -> str:
    """A way of tracking, written with spaces or hyphens; UsageError names the setting or option."""
    tracking = text.strip().lower().replace("-", " ")
    if tracking not in TRACKING:
        raise UsageError(f"{name} is {text!r}.", hint="Write closed-days, every-write or none.")
    return tracking


def duration_ms(text: str) -> int:
    """Milliseconds in a duration written as PostgreSQL writes it: ``500ms``, ``5s``, ``2min``, ``1h``, ``0``.

    A bare number is milliseconds, as in postgresql.conf. Raises ValueError.
    """
    match = _DURATION.fullmatch(text.strip())
    if match is None:
        raise ValueError(text)
    value = int(match[1]) * _UNITS_MS[match[2] or "ms"]
    if value > 2**31 - 1:  # PostgreSQL keeps time-outs in a signed 32-bit integer
        raise ValueError(text)
    return value


def _duration_of(env: Mapping[str, str], name: str) -> int | None:
    text = env.get(name)
    if text is None:
        return None
    try:
        return duration_ms(text)
    except ValueError:
        raise UsageError(
            f"{name} is {text!r}, which is no duration.", hint="Write 500ms, 5s, 2min or 1h."
        ) from None


def _identifier(name: str, text: str) -> str:
    if (
        not _IDENTIFIER.fullmatch(text)
        or text.startswith("pg_")
        or text in {"ledgerviews", "information_schema"}
    ):
        raise UsageError(
            f"{name} is {text!r}, which cannot be the schema of the published relations.",
            hint="Use letters, digits and underscores; pg_*, information_schema and ledgerviews are taken.",
        )
    return text


def _flag(name: str, text: str) -> bool:
    lowered = text.strip().lower()
    if lowered in _TRUE:
        return True
    if lowered in _FALSE:
        return False
    raise UsageError(f"{name} is {text!r}.", hint="Write 1 or 0.")
