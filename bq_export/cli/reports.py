"""``bq-export status``, ``history`` and ``cost``."""

from __future__ import annotations

import click

from bq_export.cli import output
from bq_export.settings import ExportSettings
from ledgerviews.config import Settings


@click.command(epilog="Example: bq-export status --json")
@output.json_option
def status(*, as_json: bool) -> None:
    """Show each table at the target as it was left: last export, partitions, rows; and the last run."""
    from bq_export.state import open_state  # noqa: PLC0415 (loads the database driver)

    with output.json_failure("status", as_json=as_json):
        export = ExportSettings.from_environment()
        with open_state(Settings.from_environment(), target=export.target) as state:
            tables, runs = state.rows("status", {}), state.rows("history", {"most": 1})
    if as_json:
        last = runs[0] if runs else None
        output.print_json("status", {"target": export.target, "tables": tables, "last_run": last})
        return
    if not tables:
        click.echo(f"Nothing was exported to {export.target} yet.")
        return
    output.print_table(
        ("relation", "last export", "partitions", "rows", "unknown"),
        [
            (
                row["relation"],
                output.moment(row["exported_at"]),
                output.count(row["partitions"]),
                output.count(row["row_count"]),
                output.count(row["unknown"]),
            )
            for row in tables
        ],
        right=("partitions", "rows", "unknown"),
        least=("partitions", "unknown"),
    )
    if runs:
        error = f": {runs[0]['error']}" if runs[0]["error"] else ""
        begun = output.moment(runs[0]["started_at"])
        click.echo(f"Last run: {runs[0]['run_id']}, {runs[0]['state']}, begun {begun}{error}")


@click.command(epilog="Example: bq-export history --limit 50")
@click.option(
    "--limit",
    type=click.IntRange(1, 1_000_000),
    default=20,
    show_default=True,
    help="How many runs, newest first.",
)
@output.json_option
def history(*, limit: int, as_json: bool) -> None:
    """Show the last runs: state, what moved, bytes billed, seconds."""
    from bq_export.state import open_state  # noqa: PLC0415 (loads the database driver)

    with output.json_failure("history", as_json=as_json):
        export = ExportSettings.from_environment()
        with open_state(Settings.from_environment(), target=export.target) as state:
            runs = state.rows("history", {"most": limit})
    if as_json:
        output.print_json("history", {"target": export.target, "runs": runs})
        return
    if not runs:
        click.echo(f"Nothing was exported to {export.target} yet.")
        return
    numbers = ("relations", "partitions", "rows", "bytes", "billed", "seconds")
    output.print_table(
        ("run", "begun", "state", *numbers),
        [
            (
                str(row["run_id"]),
                output.moment(row["started_at"]),
                row["state"],
                output.count(row["relations"]),
                output.count(row["partitions"]),
                output.count(row["rows_sent"]),
                output.size(row["bytes_sent"]),
                output.size(row["bytes_billed"]),
                "-" if row["seconds"] is None else f"{row['seconds']:.2f}",
            )
            for row in runs
        ],
        right=("run", *numbers),
        least=("relations", "billed", "bytes", "seconds", "partitions"),
    )
    for row in runs:
        if row["error"]:
            click.echo(f"Run {row['run_id']}: {row['error'].splitlines()[0]}")


@click.command(epilog="Example: bq-export cost --days 7")
@click.option(
    "--days",
    type=click.IntRange(1, 180),
    default=30,
    show_default=True,
    help="How many days, today included.",
)
@output.json_option
def cost(*, days: int, as_json: bool) -> None:
    """Show the bytes billed by day and operation, from INFORMATION_SCHEMA.JOBS by our labels."""
    with output.json_failure("cost", as_json=as_json):
        export = ExportSettings.from_environment()
        from bq_export.budget import usd  # noqa: PLC0415
        from bq_export.gather import today  # noqa: PLC0415
        from bq_export.loader.costs import costs, last_days  # noqa: PLC0415 (loads Google's libraries)
        from bq_export.loader.session import open_target  # noqa: PLC0415

        first = last_days(today(), days)
        month = today().replace(day=1)
        with open_target(export, progress=output.progress) as target:
            found = costs(target, since=min(first, month))
    billed = sum(one.bytes_billed for one in found if one.day >= month)
    shown = [one for one in found if one.day >= first]
    if as_json:
        output.print_json(
            "cost",
            {
                "target": export.target,
                "days": shown,
                "month": {
                    "bytes_billed": billed,
                    "usd": usd(billed, export),
                    "budget_usd": export.monthly_budget,
                },
            },
        )
        return
    output.print_table(
        ("day", "operation", "jobs", "billed", "USD"),
        [
            (
                one.day.isoformat(),
                one.operation,
                output.count(one.jobs),
                output.size(one.bytes_billed),
                f"{usd(one.bytes_billed, export):.4f}",
            )
            for one in shown
        ],
        right=("jobs", "billed", "USD"),
    )
    click.echo(f"This month: {usd(billed, export):.2f} of {export.monthly_budget:.2f} USD.")
