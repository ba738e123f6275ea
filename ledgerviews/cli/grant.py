"""``ledgerviews grant``: what the roles need beside the owner."""

from __future__ import annotations

import click

from ledgerviews.cli import options, output


@click.group()
def grant() -> None:
    """Grants for the roles that refresh or read; as the owner, and again after an upgrade."""


@grant.command(epilog="Example: ledgerviews grant refresher ledgerviews_cron")
@click.argument("role")
def refresher(*, role: str) -> None:
    """Let ROLE refresh, and read no source.

    Needs PostgreSQL 17: before it only an owner may refresh, so ROLE must be a member of the owner.
    """
    from ledgerviews.refresh import roles  # noqa: PLC0415 (loads the database driver)

    with output.progress("grant") as progress:
        roles.grant_refresh(options.settings(), role, progress=progress)
    output.say(f"{role} may refresh.")


@grant.command(epilog="Example: ledgerviews grant reader grafana")
@click.argument("role")
def reader(*, role: str) -> None:
    """Let ROLE read the published relations, and nothing else."""
    from ledgerviews.refresh import roles  # noqa: PLC0415 (loads the database driver)

    with output.progress("grant") as progress:
        roles.grant_read(options.settings(), role, progress=progress)
    output.say(f"{role} may read the published relations.")
