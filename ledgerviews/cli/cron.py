"""``ledgerviews cron``: the database refreshes itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from ledgerviews.cli import options, output

if TYPE_CHECKING:
    from ledgerviews.refresh.cron import Cron

_cron_database = click.option(
    "--cron-database",
    envvar="LEDGERVIEWS_CRON_DATABASE",
    metavar="NAME",
    help="The database that pg_cron lives in.  [default: what the server's cron.database_name says]",
)


@click.group()
def cron() -> None:
    """Have the database refresh itself, with the extension pg_cron.

    One job calls the refresh, the same that `ledgerviews refresh` calls, as the role that installs it;
    another deletes the jobs' own history after a week.
    """


@cron.command(epilog="Example: ledgerviews cron install --schedule '*/15 * * * *'")
@click.option(
    "--schedule",
    required=True,
    metavar="'M H D M W'",
    help="When to refresh: minute, hour, day, month, weekday, in GMT.",
)
@_cron_database
def install(*, schedule: str, cron_database: str | None) -> None:
    """Schedule the refresh, or give it another schedule."""
    from ledgerviews.refresh import cron as jobs  # noqa: PLC0415 (loads the database driver)

    _print(jobs.install(options.settings(), schedule, cron_database=cron_database))


@cron.command(epilog="Example: ledgerviews cron status --json")
@_cron_database
@options.as_json
def status(*, cron_database: str | None, as_json: bool) -> None:
    """Show the jobs for this database and how they ran the last time.

    `ledgerviews runs` shows the refreshes themselves.
    """
    from ledgerviews.refresh import cron as jobs  # noqa: PLC0415 (loads the database driver)

    with output.json_failure("cron status", as_json=as_json):
        found = jobs.read(options.settings(), cron_database=cron_database)
    if as_json:
        content = {"pg_cron": found.version, "database": found.database, "jobs": found.jobs}
        output.print_json("cron status", content)
    else:
        _print(found)


@cron.command(epilog="Example: ledgerviews cron remove")
@_cron_database
def remove(*, cron_database: str | None) -> None:
    """Take the jobs for this database away, with their history."""
    from ledgerviews.refresh import cron as jobs  # noqa: PLC0415 (loads the database driver)

    names = jobs.remove(options.settings(), cron_database=cron_database)
    output.say(
        f"Removed: {', '.join(names)}." if names else "There was no job of this role for this database."
    )


def _print(found: Cron) -> None:
    output.say(f"pg_cron {found.version} in database {found.database}; schedules are in GMT.")
    if not found.jobs:
        output.say("No job is installed: ledgerviews cron install --schedule '*/15 * * * *'")
        return
    output.print_table(
        ("job", "schedule", "as", "active", "last begun", "last state", "message"),
        [
            (
                job.name,
                job.schedule,
                job.username,
                "yes" if job.active else "no",
                output.moment(job.started_at) if job.started_at or not job.status else "-",
                job.status or "-",
                (job.message or "-").strip().splitlines()[0],
            )
            for job in found.jobs
        ],
        optional=("message", "active", "as"),
    )
    if any((job.message or "").strip() == "connection failed" for job in found.jobs):
        output.say(
            "connection failed: jobs connect by TCP to cron.host, and pg_hba.conf must let them. Or have them"
            " connect to nothing: cron.use_background_workers = on, and restart the server"
            " (docs/operations.md).",
            err=True,
        )
