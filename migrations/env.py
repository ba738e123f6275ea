"""Run by Alembic: our revisions, in the schema ledgerviews, beside whatever else the database holds."""

from logging.config import fileConfig

from alembic import context

from ledgerviews.schema import run_migrations

if context.config.config_file_name is not None:
    fileConfig(context.config.config_file_name, disable_existing_loggers=False)

run_migrations()
