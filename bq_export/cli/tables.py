"""``bq-export tables``."""

from __future__ import annotations

import click

from bq_export.queries import query


@click.command(epilog="Example: bq-export tables | psql")
def tables() -> None:
    """Print the SQL of the exporter's tables, for a database whose revisions are a team's own.

    The packaged revisions have them already. Whoever owns the schema ledgerviews runs the
    lines, or a revision does; they can be run again.
    """
    click.echo(query("tables"), nl=False)
