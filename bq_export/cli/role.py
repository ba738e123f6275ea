"""``bq-export role``."""

from __future__ import annotations

import click

from bq_export.source.relation import exported
from ledgerviews import catalog
from ledgerviews.config import Settings
from ledgerviews.errors import UsageError


@click.command(epilog="Example: bq-export role exporter | psql")
@click.argument("name", metavar="NAME")
def role(*, name: str) -> None:
    """Print the SQL for the role NAME: it reads the exported relations and its own state, nothing else.

    Give it a password or a certificate yourself: ALTER ROLE … PASSWORD. Grants on a relation go when a
    downgrade drops it; the lines can be run again.
    """
    from bq_export.roles import role_statements  # noqa: PLC0415 (loads the database driver)

    if not name.strip():
        raise UsageError("A role needs a name.", hint="bq-export role exporter")
    settings = Settings.from_environment()
    models = exported(catalog.load(settings.models), ())
    for line in role_statements(name, schema=settings.schema, relations=[model.name for model in models]):
        click.echo(f"{line};")
