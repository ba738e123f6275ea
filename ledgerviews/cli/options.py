"""Options that several commands have."""

from __future__ import annotations

from dataclasses import replace

import click

from ledgerviews.config import Settings, duration_ms


class Duration(click.ParamType[int]):
    """A duration as the settings write it; milliseconds."""

    name = "duration"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Milliseconds, or a usage error that says how to write it."""
        if isinstance(value, int):
            return value
        try:
            return duration_ms(str(value))
        except ValueError:
            self.fail(f"{value!r} is no duration. Write 500ms, 5s, 2min or 1h; 0 is no limit.", param, ctx)


lock_timeout = click.option(
    "--lock-timeout",
    type=Duration(),
    metavar="DURATION",
    help="How long to wait for a lock, as 5s; before LEDGERVIEWS_LOCK_TIMEOUT.",
)
statement_timeout = click.option(
    "--statement-timeout",
    type=Duration(),
    metavar="DURATION",
    help="How long it may take, as 10min; before LEDGERVIEWS_STATEMENT_TIMEOUT.",
)
as_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of a table.")


def settings(*, lock_timeout_ms: int | None = None, statement_timeout_ms: int | None = None) -> Settings:
    """The settings of the environment, with the options that go before them."""
    found = Settings.from_environment()
    if lock_timeout_ms is not None:
        found = replace(found, lock_timeout_ms=lock_timeout_ms)
    if statement_timeout_ms is not None:
        found = replace(found, statement_timeout_ms=statement_timeout_ms)
    return found
