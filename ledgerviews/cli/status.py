"""``ledgerviews status``."""

from __future__ import annotations

from dataclasses import asdict

import click

from ledgerviews.cli import output
from ledgerviews.config import Settings
from ledgerviews.errors import EXIT_DRIFT, EXIT_OK


@click.command(epilog="Example: ledgerviews status --json")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of a table.")
def status(*, as_json: bool) -> int:
    """Show each published relation: kind, rows, size, populated, last refresh, definition up to date.

    Reads only. Exit code 4 says that code and database differ: a migration is pending, or a definition
    changed.
    """
    from ledgerviews.refresh.status import status as read  # noqa: PLC0415 (loads the database driver)

    with output.json_failure("status", as_json=as_json):
        state = read(Settings.from_environment())
    if as_json:
        output.print_json("status", {"current": state.current, **asdict(state)})
        return EXIT_OK if state.current else EXIT_DRIFT
    output.print_table(
        ("relation", "kind", "rows", "size", "populated", "last refresh", "definition"),
        [
            (
                f"{relation.schema}.{relation.name}",
                relation.kind,
                output.count(relation.rows),
                output.size(relation.size_bytes),
                {None: "-", True: "yes", False: "no"}[relation.populated],
                output.moment(relation.last_refresh) if relation.kind == "materialized view" else "-",
                relation.definition,
            )
            for relation in state.relations
        ],
        right=("rows", "size"),
        optional=("size", "populated", "kind"),
    )
    if state.last_run is not None:
        run = state.last_run
        error = f": {run.error}" if run.error else ""
        click.echo(f"Last run: {run.run_id}, {run.state}, begun {output.moment(run.started_at)}{error}")
    if state.problem:
        click.echo(f"{state.problem}\n  {state.hint}", err=True)
    for advice in state.advice:
        click.echo(advice, err=True)
    return EXIT_OK if state.current else EXIT_DRIFT
