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
    """Show each published relation and source: rows, last refresh, definition; tracking, what is missing.

    Reads only. Exit code 4 says that code and database differ: a migration is pending, or `ledgerviews diff`
    shows something. What only makes refreshes slower is said on standard error, and leaves 0.
    """
    from ledgerviews.refresh.status import status as read  # noqa: PLC0415 (loads the database driver)
    from ledgerviews.schema.standing import standing  # noqa: PLC0415 (loads Alembic)

    with output.json_failure("status", as_json=as_json):
        settings = Settings.from_environment()
        state = read(settings, standing(settings))
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
        optional=("size", "populated", "kind", "rows", "last refresh"),
    )
    if state.sources:
        click.echo("")
        output.print_table(
            ("source", "tracking", "missing index", "problem"),
            [
                (
                    source.source,
                    source.tracked,
                    ", ".join(f"({columns.replace(',', ', ')})" for columns in source.missing_indexes) or "-",
                    source.problem or "-",
                )
                for source in state.sources
            ],
        )
    click.echo("")
    if state.last_run is not None:
        run = state.last_run
        error = f": {run.error}" if run.error else ""
        output.say(f"Last run: {run.run_id}, {run.state}, begun {output.moment(run.started_at)}{error}")
        scrubbed = [relation.scrubbed_at for relation in state.relations if relation.scrubbed_at]
        output.say(
            f"Last verified: all {output.moment(state.verified_at)}; "
            f"a day (scrub) {output.moment(max(scrubbed, default=None))}"
        )
    if state.drift is not None:
        output.say(f"Drift: run {state.drift.run_id}, {output.moment(state.drift.at)}: {state.drift.text}")
        output.say(
            "Run `ledgerviews verify`: it recomputes that as a whole, and compares all"
            f" (`ledgerviews runs {state.drift.run_id}` keeps what was found).",
            err=True,
        )
    if state.problem:
        output.say(f"{state.problem}\n  {state.hint}", err=True)
    for advice in state.advice:
        output.say(advice, err=True)
    for note in state.notes:
        output.say(note, err=True)
    return EXIT_OK if state.current else EXIT_DRIFT
